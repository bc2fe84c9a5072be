//! The log lines about Redis outages: each begin and each end has one, and many within a short time
//! are summed up.

use std::fmt::Display;
use std::time::Duration;

use log::Level;
use tokio::time::Instant;

use crate::control::RedisUrl;

/// Turns the changes between available and unavailable into lines for the log.
#[derive(Debug)]
pub(super) struct OutageLog {
    url: RedisUrl,
    is_out: bool,
    /// Why Redis is or was unavailable.
    why: String,
    window: Option<Window>,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    level: Level,
    text: String,
}

/// A time that began with a change, and in which only the first outage and the first recovery have a
/// line of their own.
#[derive(Debug)]
struct Window {
    ends: Instant,
    has_outage: bool,
    has_recovery: bool,
    /// Changes without a line.
    outages_unsaid: u64,
    recoveries_unsaid: u64,
}

impl Line {
    pub(super) fn log(&self) {
        log::log!(self.level, "{}", self.text);
    }
}

impl OutageLog {
    pub(super) fn new(url: RedisUrl) -> Self {
        Self { url, is_out: false, why: String::new(), window: None }
    }

    /// Redis does not work. May be called repeatedly during an outage.
    pub(super) fn outage(&mut self, now: Instant, why: &dyn Display) -> Option<Line> {
        self.why = why.to_string();
        if self.is_out {
            let text = format!("Redis at {}: {why}", self.url);
            return Some(Line { level: Level::Debug, text });
        }
        self.is_out = true;
        let window = self.window(now);
        if window.has_outage {
            window.outages_unsaid += 1;
            return None;
        }
        window.has_outage = true;
        Some(self.state())
    }

    /// Redis works.
    pub(super) fn recovery(&mut self, now: Instant) -> Option<Line> {
        if !self.is_out {
            return None;
        }
        self.is_out = false;
        let window = self.window(now);
        if window.has_recovery {
            window.recoveries_unsaid += 1;
            return None;
        }
        window.has_recovery = true;
        Some(self.state())
    }

    /// When [`OutageLog::summary`] has something to say; `None` if every change has its line.
    pub(super) fn due(&self) -> Option<Instant> {
        let window = self.window.as_ref();
        window.filter(|window| window.changes_unsaid() > 0).map(|window| window.ends)
    }

    /// The line about the changes that have none yet, if it is due.
    pub(super) fn summary(&mut self, now: Instant) -> Option<Line> {
        self.due().filter(|due| *due <= now)?;
        let unsaid = self.window.take()?;
        // While Redis goes on like this there is only the next summary.
        self.window =
            Some(Window { has_outage: true, has_recovery: true, ..Window::starting_at(now) });
        let state = self.state();
        if unsaid.changes_unsaid() == 1 {
            return Some(state);
        }
        let (count, url, why) = (unsaid.outages_unsaid, &self.url, &self.why);
        let window_s = WINDOW.as_secs();
        let state = if self.is_out { "it is unavailable now" } else { "it is back now" };
        let text = format!(
            "Redis at {url} was unavailable {count} more times within {window_s} s, at last: {why}; \
             {state}"
        );
        Some(Line { level: Level::Warn, text })
    }

    fn state(&self) -> Line {
        let (url, why) = (&self.url, &self.why);
        match self.is_out {
            true => Line {
                level: Level::Warn,
                text: format!(
                    "Redis at {url} is unavailable: {why}; logins with its tokens fail until it is \
                     back"
                ),
            },
            false => Line { level: Level::Info, text: format!("Redis at {url} is back") },
        }
    }

    /// The window of a change.
    fn window(&mut self, now: Instant) -> &mut Window {
        // One with changes that have no line stays until they have one.
        let is_over = |window: &mut Window| window.ends <= now && window.changes_unsaid() == 0;
        self.window.take_if(is_over);
        self.window.get_or_insert_with(|| Window::starting_at(now))
    }
}

impl Window {
    fn starting_at(now: Instant) -> Self {
        Self {
            ends: now + WINDOW,
            has_outage: false,
            has_recovery: false,
            outages_unsaid: 0,
            recoveries_unsaid: 0,
        }
    }

