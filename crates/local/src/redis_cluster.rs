//! A private Redis Cluster: three primaries, with or without a replica each, and its faults.
//!
//! What is in it is expendable: data that does not come back as a healthy cluster is thrown away.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use crate::{
    port,
    process::{Launch, Signal},
    redis_cluster::node::Connection,
    runner::Runner,
    tools::RedisPrograms,
};

mod node;

/// A cluster needs three to agree that one is gone.
const PRIMARIES: usize = 3;
/// The number of hash slots; fixed by Redis.
const SLOTS: usize = 16_384;
/// Below this, a busy machine of two cores takes a slow node for a dead one.
const NODE_TIMEOUT_MS: u32 = 5_000;
/// Forming takes about 2.5 s, of which Redis waits 2 s by itself before it takes writes.
const READY_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a forming cluster is looked at.
const READY_POLL: Duration = Duration::from_millis(50);
/// Writing the rest of the append-only file is all that a node does before it ends.
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
/// How often free ports are chosen before giving up: somebody may take one before we do.
const PORT_ATTEMPTS: u32 = 5;

/// What to start.
#[derive(Clone, Debug)]
pub struct Options {
    /// The programs.
    pub programs: RedisPrograms,
    /// A folder of its own.
    pub folder: PathBuf,
    /// Where the logs go, one for each node.
    pub logs: PathBuf,
    /// The first of as many ports as there are nodes; free ones when not given.
    pub first_port: Option<u16>,
    /// Whether each primary has a replica.
    pub replicas: bool,
    /// Whether tests may use DEBUG.
    pub debug_commands: bool,
}

/// A running cluster; dropping it kills it.
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Node>,
}

/// One process of the cluster, primary or replica.
#[derive(Debug)]
struct Node {
    port: u16,
    runner: Runner,
}

impl RedisCluster {
    /// Starts the nodes; they continue with their data, or form a new cluster.
    pub async fn start(options: Options) -> Result<Self> {
        let count = if options.replicas { 2 * PRIMARIES } else { PRIMARIES };
        if let Some(first_port) = options.first_port {
            let ports: Vec<u16> = (first_port..).take(count).collect();
            for port in &ports {
                port::ensure_free(*port, "redis")?;
                port::ensure_free(port + port::BUS_OFFSET, "the bus of the redis cluster")?;
            }
            return Self::start_on(&options, &ports).await;
        }
        let mut attempt = 1;
        loop {
            let ports = port::free_row(u16::try_from(count)?)?;
            match Self::start_on(&options, &ports).await {
                Err(_) if attempt < PORT_ATTEMPTS => attempt += 1,
                started => return started,
            }
        }
    }

    /// The address of all nodes, in the form that our services read.
    pub fn url(&self) -> String {
        let mut nodes = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let first = nodes.next().expect("a cluster has nodes");
        let others: Vec<String> = nodes.map(|node| format!("node={node}")).collect();
        format!("redis-cluster://{first}?{}", others.join("&"))
    }

    /// The port of each node.
    pub fn ports(&self) -> Vec<u16> {
        self.nodes.iter().map(|node| node.port).collect()
    }

    /// The process number of each running node.
    pub async fn pids(&self) -> Vec<u32> {
        let mut pids = Vec::new();
        for node in &self.nodes {
            pids.extend(node.runner.pid().await);
        }
        pids
    }

    /// An error when a node has ended by itself.
    pub async fn ensure_running(&self) -> Result<()> {
        for node in &self.nodes {
            node.runner.ensure_running().await?;
        }
        Ok(())
    }

