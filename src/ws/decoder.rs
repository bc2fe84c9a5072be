//! The decoder: bytes of a client become events, unmasked, checked and reassembled in place.
//!
//! The decoder owns no bytes. It works in a buffer that its caller fills and that may end anywhere.
//! Every byte is unmasked and checked once, when it arrives. The fragments of a message are moved
//! together inside the buffer:
//!
//! ```text
//!      message_at            frame_at
//!          ▼                    ▼
//!   ┌──────┬─────────────────┬──┬────────┬──────────────────┬────────────┐
//!   │ done │ fragments so far│  │ header │ payload unmasked │ not arrived│
//!   └──────┴─────────────────┴──┴────────┴──────────────────┴────────────┘
//!           ◄─ message_len ─►            ◄──── unmasked ───►
//! ```
//!
//! Between reads an open connection keeps a [`DecoderState`] of a few bytes. [`Progress`] belongs
//! to a buffer, and exists only while the buffer holds an unfinished frame or message.

mod forward;

pub use forward::{ForwardDecoder, Forwarded, ForwardedFrame};

use std::ops::Range;

use super::header::{FIN, FrameHeader, Opcode, parse_header};
use super::utf8::{NotUtf8, Utf8Tail};
use super::violation::Violation;
use crate::work::{meter, prices};

/// The kind of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageKind {
    /// UTF-8, which is checked.
    Text = Opcode::Text as u8,
    /// Any bytes.
    Binary = Opcode::Binary as u8,
}

impl MessageKind {
    /// The opcode of an unfragmented message of this kind.
    #[must_use]
    pub const fn opcode(self) -> Opcode {
        match self {
            Self::Text => Opcode::Text,
            Self::Binary => Opcode::Binary,
        }
    }
}

/// What the bytes of a client mean. Payloads are ranges of the buffer that was passed to
/// [`Decoder::next`], valid until the caller moves or refills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A close frame. The payload is parsed by [`parse_close`](super::parse_close).
    Close(Range<usize>),
    /// A complete message.
    Message {
        /// Text or binary.
        kind: MessageKind,
        /// Whether the payload is compressed (RFC 7692 §6). UTF-8 is then not checked yet.
        is_compressed: bool,
        /// The range of the payload, contiguous even if the message was fragmented.
        payload: Range<usize>,
    },
    /// A ping, to be answered with the same payload.
    Ping(Range<usize>),
    /// A pong.
    Pong(Range<usize>),
}

/// What one frame comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame {
    /// It ends a message, or is a control frame.
    Event(Event),
    /// A fragment of a message that goes on.
    Fragment,
}

/// The kind of a message whose last fragment has not arrived. One enum, so that an
/// `Option` of it takes one byte in each connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fragmented {
    Text,
    Binary,
    CompressedText,
    CompressedBinary,
}

impl Fragmented {
    fn new(kind: MessageKind, is_compressed: bool) -> Self {
        match (kind, is_compressed) {
            (MessageKind::Text, false) => Self::Text,
            (MessageKind::Binary, false) => Self::Binary,
            (MessageKind::Text, true) => Self::CompressedText,
            (MessageKind::Binary, true) => Self::CompressedBinary,
        }
    }

    fn kind(self) -> MessageKind {
        match self {
            Self::Text | Self::CompressedText => MessageKind::Text,
            Self::Binary | Self::CompressedBinary => MessageKind::Binary,
        }
    }

    fn is_compressed(self) -> bool {
        matches!(self, Self::CompressedText | Self::CompressedBinary)
    }
}

/// The state of a connection between reads: all zero between messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DecoderState {
    fragmented: Option<Fragmented>,
    utf8: Utf8Tail,
}

impl DecoderState {
    /// Whether a message has begun whose last frame has not come.
    #[must_use]
    pub fn is_within_message(&self) -> bool {
        self.fragmented.is_some()
    }
}

/// How far a buffer is decoded, as offsets into it; all zero for a new buffer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Where the fragments of the unfinished message begin.
    message_at: u32,
    /// The bytes of these fragments, moved together.
    message_len: u32,
    /// Where the first frame begins that is not decoded.
    frame_at: u32,
    /// The bytes of its payload that are unmasked and checked.
    unmasked: u32,
}

impl Progress {
    /// Whether a buffer with `filled` bytes holds nothing that must be kept.
    #[must_use]
    pub fn is_done(&self, filled: usize) -> bool {
        self.message_len == 0 && self.frame_at as usize >= filled
    }

