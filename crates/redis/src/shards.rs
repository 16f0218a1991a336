//! One connection to each node, and the table that says which node serves which slot.
//!
//! fred's own cluster client stops for all shards while it cannot reach one of them: about nine
//! seconds when a primary dies. Here every node has a client of its own, so a dead shard delays
//! nobody else, and calls of its products fail at once until a replica has taken over.

use std::{
    collections::{BTreeSet, HashMap},
    future::Future,
    sync::{Arc, Mutex, RwLock},
    time::Duration,
};

use fred::{
    clients::Client,
    error::Error as FredError,
    interfaces::{ClientLike as _, ClusterInterface as _},
    types::{
        Builder, Value,
        cluster::ClusterRouting,
        config::{Config, Server, ServerConfig},
    },
};
use tokio::time::{Instant, timeout};

use crate::Error;

/// A node that has not accepted us by then is down, or as good as down.
const CONNECT_WAIT: Duration = Duration::from_millis(250);
/// The table is asked for at most this often: a failing shard makes many callers want it.
const REFRESH_INTERVAL: Duration = Duration::from_millis(100);
/// A node that does not know the table by then is not asked further.
const REFRESH_TIMEOUT: Duration = Duration::from_millis(500);

/// The cluster as one process sees it.
pub struct Shards {
    /// With the settings of every connection; its server is replaced for each node.
    settings: Builder,
    config: Config,
    table: RwLock<Arc<Table>>,
    clients: Mutex<HashMap<Server, Client>>,
    /// When the table was last asked for; held while asking.
    refreshed: tokio::sync::Mutex<Option<Instant>>,
}

/// Which node serves what, as of some moment.
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    /// The last slot of each range and who serves it, in the order of slots.
    ranges: Vec<(u16, Server)>,
    /// Replicas too: each knows the table.
    nodes: BTreeSet<Server>,
}

impl Shards {
    /// Learns the table from whichever configured node answers.
    pub async fn connect(config: Config, settings: Builder, wait: Duration) -> Result<Self, Error> {
        let seeds =
            Table { ranges: Vec::new(), nodes: config.server.hosts().into_iter().collect() };
        let shards = Self {
            settings,
            config,
            table: RwLock::new(Arc::new(seeds)),
            clients: Mutex::default(),
            refreshed: tokio::sync::Mutex::default(),
        };
        let started = Instant::now();
        while shards.table().ranges.is_empty() {
            if started.elapsed() > wait {
                return Err(Error::Unavailable(format!("no cluster within {wait:?}")));
            }
            shards.refresh().await;
            tokio::time::sleep(REFRESH_INTERVAL).await;
        }
        Ok(shards)
    }

    /// The same cluster, over connections that nobody else uses yet.
    pub fn apart(&self) -> Self {
        Self {
            settings: self.settings.clone(),
            config: self.config.clone(),
            table: RwLock::new(self.table()),
            clients: Mutex::default(),
            refreshed: tokio::sync::Mutex::default(),
        }
    }

    /// Works with the node that serves a key. A node that turns out to serve it no longer has done
    /// nothing, so the work is given to its successor, once.
    pub async fn on_shard_of<T, F>(&self, key: &str, work: impl Fn(Client) -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, FredError>>,
    {
        let attempt = async || match self.client_of_key(key).await {
            Ok(client) => work(client).await.map_err(Failure::of),
            Err(error) => Err(Failure::Elsewhere(error)),
        };
        match attempt().await {
            Ok(done) => Ok(done),
            Err(Failure::Moved) => {
                self.refresh().await;
                attempt().await.map_err(Failure::into_error)
            }
            Err(failure) => {
                let error = failure.into_error();
                if error.is_unavailable() {
                    // The next caller should find the successor, if there is one by now.
                    self.refresh().await;
                }
                Err(error)
            }
        }
    }

    /// Every node that serves something.
    pub fn primaries(&self) -> BTreeSet<Server> {
        self.table().ranges.iter().map(|(_, node)| node.clone()).collect()
    }

    /// A connected client of a node.
    pub async fn client(&self, node: &Server) -> Result<Client, Error> {
        let client = self.client_even_unconnected(node)?;
        if !client.is_connected() {
            let unreachable = || Error::Unavailable(format!("no connection to {node}"));
            timeout(CONNECT_WAIT, client.wait_for_connect()).await.map_err(|_| unreachable())??;
        }
        Ok(client)
    }

    /// Closes every connection.
    pub async fn close(&self) {
        let clients: Vec<Client> = {
            let mut clients = self.clients.lock().expect("nobody panics while holding it");
            clients.drain().map(|(_, client)| client).collect()
        };
        for client in clients {
            // There is nobody left to tell when a goodbye is not heard.
            let _ = client.quit().await;
        }
    }

    async fn client_of_key(&self, key: &str) -> Result<Client, Error> {
        let slot = ClusterRouting::hash_key(key.as_bytes());
        let table = self.table();
        let node = table.node_serving(slot);
        let node = node.ok_or_else(|| Error::Unavailable(format!("no node serves slot {slot}")))?;
        self.client(node).await
    }

    fn client_even_unconnected(&self, node: &Server) -> Result<Client, Error> {
        let mut clients = self.clients.lock().expect("nobody panics while holding it");
        if let Some(client) = clients.get(node) {
            return Ok(client.clone());
        }
        let server = ServerConfig::Centralized { server: node.clone() };
        let mut settings = self.settings.clone();
        settings.set_config(Config { server, ..self.config.clone() });
        let client = settings.build()?;
        // Its task reconnects for as long as the client lives.
        client.connect();
        clients.insert(node.clone(), client.clone());
        Ok(client)
    }

    /// Asks one node after the other for the table, those first to whom we are connected.
    async fn refresh(&self) {
        let mut refreshed = self.refreshed.lock().await;
        if refreshed.is_some_and(|at| at.elapsed() < REFRESH_INTERVAL) {
            return;
        }
        let mut nodes: Vec<Server> = self.table().nodes.iter().cloned().collect();
        let is_unconnected = |node: &Server| {
            !self.client_even_unconnected(node).is_ok_and(|client| client.is_connected())
        };
        nodes.sort_by_cached_key(is_unconnected);
        for node in nodes {
            let Ok(client) = self.client(&node).await else { continue };
            let Ok(Ok(answer)) = timeout(REFRESH_TIMEOUT, client.cluster_slots()).await else {
                continue;
            };
            if let Some(mut table) = Table::read(&answer, &node) {
                // The configured nodes stay worth asking: the others may all be gone.
                table.nodes.extend(self.config.server.hosts());
                *self.table.write().expect("nobody panics while holding it") = Arc::new(table);
                break;
            }
        }
        *refreshed = Some(Instant::now());
    }

    fn table(&self) -> Arc<Table> {
        self.table.read().expect("nobody panics while holding it").clone()
    }
}

impl Table {
    fn node_serving(&self, slot: u16) -> Option<&Server> {
        let place = self.ranges.partition_point(|(last, _)| *last < slot);
        self.ranges.get(place).map(|(_, node)| node)
    }

