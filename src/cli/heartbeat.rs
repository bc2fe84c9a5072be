//! What the supervisor is told, and the signs of life that it may ask for.

use std::sync::Arc;
use std::time::Duration;

use crate::mail::NoReply;
use crate::os::Supervisor;
use crate::reactor::LoopState;
use crate::server::Handle;
use crate::timer::Millis;

/// The supervisor, if there is one, and when it must hear next that the process lives.
#[derive(Debug, Default)]
pub(super) struct Heartbeat {
    supervisor: Option<Arc<Supervisor>>,
    next: Option<Millis>,
}

impl Heartbeat {
    /// The supervisor that the environment names. One that cannot be reached is logged, and left alone.
    pub(super) fn start(now: Millis) -> Self {
        let supervisor = Supervisor::from_environment().unwrap_or_else(|error| {
            log::warn!("the supervisor of NOTIFY_SOCKET is told nothing: {error}");
            None
        });
        let has_watchdog = supervisor.as_ref().is_some_and(|own| own.watchdog_interval().is_some());
        Self { supervisor: supervisor.map(Arc::new), next: has_watchdog.then_some(now) }
    }

    /// The supervisor to tell something.
    pub(super) fn supervisor(&self) -> Option<&Arc<Supervisor>> {
        self.supervisor.as_ref()
    }

    /// When [`Heartbeat::beat`] has something to do.
    pub(super) fn due(&self) -> Option<Millis> {
        self.next
    }

    /// Says that the process lives if it is time and every loop answers. Where one does not, the supervisor
    /// hears nothing, and ends the process in time.
    pub(super) fn beat(&mut self, server: &Handle, now: Millis) {
        let (Some(supervisor), Some(next)) = (&self.supervisor, self.next) else { return };
        let Some(interval) = supervisor.watchdog_interval().filter(|_| now >= next) else { return };
        let states = server.inspect((interval / 4).min(LOOP_PATIENCE_MAX));
        if states.iter().all(is_alive) {
            let count = server.drain_state().connections;
            supervisor.alive(&format!("{count} connections"));
        } else {
            log::error!(
                "an event loop does not answer: the watchdog of the supervisor hears nothing"
            );
        }
        let interval_ms = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX);
        self.next = Some(now.plus(interval_ms.max(1)));
    }
}

/// Whether a loop answers, or has ended as it was asked to. One that fails ends the process by itself.
fn is_alive(state: &Result<LoopState, NoReply>) -> bool {
    match state {
        Ok(_) | Err(NoReply::Ended) => true,
        Err(NoReply::Busy | NoReply::Late) => false,
    }
}

/// The main thread hears no signal meanwhile.
const LOOP_PATIENCE_MAX: Duration = Duration::from_secs(1);
