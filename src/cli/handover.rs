//! The handover to a new process: it is started with the listening sockets, and has a time to be ready.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::time::Duration;

use super::lifecycle::Event;
use crate::config::ResolvedConfig;
use crate::os::{NewProcess, NewProcessState};
use crate::server::{Handle, passed_name};
use crate::timer::Millis;

/// A handover that is under way, if any.
#[derive(Debug, Default)]
pub(super) struct Handover {
    new: Option<(NewProcess, Millis)>,
}

impl Handover {
    /// Starts the new process, which has `handover_ms` from `now` on.
    ///
    /// # Errors
    /// Why it cannot be started. Nothing has changed then.
    pub(super) fn start(
        &mut self,
        server: &Handle,
        settings: &ResolvedConfig,
        more: Vec<(String, TcpListener)>,
        now: Millis,
    ) -> io::Result<()> {
        if std::process::id() == 1 {
            return Err(io::Error::other("the end of process 1 would end its container"));
        }
        let shared = server.share_listeners(LOOP_PATIENCE)?;
        let sockets = shared.into_iter().map(|(number, listener)| {
            // By its address as a rule: the new configuration may have another order. With port 0 the
            // configuration does not say the address.
            let has_any_port =
                settings.listeners.get(number).is_some_and(|own| own.address.port() == 0);
            let name = if has_any_port { passed_name(number) } else { String::new() };
            (name, listener)
        });
        let sockets: Vec<(String, TcpListener)> = sockets.chain(more).collect();
        let new = NewProcess::start(&sockets, server.are_sockets_held())?;
        self.new = Some((new, now.plus(settings.timeouts.handover_ms)));
        Ok(())
    }

    /// What to wait for.
    pub(super) fn descriptor(&self) -> Option<BorrowedFd<'_>> {
        self.new.as_ref().map(|(new, _)| new.as_fd())
    }

    /// When the time of the new process is over.
    pub(super) fn deadline(&self) -> Option<Millis> {
        self.new.as_ref().map(|(_, deadline)| *deadline)
    }

    /// What the new process has said, once its descriptor is readable.
    pub(super) fn heard(&mut self) -> Option<Event> {
        let (new, _) = self.new.as_mut()?;
        Some(match new.state() {
            NewProcessState::Ready => Event::NewReady,
            NewProcessState::AsksForSnapshot => Event::NewAsksForSnapshot,
            NewProcessState::Opens => return None,
            NewProcessState::Failed(how) => Event::NewFailed(how),
        })
    }

    /// Whether the time is over.
    pub(super) fn late(&self, now: Millis) -> Option<Event> {
        let is_late = self.deadline().is_some_and(|deadline| now >= deadline);
        is_late.then(|| Event::NewFailed("it was not ready within handover_ms".to_owned()))
    }

    /// The id of the new process, which from now on lives by itself.
    pub(super) fn finish(&mut self) -> Option<u32> {
        self.new.take().map(|(new, _)| new.id())
    }

    /// Tells the new process the key of the snapshot, or that there is none. It is to be ready by `deadline`.
    pub(super) fn answer(&mut self, key: Option<[u8; 16]>, deadline: Option<Millis>) {
        let Some((new, own_deadline)) = &mut self.new else { return };
        if let Some(deadline) = deadline {
            *own_deadline = deadline.min(*own_deadline);
        }
        // If it has ended, that is heard as such.
        let _ = new.answer(key);
    }

    /// Kills the new process. Whether it may have served anyone.
    pub(super) fn abort(&mut self) -> bool {
        self.new.take().is_some_and(|(new, _)| new.kill())
    }
}

/// The name of the admin listener's socket among those that are passed.
pub(super) const ADMIN_SOCKET: &str = "admin";
/// The name of that of the listener for backends.
pub(super) const API_SOCKET: &str = "api";
/// How long a loop may take to give its sockets.
const LOOP_PATIENCE: Duration = Duration::from_secs(5);
