//! Snapshots of the memory of server and kernel, and the difference of two of them per connection.

use std::io;
use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};

use crate::stats::proc_stats::{KernelStats, ProcessStats, read_kernel, read_process};

/// Takes snapshots.
#[derive(Debug)]
pub(crate) struct Meter {
    server_pid: Option<NonZeroU32>,
}

impl Meter {
    /// Without the server's process id, its figures are absent from all snapshots.
    pub(crate) fn new(server_pid: Option<NonZeroU32>) -> Self {
        Self { server_pid }
    }

    /// The server's figures, if its process is known.
    pub(crate) fn server(&self) -> io::Result<Option<ProcessStats>> {
        self.server_pid.map(read_process).transpose()
    }

    /// Takes no more figures of the server, which has ended.
    pub(crate) fn forget_server(&mut self) {
        self.server_pid = None;
    }

    /// Adds the kernel's present figures to those of the server.
    pub(crate) fn snapshot(server: Option<ProcessStats>) -> io::Result<Snapshot> {
        Ok(Snapshot { server, kernel: read_kernel()? })
    }
}

/// The resources in use at one moment.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct Snapshot {
    pub(crate) server: Option<ProcessStats>,
    pub(crate) kernel: KernelStats,
}

impl Snapshot {
    /// The growth since `baseline`, divided by `connections`. `None` without connections.
    pub(crate) fn per_connection(
        &self,
        baseline: &Self,
        connections: usize,
    ) -> Option<PerConnection> {
        if connections == 0 {
            return None;
        }
        let share = |after, before| signed_difference(after, before) / connections as f64;
        let server = self.server.zip(baseline.server);
        let (kernel, before) = (&self.kernel, &baseline.kernel);
        Some(PerConnection {
            server_anonymous_bytes: server
                .map(|(after, before)| share(after.anonymous_bytes, before.anonymous_bytes)),
            server_rss_bytes: server
                .map(|(after, before)| share(after.rss_bytes, before.rss_bytes)),
            kernel_slab_both_ends_bytes: share(kernel.slab_bytes, before.slab_bytes),
            kernel_slab_unreclaimable_both_ends_bytes: share(
                kernel.slab_unreclaimable_bytes,
                before.slab_unreclaimable_bytes,
            ),
            kernel_tcp_buffer_both_ends_bytes: share(
                kernel.tcp_buffer_bytes,
                before.tcp_buffer_bytes,
            ),
        })
    }

    /// The growth of the server's anonymous memory since `baseline`, in bytes.
    pub(crate) fn anonymous_growth_bytes(&self, baseline: &Self) -> Option<i64> {
        let (after, before) = self.server.zip(baseline.server)?;
        let [after, before] = [after, before].map(|stats| i64::try_from(stats.anonymous_bytes));
        after.ok()?.checked_sub(before.ok()?)
    }
}

/// The cost of one connection in bytes.
///
/// The kernel's figures count both ends of a connection to a server on the same machine: this
/// program's socket, descriptor and epoll item as well as the server's.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize)]
pub(crate) struct PerConnection {
    pub(crate) server_anonymous_bytes: Option<f64>,
    pub(crate) server_rss_bytes: Option<f64>,
    pub(crate) kernel_slab_both_ends_bytes: f64,
    pub(crate) kernel_slab_unreclaimable_both_ends_bytes: f64,
    pub(crate) kernel_tcp_buffer_both_ends_bytes: f64,
}

impl PerConnection {
    /// Whether a figure of the kernel is negative. They are of the whole machine, so others may have
    /// freed more than the connections took.
    pub(crate) fn has_shrunk_kernel(&self) -> bool {
        let kernel = [
            self.kernel_slab_both_ends_bytes,
            self.kernel_slab_unreclaimable_both_ends_bytes,
            self.kernel_tcp_buffer_both_ends_bytes,
        ];
        kernel.iter().any(|bytes| *bytes < 0.0)
    }
}

fn signed_difference(after: u64, before: u64) -> f64 {
    after as f64 - before as f64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::output::units::Seconds;
    use crate::stats::proc_stats::AnonymousSource;

    fn snapshot(anonymous_bytes: u64, slab_bytes: u64) -> Snapshot {
        Snapshot {
            server: Some(ProcessStats {
                anonymous_bytes,
                rss_bytes: anonymous_bytes + 1000,
                threads: 1,
                cpu: Seconds(Duration::ZERO),
                anonymous_source: AnonymousSource::SmapsRollup,
            }),
            kernel: KernelStats {
                slab_bytes,
                slab_unreclaimable_bytes: slab_bytes / 2,
                sockets_used: 0,
                time_wait_sockets: 0,
                tcp_buffer_bytes: 0,
            },
        }
    }

    #[test]
    fn shares_are_differences_to_the_baseline_and_may_be_negative() {
        let (baseline, held) = (snapshot(5000, 9000), snapshot(5960, 8000));
        let share = held.per_connection(&baseline, 10).unwrap();
        assert_eq!(share.server_anonymous_bytes, Some(96.0));
        assert_eq!(share.server_rss_bytes, Some(96.0));
        assert_eq!(share.kernel_slab_both_ends_bytes, -100.0);
        assert!(share.has_shrunk_kernel());
        assert!(!baseline.per_connection(&held, 10).unwrap().has_shrunk_kernel());
        assert_eq!(held.anonymous_growth_bytes(&baseline), Some(960));
        assert_eq!(baseline.anonymous_growth_bytes(&held), Some(-960));
    }

    #[test]
    fn no_connections_and_no_server_have_no_share() {
        let (mut baseline, held) = (snapshot(5000, 9000), snapshot(5960, 8000));
        assert_eq!(held.per_connection(&baseline, 0), None);
        baseline.server = None;
        assert_eq!(held.per_connection(&baseline, 1).unwrap().server_anonymous_bytes, None);
        assert_eq!(held.anonymous_growth_bytes(&baseline), None);
    }
}
