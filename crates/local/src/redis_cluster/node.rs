//! One connection to one node: enough of fred for a handful of administrative commands.

use std::time::Duration;

use anyhow::{Result, anyhow};
use fred::{
    clients::Client,
    interfaces::ClientLike as _,
    types::{
        Builder, ClusterHash, CustomCommand, Value,
        config::{Config, ServerConfig},
    },
};

/// A node on the same machine answers in a millisecond, or not at all.
const TIMEOUT: Duration = Duration::from_secs(2);

pub struct Connection {
    client: Client,
}

impl Connection {
    pub async fn open(port: u16) -> Result<Self> {
        let config = Config {
            server: ServerConfig::new_centralized("127.0.0.1", port),
            ..Config::default()
        };
        let client = Builder::from_config(config)
            .with_performance_config(|performance| performance.default_command_timeout = TIMEOUT)
            .with_connection_config(|connection| {
                connection.connection_timeout = TIMEOUT;
                connection.internal_command_timeout = TIMEOUT;
            })
            .build()?;
        client.init().await.map_err(|error| anyhow!("reach redis at port {port}: {error}"))?;
        Ok(Self { client })
    }

    /// Runs a command; an answer of several parts comes as lines.
    pub async fn call(&mut self, command: &[&str]) -> Result<String> {
        let (name, args) = command.split_first().expect("a command has a name");
        let custom = CustomCommand::new(name.to_string(), ClusterHash::FirstKey, false);
        let args: Vec<String> = args.iter().map(|arg| arg.to_string()).collect();
        let answer: Value = self.client.custom(custom, args).await?;
        Ok(lines(answer))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        let client = self.client.clone();
        // fred keeps its tasks until it is told to quit.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { client.quit().await });
        }
    }
}

/// The port of the primary that serves a slot, read from CLUSTER NODES.
pub fn port_serving(table: &str, slot: u16) -> Option<u16> {
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let flags: Vec<&str> = fields.get(2)?.split(',').collect();
        let failed = flags.iter().any(|flag| flag.starts_with("fail"));
        if !flags.contains(&"master") || failed {
            return None;
        }
        let serves = |range: &&str| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let bounds = first.parse().ok().zip(last.parse().ok());
            bounds.is_some_and(|(first, last): (u16, u16)| (first..=last).contains(&slot))
        };
        fields.get(8..)?.iter().find(|range| serves(range))?;
        // As in 127.0.0.1:7101@17101.
        fields[1].split('@').next()?.rsplit(':').next()?.parse().ok()
    })
}

fn lines(answer: Value) -> String {
    match answer {
        Value::Array(parts) => parts.into_iter().map(lines).collect::<Vec<String>>().join("\n"),
        other => other.as_string().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_serving_node_is_read_from_the_table() {
        let table = "\
a1 127.0.0.1:7101@17101 myself,master,fail - 0 0 1 connected 0-5460
b2 127.0.0.1:7102@17102 master - 0 1 2 connected 5461-10921 16383
c3 127.0.0.1:7103@17103,host master - 0 1 3 connected 10922-16382
d4 127.0.0.1:7104@17104 slave a1 0 1 3 connected";
        assert_eq!(port_serving(table, 5_461), Some(7102));
        assert_eq!(port_serving(table, 16_383), Some(7102));
        assert_eq!(port_serving(table, 16_382), Some(7103));
        assert_eq!(port_serving(table, 0), None);
    }
}
