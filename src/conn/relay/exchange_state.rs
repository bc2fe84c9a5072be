//! What is known of a request that upgrades nothing, from its head to the end of its reply.

use crate::effects::PlainTerms;
use crate::http::{BodyReader, ReplyPassage};

/// A request that upgrades nothing, from its head to the end of its reply.
#[derive(Debug)]
pub(in crate::conn) struct Exchange {
    pub(crate) terms: PlainTerms,
    /// The number of the listener that the client came by.
    pub(crate) listener: u8,
    /// Finds the end of the request's body.
    pub(crate) request: BodyReader,
    /// What the body had brought when it was last begun to be read.
    counted_from: u64,
    /// The reply, once it has begun.
    reply: Option<ReplyBody>,
    /// Whether the client's connection may go on after the reply.
    pub(crate) keeps: bool,
}

/// The body of a reply.
#[derive(Clone, Copy, Debug)]
pub(in crate::conn) struct ReplyBody {
    pub(crate) reader: BodyReader,
    pub(crate) passage: ReplyPassage,
}

impl Exchange {
    pub(super) fn new(terms: PlainTerms, listener: u8) -> Self {
        let request = BodyReader::new(terms.request.framing);
        let keeps = !terms.request.closes;
        Self { terms, listener, request, counted_from: 0, reply: None, keeps }
    }

    /// Whether the head of the reply has gone out.
    pub(in crate::conn) fn has_reply(&self) -> bool {
        self.reply.is_some()
    }

    /// Whether the client's connection goes on once the reply is over.
    pub(in crate::conn) fn goes_on(&self) -> bool {
        let closes = self
            .reply
            .is_none_or(|reply| reply.passage.closes || reply.passage.ends_with_connection());
        self.keeps && self.request.is_done() && !closes
    }

    /// Bytes of the request's body since its client was last begun to be read.
    pub(in crate::conn) fn read_bytes(&self) -> usize {
        let bytes = self.request.received() - self.counted_from;
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    /// The body of the request is read again after a pause: its rate counts from here.
    pub(in crate::conn) fn resume_reading(&mut self) {
        self.counted_from = self.request.received();
    }

    /// The reply has begun.
    pub(super) fn with_reply(self, reply: ReplyBody) -> Self {
        Self { reply: Some(reply), ..self }
    }

    /// The body of the reply, once that has begun.
    pub(super) fn reply_mut(&mut self) -> Option<&mut ReplyBody> {
        self.reply.as_mut()
    }
}
