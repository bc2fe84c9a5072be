//! Decoding of frames that go on to another connection: one by one, and long ones as they come.
//!
//! A frame is given as a whole if it is short, or if all of it has arrived. Of a longer one what has
//! arrived is given, and the rest becomes a frame of its own, a continuation: an intermediary that
//! understands every extension in use may split frames (RFC 6455 §5.4). So nothing that is written is
//! ever within a frame between two reads, and control frames can always be sent.

use std::ops::Range;

use super::{
    Decoder, DecoderState, Event, Fragmented, Frame, MessageKind, Progress, Sender,
    apply_and_check, offset,
};
use crate::work::{meter, prices};
use crate::ws::header::{FrameHeader, Opcode, parse_header};
use crate::ws::utf8::NotUtf8;
use crate::ws::violation::Violation;

/// Decodes frames of a connection for another one.
#[derive(Debug)]
pub struct ForwardDecoder<'c> {
    decoder: Decoder<'c>,
    forwarded_bytes: &'c mut u32,
    whole_bytes_max: usize,
}

/// What comes next. Payloads are unmasked but for those of [`ForwardedFrame::mask`], and ranges of the buffer that was passed to
/// [`ForwardDecoder::next`], valid until the caller moves or refills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Forwarded {
    /// A close frame. The payload is parsed by [`parse_close`](crate::ws::parse_close).
    Close(Range<usize>),
    /// A whole message that came compressed (RFC 7692 §6), its fragments joined. UTF-8 is not checked.
    Compressed {
        /// Text or binary.
        kind: MessageKind,
        /// The range of the payload.
        payload: Range<usize>,
    },
    /// A frame of an uncompressed message, or a part of one.
    Frame(ForwardedFrame),
    /// A fragment of a compressed message, which stays in the buffer until the message is whole.
    Kept,
    /// A ping, to be answered with the same payload.
    Ping(Range<usize>),
    /// A pong.
    Pong(Range<usize>),
}

/// A frame of an uncompressed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForwardedFrame {
    /// Text, binary, or a continuation.
    pub opcode: Opcode,
    /// Whether this is the last frame of its message.
    pub fin: bool,
    /// The range of the payload.
    pub payload: Range<usize>,
    /// The key that the payload is still masked with, or zeros: binary is not looked at, and what masks it anew
    /// does both at once.
    pub mask: [u8; 4],
    /// The header of what is yet to come of a long frame, of which nothing else is in the buffer: once
    /// the payload is written, it takes the place of all that is there.
    pub rest: Option<FrameHeader>,
}

impl<'c> ForwardDecoder<'c> {
    /// A decoder that continues from `state`, `progress` and `forwarded_bytes`, which counts the bytes
    /// of the message that has begun. Messages of clients have at most `message_bytes_max` bytes. Frames
    /// of up to `whole_bytes_max` are given as a whole only, and others in parts of at least that, but
    /// for the last one.
    pub fn new(
        sender: Sender,
        state: &'c mut DecoderState,
        progress: &'c mut Progress,
        forwarded_bytes: &'c mut u32,
        (message_bytes_max, whole_bytes_max): (usize, usize),
    ) -> Self {
        let decoder = Decoder::new(state, progress, message_bytes_max);
        Self { decoder: Decoder { sender, ..decoder }, forwarded_bytes, whole_bytes_max }
    }

    /// As [`Decoder::taking_compressed`].
    #[must_use]
    pub fn taking_compressed(self, takes_compressed: bool) -> Self {
        Self { decoder: self.decoder.taking_compressed(takes_compressed), ..self }
    }

