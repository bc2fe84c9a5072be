//! Several publications that came to the same members at once: the frames behind each other are one
//! piece of output, so that a member is looked at once and not for each of them.

use super::Flags;
use super::pushed::{Form, Pushed};
use crate::pool::{Backlog, OutQueue};
use crate::services::RouteOptions;
use crate::ws::EncodedFrame;

/// Frames on their way to any number of connections.
#[derive(Debug)]
pub(super) struct Volley {
    /// Each by itself, for whom they cannot be given together.
    pub(super) alone: Vec<Pushed>,
    messages_max: Option<usize>,
    /// Compression would take at least one of them.
    is_worth_deflating: bool,
    websocket: Option<Form>,
    /// All of them as lines; none where one is binary.
    lines: Option<Option<Form>>,
}

impl Volley {
    /// Frames for connections of a route with these options.
    pub(super) fn new<'f>(
        frames: impl Iterator<Item = &'f EncodedFrame>,
        options: &RouteOptions,
    ) -> Self {
        let alone: Vec<Pushed> = frames.map(|frame| Pushed::new(frame.clone(), options)).collect();
        let bytes_min = options.deflate.map_or(usize::MAX, |deflate| deflate.bytes_min);
        Self {
            messages_max: options.backlog_messages_max,
            is_worth_deflating: alone.iter().any(|own| own.frame().payload().len() >= bytes_min),
            alone,
            websocket: None,
            lines: None,
        }
    }

    /// The form for a recipient with these flags; `None` if it takes them one by one.
    #[inline]
    pub(super) fn form(&mut self, flags: Flags, backlog: &mut Backlog) -> Option<Form> {
        if flags.has(Flags::LINES) {
            *self.lines.get_or_insert_with(|| in_lines(&self.alone, backlog))
        } else if self.is_worth_deflating && !flags.is_plain() {
            None
        } else {
            Some(
                *self
                    .websocket
                    .get_or_insert_with(|| in_a_row(self.alone.iter().map(Pushed::frame), backlog)),
            )
        }
    }

    /// Whether a queue takes all of them without coming to a mark.
    #[inline]
    pub(super) fn has_room(
        &self,
        queue: &OutQueue,
        form: Form,
        bytes_max: usize,
        backlog: &Backlog,
    ) -> bool {
        let are_too_many = |messages_max: usize| match messages_max.checked_sub(self.alone.len()) {
            Some(room) => backlog.holds(queue, room + 1),
            None => true,
        };
        queue.bytes() + form.frame_bytes <= bytes_max
            && !self.messages_max.is_some_and(are_too_many)
    }

    /// All forms that were made.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> {
        [self.websocket, self.lines.flatten()].into_iter().flatten()
    }
}

fn in_lines(alone: &[Pushed], backlog: &mut Backlog) -> Option<Form> {
    let lines: Option<Vec<EncodedFrame>> = alone.iter().map(|own| own.frame().to_line()).collect();
    lines.map(|lines| in_a_row(lines.iter(), backlog))
}

fn in_a_row<'f>(
    frames: impl Iterator<Item = &'f EncodedFrame> + Clone,
    backlog: &mut Backlog,
) -> Form {
    let ends = frames.clone().scan(0, |end, frame| {
        *end += u32::try_from(frame.as_bytes().len()).unwrap_or(u32::MAX);
        Some(*end)
    });
    let ends = ends.collect();
    Form::share_in_a_row(EncodedFrame::in_a_row(frames), ends, backlog)
}
