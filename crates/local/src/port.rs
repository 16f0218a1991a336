//! Ports of the loopback interface.

use std::net::{Ipv4Addr, TcpListener};

use anyhow::{Result, bail};

/// How far above its port a Redis node's cluster bus listens.
pub const BUS_OFFSET: u16 = 10_000;
/// Where free ports are looked for: below the range that outgoing connections take theirs from,
/// also with the cluster bus added.
const FREE_RANGE: std::ops::Range<u16> = 10_000..22_000;
/// How many places are tried before giving up.
const ATTEMPTS: usize = 200;

/// An error that names the port when somebody listens on it.
pub fn ensure_free(port: u16, owner: &str) -> Result<()> {
    if !is_free(port) {
        bail!("port {port} is in use, and {owner} needs it; choose others with --port-base");
    }
    Ok(())
}

/// Ports in a row that nobody listens on, nor on their cluster buses. Somebody may take one before
/// we do: the caller tries again then.
pub fn free_row(count: u16) -> Result<Vec<u16>> {
    for _ in 0..ATTEMPTS {
        let first = rand::random_range(FREE_RANGE);
        let row: Vec<u16> = (first..first + count).collect();
        if row.iter().all(|port| is_free(*port) && is_free(*port + BUS_OFFSET)) {
            return Ok(row);
        }
    }
    bail!("no {count} free ports in a row between {} and {}", FREE_RANGE.start, FREE_RANGE.end);
}

fn is_free(port: u16) -> bool {
    TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
}
