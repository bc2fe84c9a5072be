//! A server as the work of a whole process: it serves until a signal, and drains.

use std::io;
use std::process::ExitCode;
use std::thread;

use super::handle::Handle;
use super::loop_thread::LoopFailure;
use crate::display::debug_as_display;
use crate::mail::{LoopEventKind, LoopEvents};
use crate::os::{Request, Signals, StopListening};
use crate::reactor::DrainTerms;

/// A server could not go on.
#[derive(thiserror::Error)]
pub enum ServeError {
    /// The system gave no thread to watch the loops.
    #[error("cannot watch the event loops: {0}")]
    Watch(#[from] io::Error),
    /// A loop failed.
    #[error(transparent)]
    Loop(#[from] LoopFailure),
}

debug_as_display!(ServeError);

impl Handle {
    /// Serves until SIGTERM, SIGQUIT or SIGINT, then drains on these `terms` and waits for the loops.
    /// At a terminal SIGINT drains without the grace and the pace. Gives the exit code of the process: success
    /// after a drain, and what a shell reports of a signal after a second one, which ends the wait
    /// at once. SIGHUP has certificates read again. Other signals whose default action would end the
    /// process are ignored.
    ///
    /// `signals` are taken over by [`Signals::listen`] before [`Handle::start`]. A signal that arrives
    /// in between is not lost.
    ///
    /// For a program that does nothing else. One that does listens to signals itself and calls
    /// [`Handle::drain`] and [`Handle::join`].
    ///
    /// # Errors
    /// If the system gives no thread, or when a loop fails: its connections are lost, and a process that
    /// serves the rest looks healthy from outside.
    pub fn serve_until_signal(
        self,
        mut signals: Signals,
        terms: DrainTerms,
    ) -> Result<ExitCode, ServeError> {
        let loops = self.metrics().count();
        stop_with_the_loops(self.events().clone(), loops, signals.stop_listening())?;
        let mut is_draining = false;
        while let Some(request) = signals.wait() {
            match request {
                Request::Ignore { .. } | Request::Report => {}
                Request::Reload => {
                    self.reload_certificates();
                }
                Request::Stop { exit_code, .. } if is_draining => {
                    return Ok(ExitCode::from(exit_code));
                }
                Request::Stop { is_paced, .. } => {
                    is_draining = true;
                    self.drain(if is_paced { terms } else { terms.at_once() });
                }
            }
        }
        // The others of a loop that failed go on, and are not waited for.
        self.join_ended()?;
        Ok(ExitCode::SUCCESS)
    }
}

/// Ends the wait for signals when the last loop has ended, or the first one has failed.
pub(crate) fn stop_with_the_loops(
    events: LoopEvents,
    mut loops_left: usize,
    stop_listening: StopListening,
) -> io::Result<()> {
    let watch = move || {
        while let Some(event) = events.next() {
            match event.kind {
                LoopEventKind::Started => {}
                LoopEventKind::Drained => loops_left -= 1,
                LoopEventKind::Failed(_) => loops_left = 0,
            }
            if loops_left == 0 {
                return stop_listening.stop();
            }
        }
    };
    thread::Builder::new().name("events".to_owned()).spawn(watch).map(drop)
}
