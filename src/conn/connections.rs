//! Everything one loop knows about its connections, apart from the kernel.

use std::collections::VecDeque;
use std::sync::Arc;

use super::half_open::HalfOpen;
use super::inflate::MessageInflater;
use super::run_queue::RunQueue;
use super::table::Table;
use super::{ConnSettings, Flags, Phase};
use crate::effects::{Accept, CloseReason, LoopSite, PendingEffects};
use crate::http::Rejection;
use crate::hub::Hub;
use crate::key::{ConnKey, SlotRef};
use crate::mail::LoopMessage;
use crate::metrics::Counters;
use crate::output::Outgoing;
use crate::pool::{Backlog, Buffers, PartialReads, ReadBuffer, SharedBudget};
use crate::services::Router;
use crate::timer::{Millis, Tick, Wheel};
use crate::transport::Transport;

/// The connections of one loop, their buffers, timers and services. It is told what happened by
/// the event loop and tells it, through [`Connections::take_write_interest`] and
/// [`Connections::take_mail`], what it needs from the kernel and from other loops.
#[derive(Debug)]
pub struct Connections<S> {
    pub(super) table: Table<S>,
    pub(super) loop_index: u16,
    /// How many loops there are.
    pub(super) loop_count: u16,
    pub(super) settings: Arc<ConnSettings>,
    pub(super) counters: Arc<Counters>,
    pub(super) router: Router,
    /// Who is subscribed to what, by the number of the route.
    pub(super) hubs: Vec<Hub>,
    pub(super) wheel: Wheel,
    pub(super) now: Millis,
    pub(super) tick: Tick,
    /// What all reads go into unless a connection has a partial-read buffer.
    pub(super) receive_buffer: ReadBuffer,
    pub(super) buffers: Buffers,
    pub(super) partial_reads: PartialReads,
    pub(super) backlog: Backlog,
    /// Where the small pieces of one write are put together.
    pub(super) scratch: Vec<u8>,
    /// Output of the connection that is being handled; empty between connections.
    pub(super) outgoing: Outgoing,
    /// Unpacks what came compressed.
    pub(super) inflater: MessageInflater,
    /// What services asked for that concerns other connections.
    pub(super) pending: PendingEffects,
    /// Effects are being carried out: what comes of them waits for its round.
    pub(super) is_applying_effects: bool,
    pub(super) half_open: HalfOpen,
    pub(super) run_queue: RunQueue,
    /// Connections that were pushed to and not written since.
    pub(super) dirty: VecDeque<ConnKey>,
    /// A topic's members are being walked: nobody may be taken out of it until that is done.
    pub(super) is_walking_members: bool,
    /// Subscriptions of those who left meanwhile, all of one route.
    pub(super) left_while_walking: Vec<SlotRef>,
    /// Connections to be removed from the table at the end of the turn.
    pub(super) dead: VecDeque<ConnKey>,
    pub(super) write_interest: Vec<ConnKey>,
    pub(super) mail_out: Vec<(u16, LoopMessage)>,
    /// The decision on the request that is being answered, if it was made later.
    pub(super) decision: Option<Result<Accept, Rejection>>,
    pub(super) open_count: usize,
    pub(super) refused_count: usize,
    pub(super) draining: bool,
    /// Mailboxes of other loops are full: whoever writes to them is not read for now.
    pub(super) mail_full: bool,
    pub(super) paused_by_mail: Vec<ConnKey>,
}

