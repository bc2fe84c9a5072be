//! Who belongs to whom: one record for the two ends of a relay, and the requests that wait for their
//! answer.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;

use slab::Slab;

use super::exchange_state::{Exchange, ReplyBody};
use crate::effects::{BackendRequest, CloseReason};
use crate::key::{ConnKey, SlotRef, slot_number};
use crate::pool::{Buffers, Need, OverBudget};
use crate::shrink::Shrink as _;
use crate::timer::{Millis, Tick};
use crate::transport::ServerAddress;
use crate::upstream::{Server, ServerPermit, ServerTls};
use crate::ws::{CloseRequest, Violation};

/// The relays of one loop.
#[derive(Debug, Default)]
pub(crate) struct RelayRecords {
    records: Slab<RelayRecord>,
    /// Clients for which a connection is to be begun, or an attempt has failed.
    wanted: VecDeque<ConnKey>,
    /// Ends whose partner is gone.
    parted: VecDeque<Parted>,
}

/// The two ends of a relay.
#[derive(Debug)]
struct RelayRecord {
    /// [`ABSENT`] once it is gone, as below.
    client: ConnKey,
    /// [`ABSENT`] also before there is one.
    backend: ConnKey,
    /// Counts the connection to the server as long as there is one.
    permit: Option<ServerPermit>,
    /// The request, until it is answered; then what is known of a message that has begun.
    pending: Option<Box<Pending>>,
}

/// What is remembered of a relay for a while.
#[derive(Debug)]
enum Pending {
    Attempt(Attempt),
    /// A request that upgrades nothing, from the head of its reply on.
    Exchange(Exchange),
    Message(ForwardedMessage),
    SentOff(SentOff),
}

/// A client of frames that has broken a rule of the protocol is not read any more. Its backend has been told
/// that it is gone, and may still answer what it was asked before; then the client is told why.
#[derive(Clone, Copy, Debug)]
pub(in crate::conn) struct SentOff {
    violation: Violation,
    due: Tick,
}

impl SentOff {
    /// For this violation, by a client whose backend may answer until `due`.
    pub(in crate::conn) fn new(violation: Violation, due: Tick) -> Self {
        Self { violation, due }
    }

    /// What the client has done.
    pub(in crate::conn) fn violation(self) -> Violation {
        self.violation
    }

    /// Until when the backend may answer.
    pub(in crate::conn) fn due(self) -> Tick {
        self.due
    }
}

/// A message of a client, of which the first part has gone on and the last has not come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::conn) struct ForwardedMessage {
    /// Its bytes so far.
    pub(crate) bytes: u32,
    /// It is thrown away, because its client had sent as much as it may.
    pub(crate) is_refused: bool,
}

/// A request that a backend is to answer.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) request: BackendRequest,
    /// The servers that were asked, the last one included.
    pub(crate) tried: Vec<Arc<Server>>,
    /// When the last connection was begun.
    pub(crate) began: Millis,
    /// When it must stand or the reply be there.
    pub(crate) due: Tick,
    /// Whether it stands.
    pub(crate) is_reached: bool,
    /// Whether bytes of the request have gone out to the last server.
    pub(crate) is_sent: bool,
    /// How the last connection came to nothing, if it did.
    pub(crate) lost: Option<Lost>,
    /// Of a request that upgrades nothing.
    pub(crate) exchange: Option<Exchange>,
}

/// How an attempt came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lost {
    /// The process has no descriptor or memory for it.
    Exhausted,
    /// There is no source port left for it.
    NoPort,
    /// The connection did not stand in time.
    ConnectTimeout,
    /// It was refused, or cut.
    Failed,
    /// The server's certificate does not verify.
    Certificate,
    /// TLS with the server has failed for another reason.
    Tls,
    /// The server has said what is no reply.
    NoReply,
    /// The reply did not come in time.
    ReplyTimeout,
}

impl Lost {
    /// Whether it counts against the server.
    pub(super) fn is_of_server(self) -> bool {
        match self {
            Self::Exhausted | Self::NoPort => false,
            Self::Certificate
            | Self::ConnectTimeout
            | Self::Failed
            | Self::NoReply
            | Self::ReplyTimeout
            | Self::Tls => true,
        }
    }

    /// Whether the server may have got nothing of the request.
    pub(super) fn may_be_unreached(self) -> bool {
        match self {
            Self::Certificate
            | Self::ConnectTimeout
            | Self::Failed
            // To another server the same ports may be free.
            | Self::NoPort
            | Self::Tls => true,
            Self::Exhausted | Self::NoReply | Self::ReplyTimeout => false,
        }
    }
}