    /// The progress in a buffer whose first `consumed` bytes are not frames.
    #[must_use]
    pub fn starting_at(consumed: usize) -> Self {
        Self { frame_at: offset(consumed), ..Self::default() }
    }

    /// The bytes at the front that are decoded, if no fragments are kept among them.
    #[must_use]
    pub fn consumed(&self) -> usize {
        self.frame_at as usize
    }

    /// The number of bytes that must be kept of a buffer with `filled` bytes.
    #[must_use]
    pub fn kept_bytes(&self, filled: usize) -> usize {
        self.message_len as usize + filled.saturating_sub(self.frame_at as usize)
    }

    /// Whether something that need not be kept lies before what must be. Then what is unfinished was
    /// begun after the buffer was last closed up. While a message is in fragments, that is so once,
    /// for the header of the first.
    #[must_use]
    pub fn is_begun_anew(&self) -> bool {
        if self.message_len > 0 { self.message_at > 0 } else { self.frame_at > 0 }
    }

    /// Where the started message ends, if its header has arrived and it is a single frame.
    #[must_use]
    pub fn message_end(&self, arrived: &[u8]) -> Option<usize> {
        let frame_at = self.frame_at as usize;
        let (header, header_len) = parse_header(arrived.get(frame_at..)?).ok()??;
        let is_whole = header.fin && self.message_len == 0 && !header.opcode.is_control();
        let payload_len = usize::try_from(header.payload_len).ok()?;
        if is_whole { (frame_at + header_len).checked_add(payload_len) } else { None }
    }

    /// The two ranges that must be kept: fragments of a message, and bytes that are not decoded.
    /// When they are copied one behind the other, [`Progress::closed_up`] is the progress of the
    /// copy.
    #[must_use]
    pub fn kept_ranges(&self, filled: usize) -> [Range<usize>; 2] {
        let message_at = self.message_at as usize;
        let message_end = message_at + self.message_len as usize;
        [message_at..message_end, self.frame_at as usize..filled]
    }

    /// The progress in a buffer that holds only the two kept ranges.
    #[must_use]
    pub fn closed_up(&self) -> Self {
        Self { message_at: 0, frame_at: self.message_len, ..*self }
    }

    /// Moves the kept ranges to the front of `buffer`, which has `filled` bytes; returns their
    /// length.
    pub fn close_up(&mut self, buffer: &mut [u8], filled: usize) -> usize {
        let [message, rest] = self.kept_ranges(filled);
        let kept = self.kept_bytes(filled);
        if message.start > 0 {
            buffer.copy_within(message.clone(), 0);
        }
        if rest.start > message.len() {
            buffer.copy_within(rest, message.len());
        }
        *self = self.closed_up();
        kept
    }
}

/// Who has sent the bytes: clients mask their frames, and servers never do (RFC 6455 §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sender {
    /// A client of the gateway.
    Client,
    /// A server that the gateway is a client of.
    Server,
}

/// Decodes a buffer of one connection, in the role of the server.
#[derive(Debug)]
pub struct Decoder<'c> {
    state: &'c mut DecoderState,
    progress: &'c mut Progress,
    message_bytes_max: usize,
    takes_compressed: bool,
    sender: Sender,
}

impl<'c> Decoder<'c> {
    /// A decoder that continues from `state` and `progress`. It refuses compressed messages.
    pub fn new(
        state: &'c mut DecoderState,
        progress: &'c mut Progress,
        message_bytes_max: usize,
    ) -> Self {
        let (takes_compressed, sender) = (false, Sender::Client);
        Self { state, progress, message_bytes_max, takes_compressed, sender }
    }

    /// Accepts compressed messages if the handshake agreed on them (RFC 7692). Their payload is
    /// returned as it arrived; the caller inflates it and checks the result against the limit and
    /// for UTF-8.
    #[must_use]
    pub fn taking_compressed(self, takes_compressed: bool) -> Self {
        Self { takes_compressed, ..self }
    }

    /// The next event in `input`, which is all of the buffer that is filled; `None` if more bytes
    /// must arrive first.
    ///
    /// # Errors
    /// A [`Violation`] as soon as it is certain: of a header before its payload arrives, of text at
    /// the byte that makes it invalid. The decoder must not be used after an error.
    pub fn next(&mut self, input: &mut [u8]) -> Result<Option<Event>, Violation> {
        if let Some((kind, payload)) = self.next_short(input)? {
            return Ok(Some(Event::Message { kind, is_compressed: false, payload }));
        }
        loop {
            match self.next_frame(input)? {
                Some(Frame::Event(event)) => return Ok(Some(event)),
                Some(Frame::Fragment) => {}
                None => return Ok(None),
            }
        }
    }

