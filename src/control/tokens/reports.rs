//! What look-ups report of connections to the task that keeps one.

use std::fmt::Display;
use std::sync::{Arc, Weak};

use tokio::sync::watch;

/// Takes reports, for as long as there are look-ups.
#[derive(Clone, Debug)]
pub(super) struct Reports(Arc<watch::Sender<Reported>>);

/// The same for a connection, which does not keep the task alive.
#[derive(Clone, Debug)]
pub(super) struct WeakReports(Weak<watch::Sender<Reported>>);

/// Reads reports.
#[derive(Debug)]
pub(super) struct ReportReader {
    reported: watch::Receiver<Reported>,
    unanswered_seen: u64,
}

/// What a reader learns.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Report {
    /// The connection is lost, and why, unless Redis just closed it.
    Lost(Option<String>),
    /// Requests were given up before they were answered.
    Unanswered,
}

#[derive(Debug, Default)]
struct Reported {
    /// The number of the latest connection that was lost.
    lost: u64,
    why: Option<String>,
    /// How many requests were given up.
    unanswered: u64,
}

/// Reports, and their reader.
pub(super) fn reports() -> (Reports, ReportReader) {
    let (sender, reported) = watch::channel(Reported::default());
    (Reports(Arc::new(sender)), ReportReader { reported, unanswered_seen: 0 })
}

impl Reports {
    /// Redis closed the connection with this number, as it may do with an idle one.
    pub(super) fn closed(&self, number: u64) {
        self.lose(number, None);
    }

    /// A command failed on the connection with this number, for this reason.
    pub(super) fn failed(&self, number: u64, why: &dyn Display) {
        self.lose(number, Some(why.to_string()));
    }

    pub(super) fn downgrade(&self) -> WeakReports {
        WeakReports(Arc::downgrade(&self.0))
    }

    fn lose(&self, number: u64, why: Option<String>) {
        self.0.send_if_modified(|reported| {
            let is_newer = reported.lost < number;
            if is_newer {
                reported.lost = number;
                reported.why = why;
            }
            is_newer
        });
    }
}

impl WeakReports {
    /// A request was given up before it was answered.
    pub(super) fn unanswered(&self) {
        if let Some(sender) = self.0.upgrade() {
            sender.send_modify(|reported| reported.unanswered += 1);
        }
    }
}

impl ReportReader {
    /// The next report about the connection with this number; `None` when all [`Reports`] are
    /// dropped. Several requests that were given up since the last call are one report.
    pub(super) async fn next(&mut self, number: u64) -> Option<Report> {
        let seen = self.unanswered_seen;
        let news = |reported: &Reported| reported.lost >= number || reported.unanswered != seen;
        let reported = self.reported.wait_for(news).await.ok()?;
        self.unanswered_seen = reported.unanswered;
        let is_lost = reported.lost >= number;
        Some(if is_lost { Report::Lost(reported.why.clone()) } else { Report::Unanswered })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_is_reported_once_and_requests_that_were_given_up_together() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let (reports, mut reader) = reports();
        let weak = reports.downgrade();
        let mut next = |number| runtime.block_on(reader.next(number));
        weak.unanswered();
        weak.unanswered();
        assert_eq!(next(1), Some(Report::Unanswered));
        reports.closed(1);
        reports.failed(1, &"late");
        assert_eq!(next(1), Some(Report::Lost(None)));
        reports.failed(2, &"late");
        // A report of the connection before.
        reports.failed(1, &"refused");
        weak.unanswered();
        assert_eq!(next(2), Some(Report::Lost(Some("late".to_owned()))));
        drop(reports);
        weak.unanswered();
        assert_eq!(next(3), None);
    }
}