/// An end of a relay whose partner is gone.
#[derive(Clone, Debug)]
pub(crate) struct Parted {
    pub(crate) key: ConnKey,
    /// Why it ends.
    pub(crate) reason: CloseReason,
    /// What it receives, if frames are passed on.
    pub(crate) close: PartnerClose,
}

/// What an end of a relay is told when its partner is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PartnerClose {
    /// What says that it is gone: 1001 to a backend, 1011 to a client.
    Gone,
    /// What its partner has said; `None` for a close frame without a code.
    Said(Option<CloseRequest>),
}

/// A connection that is to be begun.
#[derive(Debug)]
pub struct ConnectOrder {
    /// The client that waits for it.
    pub client: ConnKey,
    /// Where to.
    pub server: ServerAddress,
    /// The address that the connection comes from, if one is configured.
    pub local: Option<IpAddr>,
    /// How it speaks TLS, if it does.
    pub tls: Option<ServerTls>,
}

impl RelayRecords {
    /// A client's request waits for a backend: it is [wanted](Self::next_wanted) from now on. It has come
    /// by the listener with this number.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for it.
    pub(crate) fn begin(
        &mut self,
        client: ConnKey,
        listener: u8,
        request: BackendRequest,
        memory: &mut Buffers,
    ) -> Result<SlotRef, OverBudget> {
        let exchange = request.plain.map(|terms| Exchange::new(terms, listener));
        let attempt = Attempt {
            request,
            tried: Vec::new(),
            began: Millis::default(),
            due: Tick::default(),
            is_reached: false,
            is_sent: false,
            lost: None,
            exchange,
        };
        memory.charge_for(Need::Head, RECORD_BYTES + attempt.bytes())?;
        let pending = Some(Box::new(Pending::Attempt(attempt)));
        let record = RelayRecord { client, backend: ABSENT, permit: None, pending };
        self.wanted.push_back(client);
        Ok(SlotRef::to(slot_number(self.records.insert(record))))
    }

