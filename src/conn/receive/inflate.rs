//! Incoming compressed messages: each is unpacked, once it is whole, into a buffer of the pool.
//! What a connection's next message may refer back to is kept, where that was agreed.

use crate::metrics::Counters;
use crate::output::{ContextKey, Contexts};
use crate::pool::{Buffers, OverBudget};
use crate::timer::Millis;
use crate::ws::{DECOMPRESSOR_BYTES, Filled, Inflater, MessageKind, Utf8Tail, Violation};

/// The decompressor of one loop, and what it came to.
#[derive(Debug, Default)]
pub(in crate::conn) struct MessageInflater {
    inflater: Inflater,
    contexts: Contexts,
    /// Messages inflated so far.
    messages: u64,
    /// Their bytes before.
    bytes_in: u64,
    /// Their bytes afterwards.
    bytes_out: u64,
}

/// What was agreed about the messages of a connection.
#[derive(Clone, Copy, Debug)]
pub(in crate::conn) struct InflateTerms {
    message_bytes_max: usize,
    context: Option<ContextKey>,
}

impl InflateTerms {
    /// Messages of at most `message_bytes_max` bytes. With a context, they may refer back to what
    /// the connection sent before.
    #[inline]
    pub(super) fn new(message_bytes_max: usize, context: Option<ContextKey>) -> Self {
        Self { message_bytes_max, context }
    }
}

/// A decompressed message. The buffer is to be given back.
#[derive(Debug)]
pub(in crate::conn) struct Inflated {
    buffer: Vec<u8>,
    len: usize,
    work_bytes: usize,
}

impl Inflated {
    /// The message.
    pub(super) fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// What it took, in bytes that take as long to inflate.
    pub(super) fn work_bytes(&self) -> usize {
        self.work_bytes
    }

    /// The buffer, to be given back to the pool.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// Why a compressed message cannot be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum NotInflated {
    Broken(Violation),
    /// There is no memory to unpack it into.
    NoRoom,
}

impl From<Violation> for NotInflated {
    fn from(violation: Violation) -> Self {
        Self::Broken(violation)
    }
}

impl From<OverBudget> for NotInflated {
    fn from(_: OverBudget) -> Self {
        Self::NoRoom
    }
}

impl MessageInflater {
    /// Unpacks a message. Its memory grows with what comes out, up to the limit; what would come
    /// out beyond is never made. With a context, it may refer back to those before it.
    pub(in crate::conn) fn inflate(
        &mut self,
        payload: &[u8],
        kind: MessageKind,
        terms: InflateTerms,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<Inflated, NotInflated> {
        let InflateTerms { message_bytes_max, context } = terms;
        let likely_bytes = payload.len().saturating_mul(LIKELY_RATIO).min(message_bytes_max);
        let mut buffer = buffers.take(likely_bytes, now)?;
        let dictionary_bytes = context.map_or(0, |context| self.contexts.dictionary(context).len());
        let filled = self.fill(payload, &mut buffer, terms, buffers, now).and_then(|len| {
            if kind == MessageKind::Text && !is_utf8(&buffer[..len]) {
                return Err(Violation::TextNotUtf8.into());
            }
            if let Some(context) = context {
                let before = self.contexts.bytes();
                let wanted = self.contexts.bytes_wanted(context, len);
                buffers.charge(wanted)?;
                self.contexts.remember(context, &buffer[..len], now);
                buffers.discharge(before + wanted - self.contexts.bytes());
            }
            Ok(len)
        });
        match filled {
            Ok(len) => {
                self.messages += 1;
                self.bytes_in += payload.len() as u64;
                self.bytes_out += len as u64;
                Ok(Inflated {
                    buffer,
                    len,
                    work_bytes: len + dictionary_bytes / DICTIONARY_COST_RATIO,
                })
            }
            Err(error) => {
                buffers.give(buffer);
                Err(error)
            }
        }
    }

    fn fill(
        &mut self,
        payload: &[u8],
        buffer: &mut Vec<u8>,
        terms: InflateTerms,
        buffers: &mut Buffers,
        now: Millis,
    ) -> Result<usize, NotInflated> {
        let InflateTerms { message_bytes_max, context } = terms;
        if self.inflater.bytes() == 0 {
            buffers.charge(DECOMPRESSOR_BYTES)?;
        }
        let dictionary = context.map_or(&[][..], |context| self.contexts.dictionary(context));
        let mut inflating = self.inflater.start(payload, dictionary, now);
        let mut len = 0;
        loop {
            // Sizes are rounded up, the limit is not.
            let room_end = buffer.len().min(message_bytes_max);
            if let Filled::Whole(count) = inflating.fill(&mut buffer[len..room_end])? {
                return Ok(len + count);
            }
            len = room_end;
            if len < message_bytes_max {
                buffers.grow(buffer, message_bytes_max)?;
                continue;
            }
            // Only a byte that would go over the limit tells a message that reached it from one
            // that goes on.
            return match inflating.fill(&mut [0])? {
                Filled::Whole(0) => Ok(len),
                Filled::Whole(_) | Filled::Full => Err(Violation::MessageTooBig.into()),
            };
        }
    }

    /// The connection in `slot` is no more: what it sent is forgotten.
    pub(in crate::conn) fn forget(&mut self, slot: u32, buffers: &mut Buffers) {
        buffers.discharge(self.contexts.forget(slot));
    }

    /// Frees the decompressor if it was not used in the last `idle_ms`. Gives the moment to ask
    /// again, if there is anything to free. What connections sent stays: they may refer back to it
    /// whenever they like.
    pub(in crate::conn) fn trim(
        &mut self,
        now: Millis,
        idle_ms: u64,
        buffers: &mut Buffers,
    ) -> Option<Millis> {
        let before = self.inflater.bytes();
        let due = self.inflater.trim(now, idle_ms);
        if due.is_none() && before > 0 {
            buffers.discharge(before);
        }
        due
    }

    /// Bytes of memory held, apart from buffers.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::conn) fn bytes(&self) -> usize {
        self.inflater.bytes() + self.contexts.bytes()
    }

