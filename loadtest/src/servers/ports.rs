//! Ports for the servers that this program starts.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

use crate::stats::proc_stats;

/// Returns free addresses, one after the other, and begins again after the last.
#[derive(Debug)]
pub(crate) struct Ports {
    first: u16,
    next: u16,
    /// The first of the ports that the kernel assigns to clients.
    end: u16,
}

impl Ports {
    pub(crate) fn new() -> io::Result<Self> {
        let end = *proc_stats::read_ephemeral_ports()?.start();
        // Two runs at the same time should not try the same ports.
        let spread = u16::try_from(std::process::id() % u32::from(SPREAD)).unwrap_or(0);
        let first = end.saturating_sub(2 * SPREAD).max(FIRST);
        let first = first.saturating_add(spread).min(end);
        Ok(Self { first, next: first, end })
    }

    /// An address that no other socket listens on.
    pub(crate) fn next(&mut self) -> io::Result<SocketAddr> {
        for _ in self.first..self.end {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next += 1;
            if self.next == self.end {
                self.next = self.first;
            }
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
    fn ports_in_use_are_skipped() {
        let mut ports = Ports::new().unwrap();
        let first = ports.next().unwrap();
        let _taken = TcpListener::bind((first.ip(), first.port() + 1)).unwrap();
        assert_eq!(ports.next().unwrap().port(), first.port() + 2);
    }

    #[test]
    fn after_the_last_port_comes_the_first() {
        let mut ports = Ports::new().unwrap();
        ports.first = ports.end - 1;
        ports.next = ports.first;
        let address = ports.next().unwrap();
        assert_eq!(ports.next().unwrap(), address);
        let _taken = TcpListener::bind(address).unwrap();
        assert!(ports.next().is_err());
    }
}
