//! The pool of one process, and calls of server-side functions through it.
//!
//! A function that a node lacks (it was promoted, replaced or flushed) is loaded there and called
//! once more. Nothing else is retried here: what a lost answer means is the caller's to know.

use std::{future::Future, sync::Arc, time::Duration};

use bytes::Bytes;
use firstcome_mesh::telemetry::traces::{Span, SpanKind};
use fred::{
    clients::{Client, Pool},
    error::Error as FredError,
    interfaces::{ClientLike as _, FunctionInterface as _},
    types::{
        Builder, Value,
        config::{ClusterDiscoveryPolicy, Config, ReconnectPolicy, Server, UnresponsiveConfig},
    },
};

use crate::{Error, shards::Shards, telling};

/// fred pipelines everything over one connection per node; a second one would only reorder calls.
const CONNECTIONS_PER_NODE: usize = 1;
/// Longest wait for an answer: a shard answers in a millisecond, or it is in trouble.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest wait for a node to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A connection that owes an answer for this long is dropped and made anew.
const UNRESPONSIVE_AFTER: Duration = Duration::from_secs(3);
/// How often owed answers are looked at.
const UNRESPONSIVE_CHECK: Duration = Duration::from_millis(500);
/// Pause between attempts to reach the cluster: short, so that a promotion is seen at once.
const RECONNECT_PAUSE_MS: u32 = 200;
/// Longest wait for the cluster at start: a failover takes up to 6 s, forming one somewhat longer.
const FIRST_CONNECT_TIMEOUT: Duration = Duration::from_secs(20);
/// What Redis answers when the function called is not loaded.
const FUNCTION_NOT_FOUND: &str = "ERR Function not found";

/// Connections to every node of the cluster, shared by all clones.
#[derive(Clone)]
pub struct RedisPool {
    shards: Arc<Shards>,
    pool: Pool,
    library: Option<&'static str>,
}

/// Connections of its own to the same cluster, for one caller who waits on them: a command that
/// blocks, blocks whatever comes after it on its connection.
pub struct Apart {
    shards: Shards,
}

impl RedisPool {
    /// Connects to the cluster that `url` names with all its nodes, as in
    /// `redis-cluster://10.0.0.1:7101?node=10.0.0.2:7102&node=10.0.0.3:7103`: a node left out
    /// cannot be asked when the others are down.
    pub async fn connect(url: &str) -> Result<Self, Error> {
        let mut config =
            Config::from_url(url).map_err(|error| Error::Address(error.to_string()))?;
        if !config.server.is_clustered() {
            return Err(Error::Address("want redis-cluster:// and its nodes".to_owned()));
        }
        // A cluster that is failing over while we start is waited for, not given up.
        config.fail_fast = false;
        // Nodes that joined later are as good as the configured ones.
        config.server.set_cluster_discovery_policy(ClusterDiscoveryPolicy::UseCache)?;

        telling::begin();
        let settings = settings(&config);
        let mut of_nodes = settings.clone();
        // Once only: what a lost connection swallowed is the caller's to repeat.
        of_nodes.with_connection_config(|connection| connection.max_command_attempts = 1);
        let shards = Shards::connect(config, of_nodes, FIRST_CONNECT_TIMEOUT).await?;
        let pool = settings.build_pool(CONNECTIONS_PER_NODE)?;
        match tokio::time::timeout(FIRST_CONNECT_TIMEOUT, pool.init()).await {
            Ok(connected) => drop(connected?),
            Err(_) => {
                let wait = FIRST_CONNECT_TIMEOUT;
                return Err(Error::Unavailable(format!("no cluster within {wait:?}")));
            }
        };
        Ok(Self { shards: Arc::new(shards), pool, library: None })
    }

    /// The same connections, with the functions of this library to call.
    pub fn with_library(&self, code: &'static str) -> Self {
        Self { library: Some(code), ..self.clone() }
    }

    /// Loads the library on every primary, in place of an older one of its name. A node that
    /// cannot take it now gets it with the first call that misses it.
    pub async fn load_library(&self) -> Result<(), Error> {
        for primary in self.shards.primaries() {
            if let Err(error) = self.load_library_on(&primary).await {
                if !error.is_unavailable() {
                    return Err(error);
                }
                tracing::warn!(node = %primary, %error, "load functions later");
            }
        }
        Ok(())
    }