impl<S: Transport> Connections<S> {
    /// No connections. `pool` is the process's budget for buffers, in bytes.
    #[must_use]
    pub fn new(
        site: LoopSite,
        settings: Arc<ConnSettings>,
        router: Router,
        counters: Arc<Counters>,
        pool: SharedBudget,
        now: Millis,
    ) -> Self {
        Self {
            table: Table::new(),
            loop_index: site.index,
            loop_count: site.count,
            counters,
            hubs: (0..router.socket_count()).map(|_| Hub::default()).collect(),
            router,
            wheel: Wheel::new(now.tick()),
            now,
            tick: now.tick(),
            receive_buffer: ReadBuffer::new(vec![0; settings.receive_buffer_bytes]),
            buffers: Buffers::new(pool.clone()),
            partial_reads: PartialReads::default(),
            backlog: Backlog::default(),
            scratch: Vec::new(),
            outgoing: Outgoing::new(pool),
            inflater: MessageInflater::default(),
            pending: PendingEffects { now, ..PendingEffects::default() },
            is_applying_effects: false,
            half_open: HalfOpen::default(),
            run_queue: RunQueue::default(),
            dirty: VecDeque::new(),
            is_walking_members: false,
            left_while_walking: Vec::new(),
            dead: VecDeque::new(),
            write_interest: Vec::new(),
            mail_out: Vec::new(),
            decision: None,
            open_count: 0,
            refused_count: 0,
            draining: false,
            mail_full: false,
            paused_by_mail: Vec::new(),
            settings,
        }
    }

    /// The time of this turn.
    pub fn set_now(&mut self, now: Millis) {
        self.now = now;
        self.tick = now.tick();
        self.pending.now = now;
        self.outgoing.compressor_mut().set_now(now);
    }

    /// From now on these rules hold, also for connections that are open: those whose deadline comes
    /// nearer by them are filed anew, and those that may be read again are. The receive buffer keeps its
    /// size.
    pub fn set_settings(&mut self, settings: Arc<ConnSettings>) {
        self.settings = settings;
        for index in 0..self.table.slots_end() {
            if let Some(key) = self.table.key_of(index) {
                self.arm(key);
                self.resume_reading(key);
            }
        }
    }

    /// Adds an accepted socket. Where `refuse` is set it will be told 503 whatever it asks. If the
    /// half-open table is full, its oldest goes.
    pub fn insert(&mut self, socket: S, refuse: bool) -> ConnKey {
        let phase = if refuse { Phase::Refusing } else { Phase::Handshake };
        if !refuse
            && self.half_open.count() >= self.settings.half_open_max
            && let Some(oldest) = self.half_open.oldest(&mut self.table)
        {
            self.counters.half_open_dropped.add(1);
            self.abort(oldest, CloseReason::Gone);
        }
        let key = self.table.insert(socket, phase, self.tick);
        if refuse {
            self.refused_count += 1;
            if let Some(conn) = self.table.get_mut(key) {
                conn.flags.set(Flags::REFUSED);
            }
        } else {
            self.half_open.add(&mut self.table, key);
        }
        self.arm(key);
        key
    }

    /// How many may be added in one turn. More would push each other out of the half-open table
    /// before the requests that they came with could be read.
    pub fn accepts_max(&self) -> usize {
        self.settings.half_open_max.max(1)
    }

    /// The socket of a connection, to register it.
    pub fn socket_mut(&mut self, key: ConnKey) -> Option<&mut S> {
        self.table.get_mut(key).map(|conn| &mut conn.socket)
    }

    /// Gives the connections that had bytes left one more read budget each.
    pub fn run(&mut self) {
        self.run_queue.start();
        while let Some(key) = self.run_queue.next(&mut self.table) {
            self.receive(key);
        }
    }

    /// Connections that the poller must report room for from now on.
    pub fn take_write_interest(&mut self) -> Option<ConnKey> {
        self.write_interest.pop()
    }

