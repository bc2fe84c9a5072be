//! Live traces: what the connections that an operator follows send, get and end by.
//!
//! A loop without traces pays one comparison for each read, write, publication and end. With some, it
//! keeps which connections they follow, and takes a slower way for these.

use std::collections::HashMap;
use std::sync::Arc;

use crate::effects::{CloseReason, Effects, Message, Peer};
use crate::inspect::{
    ConnectionFilter, ConnectionSummary, TraceEvent, TraceEventKind, TraceId, TraceSink,
};
use crate::key::ConnKey;
use crate::mail::Reply;
use crate::services::{ControlFrame, Service};
use crate::ws::{EncodedFrame, MessageKind};

/// The traces of one loop.
#[derive(Debug, Default)]
pub(crate) struct Traces(Option<Box<Followed>>);

#[derive(Debug, Default)]
struct Followed {
    /// A place keeps its number; one that is free has none.
    traces: [Option<Trace>; TRACES_MAX],
    /// The traces that follow a connection: the bits of their places.
    by_key: HashMap<ConnKey, u16>,
}

#[derive(Debug)]
struct Trace {
    id: TraceId,
    filter: Arc<ConnectionFilter>,
    payload_bytes_max: usize,
    sink: TraceSink,
    /// While it begins: the slot at which those that are open are looked through further, and who is told
    /// when all are.
    beginning: Option<(u32, Reply<()>)>,
}

impl Traces {
    /// Whether there is any.
    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Takes them out for the time of a step that needs the rest of the turn.
    #[inline]
    pub(crate) fn take(&mut self) -> Self {
        Self(self.0.take())
    }

    /// Begins a trace, which follows connections that open from now on. Where there are too many, or
    /// this one, the reply is dropped, which tells that it will not come.
    pub(crate) fn add(
        &mut self,
        id: TraceId,
        filter: Arc<ConnectionFilter>,
        payload_bytes_max: usize,
        sink: TraceSink,
        reply: Reply<()>,
    ) {
        let own = self.0.get_or_insert_default();
        let is_known = own.traces.iter().flatten().any(|trace| trace.id == id);
        if let Some(place) = own.traces.iter_mut().find(|place| place.is_none())
            && !is_known
        {
            let beginning = Some((0, reply));
            *place = Some(Trace { id, filter, payload_bytes_max, sink, beginning });
        }
    }

    /// Ends a trace, if there is such.
    pub(crate) fn remove(&mut self, id: TraceId) {
        let Some(own) = &mut self.0 else { return };
        let is_meant = |place: &Option<Trace>| place.as_ref().is_some_and(|trace| trace.id == id);
        let Some(number) = own.traces.iter().position(is_meant) else { return };
        // Who waits for its beginning waits no longer.
        if let Some((_, reply)) = own.traces[number].take().and_then(|trace| trace.beginning) {
            reply.send(());
        }
        own.by_key.retain(|_, places| {
            *places &= !(1 << number);
            *places != 0
        });
        if own.traces.iter().all(Option::is_none) {
            self.0 = None;
        }
    }

    /// The first slot that a trace which begins has not looked at; `None` if none begins.
    pub(crate) fn beginning(&self) -> Option<u32> {
        let traces = self.0.as_ref()?.traces.iter().flatten();
        traces.filter_map(|trace| trace.beginning.as_ref()).map(|(slot, _)| *slot).min()
    }

    /// Those that begin have looked at the slots before this one; with `None` at all.
    pub(crate) fn begun(&mut self, next: Option<u32>) {
        let Some(own) = &mut self.0 else { return };
        for trace in own.traces.iter_mut().flatten() {
            match (&mut trace.beginning, next) {
                (Some((slot, _)), Some(next)) => *slot = next.max(*slot),
                (beginning, None) => {
                    if let Some((_, reply)) = beginning.take() {
                        reply.send(());
                    }
                }
                (None, Some(_)) => {}
            }
        }
    }

    /// Whether a connection is followed.
    pub(crate) fn follows(&self, key: ConnKey) -> bool {
        self.0.as_ref().is_some_and(|own| own.by_key.contains_key(&key))
    }

    /// Whether a connection may be followed only once its service knows its name or room.
    pub(crate) fn follows_names(&self) -> bool {
        let traces = self.0.iter().flat_map(|own| own.traces.iter().flatten());
        traces.into_iter().any(|trace| trace.filter.user.is_some() || trace.filter.room.is_some())
    }