    /// Two connections that relay to each other from now on, without a request.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn pair(
        &mut self,
        client: ConnKey,
        backend: Option<ConnKey>,
        memory: &mut Buffers,
    ) -> Result<SlotRef, OverBudget> {
        memory.charge_for(Need::Head, RECORD_BYTES)?;
        let backend = backend.unwrap_or(ABSENT);
        let record = RelayRecord { client, backend, permit: None, pending: None };
        Ok(SlotRef::to(slot_number(self.records.insert(record))))
    }

    fn get(&self, link: SlotRef) -> Option<&RelayRecord> {
        self.records.get(link.index()? as usize)
    }

    fn get_mut(&mut self, link: SlotRef) -> Option<&mut RelayRecord> {
        self.records.get_mut(link.index()? as usize)
    }

    /// The other end, if it is there.
    #[inline]
    pub(crate) fn partner(&self, link: SlotRef, key: ConnKey) -> Option<ConnKey> {
        let record = self.get(link)?;
        let other = if record.client == key { record.backend } else { record.client };
        (other != ABSENT).then_some(other)
    }

    /// The request that is not answered yet.
    pub(crate) fn attempt(&self, link: SlotRef) -> Option<&Attempt> {
        match self.get(link)?.pending.as_deref()? {
            Pending::Attempt(attempt) => Some(attempt),
            Pending::Exchange(_) | Pending::Message(_) | Pending::SentOff(_) => None,
        }
    }

    /// As [`RelayRecords::attempt`], to change it.
    pub(super) fn attempt_mut(&mut self, link: SlotRef) -> Option<&mut Attempt> {
        match self.get_mut(link)?.pending.as_deref_mut()? {
            Pending::Attempt(attempt) => Some(attempt),
            Pending::Exchange(_) | Pending::Message(_) | Pending::SentOff(_) => None,
        }
    }

    /// The message of the client that has begun; of none where there is none.
    pub(super) fn message(&self, link: SlotRef) -> ForwardedMessage {
        match self.get(link).and_then(|record| record.pending.as_deref()) {
            Some(Pending::Message(message)) => *message,
            Some(Pending::Attempt(_) | Pending::Exchange(_) | Pending::SentOff(_)) | None => {
                ForwardedMessage::default()
            }
        }
    }

    /// Remembers a message that has begun, or that none has.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room for that.
    pub(super) fn set_message(
        &mut self,
        link: SlotRef,
        message: ForwardedMessage,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        if message == ForwardedMessage::default() {
            self.end_pending(link, memory);
            return Ok(());
        }
        let Some(record) = self.get_mut(link) else { return Ok(()) };
        match record.pending.as_deref_mut() {
            Some(Pending::Message(own)) => *own = message,
            Some(Pending::Attempt(_) | Pending::Exchange(_) | Pending::SentOff(_)) => {}
            None => {
                let pending = Box::new(Pending::Message(message));
                memory.charge_for(Need::Message, pending.bytes())?;
                record.pending = Some(pending);
            }
        }
        Ok(())
    }

    /// The client of a relay of frames has broken a rule.
    ///
    /// # Errors
    /// [`OverBudget`] if the pool has no room to remember that.
    pub(in crate::conn) fn send_off(
        &mut self,
        link: SlotRef,
        sent_off: SentOff,
        memory: &mut Buffers,
    ) -> Result<(), OverBudget> {
        let pending = Box::new(Pending::SentOff(sent_off));
        memory.charge_for(Need::Message, pending.bytes())?;
        self.end_pending(link, memory);
        match self.get_mut(link) {
            Some(record) => record.pending = Some(pending),
            None => memory.discharge(pending.bytes()),
        }
        Ok(())
    }

    /// What the client of a relay of frames is to be told at its end, if it has broken a rule.
    pub(in crate::conn) fn sent_off(&self, link: SlotRef) -> Option<SentOff> {
        match self.get(link)?.pending.as_deref()? {
            Pending::SentOff(sent_off) => Some(*sent_off),
            Pending::Attempt(_) | Pending::Exchange(_) | Pending::Message(_) => None,
        }
    }

    /// When the connection must stand, or the reply be there. While only the client has more of the body of
    /// its request, nothing is due of the backend; `is_flushed` says that it has all that there is.
    pub(crate) fn due(&self, link: SlotRef, is_flushed: bool) -> Option<Tick> {
        let attempt = self.attempt(link)?;
        let has_more = attempt.exchange.as_ref().is_some_and(|own| !own.request.is_done());
        let waits_for_client = attempt.is_sent && has_more && is_flushed;
        (!waits_for_client).then_some(attempt.due)
    }

    /// A request that upgrades nothing, until its reply is over.
    pub(crate) fn exchange(&self, link: SlotRef) -> Option<&Exchange> {
        match self.get(link)?.pending.as_deref()? {
            Pending::Attempt(attempt) => attempt.exchange.as_ref(),
            Pending::Exchange(exchange) => Some(exchange),
            Pending::Message(_) | Pending::SentOff(_) => None,
        }
    }

    /// As [`RelayRecords::exchange`], to change it.
    pub(in crate::conn) fn exchange_mut(&mut self, link: SlotRef) -> Option<&mut Exchange> {
        match self.get_mut(link)?.pending.as_deref_mut()? {
            Pending::Attempt(attempt) => attempt.exchange.as_mut(),
            Pending::Exchange(exchange) => Some(exchange),
            Pending::Message(_) | Pending::SentOff(_) => None,
        }
    }

    /// The reply to a request that upgrades nothing has begun: its head is no longer kept, and no other
    /// server is tried.
    pub(super) fn begin_reply(&mut self, link: SlotRef, reply: ReplyBody, memory: &mut Buffers) {
        let Some(pending) = self.get_mut(link).and_then(|record| record.pending.as_deref_mut())
        else {
            return;
        };
        if let Pending::Attempt(attempt) = pending
            && let Some(exchange) = attempt.exchange.take()
        {
            let before = pending.bytes();
            *pending = Pending::Exchange(exchange.with_reply(reply));
            memory.discharge(before - pending.bytes());
        }
    }

    /// The gateway's connection to a backend.
    pub(crate) fn set_backend(&mut self, link: SlotRef, backend: ConnKey) {
        if let Some(record) = self.get_mut(link) {
            record.backend = backend;
        }
    }

    /// What counts the connection to the server that is tried.
    pub(super) fn set_permit(&mut self, link: SlotRef, permit: ServerPermit) {
        if let Some(record) = self.get_mut(link) {
            record.permit = Some(permit);
        }
    }

    /// The server of the connection.
    pub(crate) fn server(&self, link: SlotRef) -> Option<&Arc<Server>> {
        self.get(link)?.permit.as_ref().map(ServerPermit::server)
    }

    /// The request is answered, or the message over, and no longer kept.
    pub(crate) fn end_pending(&mut self, link: SlotRef, memory: &mut Buffers) {
        if let Some(pending) = self.get_mut(link).and_then(|record| record.pending.take()) {
            memory.discharge(pending.bytes());
        }
    }

    /// The connection to a backend came to nothing before the reply.
    pub(crate) fn note_lost(&mut self, link: SlotRef, lost: Lost) {
        if let Some(attempt) = self.attempt_mut(link) {
            // What is known first says most.
            attempt.lost.get_or_insert(lost);
        }
    }

    /// Has the next attempt for a client begun at the end of the turn, or the last one answered for.
    pub(crate) fn want(&mut self, client: ConnKey) {
        self.wanted.push_back(client);
    }

    /// One end is gone; gives the other, if that is there. The record goes with the last of them.
    pub(crate) fn part(
        &mut self,
        link: SlotRef,
        key: ConnKey,
        memory: &mut Buffers,
    ) -> Option<ConnKey> {
        let record = self.get_mut(link)?;
        if record.client == key {
            record.client = ABSENT;
        } else {
            record.backend = ABSENT;
            record.permit = None;
        }
        let partner = [record.client, record.backend].into_iter().find(|own| *own != ABSENT);
        if partner.is_none() {
            self.end_pending(link, memory);
            self.records.remove(link.index()? as usize);
            memory.discharge(RECORD_BYTES);
            if self.records.is_empty() {
                // A slab keeps its peak otherwise.
                self.records = Slab::new();
            }
        }
        partner
    }

    /// An end whose partner is gone is to end at the end of the turn.
    pub(crate) fn note_parted(&mut self, key: ConnKey, reason: CloseReason) {
        self.parted.push_back(Parted { key, reason, close: PartnerClose::Gone });
    }

    /// The partner of an end that was just noted has said why it goes.
    pub(crate) fn note_said(&mut self, key: ConnKey, request: Option<CloseRequest>) {
        if let Some(parted) = self.parted.back_mut().filter(|parted| parted.key == key) {
            if let (CloseReason::Backend, Some(request)) = (parted.reason, &request) {
                // To its client the backend is the service.
                parted.reason = CloseReason::Service(request.code);
            }
            parted.close = PartnerClose::Said(request);
        }
    }

    /// The next of those.
    pub(crate) fn next_parted(&mut self) -> Option<Parted> {
        let next = self.parted.pop_front();
        if next.is_none() {
            self.parted.shrink_if_sparse(KEYS_KEPT);
        }
        next
    }

    /// The next client for which something is to be done.
    pub(crate) fn next_wanted(&mut self) -> Option<ConnKey> {
        let next = self.wanted.pop_front();
        if next.is_none() {
            self.wanted.shrink_if_sparse(KEYS_KEPT);
        }
        next
    }

    /// Whether something is to be done at the end of the turn.
    #[inline]
    pub(crate) fn has_work(&self) -> bool {
        !self.wanted.is_empty() || !self.parted.is_empty()
    }

    /// How many relays there are, those included that wait for an answer.
    pub(crate) fn count(&self) -> usize {
        self.records.len()
    }

    /// Bytes charged to the pool.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn bytes(&self) -> usize {
        let pending = self.records.iter().filter_map(|(_, record)| record.pending.as_ref());
        self.records.len() * RECORD_BYTES + pending.map(|own| own.bytes()).sum::<usize>()
    }
}

impl Pending {
    /// Bytes that it is charged for.
    fn bytes(&self) -> usize {
        match self {
            Self::Attempt(attempt) => attempt.bytes(),
            Self::Exchange(_) | Self::Message(_) | Self::SentOff(_) => size_of::<Self>(),
        }
    }
}

impl Attempt {
    /// Bytes that it is charged for. The servers that are tried are few.
    fn bytes(&self) -> usize {
        size_of::<Pending>() + self.request.head.capacity() + TRIED_BYTES
    }
}

/// Bytes that a record takes in the slab, and twice that while the slab grows by doubling.
pub(crate) const RECORD_BYTES: usize = 2 * size_of::<RelayRecord>();
/// As `docs/memory.md` says.
const _: () = assert!(size_of::<RelayRecord>() == 32);
const TRIED_BYTES: usize = 4 * size_of::<Arc<Server>>();
const KEYS_KEPT: usize = 256;
/// In place of the key of an end that is not there.
const ABSENT: ConnKey = ConnKey { index: 0, generation: ConnKey::NOT_A_CONNECTION };
