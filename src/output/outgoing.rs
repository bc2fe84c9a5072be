//! The output of one connection while its input is handled: the frames that answer one read, gathered
//! so that one write takes them all.

use std::io::IoSlice;
use std::ops::Range;

use super::compress::MessageCompressor;
use super::contexts::ContextKey;
use crate::line::write_line;
use crate::metrics::RouteCounters;
use crate::pool::{SLICES_MAX, SharedBudget};
use crate::shrink::Shrink as _;
use crate::ws::{
    CLIENT_HEADER_BYTES_MAX, CloseRequest, DeflateTerms, EncodedFrame, FrameHeader, Opcode,
    SERVER_HEADER_BYTES_MAX, ServerHeader, read_server_header,
};

/// Frames in the order in which they were added. Headers and small payloads are copied into the cork;
/// a large payload stays in the read buffer, and an entry of `in_place` says where it belongs:
///
/// ```text
///   cork     [h "hi"][h "yo"][header   ][header   ]
///                                      ▲          ▲
///   in_place                           │64 KiB    │20 KiB of the read buffer
/// ```
///
/// The ranges refer to the read buffer of this turn, so the output must be written, or copied to the
/// backlog, before that buffer is read into again.
#[derive(Debug)]
pub(crate) struct Outgoing {
    cork: Vec<u8>,
    in_place: Vec<InPlacePayload>,
    in_place_bytes: usize,
    close: Option<CloseRequest>,
    /// Messages that were added since they were last counted, and the bytes of their payloads.
    messages: u64,
    message_bytes: u64,
    framing: Framing,
    compressor: MessageCompressor,
}

/// How messages to a connection are framed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Framing {
    /// WebSocket, with messages compressed where that makes them shorter. With a context, they may
    /// refer back to earlier ones.
    Deflate(DeflateTerms, Option<ContextKey>),
    /// A line for each text message. Binary messages and control frames have no encoding and are left
    /// out.
    Lines,
    /// WebSocket without compression.
    #[default]
    WebSocket,
}

/// A range of the read buffer that follows the cork's first `cork_until` bytes.
#[derive(Debug)]
struct InPlacePayload {
    cork_until: usize,
    range: Range<usize>,
}

/// One segment of output.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum OutputSegment {
    /// Bytes of the cork.
    Cork(Range<usize>),
    /// Bytes of the read buffer.
    InPlace(Range<usize>),
}

impl Outgoing {
    /// Without output. The memory of its compressor counts against `pool`.
    pub(crate) fn new(pool: SharedBudget) -> Self {
        Self {
            cork: Vec::new(),
            in_place: Vec::new(),
            in_place_bytes: 0,
            close: None,
            messages: 0,
            message_bytes: 0,
            framing: Framing::default(),
            compressor: MessageCompressor::new(pool),
        }
    }

    /// Sets the framing of the connection that is handled next.
    pub(crate) fn set_framing(&mut self, framing: Framing) {
        self.framing = framing;
    }

    /// Notes that what is added next is a message.
    #[inline]
    pub(crate) fn note_message(&mut self, payload_bytes: usize) {
        self.messages += 1;
        self.message_bytes += payload_bytes as u64;
    }

    /// Adds the messages since the last call to the counters of their connection's route.
    #[inline]
    pub(crate) fn count_messages(&mut self, counters: &RouteCounters) {
        if self.messages > 0 {
            counters.messages_out.add(std::mem::take(&mut self.messages));
            counters.message_bytes_out.add(std::mem::take(&mut self.message_bytes));
        }
    }

    /// Adds a frame with a copy of `payload`, in the framing of the connection.
    #[inline]
    pub(crate) fn frame(&mut self, opcode: Opcode, payload: &[u8]) {
        // One comparison on the path of a plain message; the other framings are out of line.
        if self.framing != Framing::WebSocket && self.framed_otherwise(opcode, payload) {
            return;
        }
        self.cork.reserve(SERVER_HEADER_BYTES_MAX + payload.len());
        ServerHeader::new(opcode, payload.len()).append_to(&mut self.cork);
        self.cork.extend_from_slice(payload);
    }

