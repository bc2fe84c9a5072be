//! One connection: what its slot in the table holds.

use super::flags::Flags;
use super::state::State;
use super::under_way::UnderWay;
use crate::key::SlotRef;
use crate::output::{ContextKey, DeflateOptions, Framing};
use crate::pool::OutQueue;
use crate::timer::{Tick, TimerLink};
use crate::ws::{DecoderState, DeflateTerms};

/// One connection of a loop. Its fields are set by the owners that the comments name.
#[derive(Debug)]
pub(crate) struct Conn<S> {
    pub(crate) socket: S,
    /// Serial number of the connection in its loop; `Table` compares it at every look-up.
    pub(crate) generation: u32,
    /// The wheel's links.
    pub(crate) timer: TimerLink,
    /// While open: when the peer last gave a sign of life, or the ping that asks for one went out.
    /// In other phases: when the phase began.
    pub(crate) seen: Tick,
    /// What waits for room in the socket; filled and emptied by `Output`.
    pub(crate) queue: OutQueue,
    /// The partial-read buffer; `Input` keeps it.
    pub(crate) partial: SlotRef,
    /// The first of its subscriptions, which `Membership` keeps; of a relay its record, which
    /// `RelayRecords` keeps.
    pub(crate) link: SlotRef,
    /// What only some connections have; `ColdRecords` keeps it.
    pub(crate) cold: SlotRef,
    pub(crate) decoder: DecoderState,
    /// What the kernel has taken and the peer may not have read yet.
    pub(crate) under_way: UnderWay,
    /// The number of the route, once the request has named one; before, that of the listener.
    pub(crate) route: u8,
    pub(crate) state: State,
    pub(crate) protocol: Protocol,
    pub(crate) flags: Flags,
}

/// What the bytes of a connection mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// A request head is to come.
    Http,
    /// Lines of text, each a message.
    Line,
    /// A header of the PROXY protocol, and then what the listener speaks.
    Proxied(AwaitedHeader),
    /// Nothing: they go on to a backend as they are, once it has answered the request.
    Relay,
    /// Nothing: they come from a backend, and go on to its client as they are.
    Backend,
    /// Frames of a backend, which go on to its client.
    FrameBackend,
    /// Frames that go on to a backend.
    FrameRelay,
    /// A request that upgrades nothing, and then its body, which goes on to a backend.
    Exchange,
    /// The reply to such a request, from a backend.
    ExchangeBackend,
    /// A further request head may come: the request before it is answered.
    HttpNext,
    /// Frames.
    WebSocket,
}

/// What a connection that begins with a header of the PROXY protocol goes on with, and whether the
/// header may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AwaitedHeader {
    OptionalBeforeHttp,
    OptionalBeforeLines,
    RequiredBeforeHttp,
    RequiredBeforeLines,
}

impl AwaitedHeader {
    /// A header that may be left out, or not, before HTTP.
    pub(crate) fn before_http(is_optional: bool) -> Self {
        if is_optional { Self::OptionalBeforeHttp } else { Self::RequiredBeforeHttp }
    }

    /// The same before lines.
    pub(crate) fn before_lines(self) -> Self {
        if self.is_optional() { Self::OptionalBeforeLines } else { Self::RequiredBeforeLines }
    }

    /// Whether the connection may begin without it.
    pub(crate) fn is_optional(self) -> bool {
        matches!(self, Self::OptionalBeforeHttp | Self::OptionalBeforeLines)
    }

    /// What comes behind it.
    pub(crate) fn next(self) -> Protocol {
        match self {
            Self::OptionalBeforeHttp | Self::RequiredBeforeHttp => Protocol::Http,
            Self::OptionalBeforeLines | Self::RequiredBeforeLines => Protocol::Line,
        }
    }
}

impl Protocol {
    /// Whether the connection is an end of a relay.
    #[inline]
    pub(crate) fn is_relayed(self) -> bool {
        match self {
            Self::Backend
            | Self::Exchange
            | Self::ExchangeBackend
            | Self::FrameBackend
            | Self::FrameRelay
            | Self::Relay => true,
            Self::Http | Self::HttpNext | Self::Line | Self::Proxied(_) | Self::WebSocket => false,
        }
    }