    fn changes_unsaid(&self) -> u64 {
        self.outages_unsaid + self.recoveries_unsaid
    }
}

/// How long changes are gathered before they have a line together.
const WINDOW: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn outage_log() -> OutageLog {
        OutageLog::new(RedisUrl::parse("redis://localhost").unwrap())
    }

    /// What a line says, or "" for those below the usual level.
    fn said(line: Option<Line>) -> String {
        let line = line.filter(|line| line.level <= Level::Info);
        line.map(|line| format!("{} {}", line.level, line.text)).unwrap_or_default()
    }

    #[test]
    fn every_outage_and_every_end_of_one_is_logged_once() {
        let mut log = outage_log();
        let mut now = Instant::now();
        assert_eq!(log.recovery(now), None);
        for _ in 0..3 {
            let begin = "WARN Redis at localhost:6379 is unavailable: refused; logins with its \
                         tokens fail until it is back";
            assert_eq!(said(log.outage(now, &"refused")), begin);
            now += Duration::from_millis(50);
            assert_eq!(said(log.outage(now, &"refused")), "");
            assert_eq!(said(log.recovery(now)), "INFO Redis at localhost:6379 is back");
            assert_eq!(log.recovery(now), None);
            assert_eq!(log.due(), None);
            now += WINDOW;
        }
    }

    #[test]
    fn a_flapping_redis_is_summed_up_with_its_state() {
        let mut log = outage_log();
        let start = Instant::now();
        let flap = |log: &mut OutageLog, now| {
            (said(log.outage(now, &"slow")).len(), said(log.recovery(now)).len())
        };
        assert!(matches!(flap(&mut log, start), (1.., 1..)));
        assert_eq!(flap(&mut log, start), (0, 0));
        assert_eq!(flap(&mut log, start), (0, 0));
        assert_eq!(said(log.outage(start, &"refused")), "");
        assert_eq!(log.due(), Some(start + WINDOW));
        assert_eq!(log.summary(start), None);
        let text = "WARN Redis at localhost:6379 was unavailable 3 more times within 10 s, at last: \
                    refused; it is unavailable now";
        assert_eq!(said(log.summary(start + WINDOW)), text);
        assert_eq!(log.due(), None);
        // It has been flapping, so a single change waits too, and is said as what it is.
        assert_eq!(said(log.recovery(start + WINDOW)), "");
        let line = said(log.summary(start + WINDOW * 2));
        assert_eq!(line, "INFO Redis at localhost:6379 is back");
        // Quiet for a whole window.
        assert!(matches!(flap(&mut log, start + WINDOW * 3), (1.., 1..)));
    }

    proptest! {
        /// Whatever happens, the last line tells the state one window after the last change, and there
        /// are at most two lines and a summary in any window.
        #[test]
        fn the_last_line_tells_the_state(
            steps in prop::collection::vec((any::<bool>(), 0_u64..6000), 1..80),
        ) {
            let mut log = outage_log();
            let mut now = Instant::now();
            let mut lines: Vec<(Instant, String)> = Vec::new();
            let mut is_out = false;
            let last = (is_out, 2 * u64::try_from(WINDOW.as_millis()).unwrap());
            for (next, pause_ms) in steps.into_iter().chain([last]) {
                let end = now + Duration::from_millis(pause_ms);
                if let Some(due) = log.due().filter(|due| *due <= end) {
                    lines.push((due, said(log.summary(due))));
                }
                now = end;
                let is_last = (next, pause_ms) == last;
                if !is_last {
                    let line = if next { log.outage(now, &"x") } else { log.recovery(now) };
                    lines.push((now, said(line)));
                    is_out = next;
                }
            }
            lines.retain(|(_, line)| !line.is_empty());
            prop_assert_eq!(log.due(), None);
            let ends_out = lines.last().is_some_and(|(_, line)| line.contains("is unavailable"));
            prop_assert_eq!(ends_out, is_out, "{:?}", lines);
            for four in lines.windows(4) {
                prop_assert!(four[3].0 - four[0].0 >= WINDOW, "{:?}", four);
            }
        }
    }
}