    /// Reads the answer of CLUSTER SLOTS that `asked` gave; `None` for one without slots.
    fn read(answer: &Value, asked: &Server) -> Option<Self> {
        let Value::Array(answer) = answer else { return None };
        let mut table = Self::default();
        for range in answer {
            // As in [first, last, [address, port, id], [address, port, id], ...].
            let Value::Array(range) = range else { return None };
            let [_, last, nodes @ ..] = range.as_slice() else { return None };
            let nodes: Vec<Server> =
                nodes.iter().filter_map(|node| read_node(node, asked)).collect();
            let primary = nodes.first()?.clone();
            table.ranges.push((u16::try_from(last.as_u64()?).ok()?, primary));
            table.nodes.extend(nodes);
        }
        table.ranges.sort();
        (!table.ranges.is_empty()).then_some(table)
    }
}

fn read_node(node: &Value, asked: &Server) -> Option<Server> {
    let Value::Array(node) = node else { return None };
    let [address, port, ..] = node.as_slice() else { return None };
    let port = u16::try_from(port.as_u64()?).ok()?;
    // A node that does not know its own address leaves it out.
    match address.as_str().filter(|address| !address.is_empty()) {
        Some(address) => Some(Server::new(address.into_owned(), port)),
        None => Some(Server::new(asked.host.to_string(), port)),
    }
}

/// Why work with a node failed.
enum Failure {
    /// It serves the key no longer, and did nothing.
    Moved,
    /// Anything that it said.
    Said(FredError),
    /// It was not reached.
    Elsewhere(Error),
}

impl Failure {
    fn of(error: FredError) -> Self {
        if error.is_moved() { Self::Moved } else { Self::Said(error) }
    }

    fn into_error(self) -> Error {
        match self {
            Self::Moved => Error::Unavailable("the slot moves to another node".to_owned()),
            Self::Said(error) => error.into(),
            Self::Elsewhere(error) => error,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(address: &str, port: i64) -> Value {
        Value::Array(vec![address.into(), port.into(), "id".into()])
    }

    #[test]
    fn a_table_is_read_from_cluster_slots() {
        let asked = Server::new("10.0.0.1", 7101);
        let range = |first: i64, last: i64, nodes: Vec<Value>| {
            Value::Array([vec![first.into(), last.into()], nodes].concat())
        };
        let answer = Value::Array(vec![
            range(8_192, 16_383, vec![node("", 7102)]),
            range(0, 8_191, vec![node("10.0.0.3", 7103), node("10.0.0.4", 7104)]),
        ]);
        let table = Table::read(&answer, &asked).expect("a table");
        assert_eq!(table.node_serving(0), Some(&Server::new("10.0.0.3", 7103)));
        assert_eq!(table.node_serving(8_191), Some(&Server::new("10.0.0.3", 7103)));
        assert_eq!(table.node_serving(8_192), Some(&Server::new("10.0.0.1", 7102)));
        assert_eq!(table.node_serving(16_383), Some(&Server::new("10.0.0.1", 7102)));
        assert_eq!(table.nodes.len(), 3);
        assert_eq!(Table::read(&Value::Array(vec![]), &asked), None);
    }
}