    /// Adds a frame in another framing than plain WebSocket. Returns `false` if the frame has to be
    /// plain: a control frame, or a message that compression does not make shorter.
    fn framed_otherwise(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        if self.framing == Framing::Lines {
            match opcode {
                Opcode::Text => write_line(payload, &mut self.cork),
                // Noted as a message, and left out.
                Opcode::Binary => self.unnote_message(payload.len()),
                Opcode::Close | Opcode::Continuation | Opcode::Ping | Opcode::Pong => {}
            }
            return true;
        }
        self.compressed_frame(opcode, payload)
    }

    /// Adds the frame compressed, if compression was agreed and makes it shorter. Returns whether it
    /// did.
    fn compressed_frame(&mut self, opcode: Opcode, payload: &[u8]) -> bool {
        let Framing::Deflate(terms, context) = self.framing else { return false };
        // Control frames must not be compressed (RFC 7692 §6).
        if opcode.is_control() {
            return false;
        }
        let Some(payload) = self.compressor.compress(payload, terms, context) else { return false };
        ServerHeader::compressed(opcode, payload.len()).append_to(&mut self.cork);
        self.cork.extend_from_slice(payload);
        true
    }

    /// Adds a frame whose payload is `range` of the read buffer. A short payload is copied all the same;
    /// so is what the framing changes.
    // Always: each echo calls it, and relays beside it.
    #[inline(always)]
    pub(crate) fn frame_in_place(&mut self, opcode: Opcode, payload: &[u8], range: Range<usize>) {
        // Each payload in place makes two slices, its header and itself, and a write takes SLICES_MAX.
        // Without this bound a read full of tiny messages would need hundreds of writes.
        if payload.len() <= COPIED_BYTES_MAX {
            return self.frame(opcode, payload);
        }
        if self.framing != Framing::WebSocket && self.framed_otherwise(opcode, payload) {
            return;
        }
        ServerHeader::new(opcode, payload.len()).append_to(&mut self.cork);
        self.in_place_bytes += range.len();
        self.in_place.push(InPlacePayload { cork_until: self.cork.len(), range });
    }

    /// Adds a frame of another connection with this header: of any kind, masked or not. Where `range` is
    /// given, the payload is that of the read buffer, and is copied only if it is short.
    pub(crate) fn forwarded(
        &mut self,
        header: &FrameHeader,
        payload: &[u8],
        range: Option<Range<usize>>,
    ) {
        self.cork.reserve(CLIENT_HEADER_BYTES_MAX + COPIED_BYTES_MAX.min(payload.len()));
        header.append_to(&mut self.cork);
        match range.filter(|_| payload.len() > COPIED_BYTES_MAX) {
            None => self.cork.extend_from_slice(payload),
            Some(range) => {
                self.in_place_bytes += range.len();
                self.in_place.push(InPlacePayload { cork_until: self.cork.len(), range });
            }
        }
    }

    /// Whether messages may be compressed.
    pub(crate) fn compresses(&self) -> bool {
        matches!(self.framing, Framing::Deflate(..))
    }

    /// Adds a frame that is already encoded.
    pub(crate) fn encoded(&mut self, frame: &EncodedFrame) {
        match self.framing {
            // Not as it is encoded, which is uncompressed: this connection takes it compressed.
            Framing::Deflate(..) => self.frame(frame.kind().opcode(), frame.payload()),
            Framing::WebSocket => self.cork.extend_from_slice(frame.as_bytes()),
            Framing::Lines if frame.is_text() => write_line(frame.payload(), &mut self.cork),
            Framing::Lines => self.unnote_message(frame.payload().len()),
        }
    }

    fn unnote_message(&mut self, payload_bytes: usize) {
        self.messages = self.messages.saturating_sub(1);
        self.message_bytes = self.message_bytes.saturating_sub(payload_bytes as u64);
    }

    /// The compressor of the loop's messages.
    pub(crate) fn compressor(&self) -> &MessageCompressor {
        &self.compressor
    }

