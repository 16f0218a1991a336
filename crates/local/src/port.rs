//! Ports of the loopback interface.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpListener},
    sync::{Mutex, PoisonError},
};

use anyhow::{Result, bail};

/// How far above its port a Redis node's cluster bus listens.
pub const BUS_OFFSET: u16 = 10_000;
/// Where free ports are looked for: below the range that outgoing connections take theirs from,
/// also with the cluster bus added.
const FREE_RANGE: std::ops::Range<u16> = 10_000..22_000;
/// How many places are tried before giving up.
const ATTEMPTS: usize = 200;

/// What was given to somebody in this process, who may not listen yet. It is never given again: a
/// process that starts a hundred meshes takes a small share of the range.
static GIVEN: Mutex<BTreeSet<u16>> = Mutex::new(BTreeSet::new());

/// An error that names the port when somebody listens on it.
pub fn ensure_free(port: u16, owner: &str) -> Result<()> {
    if !is_free(port) {
        bail!("port {port} is in use, and {owner} needs it; choose others with --port-base");
    }
    Ok(())
}

/// Ports in a row that nobody listens on, nor on their cluster buses, and that nobody in this
/// process was given. Another process may take one before we do: the caller tries again then.
pub fn free_row(count: u16) -> Result<Vec<u16>> {
    let mut given = GIVEN.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..ATTEMPTS {
        let first = rand::random_range(FREE_RANGE);
        let row: Vec<u16> = (first..first + count).collect();
        let with_buses = || row.iter().flat_map(|&port| [port, port + BUS_OFFSET]);
        if with_buses().all(|port| !given.contains(&port) && is_free(port)) {
            given.extend(with_buses());
            return Ok(row);
        }
    }
    bail!("no {count} free ports in a row between {} and {}", FREE_RANGE.start, FREE_RANGE.end);
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let rows: Vec<u16> = (0..200).flat_map(|_| free_row(10).expect("a row")).collect();
        let different: BTreeSet<u16> = rows.iter().copied().collect();
        assert_eq!(different.len(), rows.len());
    }
}