    /// Calls a function on the shard of its keys, which share one hash tag.
    pub async fn fcall(
        &self,
        function: &'static str,
        keys: Vec<String>,
        args: Vec<Bytes>,
    ) -> Result<Value, Error> {
        let shard = keys.first().expect("the keys of a call name its shard").clone();
        let call = |client: Client| {
            // Cloning costs a reference count for each argument.
            let (keys, args) = (keys.clone(), args.clone());
            async move {
                match client.fcall(function, keys.clone(), args.clone()).await {
                    Err(error) if is_function_missing(&error) => {
                        let Some(code) = self.library else { return Err(error) };
                        let _name: Value = client.function_load(true, code).await?;
                        client.fcall(function, keys, args).await
                    }
                    answer => answer,
                }
            }
        };
        let span = Span::start(SpanKind::Client, || format!("fcall {function}"));
        span.tell("db.system", || "redis");
        span.tell("db.operation.name", || "FCALL");
        span.tell("db.stored_procedure.name", || function);
        let answer = span.run(self.shards.on_shard_of(&shard, call)).await;
        if let Err(error) = &answer {
            // Its text may quote what was sent.
            span.fail(if error.is_unavailable() { "unavailable" } else { "refused" });
        }
        telling::counted(answer.map_err(|error| match error {
            Error::Script(message) if message.starts_with(FUNCTION_NOT_FOUND) => {
                Error::MissingFunction(function)
            }
            error => error,
        }))
    }

    /// Works with the node that serves a key, as [`Self::fcall`] does: other shards may be down.
    /// The work may be done twice, when the first node says that it serves the key no longer.
    pub async fn on_shard_of<T, F>(&self, key: &str, work: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, FredError>>,
    {
        telling::counted(self.shards.on_shard_of(key, work).await)
    }

    /// Connections of its own for a caller who blocks, each made when it is first needed.
    pub fn apart(&self) -> Apart {
        Apart { shards: self.shards.apart() }
    }

    /// fred's own pool, for commands that can wait while some shard is failing over.
    pub fn commands(&self) -> &Pool {
        &self.pool
    }

    /// Closes the connections of all clones.
    pub async fn close(&self) {
        self.shards.close().await;
        // There is nobody left to tell when a goodbye is not heard.
        let _ = self.pool.quit().await;
    }

    async fn load_library_on(&self, node: &Server) -> Result<(), Error> {
        let code = self.library.expect("a library is set before its functions are called");
        let _name: Value = self.shards.client(node).await?.function_load(true, code).await?;
        Ok(())
    }
}

impl Apart {
    /// The longest that a command may block: the answer still comes well before
    /// [`COMMAND_TIMEOUT`].
    pub const BLOCK_MAX: Duration = Duration::from_secs(1);

    /// Works with the node that serves a key, as [`RedisPool::on_shard_of`] does.
    pub async fn on_shard_of<T, F>(&self, key: &str, work: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, FredError>>,
    {
        telling::counted(self.shards.on_shard_of(key, work).await)
    }

    /// Closes them.
    pub async fn close(&self) {
        self.shards.close().await;
    }
}

fn settings(config: &Config) -> Builder {
    let mut settings = Builder::from_config(config.clone());
    settings
        .with_performance_config(|performance| {
            performance.default_command_timeout = COMMAND_TIMEOUT;
        })
        .with_connection_config(|connection| {
            connection.connection_timeout = CONNECT_TIMEOUT;
            connection.internal_command_timeout = CONNECT_TIMEOUT;
            connection.tcp.nodelay = Some(true);
            connection.unresponsive = UnresponsiveConfig {
                max_timeout: Some(UNRESPONSIVE_AFTER),
                interval: UNRESPONSIVE_CHECK,
            };
        })
        // Zero attempts is without end: the cluster is needed as long as the process lives.
        .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_PAUSE_MS));
    settings
}

fn is_function_missing(error: &FredError) -> bool {
    error.details().starts_with(FUNCTION_NOT_FOUND)
}
