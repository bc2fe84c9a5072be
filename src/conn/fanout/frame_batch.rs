//! Several publications that came to the same members at once: the frames behind each other are one
//! segment of output, so that a member is looked at once and not for each of them.

use super::shared_frame::{FrameEncoding, SharedFrame};
use super::volume::Volume;
use crate::conn::slot::{Conn, Protocol};
use crate::effects::RouteOptions;
use crate::metrics::Counters;
use crate::pool::{Backlog, OutQueue};
use crate::ws::EncodedFrame;

/// Frames on their way to any number of connections.
#[derive(Debug)]
pub(crate) struct FrameBatch {
    /// Each by itself, for whom they cannot be given together.
    pub(crate) alone: Vec<SharedFrame>,
    messages_max: Option<usize>,
    /// Compression would take at least one of them.
    is_worth_deflating: bool,
    websocket: Option<FrameEncoding>,
    /// All of them as lines; none where one is binary.
    lines: Option<Option<FrameEncoding>>,
}

impl FrameBatch {
    /// Frames for connections of a route with these options.
    pub(crate) fn new<'f>(
        frames: impl Iterator<Item = &'f EncodedFrame>,
        options: &RouteOptions,
    ) -> Self {
        let alone: Vec<SharedFrame> =
            frames.map(|frame| SharedFrame::new(frame.clone(), options)).collect();
        let bytes_min = options.deflate.map_or(usize::MAX, |deflate| deflate.bytes_min);
        Self {
            messages_max: options.backlog_messages_max,
            is_worth_deflating: alone.iter().any(|own| own.frame().payload().len() >= bytes_min),
            alone,
            websocket: None,
            lines: None,
        }
    }

    /// What each member gets.
    pub(crate) fn volume(&self) -> Volume {
        let bytes = self.alone.iter().map(|own| own.frame().payload().len() as u64).sum();
        Volume { messages: self.alone.len() as u64, bytes }
    }

    /// The encoding for this recipient; `None` if it takes them one by one.
    #[inline]
    pub(crate) fn encoding<S>(
        &mut self,
        conn: &Conn<S>,
        backlog: &mut Backlog,
    ) -> Option<FrameEncoding> {
        if conn.protocol == Protocol::Line {
            *self.lines.get_or_insert_with(|| encode_lines(&self.alone, backlog))
        } else if self.is_worth_deflating && !conn.is_plain() {
            None
        } else {
            Some(*self.websocket.get_or_insert_with(|| {
                encode_batch(self.alone.iter().map(SharedFrame::frame), backlog)
            }))
        }
    }

    /// Whether a queue takes all of them without coming to a mark.
    #[inline]
    pub(crate) fn has_room(
        &self,
        queue: &OutQueue,
        encoding: FrameEncoding,
        bytes_max: usize,
        backlog: &Backlog,
    ) -> bool {
        let are_too_many = |messages_max: usize| match messages_max.checked_sub(self.alone.len()) {
            Some(room) => backlog.holds(queue, room + 1),
            None => true,
        };
        queue.bytes() + encoding.frame_bytes <= bytes_max
            && !backlog.is_short()
            && !self.messages_max.is_some_and(are_too_many)
    }

    /// Ends the sharing of its encodings: each is freed when its last recipient has it.
    pub(crate) fn release(&self, backlog: &mut Backlog, counters: &Counters) {
        for frame in &self.alone {
            frame.release(backlog, counters);
        }
        for encoding in [self.websocket, self.lines.flatten()].into_iter().flatten() {
            backlog.release(encoding.id);
        }
    }
}

fn encode_lines(alone: &[SharedFrame], backlog: &mut Backlog) -> Option<FrameEncoding> {
    let lines: Option<Vec<EncodedFrame>> = alone.iter().map(|own| own.frame().to_line()).collect();
    lines.map(|lines| encode_batch(lines.iter(), backlog))
}

fn encode_batch<'f>(
    frames: impl Iterator<Item = &'f EncodedFrame> + Clone,
    backlog: &mut Backlog,
) -> FrameEncoding {
    let ends = frames.clone().scan(0, |end, frame| {
        *end += u32::try_from(frame.as_bytes().len()).unwrap_or(u32::MAX);
        Some(*end)
    });
    let ends = ends.collect();
    FrameEncoding::share_batch(EncodedFrame::batch(frames), ends, backlog)
}