    /// What comes next in `input`, which is all of the buffer that is filled; `None` if more bytes must
    /// arrive first.
    ///
    /// # Errors
    /// As [`Decoder::next`].
    pub fn next(&mut self, input: &mut [u8]) -> Result<Option<Forwarded>, Violation> {
        if self.decoder.sender == Sender::Client
            && let Some((kind, payload)) = self.decoder.next_short(input)?
        {
            let opcode = kind.opcode();
            let frame = ForwardedFrame { opcode, fin: true, payload, mask: UNMASKED, rest: None };
            return Ok(Some(Forwarded::Frame(frame)));
        }
        let frame_at = self.decoder.progress.frame_at as usize;
        let Some((header, header_len)) = parse_header(input.get(frame_at..).unwrap_or(&[]))? else {
            return Ok(None);
        };
        let is_of_compressed =
            self.decoder.state.fragmented.is_some_and(Fragmented::is_compressed) || header.rsv1;
        if header.opcode.is_control() || is_of_compressed {
            let frame = self.decoder.next_frame(input)?;
            return Ok(frame.map(|frame| match frame {
                Frame::Event(Event::Close(payload)) => Forwarded::Close(payload),
                Frame::Event(Event::Message { kind, payload, .. }) => {
                    Forwarded::Compressed { kind, payload }
                }
                Frame::Event(Event::Ping(payload)) => Forwarded::Ping(payload),
                Frame::Event(Event::Pong(payload)) => Forwarded::Pong(payload),
                Frame::Fragment => Forwarded::Kept,
            }));
        }
        let frame = self.next_data(&header, frame_at + header_len, input)?;
        Ok(frame.map(Forwarded::Frame))
    }

    /// Whether all of `input` is decoded.
    #[must_use]
    pub fn is_through(&self, input: &[u8]) -> bool {
        self.decoder.is_through(input)
    }

    /// The frame with this header, whose payload begins at `payload_at`.
    fn next_data(
        &mut self,
        header: &FrameHeader,
        payload_at: usize,
        input: &mut [u8],
    ) -> Result<Option<ForwardedFrame>, Violation> {
        let Self { decoder, forwarded_bytes, whole_bytes_max } = self;
        let key = decoder.check(header, **forwarded_bytes as usize)?;
        let payload_len = usize::try_from(header.payload_len).unwrap_or(usize::MAX);
        let arrived = payload_len.min(input.len() - payload_at);
        let mut mask = key;
        let seen = decoder.progress.unmasked as usize;
        if let Some(tail) = decoder.text_tail(header) {
            let fresh = input.get_mut(payload_at + seen..payload_at + arrived).unwrap_or_default();
            apply_and_check(fresh, key, seen, Some(tail))?;
            mask = UNMASKED;
        }
        let is_whole = arrived == payload_len;
        if !is_whole && (payload_len <= *whole_bytes_max || arrived < *whole_bytes_max) {
            decoder.progress.unmasked = if mask == UNMASKED { offset(arrived) } else { 0 };
            return Ok(None);
        }
        let kind = match header.opcode {
            Opcode::Text => Fragmented::Text,
            Opcode::Continuation => decoder.state.fragmented.unwrap_or(Fragmented::Binary),
            Opcode::Binary | Opcode::Close | Opcode::Ping | Opcode::Pong => Fragmented::Binary,
        };
        let fin = is_whole && header.fin;
        if fin && kind == Fragmented::Text {
            decoder.state.utf8.finish().map_err(|NotUtf8| Violation::TextNotUtf8)?;
        }
        decoder.state.fragmented = (!fin).then_some(kind);
        let before = if fin { 0 } else { **forwarded_bytes };
        let added = if fin { 0 } else { u32::try_from(arrived).unwrap_or(u32::MAX) };
        **forwarded_bytes = before.saturating_add(added);
        decoder.progress.unmasked = 0;
        decoder.progress.frame_at = offset(payload_at + arrived);
        meter::spend(prices::FRAME);
        let rest = (!is_whole).then(|| header.rest_after(arrived));
        let payload = payload_at..payload_at + arrived;
        Ok(Some(ForwardedFrame { opcode: header.opcode, fin, payload, mask, rest }))
    }
}

/// The key that changes nothing.
const UNMASKED: [u8; 4] = [0; 4];

#[cfg(test)]
mod tests;