    /// Waits until every running node says that all slots are served and every replica is linked.
    pub async fn wait_until_ready(&self) -> Result<()> {
        let started = Instant::now();
        for node in &self.nodes {
            while let Err(error) = self.ensure_ready(node).await {
                if started.elapsed() > READY_TIMEOUT {
                    return Err(error.context("the redis cluster does not become ready"));
                }
                self.ensure_running().await?;
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    /// The node that now serves this key, by its place in [`Self::ports`].
    pub async fn node_serving(&self, key: &str) -> Result<usize> {
        let slot = fred::util::redis_keyslot(key.as_bytes());
        for node in &self.nodes {
            let Ok(mut connection) = Connection::open(node.port).await else { continue };
            let Ok(table) = connection.call(&["CLUSTER", "NODES"]).await else { continue };
            let port = node::port_serving(&table, slot);
            if let Some(place) = self.nodes.iter().position(|node| Some(node.port) == port) {
                return Ok(place);
            }
        }
        bail!("no node serves slot {slot}");
    }

    /// What a node says of itself in this section of INFO.
    pub async fn info(&self, place: usize, section: &str) -> Result<String> {
        Connection::open(self.nodes[place].port).await?.call(&["INFO", section]).await
    }

    /// Makes a replica of the node that serves this key take its place, both alive.
    pub async fn hand_over(&self, key: &str) -> Result<()> {
        let primary = self.nodes[self.node_serving(key).await?].port;
        for node in &self.nodes {
            let mut connection = Connection::open(node.port).await?;
            // As in: slave, address of the primary, its port, ...
            let role = connection.call(&["ROLE"]).await?;
            if role.starts_with("slave") && role.lines().any(|line| line == primary.to_string()) {
                connection.call(&["CLUSTER", "FAILOVER"]).await?;
                return Ok(());
            }
        }
        bail!("the node at port {primary} has no replica");
    }

    /// Kills a node at once.
    pub async fn kill9(&self, place: usize) {
        self.nodes[place].runner.kill9().await;
    }

    /// Starts a killed node again with its data.
    pub async fn start_again(&self, place: usize) -> Result<()> {
        self.nodes[place].runner.start().await
    }

    /// Starts the nodes again that have ended by themselves; says which.
    pub async fn revive(&self) -> Result<Vec<String>> {
        let mut revived = Vec::new();
        for node in &self.nodes {
            if node.runner.revive().await? {
                revived.push(node.name());
            }
        }
        Ok(revived)
    }

    /// Empties every node that takes writes.
    pub async fn flush_all(&self) -> Result<()> {
        for node in &self.nodes {
            if node.runner.pid().await.is_none() {
                continue;
            }
            let mut connection = Connection::open(node.port).await?;
            if connection.call(&["ROLE"]).await?.starts_with("master") {
                connection.call(&["FLUSHALL"]).await?;
            }
        }
        Ok(())
    }

    /// Stops every node; what it was told is in its append-only file.
    pub async fn stop(&self) {
        let stops = self.nodes.iter().map(|node| node.runner.stop(Signal::TERM, STOP_TIMEOUT));
        futures::future::join_all(stops).await;
    }

    async fn start_on(options: &Options, ports: &[u16]) -> Result<Self> {
        let known = options.folder.join("ports");
        let wanted = format!("{ports:?}");
        let continues = fs::read_to_string(&known).is_ok_and(|ports| ports == wanted);
        if continues {
            let cluster = Self::start_nodes(options, ports).await?;
            match cluster.wait_until_ready().await {
                Ok(()) => return Ok(cluster),
                Err(error) => tracing::warn!(%error, "throw the old redis data away"),
            }
        }
        // Nodes look for each other under their old addresses: with others, start afresh.
        if options.folder.exists() {
            fs::remove_dir_all(&options.folder)?;
        }
        let cluster = Self::start_nodes(options, ports).await?;
        cluster.form().await?;
        cluster.wait_until_ready().await?;
        // Written last: a cluster that was never whole is not continued.
        fs::write(&known, wanted)?;
        Ok(cluster)
    }

    async fn start_nodes(options: &Options, ports: &[u16]) -> Result<Self> {
        let mut nodes = Vec::new();
        for port in ports {
            let runner = Runner::new(launch(options, *port)?);
            runner.start().await?;
            nodes.push(Node { port: *port, runner });
        }
        Ok(Self { nodes })
    }

    /// Gives each primary its slots, introduces everybody to everybody, ties replicas to primaries.
    async fn form(&self) -> Result<()> {
        let mut connections = Vec::new();
        for node in &self.nodes {
            connections.push(self.open_when_started(node).await?);
        }
        for (place, connection) in connections.iter_mut().enumerate() {
            // Different from the start, so that no election is held over equal epochs.
            let epoch = (place + 1).to_string();
            connection.call(&["CLUSTER", "SET-CONFIG-EPOCH", &epoch]).await?;
            if place < PRIMARIES {
                let first = (place * SLOTS / PRIMARIES).to_string();
                let last = ((place + 1) * SLOTS / PRIMARIES - 1).to_string();
                connection.call(&["CLUSTER", "ADDSLOTSRANGE", &first, &last]).await?;
            }
        }
        // Only now: a node that has met another one takes no epoch any more, and they meet by
        // themselves as soon as one of them was told to.
        for (place, connection) in connections.iter_mut().enumerate() {
            // Everybody meets everybody: quicker than waiting for gossip.
            for other in &self.nodes[place + 1..] {
                let port = other.port.to_string();
                connection.call(&["CLUSTER", "MEET", "127.0.0.1", &port]).await?;
            }
        }
        for place in PRIMARIES..connections.len() {
            let primary = connections[place - PRIMARIES].call(&["CLUSTER", "MYID"]).await?;
            let started = Instant::now();
            while let Err(error) =
                connections[place].call(&["CLUSTER", "REPLICATE", primary.trim()]).await
            {
                // Refused until the introductions have arrived.
                if started.elapsed() > READY_TIMEOUT {
                    return Err(error.context("tie a replica to its primary"));
                }
                tokio::time::sleep(READY_POLL).await;
            }
        }
        Ok(())
    }

    async fn open_when_started(&self, node: &Node) -> Result<Connection> {
        let started = Instant::now();
        loop {
            self.ensure_running().await?;
            match Connection::open(node.port).await {
                Ok(connection) => return Ok(connection),
                Err(error) if started.elapsed() > READY_TIMEOUT => return Err(error),
                Err(_) => tokio::time::sleep(READY_POLL).await,
            }
        }
    }

    async fn ensure_ready(&self, node: &Node) -> Result<()> {
        if node.runner.pid().await.is_none() {
            return Ok(());
        }
        let mut connection = Connection::open(node.port).await?;
        let info = connection.call(&["CLUSTER", "INFO"]).await?;
        let known = format!("cluster_known_nodes:{}\r", self.nodes.len());
        let slots = format!("cluster_slots_ok:{SLOTS}\r");
        for wanted in ["cluster_state:ok\r", &known, &slots] {
            if !info.contains(wanted) {
                bail!("the node at port {} does not say {}", node.port, wanted.trim());
            }
        }
        let replication = connection.call(&["INFO", "replication"]).await?;
        if replication.contains("role:slave") && !replication.contains("master_link_status:up") {
            bail!("the replica at port {} is not linked", node.port);
        }
        Ok(())
    }
}

impl Node {
    fn name(&self) -> String {
        format!("redis-{}", self.port)
    }
}

fn launch(options: &Options, port: u16) -> Result<Launch> {
    let name = format!("redis-{port}");
    let folder = options.folder.join(port.to_string());
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    Ok(Launch::new(&name, &options.programs.server, options.logs.join(format!("{name}.log")))
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
        .args(["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"])
        .args(["--cluster-node-timeout", &NODE_TIMEOUT_MS.to_string()])
        // The loss of one shard must not stop the others.
        .args(["--cluster-require-full-coverage", "no"])
        .args(["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""])
        .args(["--maxmemory-policy", "noeviction"])
        // A replica is fed at once, not after waiting for more of them.
        .args(["--repl-diskless-sync-delay", "0"])
        .args(["--enable-debug-command", if options.debug_commands { "local" } else { "no" }])
        .args(["--daemonize", "no", "--loglevel", "notice"])
        .arg_path("--dir", Path::new(&folder))
        .env(options.programs.env())
        .folder(&folder))
}
