//! Whether the loop stood still, and how long it reads before it acts on deadlines again.
//!
//! When a process was stopped or its machine slept, deadlines have passed that no client could keep: the
//! answers may have arrived all the same and lie in the kernel, more of them than one wait gives. So a
//! loop that comes late reads until a wait has nothing more to give, and only then expires.

use crate::timer::Millis;

/// The watch over the loop's own lateness.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    /// When the loop should have looked at the clock again, at the latest; `None` while it may wait
    /// for ever, because no deadline is pending.
    expected: Option<Millis>,
    turns_left: u32,
    /// The wait that is being dealt with began before the loop knew that it was late.
    is_first_wait: bool,
}

impl CatchUp {
    /// The loop looked at the clock.
    pub(super) fn observe(&mut self, now: Millis) {
        if self.expected.is_some_and(|expected| now.since(expected) > LATE_MS) {
            self.turns_left = TURNS_MAX;
            self.is_first_wait = true;
        }
        self.expected = Some(now);
    }

    /// The loop will look at the clock again at this time, or when something happens.
    pub(super) fn expect(&mut self, next: Option<Millis>) {
        self.expected = next;
    }

    /// A wait is over, and what it gave has been read.
    pub(super) fn on_wait_over(&mut self, had_events: bool) {
        // The first wait proves nothing if it is empty: a process that is stopped and continued has
        // its wait end with EINTR (signal(7)), whatever arrived meanwhile.
        let is_first_wait = std::mem::take(&mut self.is_first_wait);
        let goes_on = had_events || is_first_wait;
        self.turns_left = if goes_on { self.turns_left.saturating_sub(1) } else { 0 };
    }

    /// Whether deadlines must wait, and the loop must not.
    pub(super) fn is_on(&self) -> bool {
        self.turns_left > 0
    }
}

/// A loop that is behind by more than this stood still. Turns are measured in milliseconds.
const LATE_MS: u64 = 1_000;
/// Turns after which deadlines are acted upon even if there is still something to read in each: a busy
/// loop always has something. At 256 events each it is enough for 262,144 connections.
const TURNS_MAX: u32 = 1_024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_in_time_has_nothing_to_catch_up() {
        let mut catch_up = CatchUp::default();
        for now in (0..100_000).step_by(1_000) {
            catch_up.observe(Millis(now));
            assert!(!catch_up.is_on());
            catch_up.expect(Some(Millis(now + 1_000)));
        }
        catch_up.expect(None);
        catch_up.observe(Millis(10_000_000));
        assert!(!catch_up.is_on(), "it waited for ever, with no deadline to miss");
    }

    #[test]
    fn one_that_overslept_reads_until_nothing_comes() {
        let mut catch_up = CatchUp::default();
        catch_up.observe(Millis(0));
        catch_up.expect(Some(Millis(500)));
        catch_up.observe(Millis(1_501));
        for _ in 0..10 {
            catch_up.on_wait_over(true);
            assert!(catch_up.is_on());
        }
        catch_up.on_wait_over(false);
        assert!(!catch_up.is_on());
    }

    #[test]
    fn a_wait_that_a_signal_cut_short_does_not_say_that_nothing_came() {
        let mut catch_up = CatchUp::default();
        catch_up.observe(Millis(0));
        catch_up.expect(Some(Millis(500)));
        catch_up.observe(Millis(60_000));
        catch_up.on_wait_over(false);
        assert!(catch_up.is_on());
        catch_up.observe(Millis(60_000));
        catch_up.on_wait_over(false);
        assert!(!catch_up.is_on(), "the wait after it was whole");
    }

    #[test]
    fn a_turn_that_takes_for_ever_counts_as_well() {
        let mut catch_up = CatchUp::default();
        catch_up.observe(Millis(0));
        catch_up.observe(Millis(1_001));
        assert!(catch_up.is_on());
    }

    #[test]
    fn a_loop_that_never_runs_out_of_events_still_expires() {
        let mut catch_up = CatchUp::default();
        catch_up.observe(Millis(0));
        catch_up.observe(Millis(60_000));
        let mut turns = 0;
        while catch_up.is_on() {
            catch_up.on_wait_over(true);
            turns += 1;
        }
        assert_eq!(turns, TURNS_MAX);
    }
}