    /// As [`Decoder::next`], but for one frame: a client may send any number of fragments before its
    /// message ends, and each is work.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn next_frame(&mut self, input: &mut [u8]) -> Result<Option<Frame>, Violation> {
        let frame_at = self.progress.frame_at as usize;
        let Some((header, header_len)) = parse_header(input.get(frame_at..).unwrap_or(&[]))? else {
            return Ok(None);
        };
        let key = self.check(&header, self.progress.message_len as usize)?;
        let payload_at = frame_at + header_len;
        // `check` bounds data frames by the message limit, the parser control frames by 125.
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let arrived = payload_len.min(input.len() - payload_at);
        let unmasked = self.progress.unmasked as usize;
        // The frame may have arrived in part before. That part is unmasked and checked already.
        let fresh = &mut input[payload_at + unmasked..payload_at + arrived];
        apply_and_check(fresh, key, unmasked, self.text_tail(&header))?;
        if arrived < payload_len {
            self.progress.unmasked = offset(arrived);
            return Ok(None);
        }
        self.progress.unmasked = 0;
        self.progress.frame_at = offset(payload_at + payload_len);
        let payload = payload_at..payload_at + payload_len;
        self.frame(&header, payload, input).map(Some)
    }

    /// Whether all of `input` is decoded.
    #[must_use]
    #[inline]
    pub fn is_through(&self, input: &[u8]) -> bool {
        self.progress.frame_at as usize >= input.len()
    }

    /// The fast path: decodes a complete, unfragmented, uncompressed message of at most 64 KiB, as
    /// nearly all are. `None` for anything else, which [`Decoder::next`] must handle.
    ///
    /// # Errors
    /// [`Violation::TextNotUtf8`].
    #[inline]
    pub fn next_short(
        &mut self,
        input: &mut [u8],
    ) -> Result<Option<(MessageKind, Range<usize>)>, Violation> {
        // The slow path must finish what it started: fragments, or a frame that arrived in part.
        if self.state.fragmented.is_some() || self.progress.unmasked > 0 {
            return Ok(None);
        }
        let frame_at = self.progress.frame_at as usize;
        let Some((kind, key, header_len, payload_len)) =
            input.get(frame_at..).and_then(short_header)
        else {
            return Ok(None);
        };
        let payload_at = frame_at + header_len;
        let payload = payload_at..payload_at + payload_len;
        let Some(bytes) = input.get_mut(payload.clone()) else { return Ok(None) };
        // The slow path reports the error, from the same header.
        if payload_len > self.message_bytes_max {
            return Ok(None);
        }
        super::apply_mask(bytes, key, 0);
        // A text frame of its own is checked at once. The faster flavour suffices, because the
        // position of an error matters only while more of the text is to come.
        if kind == MessageKind::Text && simdutf8::basic::from_utf8(bytes).is_err() {
            return Err(Violation::TextNotUtf8);
        }
        self.progress.frame_at = offset(payload.end);
        Ok(Some((kind, payload)))
    }

    /// Handles a frame that has arrived completely.
    fn frame(
        &mut self,
        header: &FrameHeader,
        payload: Range<usize>,
        input: &mut [u8],
    ) -> Result<Frame, Violation> {
        let message = match header.opcode {
            Opcode::Close => return Ok(Frame::Event(Event::Close(payload))),
            Opcode::Ping => {
                meter::spend(prices::FRAME);
                return Ok(Frame::Event(Event::Ping(payload)));
            }
            Opcode::Pong => {
                meter::spend(prices::FRAME);
                return Ok(Frame::Event(Event::Pong(payload)));
            }
            Opcode::Text => Fragmented::new(MessageKind::Text, header.rsv1),
            Opcode::Binary => Fragmented::new(MessageKind::Binary, header.rsv1),
            // `check` has refused a continuation without a message.
            Opcode::Continuation => self.state.fragmented.unwrap_or(Fragmented::Binary),
        };
        let (kind, is_compressed) = (message.kind(), message.is_compressed());
        if header.fin && kind == MessageKind::Text {
            self.state.utf8.finish().map_err(|NotUtf8| Violation::TextNotUtf8)?;
        }
        if header.fin && header.opcode != Opcode::Continuation {
            return Ok(Frame::Event(Event::Message { kind, is_compressed, payload }));
        }
        self.join(payload, input);
        if !header.fin {
            self.state.fragmented = Some(message);
            meter::spend(prices::FRAME);
            return Ok(Frame::Fragment);
        }
        self.state.fragmented = None;
        let message_at = self.progress.message_at as usize;
        let payload = message_at..message_at + self.progress.message_len as usize;
        self.progress.message_len = 0;
        Ok(Frame::Event(Event::Message { kind, is_compressed, payload }))
    }

    /// Moves a fragment behind those before it. The gap between them held frame headers and control
    /// frames that are decoded.
    fn join(&mut self, fragment: Range<usize>, input: &mut [u8]) {
        if self.progress.message_len == 0 {
            self.progress.message_at = offset(fragment.start);
        }
        let end = self.progress.message_at as usize + self.progress.message_len as usize;
        self.progress.message_len += offset(fragment.len());
        if end != fragment.start {
            input.copy_within(fragment, end);
        }
    }

    /// Checks the rules that depend on the state of the connection, if `before` bytes of the message have
    /// come; returns the masking key, which is zero where there is none.
    fn check(&self, header: &FrameHeader, before: usize) -> Result<[u8; 4], Violation> {
        let key = match (self.sender, header.mask) {
            (Sender::Client, key) => key.ok_or(Violation::NotMasked)?,
            (Sender::Server, None) => [0; 4],
            (Sender::Server, Some(_)) => return Err(Violation::Masked),
        };
        // RSV1 marks the first frame of a compressed message and no other frame (RFC 7692 §6).
        let may_begin = matches!(header.opcode, Opcode::Text | Opcode::Binary);
        if header.rsv1 && !(self.takes_compressed && may_begin) {
            return Err(Violation::ReservedBits);
        }
        if header.opcode.is_control() {
            return Ok(key);
        }
        let continues = header.opcode == Opcode::Continuation;
        match self.state.fragmented {
            Some(_) if !continues => return Err(Violation::ExpectedContinuation),
            None if continues => return Err(Violation::UnexpectedContinuation),
            _ => {}
        }
        let room = self.message_bytes_max.saturating_sub(before);
        if header.payload_len > room as u64 {
            return Err(Violation::MessageTooBig);
        }
        Ok(key)
    }

    /// The state of the UTF-8 check, if the payload of this frame is uncompressed text.
    fn text_tail(&mut self, header: &FrameHeader) -> Option<&mut Utf8Tail> {
        let is_text = match header.opcode {
            Opcode::Text => !header.rsv1,
            Opcode::Continuation => self.state.fragmented == Some(Fragmented::Text),
            Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong => false,
        };
        is_text.then_some(&mut self.state.utf8)
    }
}