    /// As [`Outgoing::compressor`], for publications, which do not pass through this output.
    pub(crate) fn compressor_mut(&mut self) -> &mut MessageCompressor {
        &mut self.compressor
    }

    /// The messages that are gathered and the bytes of their payloads, as they are to be written. Looks
    /// at each of them: nothing is counted on the way in.
    pub(crate) fn traffic(&self) -> (u64, u64) {
        if self.framing == Framing::Lines {
            let lines = memchr::memchr_iter(b'\n', &self.cork).count();
            return (lines as u64, (self.cork.len() - lines) as u64);
        }
        let (mut messages, mut bytes) = (0, 0);
        // The reply to the upgrade comes first, if it is among them.
        let mut at = match self.cork.starts_with(b"HTTP/") {
            true => memchr::memmem::find(&self.cork, b"\r\n\r\n").map_or(0, |end| end + 4),
            false => 0,
        };
        let mut in_place = self.in_place.iter().peekable();
        while let Some((is_message, header_bytes, payload_bytes)) =
            self.cork.get(at..).and_then(read_server_header)
        {
            at += header_bytes;
            if in_place.next_if(|own| own.cork_until == at).is_none() {
                at = at.saturating_add(payload_bytes);
            }
            if is_message {
                messages += 1;
                bytes += payload_bytes as u64;
            }
        }
        (messages, bytes)
    }

    /// The cork, to append bytes that are not frames.
    pub(crate) fn cork(&mut self) -> &mut Vec<u8> {
        &mut self.cork
    }

    /// Records that the service closes the connection. Only the first request counts, as a connection
    /// sends one close frame (RFC 6455 §5.5.1).
    pub(crate) fn request_close(&mut self, request: CloseRequest) {
        self.close.get_or_insert(request);
    }

    /// Whether a close is requested.
    pub(crate) fn wants_close(&self) -> bool {
        self.close.is_some()
    }

    /// Takes the close request. It must be taken before the next connection is handled.
    pub(crate) fn take_close(&mut self) -> Option<CloseRequest> {
        self.close.take()
    }

    /// Bytes gathered.
    pub(crate) fn bytes(&self) -> usize {
        self.cork.len() + self.in_place_bytes
    }

    /// Whether there is nothing to write.
    pub(crate) fn is_empty(&self) -> bool {
        self.cork.is_empty()
    }

    /// The bytes of the cork.
    pub(crate) fn cork_bytes(&self) -> &[u8] {
        &self.cork
    }

    /// The output as segments, from `skip` bytes on.
    pub(crate) fn segments(&self, skip: usize) -> impl Iterator<Item = OutputSegment> + '_ {
        let mut cork_at = 0;
        let mut skip = skip;
        // The cork behind the last payload, as one more entry with nothing in place.
        let last = InPlacePayload { cork_until: self.cork.len(), range: 0..0 };
        self.in_place
            .iter()
            .map(|payload| (payload.cork_until, payload.range.clone()))
            .chain(std::iter::once((last.cork_until, last.range)))
            .flat_map(move |(cork_until, range)| {
                let cork = cork_at..cork_until;
                cork_at = cork_until;
                [OutputSegment::Cork(cork), OutputSegment::InPlace(range)]
            })
            .filter_map(move |segment| {
                let (OutputSegment::Cork(range) | OutputSegment::InPlace(range)) = &segment;
                let skipped = skip.min(range.len());
                skip -= skipped;
                let rest = range.start + skipped..range.end;
                if rest.is_empty() {
                    return None;
                }
                Some(match segment {
                    OutputSegment::Cork(_) => OutputSegment::Cork(rest),
                    OutputSegment::InPlace(_) => OutputSegment::InPlace(rest),
                })
            })
    }

    /// The output from `skip` bytes on, if all of it is in the cork. A single slice goes out with send(2),
    /// which costs less than writev(2).
    pub(crate) fn only_slice(&self, skip: usize) -> Option<&[u8]> {
        if self.in_place.is_empty() { self.cork.get(skip..) } else { None }
    }

    /// Points `slices` at the output from `skip` bytes on, and returns the number of slices. Output that
    /// has more segments than that needs another call.
    pub(crate) fn gather<'b>(
        &'b self,
        read_buffer: &'b [u8],
        skip: usize,
        slices: &mut [IoSlice<'b>; SLICES_MAX],
    ) -> usize {
        let mut count = 0;
        for (slice, segment) in slices.iter_mut().zip(self.segments(skip)) {
            *slice = IoSlice::new(match segment {
                OutputSegment::Cork(range) => &self.cork[range],
                OutputSegment::InPlace(range) => &read_buffer[range],
            });
            count += 1;
        }
        count
    }

    /// The output in one piece.
    pub(crate) fn gathered(&self, read_buffer: &[u8]) -> Vec<u8> {
        let segments = self.segments(0).flat_map(|segment| match segment {
            OutputSegment::Cork(range) => &self.cork[range],
            OutputSegment::InPlace(range) => &read_buffer[range],
        });
        segments.copied().collect()
    }

    /// Removes all output, and frees the cork of an unusually large burst. A close request stays.
    pub(crate) fn clear(&mut self) {
        self.cork.clear();
        self.cork.shrink_if_sparse(CORK_BYTES_KEPT);
        self.in_place.clear();
        self.in_place_bytes = 0;
    }
}

