//! The thread of one event loop: its turns, and its end, which is always told.

use std::any::Any;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use crate::access::AccessSink;
use crate::admission::{SharedAddresses, SharedUserRates};
use crate::conn::Connections;
use crate::display::debug_as_display;
use crate::mail::{LoopEventKind, LoopEventSender, LoopMailboxes, Mailbox};
use crate::metrics::LoopMetrics;
use crate::os::{SystemClock, pin_thread};
use crate::pool::SharedBudget;
use crate::reactor::{ConnectionPermits, EventLoop, LoopEnvelope, LoopReload, MioPoller, Turn};
use crate::services::{LoopSite, Router};
use crate::timer::Clock;

/// A loop ended otherwise than by a drain.
#[derive(thiserror::Error)]
pub enum LoopFailure {
    /// The event queue failed.
    #[error("an event loop failed: {0}")]
    Poll(#[from] io::Error),
    /// A bug, in a service or in the gateway. The text is what the panic said.
    #[error("an event loop panicked: {0}")]
    Panic(String),
}

debug_as_display!(LoopFailure);

/// What all loops are made from.
pub(super) struct LoopParts {
    pub(super) pool: SharedBudget,
    pub(super) clock: SystemClock,
    pub(super) loops: usize,
    pub(super) pin_loops: bool,
    /// What they begin with.
    pub(super) settings: LoopReload,
    /// What connections are told to when they end.
    pub(super) access: Option<AccessSink>,
    /// Where clients are counted by their addresses.
    pub(super) addresses: SharedAddresses,
    /// What users send is counted there.
    pub(super) users: SharedUserRates,
}

/// A loop on its thread.
#[derive(Debug)]
pub(super) struct RunningLoop {
    /// `None` once its end was waited for.
    thread: Mutex<Option<JoinHandle<Result<(), LoopFailure>>>>,
    /// Set before the event of its end is sent: the thread itself ends a little later.
    has_ended: Arc<AtomicBool>,
    pub(super) mail: Arc<Mailbox<LoopEnvelope>>,
    pub(super) metrics: LoopMetrics,
}

impl RunningLoop {
    /// Starts loop `index` on a thread of its own, named `loop-INDEX`.
    pub(super) fn spawn(
        index: usize,
        parts: &Arc<LoopParts>,
        poller: MioPoller,
        mailboxes: LoopMailboxes<LoopEnvelope>,
        permits: ConnectionPermits,
        events: LoopEventSender,
    ) -> io::Result<Self> {
        let mail = Arc::clone(&mailboxes.external);
        let metrics = LoopMetrics::default();
        let has_ended = Arc::new(AtomicBool::new(false));
        let (parts, own_metrics, own_end) =
            (Arc::clone(parts), metrics.clone(), Arc::clone(&has_ended));
        let run = move || {
            events.send(LoopEventKind::Started);
            // Nothing of what a panic leaves half done is looked at again: it all ends with the loop.
            let run =
                AssertUnwindSafe(|| run(index, &parts, poller, own_metrics, mailboxes, permits));
            let result = match catch_unwind(run) {
                Ok(result) => result.map_err(LoopFailure::Poll),
                Err(panic) => Err(LoopFailure::Panic(panic_text(&*panic))),
            };
            own_end.store(true, Ordering::Release);
            events.send(match &result {
                Ok(()) => LoopEventKind::Drained,
                Err(failure) => LoopEventKind::Failed(failure.to_string()),
            });
            result
        };
        let thread = thread::Builder::new().name(format!("{THREAD_PREFIX}{index}")).spawn(run)?;
        let thread = Mutex::new(Some(thread));
        Ok(Self { thread, has_ended, mail, metrics })
    }

    /// Whether its end was told.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// Waits for its end, unless that was done already.
    pub(super) fn join(&self) -> Result<(), LoopFailure> {
        let panicked = |panic: Box<dyn Any + Send>| Err(LoopFailure::Panic(panic_text(&*panic)));
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(Ok(()), |thread| thread.join().unwrap_or_else(panicked))
    }
}

/// The number of the loop whose thread calls this; `None` on every other thread.
pub(crate) fn current_loop() -> Option<usize> {
    thread::current().name()?.strip_prefix(THREAD_PREFIX)?.parse().ok()
}

fn run(
    index: usize,
    parts: &LoopParts,
    poller: MioPoller,
    metrics: LoopMetrics,
    mailboxes: LoopMailboxes<LoopEnvelope>,
    permits: ConnectionPermits,
) -> io::Result<()> {
    if parts.pin_loops {
        pin_thread(index)?;
    }
    let site = LoopSite {
        index: u16::try_from(index).unwrap_or(u16::MAX),
        count: u16::try_from(parts.loops).unwrap_or(u16::MAX),
    };
    let LoopReload { conn_settings, loop_settings, routes, numbers, tls } = &parts.settings;
    let mut router = Router::with_numbers(routes, site, numbers.clone());
    router.count_in(&metrics.routes);
    let mut connections = Connections::new(
        site,
        Arc::clone(conn_settings),
        router,
        Arc::clone(&metrics.counters),
        parts.pool.clone(),
        parts.clock.now(),
    );
    connections.configure_tls(tls);
    connections.count_addresses(parts.addresses.clone());
    connections.count_users(parts.users.clone());
    if let Some(sink) = &parts.access {
        connections.log_access(sink.clone());
    }
    let mut event_loop = EventLoop::new(
        poller,
        parts.clock,
        loop_settings.clone(),
        connections,
        metrics,
        mailboxes,
        permits,
    );
    while event_loop.turn(None)? == Turn::GoesOn {}
    Ok(())
}

/// What a panic said.
fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text.or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("without a text").to_owned()
}

const THREAD_PREFIX: &str = "loop-";
