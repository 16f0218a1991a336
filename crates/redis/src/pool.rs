//! The pool of one process, and calls of server-side functions through it.
//!
//! A function that a node lacks (it was promoted, replaced or flushed) is loaded there and called
//! once more. Nothing else is retried here: what a lost answer means is the caller's to know.

use std::time::Duration;

use bytes::Bytes;
use fred::{
    clients::{Client, Pool},
    interfaces::{ClientLike as _, ClusterInterface as _, FunctionInterface as _},
    types::{
        Builder, Value,
        cluster::ClusterRouting,
        config::{ClusterDiscoveryPolicy, Config, ReconnectPolicy, Server, UnresponsiveConfig},
    },
};

use crate::Error;

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
    pool: Pool,
    library: Option<&'static str>,
}

impl RedisPool {
    /// Connects to the cluster that `url` names with all its nodes, as in
    /// `redis-cluster://10.0.0.1:7101?node=10.0.0.2:7102&node=10.0.0.3:7103`: a node left out
    /// cannot take over when the others are down.
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

        let pool = Builder::from_config(config)
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
            .set_policy(ReconnectPolicy::new_constant(0, RECONNECT_PAUSE_MS))
            .build_pool(CONNECTIONS_PER_NODE)?;
        match tokio::time::timeout(FIRST_CONNECT_TIMEOUT, pool.init()).await {
            Ok(connected) => connected?,
            Err(_) => {
                return Err(Error::Unavailable(format!(
                    "no cluster within {FIRST_CONNECT_TIMEOUT:?}"
                )));
            }
        };
        Ok(Self { pool, library: None })
    }

    /// The same connections, with the functions of this library to call.
    pub fn with_library(&self, code: &'static str) -> Self {
        Self { pool: self.pool.clone(), library: Some(code) }
    }

    /// Loads the library on every primary, in place of an older one of its name. A node that
    /// cannot take it now gets it with the first call that misses it.
    pub async fn load_library(&self) -> Result<(), Error> {
        for primary in self.routing()?.unique_primary_nodes() {
            if let Err(error) = self.load_library_on(primary.clone()).await {
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
        assert!(!keys.is_empty(), "the keys of a call name its shard");
        let first_key = keys[0].clone();
        // Cloning costs a reference count for each argument.
        match self.call(function, keys.clone(), args.clone()).await {
            Err(Error::MissingFunction(_)) if self.library.is_some() => {
                self.load_library_on(self.node_of(&first_key)?).await?;
                self.call(function, keys, args).await
            }
            answer => answer,
        }
    }

    /// fred's own pool, for ordinary commands.
    pub fn commands(&self) -> &Pool {
        &self.pool
    }

    /// Closes the connections of all clones.
    pub async fn close(&self) {
        // There is nobody left to tell when a goodbye is not heard.
        let _ = self.pool.quit().await;
    }

    async fn call(
        &self,
        function: &'static str,
        keys: Vec<String>,
        args: Vec<Bytes>,
    ) -> Result<Value, Error> {
        self.client().fcall(function, keys, args).await.map_err(|error: fred::error::Error| {
            match error.details().starts_with(FUNCTION_NOT_FOUND) {
                true => Error::MissingFunction(function),
                false => Error::from(error),
            }
        })
    }

    async fn load_library_on(&self, node: Server) -> Result<(), Error> {
        let code = self.library.expect("a library is set before its functions are called");
        let _name: Value = self.client().with_cluster_node(node).function_load(true, code).await?;
        Ok(())
    }

    fn node_of(&self, key: &str) -> Result<Server, Error> {
        let slot = ClusterRouting::hash_key(key.as_bytes());
        let node = self.routing()?.get_server(slot).cloned();
        node.ok_or_else(|| Error::Unavailable(format!("no node serves slot {slot}")))
    }

    fn routing(&self) -> Result<ClusterRouting, Error> {
        let routing = self.client().cached_cluster_state();
        routing.ok_or_else(|| Error::Unavailable("the cluster is not known yet".to_owned()))
    }

    fn client(&self) -> &Client {
        self.pool.next_connected()
    }
}
