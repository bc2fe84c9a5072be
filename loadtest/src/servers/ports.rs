//! Ports for the servers that this program starts.

use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use crate::stats::proc_stats;

/// Returns free addresses, one after the other, and begins again after the last.
#[derive(Debug)]
pub(crate) struct Ports {
    first: u16,
    next: u16,
    /// The first of the ports that the kernel assigns to clients.
    end: u16,
    /// Ports of UDP with the numbers that were given out last. A server binds its port a moment after it was
    /// found free; meanwhile another run passes it by that cannot have the same of UDP, which no server needs.
    reserved: VecDeque<UdpSocket>,
}

impl Ports {
    pub(crate) fn new() -> io::Result<Self> {
        let end = *proc_stats::read_ephemeral_ports()?.start();
        // Two runs at the same time should not try the same ports.
        let spread = u16::try_from(std::process::id() % u32::from(SPREAD)).unwrap_or(0);
        let first = end.saturating_sub(2 * SPREAD).max(FIRST);
        let first = first.saturating_add(spread).min(end);
        Ok(Self { first, next: first, end, reserved: VecDeque::new() })
    }

    /// An address that no other socket listens on, and no other run is about to.
    pub(crate) fn next(&mut self) -> io::Result<SocketAddr> {
        for _ in self.first..self.end {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.next));
            self.next += 1;
            if self.next == self.end {
                self.next = self.first;
            }
            if self.reserve(address) && TcpListener::bind(address).is_ok() {
                return Ok(address);
            }
        }
        Err(io::Error::new(io::ErrorKind::AddrInUse, "no free port below the ephemeral ones"))
    }

    fn reserve(&mut self, address: SocketAddr) -> bool {
        let is_own = |own: &UdpSocket| own.local_addr().is_ok_and(|own| own == address);
        if self.reserved.iter().any(is_own) {
            return true;
        }
        let Ok(socket) = UdpSocket::bind(address) else { return false };
        if self.reserved.len() == RESERVED_MAX {
            self.reserved.pop_front();
        }
        self.reserved.push_back(socket);
        true
    }
}

/// More than servers run at once.
const RESERVED_MAX: usize = 32;

const SPREAD: u16 = 8_000;
const FIRST: u16 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_in_use_are_skipped() {
        let taken = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let first = taken.local_addr().unwrap().port();
        let end = first.saturating_add(100);
        let mut ports = Ports { first, next: first, end, reserved: VecDeque::new() };
        assert!(ports.next().unwrap().port() > first);
    }

    #[test]
    fn two_runs_are_given_no_port_in_common() {
        let mut runs = [Ports::new().unwrap(), Ports::new().unwrap()];
        let mut given: Vec<SocketAddr> =
            (0..20).map(|number| runs[number % 2].next().unwrap()).collect();
        given.sort();
        given.dedup();
        assert_eq!(given.len(), 20);
        // No more is held than may be in use.
        for _ in 0..100 {
            runs[0].next().unwrap();
        }
        assert_eq!(runs[0].reserved.len(), RESERVED_MAX);
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