/// Kind, masking key, length of the header and length of the payload, if `input` starts with the
/// header of a masked, final text or binary frame whose length takes at most two bytes. `None` for
/// all other headers, valid or not.
fn short_header(input: &[u8]) -> Option<(MessageKind, [u8; 4], usize, usize)> {
    let [first, second, rest @ ..] = input else { return None };
    let kind = match *first {
        WHOLE_TEXT => MessageKind::Text,
        WHOLE_BINARY => MessageKind::Binary,
        _ => return None,
    };
    match *second {
        short @ 0x80..=0xFD => {
            let key = rest.first_chunk()?;
            Some((kind, *key, 6, usize::from(short & 0x7F)))
        }
        0xFE => {
            let [high, low, rest @ ..] = rest else { return None };
            let payload_len = usize::from(u16::from_be_bytes([*high, *low]));
            let key = rest.first_chunk()?;
            (payload_len > 125).then_some((kind, *key, 8, payload_len))
        }
        _ => None,
    }
}

fn apply_and_check(
    fresh: &mut [u8],
    key: [u8; 4],
    phase: usize,
    text: Option<&mut Utf8Tail>,
) -> Result<(), Violation> {
    super::apply_mask(fresh, key, phase);
    match text {
        Some(tail) => tail.feed(fresh).map_err(|NotUtf8| Violation::TextNotUtf8),
        None => Ok(()),
    }
}

const WHOLE_TEXT: u8 = FIN | Opcode::Text as u8;
const WHOLE_BINARY: u8 = FIN | Opcode::Binary as u8;

/// Narrows an offset. The message limit bounds buffers, and the configuration keeps it below 2 GiB.
fn offset(at: usize) -> u32 {
    debug_assert!(u32::try_from(at).is_ok());
    u32::try_from(at).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
