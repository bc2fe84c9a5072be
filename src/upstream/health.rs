//! Checks whether servers are healthy: what is asked of them, and when that tells.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

/// How the servers of an upstream are checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthSettings {
    /// What is asked of a server.
    pub kind: HealthKind,
    /// The path of the request.
    pub path: String,
    /// The `Host` of the request; `None` for the server's address.
    pub host: Option<String>,
    /// Between the beginnings of two checks, in milliseconds.
    pub every_ms: u64,
    /// How long a check may take, in milliseconds.
    pub timeout_ms: u64,
    /// Checks in a row that must fail for a server to count as unhealthy.
    pub fall: u32,
    /// Those that must pass for it to count as healthy again.
    pub rise: u32,
}

/// What is asked of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthKind {
    /// A GET, answered with a status from 200 to 399.
    Get,
    /// The handshake of a WebSocket, answered with the right 101 (RFC 6455 §4.1).
    WebSocket,
}

/// Where a server is checked: its address, for those who connect by other means than loops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HealthTarget {
    /// At a TCP address.
    Tcp(SocketAddr),
    /// At the path of a Unix socket.
    Unix(Arc<Path>),
}

/// The last checks of a server, as far as they agree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthStreak {
    has_passed: bool,
    count: u32,
}

impl HealthStreak {
    /// Counts a check. `Some` says what the server is from now on, each time that enough checks in a row
    /// agree.
    pub fn note(&mut self, has_passed: bool, settings: &HealthSettings) -> Option<bool> {
        let count = if self.has_passed == has_passed { self.count } else { 0 };
        *self = Self { has_passed, count: count.saturating_add(1) };
        let needed = if has_passed { settings.rise } else { settings.fall };
        (self.count >= needed).then_some(has_passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_needs_enough_checks_that_agree() {
        let settings = HealthSettings {
            kind: HealthKind::Get,
            path: "/".to_owned(),
            host: None,
            every_ms: 1,
            timeout_ms: 1,
            fall: 3,
            rise: 2,
        };
        let mut streak = HealthStreak::default();
        let checks = [true, true, false, false, true, false, false, false, false, true, true];
        let told: Vec<usize> = (0..checks.len())
            .filter(|index| streak.note(checks[*index], &settings) == Some(checks[*index]))
            .collect();
        assert_eq!(told, [1, 7, 8, 10]);
    }
}