/// Bytes of a payload up to which copying costs less than a slice of its own in the write.
const COPIED_BYTES_MAX: usize = 1024;
/// The capacity that the cork keeps: twice the default of `backlog_high_bytes`, at which a connection's
/// output is flushed.
const CORK_BYTES_KEPT: usize = 128 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive twin copies everything behind each other.
        #[test]
        fn segments_are_the_frames_in_order(
            frames in prop::collection::vec((any::<bool>(), 0..3000usize), 0..20),
            skip in 0..10_000usize,
        ) {
            let read_buffer: Vec<u8> = (0..60_000u32).map(|at| at.to_le_bytes()[0]).collect();
            let mut outgoing = Outgoing::new(SharedBudget::new(0));
            let mut naive = Vec::new();
            let mut at = 0;
            let count = frames.len() as u64;
            for (in_place, len) in frames {
                outgoing.frame(Opcode::Pong, &[]);
                naive.extend_from_slice(ServerHeader::new(Opcode::Pong, 0).as_bytes());
                let range = at..at + len;
                at += len;
                let payload = &read_buffer[range.clone()];
                if in_place {
                    outgoing.frame_in_place(Opcode::Binary, payload, range);
                } else {
                    outgoing.frame(Opcode::Binary, payload);
                }
                naive.extend_from_slice(ServerHeader::new(Opcode::Binary, len).as_bytes());
                naive.extend_from_slice(payload);
            }
            prop_assert_eq!(outgoing.traffic(), (count, at as u64));
            prop_assert_eq!(outgoing.bytes(), naive.len());
            prop_assert_eq!(outgoing.is_empty(), naive.is_empty());
            let skip = skip.min(naive.len());
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let count = outgoing.gather(&read_buffer, skip, &mut slices);
            let written: Vec<u8> =
                slices[..count].iter().flat_map(|slice| slice.to_vec()).collect();
            prop_assert_eq!(&written[..], &naive[skip..]);
        }
    }

    #[test]
    fn the_reply_to_the_upgrade_is_no_message_and_a_line_is_one() {
        let mut outgoing = Outgoing::new(SharedBudget::new(0));
        outgoing.cork().extend_from_slice(b"HTTP/1.1 101 Switching Protocols\r\nA: b\r\n\r\n");
        assert_eq!(outgoing.traffic(), (0, 0));
        outgoing.frame(Opcode::Text, b"hello");
        assert_eq!(outgoing.traffic(), (1, 5));
        outgoing.clear();
        outgoing.set_framing(Framing::Lines);
        outgoing.frame(Opcode::Text, b"one");
        outgoing.frame(Opcode::Text, b"other");
        assert_eq!(outgoing.traffic(), (2, 8));
    }
}