    /// Has an open connection followed by the traces that it fits, and tells them of it. `view` gives its
    /// row of the list if it fits a filter.
    pub(crate) fn consider(
        &mut self,
        key: ConnKey,
        unix_ms: u64,
        mut view: impl FnMut(&ConnectionFilter) -> Option<ConnectionSummary>,
    ) {
        let Some(own) = &mut self.0 else { return };
        for (number, trace) in own.traces.iter().enumerate() {
            let Some(trace) = trace else { continue };
            let place = 1 << number;
            let is_followed = own.by_key.get(&key).is_some_and(|places| places & place != 0);
            let has_room = own.by_key.len() < FOLLOWED_MAX || own.by_key.contains_key(&key);
            if is_followed || !has_room {
                continue;
            }
            if let Some(summary) = view(&trace.filter) {
                *own.by_key.entry(key).or_default() |= place;
                let (peer, kind) = (summary.peer, TraceEventKind::Open(Box::new(summary)));
                trace.sink.tell(TraceEvent { peer, unix_ms, kind });
            }
        }
    }

    /// A followed connection has sent a message.
    pub(crate) fn received(&self, peer: Peer, unix_ms: u64, is_text: bool, payload: &[u8]) {
        self.tell(peer, unix_ms, |bytes_max| TraceEventKind::Received {
            is_text,
            bytes: payload.len(),
            payload: beginning_of(payload, bytes_max),
        });
    }

    /// A followed connection is sent a message; `payload` is what it holds as far as that can be shown.
    pub(crate) fn sent(&self, peer: Peer, unix_ms: u64, message: &SentMessage<'_>) {
        self.tell(peer, unix_ms, |bytes_max| TraceEventKind::Sent {
            is_text: message.is_text,
            bytes: message.bytes,
            payload: beginning_of(message.payload, bytes_max),
        });
    }

    /// A connection is no longer open.
    pub(crate) fn closed(&mut self, peer: Peer, unix_ms: u64, reason: CloseReason) {
        self.tell(peer, unix_ms, |_| TraceEventKind::Closed(reason));
        if let Some(own) = &mut self.0 {
            own.by_key.remove(&peer.key);
        }
    }

    fn tell(&self, peer: Peer, unix_ms: u64, kind: impl Fn(usize) -> TraceEventKind) {
        let Some(own) = &self.0 else { return };
        let Some(places) = own.by_key.get(&peer.key) else { return };
        for (number, trace) in own.traces.iter().enumerate() {
            if let Some(trace) = trace
                && places & (1 << number) != 0
            {
                let kind = kind(trace.payload_bytes_max);
                trace.sink.tell(TraceEvent { peer, unix_ms, kind });
            }
        }
    }
}

/// A message on its way to a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SentMessage<'m> {
    pub(crate) is_text: bool,
    /// Bytes of its payload, compressed where it goes out so.
    pub(crate) bytes: usize,
    /// The payload; empty where it goes out compressed.
    pub(crate) payload: &'m [u8],
}

impl<'m> From<&'m EncodedFrame> for SentMessage<'m> {
    fn from(frame: &'m EncodedFrame) -> Self {
        let payload = frame.payload();
        Self { is_text: frame.is_text(), bytes: payload.len(), payload }
    }
}

/// Stands between a followed connection and its service. It owns both while a connection is read,
/// because a service borrows nothing.
pub(crate) struct Traced {
    service: Box<dyn Service>,
    traces: Traces,
    unix_ms: u64,
}

impl Traced {
    /// Takes the service and the traces out of their places, until [`Traced::put_back`].
    pub(crate) fn take(service: &mut Box<dyn Service>, traces: &mut Traces, unix_ms: u64) -> Self {
        let service = std::mem::replace(service, Box::new(Absent));
        Self { service, traces: traces.take(), unix_ms }
    }

    /// Puts both back.
    pub(crate) fn put_back(self, service: &mut Box<dyn Service>, traces: &mut Traces) {
        *service = self.service;
        *traces = self.traces;
    }
}

/// In the place of a service that [`Traced`] has taken.
struct Absent;

impl Service for Absent {
    fn on_message(&mut self, _: Peer, _: Message<'_>, _: &mut Effects<'_>) {}
}

impl Service for Traced {
    fn on_message(&mut self, peer: Peer, message: Message<'_>, effects: &mut Effects<'_>) {
        let is_text = message.kind() == MessageKind::Text;
        self.traces.received(peer, self.unix_ms, is_text, message.payload());
        self.service.on_message(peer, message, effects);
    }

    fn on_control_frame(&mut self, peer: Peer, frame: ControlFrame<'_>, effects: &mut Effects<'_>) {
        self.service.on_control_frame(peer, frame, effects);
    }
}

fn beginning_of(payload: &[u8], bytes_max: usize) -> Vec<u8> {
    payload.iter().take(bytes_max).copied().collect()
}

/// Traces of a loop at once.
const TRACES_MAX: usize = 16;
/// Connections of a loop that are followed at once.
const FOLLOWED_MAX: usize = 1_024;
