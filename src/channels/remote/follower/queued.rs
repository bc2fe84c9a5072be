//! Publications that wait until the broker is reached.

use std::collections::VecDeque;

use crate::channels::remote::{EngineAction, EngineQuestion};
use crate::timer::Millis;

/// Publications in the order in which they were asked for, up to a number of bytes and for some time.
#[derive(Debug, Default)]
pub(super) struct Queued {
    /// With the moments until which they wait.
    questions: VecDeque<(Millis, EngineQuestion)>,
    bytes: usize,
}

impl Queued {
    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.questions.is_empty()
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.questions.len()
    }

    /// Bytes that they take.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds one that waits until then, or gives it back if there is no room. It is not on its way while it waits: the
    /// room here is another.
    pub(super) fn push(
        &mut self,
        mut question: EngineQuestion,
        until: Millis,
        bytes_max: usize,
    ) -> Result<(), EngineQuestion> {
        let bytes = held_bytes(&question);
        if bytes > bytes_max.saturating_sub(self.bytes) {
            return Err(question);
        }
        self.bytes += bytes;
        question.charged = None;
        self.questions.push_back((until, question));
        Ok(())
    }

    /// Takes out the oldest.
    pub(super) fn pop(&mut self) -> Option<EngineQuestion> {
        let (_, question) = self.questions.pop_front()?;
        self.bytes -= held_bytes(&question);
        if self.questions.is_empty() {
            self.questions = VecDeque::new();
        }
        Some(question)
    }

    /// Takes out the oldest if its time is over.
    pub(super) fn pop_late(&mut self, now: Millis) -> Option<EngineQuestion> {
        let (until, _) = self.questions.front()?;
        if *until <= now { self.pop() } else { None }
    }
}

/// Bytes that a question takes while it waits.
fn held_bytes(question: &EngineQuestion) -> usize {
    let own = match &question.action {
        EngineAction::Publish { channel, publication, idempotency_key, .. } => {
            let key = idempotency_key.as_ref().map_or(0, |key| key.len());
            channel.len() + publication.held_bytes() + key
        }
        EngineAction::Join { .. }
        | EngineAction::Leave(_)
        | EngineAction::Page { .. }
        | EngineAction::Remove { .. }
        | EngineAction::Member { .. }
        | EngineAction::Presence { .. }
        | EngineAction::Watch(_) => 0,
    };
    size_of::<(Millis, EngineQuestion)>() + own
}