    /// LoopMessage for other loops, with the loop it is for.
    pub fn take_mail(&mut self) -> std::vec::Drain<'_, (u16, LoopMessage)> {
        self.mail_out.drain(..)
    }

    /// Says whether mail for other loops piles up. Connections that make more of it are not read
    /// until it no longer does.
    pub fn set_mail_full(&mut self, is_full: bool) {
        self.mail_full = is_full;
        if is_full {
            return;
        }
        for key in std::mem::take(&mut self.paused_by_mail) {
            if let Some(conn) = self.table.get_mut(key) {
                conn.flags.clear(Flags::MAIL_PAUSED);
                self.run_queue.push(&mut self.table, key);
            }
        }
    }

    /// The kernel cannot watch this socket.
    pub fn abort_unwatched(&mut self, key: ConnKey) {
        self.abort(key, CloseReason::Reset);
    }

    /// Whether there is work that no event will announce.
    #[must_use]
    pub fn has_work(&self) -> bool {
        !self.run_queue.is_empty()
            || !self.dirty.is_empty()
            || !self.dead.is_empty()
            || !self.pending.effects.is_empty()
            || !self.write_interest.is_empty()
            || !self.mail_out.is_empty()
    }

    /// From now on every request is answered 503.
    pub fn start_draining(&mut self) {
        self.draining = true;
    }

    /// Connections in the table, in any phase.
    #[must_use]
    pub fn count(&self) -> usize {
        self.table.len()
    }

    /// Open WebSocket connections.
    #[must_use]
    pub fn open_count(&self) -> usize {
        self.open_count
    }

    /// Connections that are there only to be told 503.
    #[must_use]
    pub fn refused_count(&self) -> usize {
        self.refused_count
    }

    /// Brings the gauges up to date.
    pub fn sample(&self) {
        self.counters.connections_now.set(self.table.len() as u64);
        self.counters.half_open_now.set(self.half_open.count() as u64);
        self.counters.open_now.set(self.open_count as u64);
        self.counters.pool_bytes_now.set(self.pool_bytes());
        self.sample_compression();
    }

    /// Most turns have none, so whether there was any is asked first.
    fn sample_compression(&self) {
        let (counters, inflater) = (&self.counters, &self.inflater);
        let compressor = self.outgoing.compressor();
        let compressors = compressor.compressors();
        if counters.deflated_messages.value() != compressors.messages {
            counters.deflated_messages.set(compressors.messages);
            counters.deflated_bytes_before.set(compressors.bytes_in);
            counters.deflated_bytes_after.set(compressors.bytes_out);
        }
        if counters.inflated_messages.value() != inflater.messages {
            counters.inflated_messages.set(inflater.messages);
            counters.inflated_bytes_before.set(inflater.bytes_in);
            counters.inflated_bytes_after.set(inflater.bytes_out);
        }
        counters.deflate_out_of_room.set(compressor.out_of_room());
    }

    /// Most loops have none at any time.
    #[inline]
    fn sample_contexts(&self) {
        let incoming = self.inflater.contexts();
        let outgoing = self.outgoing.compressor().contexts();
        let bytes = (incoming.bytes() + outgoing.bytes()) as u64;
        if bytes > 0 || self.counters.context_bytes_now.value() > 0 {
            self.counters.contexts_in_now.set(incoming.count() as u64);
            self.counters.contexts_out_now.set(outgoing.count() as u64);
            self.counters.context_bytes_now.set(bytes);
        }
    }

    /// Bytes that this loop has of the process's pool.
    fn pool_bytes(&self) -> u64 {
        (self.buffers.allocated_bytes() + self.outgoing.compressor().bytes()) as u64
    }

    /// Releases buffers, compressors and contexts that lie unused. Gives the moment to ask again.
    pub fn trim(&mut self) -> Option<Millis> {
        let (now, idle_ms) = (self.now, self.settings.pool_idle_ms);
        let due = [
            self.buffers.trim(now, idle_ms),
            self.inflater.trim(now, idle_ms, &mut self.buffers),
            self.outgoing.compressor_mut().trim(now, idle_ms),
        ];
        let due = due.into_iter().flatten().min();
        // A loop at rest takes no turn that would bring the gauges up to date.
        self.counters.pool_bytes_now.set(self.pool_bytes());
        self.sample_contexts();
        due
    }
}