    /// Brings the counters up to date.
    pub(in crate::conn) fn sample(&self, counters: &Counters) {
        if counters.inflated_messages.value() != self.messages {
            counters.inflated_messages.set(self.messages);
            counters.inflated_bytes_before.set(self.bytes_in);
            counters.inflated_bytes_after.set(self.bytes_out);
        }
    }

    /// What connections may refer back to.
    pub(in crate::conn) fn contexts(&self) -> &Contexts {
        &self.contexts
    }
}

fn is_utf8(bytes: &[u8]) -> bool {
    let mut tail = Utf8Tail::default();
    tail.feed(bytes).and_then(|()| tail.finish()).is_ok()
}

/// What most text comes to, so that the buffer need not grow often.
const LIKELY_RATIO: usize = 4;
/// Times that copying a window is faster than inflating as much.
const DICTIONARY_COST_RATIO: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::SharedBudget;
    use crate::ws::{Compressors, DeflateTerms};

    fn alone(message_bytes_max: usize) -> InflateTerms {
        InflateTerms { message_bytes_max, context: None }
    }

    fn compressed(message: &[u8]) -> Vec<u8> {
        let terms = DeflateTerms { window_bits: 15, level: 6, bytes_min: 0 };
        Compressors::default().compress(message, terms, None).unwrap().to_vec()
    }

    #[test]
    fn a_message_may_reach_the_limit_and_not_pass_it() {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
        let mut message_inflater = MessageInflater::default();
        for limit in [125, 4095, 4096, 4097, 100_000] {
            for len in [limit - 1, limit, limit + 1, 2 * limit] {
                let payload = compressed(&vec![b'a'; len]);
                let kind = MessageKind::Text;
                match message_inflater.inflate(
                    &payload,
                    kind,
                    alone(limit),
                    &mut buffers,
                    Millis(0),
                ) {
                    Ok(inflated) => {
                        assert!(len <= limit);
                        assert_eq!(inflated.buffer[..inflated.len], vec![b'a'; len]);
                        buffers.give(inflated.buffer);
                    }
                    Err(error) => {
                        assert!(len > limit);
                        assert_eq!(error, NotInflated::Broken(Violation::MessageTooBig));
                    }
                }
                assert_eq!(
                    buffers.allocated_bytes(),
                    buffers.free_bytes() + message_inflater.bytes()
                );
            }
        }
    }

    #[test]
    fn text_is_checked_when_it_is_whole() {
        let mut buffers = Buffers::new(SharedBudget::new(1 << 20));
        let mut message_inflater = MessageInflater::default();
        let payload = compressed(&[0xFF; 100]);
        let mut try_as = |kind| {
            message_inflater
                .inflate(&payload, kind, alone(1000), &mut buffers, Millis(0))
                .map(|it| it.len)
        };
        assert_eq!(try_as(MessageKind::Binary), Ok(100));
        assert_eq!(try_as(MessageKind::Text), Err(Violation::TextNotUtf8.into()));
    }

    #[test]
    fn without_memory_there_is_no_message_and_nothing_leaks() {
        let shared = SharedBudget::new(64 << 10);
        let mut buffers = Buffers::new(shared.clone());
        let mut message_inflater = MessageInflater::default();
        let payload = compressed(&vec![0; 1 << 20]);
        let kind = MessageKind::Binary;
        let result =
            message_inflater.inflate(&payload, kind, alone(1 << 20), &mut buffers, Millis(0));
        assert_eq!(result.unwrap_err(), NotInflated::NoRoom);
        drop(buffers);
        assert_eq!(shared.available(), 64 << 10);
    }
}
