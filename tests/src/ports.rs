//! Ports for processes that must know theirs before they bind it.
//!
//! A port that the kernel picks can be picked again, for the end of a connection, before the process has it. These lie
//! below those that the kernel picks from (`net.ipv4.ip_local_port_range`, 32768 and up by default).

use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, Ordering};

const PORTS: Range<u16> = 15_000..32_000;

/// A port nothing listens on right now. The same is not given out again soon by this process; others begin elsewhere.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let width = PORTS.end - PORTS.start;
    let next = NEXT.get_or_init(|| AtomicU16::new(RandomState::new().hash_one(std::process::id()) as u16));
    for _ in 0..width {
        let port = PORTS.start + next.fetch_add(1, Ordering::Relaxed) % width;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no port of {PORTS:?} is free");
}

/// So many ports nothing listens on right now.
pub fn free_ports<const N: usize>() -> [u16; N] {
    [(); N].map(|()| free_port())
}
