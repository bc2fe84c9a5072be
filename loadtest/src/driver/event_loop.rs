//! The event loop: waits for the sockets, serves those that are ready, and ends what is overdue.

use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use mio::{Events, Interest, Poll, Registry, Token};
use slab::Slab;

use super::context::{Context, DriverOptions, TlsStall};
use super::dial;
use super::failure::Failure;
use super::slot::{Progress, Slot};
use super::wake_timer::WakeTimer;
use super::workload::{ConnHandle, ConnKey, Workload};
use crate::system::clock;
use crate::tls::TlsSummary;
use crate::websocket::{Connection, Offer};

/// All connections, and the poll that reports which of them are ready.
#[derive(Debug)]
pub(crate) struct Driver {
    poll: Poll,
    events: Events,
    wake_timer: WakeTimer,
    table: Table,
    next_sweep: Instant,
    waited: Duration,
}

impl Driver {
    pub(crate) fn new(options: DriverOptions) -> io::Result<Self> {
        let now = clock::now();
        let poll = Poll::new()?;
        Ok(Self {
            wake_timer: WakeTimer::new(poll.registry(), WAKE)?,
            poll,
            events: Events::with_capacity(EVENTS_PER_TURN),
            table: Table {
                slots: Slab::new(),
                ended: Vec::new(),
                awaiting: 0,
                next_serial: 0,
                receive_buffer_bytes: None,
                subprotocol: None,
                input: vec![0; READ_BYTES].into_boxed_slice(),
                context: Context::new(options, now),
            },
            next_sweep: now,
            waited: Duration::ZERO,
        })
    }

    /// Starts a connection, to another path than the target's if one is given. The workload
    /// receives `Opened` or the end of the connection; the end at once if the kernel refuses, and
    /// then there is no key.
    pub(crate) fn connect_to(
        &mut self,
        path: Option<&Rc<str>>,
        workload: &mut impl Workload,
    ) -> Option<ConnKey> {
        let serial = self.table.next_serial;
        self.table.next_serial += 1;
        match self.table.connect(serial, path.cloned(), self.poll.registry()) {
            Ok(index) => Some(ConnKey { index, serial }),
            Err(error) => {
                workload.on_end(serial, Err(Failure::Connect(error)));
                None
            }
        }
    }

    /// Has all later connections offer a subprotocol, or none.
    pub(crate) fn offer_subprotocol(&mut self, subprotocol: Option<&'static str>) {
        self.table.subprotocol = subprotocol;
    }

    /// Hands compressed messages on as they arrive from now on: what they inflate to is not looked
    /// at.
    pub(crate) fn leave_compressed(&mut self) {
        self.table.context.leaves_compressed = true;
    }

    /// Has connections send only the first bytes of their request by themselves. The rest is sent by
    /// [`ConnHandle::send_held_request`].
    pub(crate) fn hold_requests_after(&mut self, bytes: usize) {
        self.table.context.request_bytes_first = Some(bytes);
    }

    /// Has later connections stop their TLS handshake, or go through with it.
    pub(crate) fn stall_handshakes(&mut self, stall: Option<TlsStall>) {
        self.table.context.tls_stall = stall;
    }

    /// The TLS handshakes so far; `None` if connections are plain.
    pub(crate) fn tls_summary(&self) -> Option<TlsSummary> {
        let Context { options, tls_tally, .. } = &self.table.context;
        options.target.tls.as_ref().map(|client| tls_tally.summary(client))
    }

    /// The serial number of the next connection.
    pub(crate) fn next_serial(&self) -> u64 {
        self.table.next_serial
    }

    /// Gives all later connections a receive buffer of `bytes`, which the kernel does not enlarge.
    pub(crate) fn limit_receive_buffers(&mut self, bytes: usize) {
        self.table.receive_buffer_bytes = Some(bytes);
    }

