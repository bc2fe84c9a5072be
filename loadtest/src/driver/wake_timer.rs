//! Wakes the poll at a time that is exact to some microseconds. The timeout of mio's poll, and of
//! `epoll_wait`, counts whole milliseconds.

use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// A timer that makes the poll return.
#[derive(Debug)]
pub(super) struct WakeTimer {
    descriptor: OwnedFd,
}

impl WakeTimer {
    /// A timer whose events carry `token`.
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let descriptor = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        // Edge-triggered: every expiry is an event, and the descriptor need not be read.
        let mut source = SourceFd(&descriptor.as_raw_fd());
        registry.register(&mut source, token, Interest::READABLE)?;
        Ok(Self { descriptor })
    }

    /// Expires once, after `wait`. This replaces an earlier setting.
    pub(super) fn set(&self, wait: Duration) -> io::Result<()> {
        // Zero would disarm the timer.
        let wait = wait.max(Duration::from_nanos(1));
        let value = Timespec::try_from(wait).map_err(|_| io::ErrorKind::InvalidInput)?;
        let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
        let times = Itimerspec { it_interval, it_value: value };
        timerfd_settime(&self.descriptor, TimerfdTimerFlags::empty(), &times)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use mio::{Events, Poll};

    use super::*;
    use crate::system::clock;

    #[test]
    fn every_set_timer_wakes_the_poll_in_time() {
        let mut poll = Poll::new().unwrap();
        let timer = WakeTimer::new(poll.registry(), Token(7)).unwrap();
        let mut events = Events::with_capacity(4);
        for _ in 0..3 {
            let began = clock::now();
            timer.set(Duration::from_micros(300)).unwrap();
            poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
            assert_eq!(events.iter().next().unwrap().token(), Token(7));
            assert!(began.elapsed() >= Duration::from_micros(300));
        }
    }
}
