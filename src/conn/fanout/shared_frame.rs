//! A frame on its way to any number of connections, in the encodings that they need.

use crate::conn::slot::Conn;
use crate::effects::RouteOptions;
use crate::metrics::Counters;
use crate::output::{DeflateOptions, Framing, MessageCompressor};
use crate::pool::{Backlog, FrameId};
use crate::ws::{DeflateTerms, EncodedFrame};

/// A frame that is being pushed. Each encoding is made for the first recipient that needs it and
/// shared by all on this loop who do.
#[derive(Debug)]
pub(crate) struct SharedFrame {
    frame: EncodedFrame,
    /// The route's bound on the messages that wait for one connection.
    pub(crate) messages_max: Option<usize>,
    deflate: Option<DeflateOptions>,
    websocket: Option<FrameEncoding>,
    line: Option<FrameEncoding>,
    /// For the first window sizes that recipients have; `None` where compressing is not worth it.
    compressed: Vec<(DeflateTerms, Option<FrameEncoding>)>,
    /// Recipients for whom the frame need not be compressed because it was for another.
    shared: u64,
}

/// One encoding of a pushed frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct FrameEncoding {
    pub(crate) id: FrameId,
    pub(crate) frame_bytes: usize,
}

impl FrameEncoding {
    fn share(frame: EncodedFrame, backlog: &mut Backlog) -> Self {
        Self::share_batch(frame, Box::default(), backlog)
    }

    /// Several frames as one encoding; `ends` are where each of them ends.
    pub(crate) fn share_batch(
        frame: EncodedFrame,
        ends: Box<[u32]>,
        backlog: &mut Backlog,
    ) -> Self {
        let frame_bytes = frame.as_bytes().len();
        Self { id: backlog.share_batch(frame, ends), frame_bytes }
    }
}

impl SharedFrame {
    /// A frame for connections of a route with these options.
    pub(crate) fn new(frame: EncodedFrame, options: &RouteOptions) -> Self {
        Self {
            frame,
            messages_max: options.backlog_messages_max,
            deflate: options.deflate,
            websocket: None,
            line: None,
            compressed: Vec::new(),
            shared: 0,
        }
    }

    /// The frame as it was published.
    pub(crate) fn frame(&self) -> &EncodedFrame {
        &self.frame
    }

    /// The encoding that most recipients need most of the time: neither lines nor compressed, and
    /// made for another already.
    #[inline]
    pub(crate) fn plain_encoding<S>(&self, conn: &Conn<S>) -> Option<FrameEncoding> {
        if conn.is_plain() { self.websocket } else { None }
    }

    /// The encoding for the recipient in `slot`; `None` if there is none that it
    /// understands.
    #[inline(never)]
    pub(crate) fn encoding<S>(
        &mut self,
        conn: &Conn<S>,
        slot: u32,
        compressor: &mut MessageCompressor,
        backlog: &mut Backlog,
    ) -> Option<FrameEncoding> {
        match conn.framing(self.deflate, slot) {
            Framing::Lines => {
                if self.line.is_none() {
                    self.line = Some(FrameEncoding::share(self.frame.to_line()?, backlog));
                }
                self.line
            }
            Framing::Deflate(terms, context) => {
                let compressed = self.compressed_encoding(terms, compressor, backlog);
                if context.is_some() && compressed.is_some() {
                    // It refers back to nothing, so all can share it. Their windows hold it from
                    // now on and ours do not, so nothing may refer back beyond it; and should it be
                    // dropped from the queue, nothing that follows misses it.
                    compressor.forget(slot);
                }
                compressed.or_else(|| self.websocket_encoding(backlog))
            }
            Framing::WebSocket => self.websocket_encoding(backlog),
        }
    }

    fn websocket_encoding(&mut self, backlog: &mut Backlog) -> Option<FrameEncoding> {
        let make = || FrameEncoding::share(self.frame.clone(), backlog);
        Some(*self.websocket.get_or_insert_with(make))
    }

    fn compressed_encoding(
        &mut self,
        terms: DeflateTerms,
        compressor: &mut MessageCompressor,
        backlog: &mut Backlog,
    ) -> Option<FrameEncoding> {
        if let Some((_, encoding)) = self.compressed.iter().find(|(known, _)| *known == terms) {
            self.shared += u64::from(encoding.is_some());
            return *encoding;
        }
        if self.compressed.len() >= COMPRESSED_MAX {
            // Not once more for the window of a few: one that is compressed for a smaller window
            // serves them as well, and otherwise they get it as it is.
            let smaller = self.compressed.iter().filter(|(known, encoding)| {
                known.window_bits < terms.window_bits && encoding.is_some()
            });
            let best = smaller.max_by_key(|(known, _)| known.window_bits);
            self.shared += u64::from(best.is_some());
            return best.and_then(|(_, encoding)| *encoding);
        }
        let payload = compressor.compress(self.frame.payload(), terms, None);
        let key = self.frame.conflation_key();
        let frame = payload
            .map(|payload| EncodedFrame::compressed(self.frame.kind(), payload).conflated_by(key));
        let encoding = frame.map(|frame| FrameEncoding::share(frame, backlog));
        self.compressed.push((terms, encoding));
        encoding
    }

    /// Ends the sharing of its encodings: each is freed when its last recipient has it.
    pub(crate) fn release(&self, backlog: &mut Backlog, counters: &Counters) {
        if self.shared > 0 {
            counters.deflated_shared.add(self.shared);
        }
        for encoding in self.encodings() {
            backlog.release(encoding.id);
        }
    }

    /// All encodings that were made.
    fn encodings(&self) -> impl Iterator<Item = FrameEncoding> + '_ {
        let compressed = self.compressed.iter().filter_map(|(_, encoding)| *encoding);
        [self.websocket, self.line].into_iter().flatten().chain(compressed)
    }
}

/// Window sizes that a publication is compressed for, of the seven that clients may ask for.
const COMPRESSED_MAX: usize = 2;