    /// Drops all connections without a closing handshake.
    pub(crate) fn abort_all(&mut self) {
        self.table.slots = Slab::new();
        self.table.ended.clear();
        self.table.awaiting = 0;
        self.table.context.held_requests.clear();
    }

    /// The number of connections to which the server owes an answer.
    pub(crate) fn awaiting(&self) -> usize {
        self.table.awaiting
    }

    /// The number of connections that have not ended.
    pub(crate) fn len(&self) -> usize {
        self.table.slots.len()
    }

    /// The time that this thread has waited for the server since the driver exists. In the rest of
    /// the time it worked, or another process had its core: it had no time to spare in either case.
    pub(crate) fn waited(&self) -> Duration {
        self.waited
    }

    /// The keys of all connections.
    pub(crate) fn keys(&self) -> Vec<ConnKey> {
        self.table.slots.iter().map(|(index, slot)| slot.key(index)).collect()
    }

    /// Calls `action` with a connection, unless that has ended. If the output cannot be written,
    /// the connection ends in the next turn.
    pub(crate) fn with(&mut self, key: ConnKey, action: impl FnOnce(&mut ConnHandle<'_>)) {
        let table = &mut self.table;
        table.context.now = clock::now();
        if table.slots.get(key.index).is_some_and(|slot| slot.key(key.index) == key) {
            table.serve(key.index, |slot, _, context| slot.act(context, action));
        }
    }

    /// Stops reading from a connection, and stops its deadlines.
    pub(crate) fn pause_reading(&mut self, key: ConnKey) {
        let slot = self.table.slots.get_mut(key.index).filter(|slot| slot.key(key.index) == key);
        if let Some(slot) = slot {
            slot.pause_reading();
        }
    }

    /// Reads from a connection again, and gives the server a new deadline.
    pub(crate) fn resume_reading(&mut self, key: ConnKey, workload: &mut impl Workload) {
        let table = &mut self.table;
        table.context.now = clock::now();
        if table.slots.get(key.index).is_some_and(|slot| slot.key(key.index) == key) {
            table.serve(key.index, |slot, input, context| {
                slot.resume_reading(input, context, workload)
            });
        }
    }

    /// Reads at most `bytes_max` from a connection that does not read by itself.
    pub(crate) fn read_some(
        &mut self,
        key: ConnKey,
        bytes_max: usize,
        workload: &mut impl Workload,
    ) {
        let table = &mut self.table;
        table.context.now = clock::now();
        if table.slots.get(key.index).is_some_and(|slot| slot.key(key.index) == key) {
            table.serve(key.index, |slot, input, context| {
                slot.read_some(bytes_max, input, context, workload)
            });
        }
    }

    /// Waits for the server, at most for `wait`, and handles all its events.
    pub(crate) fn turn(&mut self, wait: Duration, workload: &mut impl Workload) -> io::Result<()> {
        let mut poll_wait = SWEEP_INTERVAL;
        if wait.is_zero() {
            poll_wait = wait;
        } else if wait < SWEEP_INTERVAL {
            self.wake_timer.set(wait)?;
        }
        let began = clock::now();
        match self.poll.poll(&mut self.events, Some(poll_wait)) {
            // A signal has arrived: the caller checks its flag before the next turn.
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            outcome => outcome?,
        }
        let table = &mut self.table;
        table.context.now = clock::now();
        self.waited += table.context.now.saturating_duration_since(began);
        for event in &self.events {
            table.serve(event.token().0, |slot, input, context| {
                slot.on_ready(event, input, context, workload)
            });
        }
        if self.next_sweep <= table.context.now {
            self.next_sweep = table.sweep_overdue();
        }
        table.reap(workload);
        Ok(())
    }
}

/// The connections. They are apart from the poll so that its events can be borrowed while slots are
/// served.
#[derive(Debug)]
struct Table {
    slots: Slab<Slot>,
    /// Slots that ended in this turn. They are freed at its end: until then another event of the
    /// same batch may name them, and must not reach a new connection in the same slot.
    ended: Vec<(usize, Result<(), Failure>)>,
    awaiting: usize,
    next_serial: u64,
    /// For sockets from now on; the kernel chooses if it is absent.
    receive_buffer_bytes: Option<usize>,
    /// What connections offer from now on.
    subprotocol: Option<&'static str>,
    /// The read buffer of all connections.
    input: Box<[u8]>,
    context: Context,
}

impl Table {
    fn connect(
        &mut self,
        serial: u64,
        path: Option<Rc<str>>,
        registry: &Registry,
    ) -> io::Result<usize> {
        let began = clock::now();
        let entry = self.slots.vacant_entry();
        let DriverOptions { target, sources, answer_max, .. } = &self.context.options;
        let source = sources.source(entry.key(), serial);
        let mut socket = dial::start(target.address, source, self.receive_buffer_bytes)?;
        // Edge-triggered, for both directions and for good: that saves a system call for each
        // change of interest, at the cost of few needless wake-ups.
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut socket, Token(entry.key()), interest)?;
        let offer = Offer { deflate: target.deflate, subprotocol: self.subprotocol };
        let connection = Connection::new(serial, began + *answer_max).offering(offer);
        let index = entry.key();
        entry.insert(Slot::new(connection, began, path, socket));
        self.awaiting += 1;
        Ok(index)
    }