    /// Whether it is one whose bytes mean nothing here, so that nothing of ours may be among them.
    #[inline]
    pub(crate) fn passes_bytes(self) -> bool {
        matches!(self, Self::Relay | Self::Backend)
    }

    /// Whether it is one whose frames are read.
    #[inline]
    pub(crate) fn passes_frames(self) -> bool {
        matches!(self, Self::FrameRelay | Self::FrameBackend)
    }

    /// Whether the gateway is the client of it.
    #[inline]
    pub(crate) fn is_backend(self) -> bool {
        matches!(self, Self::Backend | Self::ExchangeBackend | Self::FrameBackend)
    }

    /// Whether it speaks WebSocket with us, so that it answers pings and close frames.
    #[inline]
    pub(crate) fn has_frames(self) -> bool {
        matches!(self, Self::WebSocket | Self::FrameRelay | Self::FrameBackend)
    }
}

impl<S> Conn<S> {
    /// Whether it is not read because of what it has sent before, or because its service has too much of
    /// it. The silence of a relayed connection whose partner holds it up counts.
    pub(crate) fn is_unheard(&self) -> bool {
        let by_service =
            self.protocol == Protocol::WebSocket && self.flags.has(Flags::PAUSED_BY_PARTNER);
        by_service || self.flags.has(Flags::PAUSED_BY_PAST)
    }

    /// A connection that was just accepted.
    pub(crate) fn new(
        socket: S,
        generation: u32,
        state: State,
        protocol: Protocol,
        now: Tick,
    ) -> Self {
        Self {
            socket,
            generation,
            timer: TimerLink::UNFILED,
            seen: now,
            queue: OutQueue::default(),
            partial: SlotRef::NONE,
            link: SlotRef::NONE,
            cold: SlotRef::NONE,
            decoder: DecoderState::default(),
            under_way: UnderWay::default(),
            route: 0,
            state,
            protocol,
            flags: Flags::default(),
        }
    }

    /// Whether it takes frames as they are: neither lines nor compressed.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        self.protocol == Protocol::WebSocket && !self.flags.has_deflate()
    }

    /// How it is framed if it stands in `slot`, on a route that compresses so.
    #[inline]
    pub(crate) fn framing(&self, deflate: Option<DeflateOptions>, slot: u32) -> Framing {
        if self.is_plain() {
            return Framing::WebSocket;
        }
        match (self.flags.deflate_window_bits(), deflate) {
            _ if self.protocol == Protocol::Line => Framing::Lines,
            (Some(window_bits), Some(DeflateOptions { level, bytes_min, .. })) => {
                let context = ContextKey { slot, window_bits };
                let context = self.flags.has(Flags::TAKES_OVER).then_some(context);
                Framing::Deflate(DeflateTerms { window_bits, level, bytes_min }, context)
            }
            _ => Framing::WebSocket,
        }
    }

    /// Whether the kernel has been given every byte.
    #[inline]
    pub(crate) fn is_flushed(&self) -> bool {
        self.queue.is_empty() && !self.flags.has(Flags::UNSENT)
    }

    /// Whether it is open, speaks WebSocket or lines, and no flag asks for something once it is
    /// written to.
    #[inline]
    pub(crate) fn is_undisturbed(&self) -> bool {
        self.state.is_open() && !self.protocol.is_relayed() && !self.flags.has(Flags::AFTER_FLUSH)
    }

    /// The peer has given a sign of life, or its ping went out: silence counts from `now`, and some
    /// of what was under way has passed since.
    #[inline]
    pub(crate) fn note_seen(&mut self, now: Tick) {
        if !self.under_way.is_nothing() {
            self.under_way.pass(self.seen, now);
            // The end of a stall comes nearer by as much. Where nothing waits there is no stall, and
            // the next ping is due later than before.
            if !self.is_flushed() {
                self.rearm();
            }
        }
        self.seen = now;
    }

    /// Has the driver file its deadline anew when it is done with the connection: the wheel links
    /// slots with each other, so that needs the whole table.
    #[inline]
    pub(crate) fn rearm(&mut self) {
        self.flags.set(Flags::REARM);
    }
}
