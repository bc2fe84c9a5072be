//! A frame on its way to any number of connections, in the forms that they need.

use super::Flags;
use super::deflation::Deflation;
use super::outgoing::Framing;
use crate::pool::{Backlog, FrameId};
use crate::services::{DeflateOptions, RouteOptions};
use crate::ws::{DeflateTerms, EncodedFrame};

/// A frame that is being pushed. Each form is made for the first recipient that needs it and
/// shared by all on this loop who do.
#[derive(Debug)]
pub(super) struct Pushed {
    frame: EncodedFrame,
    /// The route's bound on the messages that wait for one connection.
    pub(super) messages_max: Option<usize>,
    deflate: Option<DeflateOptions>,
    websocket: Option<Form>,
    line: Option<Form>,
    /// For each window size that a recipient has; `None` where compressing is not worth it.
    compressed: Vec<(DeflateTerms, Option<Form>)>,
    /// Recipients for whom the frame need not be compressed because it was for another.
    pub(super) shared: u64,
}

/// One form of a pushed frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Form {
    pub(super) id: FrameId,
    pub(super) frame_bytes: usize,
}

impl Form {
    fn share(frame: EncodedFrame, backlog: &mut Backlog) -> Self {
        Self::share_in_a_row(frame, Box::default(), backlog)
    }

    /// As one form, several frames that end there.
    pub(super) fn share_in_a_row(
        frame: EncodedFrame,
        ends: Box<[u32]>,
        backlog: &mut Backlog,
    ) -> Self {
        let frame_bytes = frame.as_bytes().len();
        Self { id: backlog.share_in_a_row(frame, ends), frame_bytes }
    }
}

impl Pushed {
    /// A frame for connections of a route with these options.
    pub(super) fn new(frame: EncodedFrame, options: &RouteOptions) -> Self {
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
    pub(super) fn frame(&self) -> &EncodedFrame {
        &self.frame
    }

    /// The form that most recipients need most of the time: neither lines nor compressed, and made
    /// for another already.
    #[inline]
    pub(super) fn plain_form(&self, flags: Flags) -> Option<Form> {
        if flags.is_plain() { self.websocket } else { None }
    }

    /// The form for the recipient in `slot`, with these flags; `None` if there is none that it
    /// understands.
    #[inline(never)]
    pub(super) fn form(
        &mut self,
        flags: Flags,
        slot: u32,
        deflation: &mut Deflation,
        backlog: &mut Backlog,
    ) -> Option<Form> {
        match Framing::of(flags, self.deflate, slot) {
            Framing::Lines => {
                if self.line.is_none() {
                    self.line = Some(Form::share(self.frame.to_line()?, backlog));
                }
                self.line
            }
            Framing::Deflate(terms, place) => {
                let compressed = self.compressed_form(terms, deflation, backlog);
                if place.is_some() && compressed.is_some() {
                    // It refers back to nothing, so all can share it. Their windows hold it from
                    // now on and ours do not, so nothing may refer back beyond it; and should it be
                    // dropped from the queue, nothing that follows misses it.
                    deflation.forget(slot);
                }
                compressed.or_else(|| self.websocket_form(backlog))
            }
            Framing::WebSocket => self.websocket_form(backlog),
        }
    }

    fn websocket_form(&mut self, backlog: &mut Backlog) -> Option<Form> {
        let make = || Form::share(self.frame.clone(), backlog);
        Some(*self.websocket.get_or_insert_with(make))
    }

    fn compressed_form(
        &mut self,
        terms: DeflateTerms,
        deflation: &mut Deflation,
        backlog: &mut Backlog,
    ) -> Option<Form> {
        if let Some((_, form)) = self.compressed.iter().find(|(known, _)| *known == terms) {
            self.shared += u64::from(form.is_some());
            return *form;
        }
        let payload = deflation.compress(self.frame.payload(), terms, None);
        let frame = payload.map(|payload| EncodedFrame::compressed(self.frame.kind(), payload));
        let form = frame.map(|frame| Form::share(frame, backlog));
        self.compressed.push((terms, form));
        form
    }

    /// All forms that were made.
    pub(super) fn forms(&self) -> impl Iterator<Item = Form> + '_ {
        let compressed = self.compressed.iter().filter_map(|(_, form)| *form);
        [self.websocket, self.line].into_iter().flatten().chain(compressed)
    }
}
