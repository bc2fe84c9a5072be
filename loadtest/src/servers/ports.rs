//! Ports for the servers that are started.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::proc_stats;

/// Hands out addresses on which nobody listens.
#[derive(Debug)]
pub(crate) struct Ports {
    next: u16,
    /// From here on the kernel gives ports to clients.
    end: u16,
}

impl Ports {
    pub(crate) fn new() -> io::Result<Self> {
        let end = *proc_stats::read_ephemeral_ports()?.start();
        // Two studies at the same time should not go for the same ports.
        let spread = u16::try_from(std::process::id() % u32::from(SPREAD)).unwrap_or(0);
        let first = end.saturating_sub(2 * SPREAD).max(FIRST);
        Ok(Self { next: first.saturating_add(spread), end })
    }

    /// A free address.
    pub(crate) fn next(&mut self) -> io::Result<SocketAddr> {
        while self.next < self.end {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next += 1;
            if TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port below the ephemeral ones"))
    }
}

const SPREAD: u16 = 8_000;
const FIRST: u16 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taken_ports_are_passed_over() {
        let mut ports = Ports::new().unwrap();
        let first = ports.next().unwrap();
        let _taken = TcpListener::bind((first.ip(), first.port() + 1)).unwrap();
        assert_eq!(ports.next().unwrap().port(), first.port() + 2);
    }
}