    /// Calls `action` with a slot, counts whether it awaits an answer, and notes its end.
    fn serve(
        &mut self,
        index: usize,
        action: impl FnOnce(&mut Slot, &mut [u8], &mut Context) -> Result<Progress, Failure>,
    ) {
        let Some(slot) = self.slots.get_mut(index).filter(|slot| !slot.has_ended) else {
            return;
        };
        let was_awaiting = slot.is_awaiting();
        let outcome = action(slot, &mut self.input, &mut self.context);
        match (was_awaiting, slot.is_awaiting()) {
            (false, true) => self.awaiting += 1,
            (true, false) => self.awaiting -= 1,
            (true, true) | (false, false) => {}
        }
        let end = match outcome {
            Ok(Progress::Live) => return,
            Ok(Progress::Ended) => Ok(()),
            Err(failure) => Err(failure),
        };
        slot.has_ended = true;
        self.ended.push((index, end));
    }

    /// Ends the connections whose server is overdue; returns when the next one can be. Walking over all
    /// slots now and then costs less than a timer for each. What is asked later is due later than
    /// `answer_max` from now, so usually the next walk is as far away as that.
    fn sweep_overdue(&mut self) -> Instant {
        let Context { options, now, .. } = &self.context;
        let mut next = *now + options.answer_max;
        for (index, slot) in &mut self.slots {
            if let Some(awaited) = slot.overdue(*now).filter(|_| !slot.has_ended) {
                slot.has_ended = true;
                let failure = Failure::Overdue { awaited, within: options.answer_max };
                self.ended.push((index, Err(failure)));
            } else if let Some(deadline) = slot.deadline() {
                next = next.min(deadline);
            }
        }
        next.max(*now + SWEEP_INTERVAL)
    }

    fn reap(&mut self, workload: &mut impl Workload) {
        for (index, outcome) in self.ended.drain(..) {
            // Dropping the slot closes the socket, which removes it from the poll.
            let slot = self.slots.remove(index);
            self.awaiting -= usize::from(slot.is_awaiting());
            self.context.held_requests.remove(&slot.key(index).serial);
            workload.on_end(slot.key(index).serial, outcome);
        }
    }
}

const EVENTS_PER_TURN: usize = 1024;
/// Enough for a few large messages, or for the small ones of a whole turn, in one system call.
const READ_BYTES: usize = 256 * 1024;
/// A number that no slot has.
const WAKE: Token = Token(usize::MAX - 1);
const SWEEP_INTERVAL: Duration = Duration::from_millis(100);
