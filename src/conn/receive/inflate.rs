//! Incoming compressed messages: each is unpacked, once it is whole, into a buffer of the pool.
//! What a connection's next message may refer back to is kept, where that was agreed.
//!
//! A few bytes may unfold to a thousand times as many, or to none at all and take as long. So a
//! message is inflated in pieces, each is charged, and when the connection's share of the turn is
//! used up the message waits for the next one, with its decompressor and a copy of its payload.

use crate::key::ConnKey;
use crate::metrics::Counters;
use crate::output::{ContextKey, Contexts};
use crate::pool::{Buffers, OverBudget};
use crate::shrink::Shrink as _;
use crate::timer::{Millis, Tick};
use crate::work::{Work, prices};
use crate::ws::{
    DECOMPRESSOR_BYTES, FillState, InflateProgress, Inflater, MessageKind, Utf8Tail, Violation,
};

/// The decompressor of one loop, the messages that wait with another, and what it came to.
#[derive(Debug, Default)]
pub(in crate::conn) struct MessageInflater {
    inflater: Inflater,
    contexts: Contexts,
    waiting: Vec<Waiting>,
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
    pub(in crate::conn) fn new(message_bytes_max: usize, context: Option<ContextKey>) -> Self {
        Self { message_bytes_max, context }
    }
}

/// Where memory and work are charged while a message is inflated, and what time it is.
#[derive(Debug)]
pub(in crate::conn) struct Accounts<'a> {
    pub(in crate::conn) memory: &'a mut Buffers,
    pub(in crate::conn) work: &'a mut Work,
    pub(in crate::conn) now: Millis,
}

/// A decompressed message. The buffer is to be given back.
#[derive(Debug)]
pub(in crate::conn) struct Inflated {
    buffer: Vec<u8>,
    len: usize,
    kind: MessageKind,
}

impl Inflated {
    /// Text or binary.
    pub(in crate::conn) fn kind(&self) -> MessageKind {
        self.kind
    }

    /// The message.
    pub(in crate::conn) fn payload_mut(&mut self) -> &mut [u8] {
        &mut self.buffer[..self.len]
    }

    /// The buffer, to be given back to the pool.
    pub(in crate::conn) fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }
}

/// Why a compressed message cannot be had, or not yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::conn) enum NotInflated {
    Broken(Violation),
    /// There is no memory to unpack it into.
    NoRoom,
    /// The share is used up: [`MessageInflater::resume`] goes on with it.
    Waits,
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

/// A message that is being unpacked.
#[derive(Debug)]
struct Unpacking {
    kind: MessageKind,
    terms: InflateTerms,
    progress: InflateProgress,
    /// The first `len` bytes of it have come out.
    output: Vec<u8>,
    len: usize,
}

/// A message whose connection has used up its share.
#[derive(Debug)]
struct Waiting {
    key: ConnKey,
    /// Its decompressor; `None` if it has not begun.
    inflater: Option<Inflater>,
    /// A buffer of the pool whose first `payload_bytes` are the payload.
    payload: Vec<u8>,
    payload_bytes: usize,
    unpacking: Unpacking,
}

impl Waiting {
    fn buffer_bytes(&self) -> usize {
        self.payload.capacity() + self.unpacking.output.capacity()
    }

    /// What it holds, with its decompressor.
    fn bytes(&self) -> usize {
        self.buffer_bytes() + self.inflater.as_ref().map_or(0, Inflater::bytes)
    }
}

impl MessageInflater {
    /// Unpacks a message of a connection that has none that waits. Its memory grows
    /// with what comes out, up to the limit; what would come out beyond is never made. With a
    /// context, it may refer back to those before it.
    pub(in crate::conn) fn inflate(
        &mut self,
        key: ConnKey,
        payload: &[u8],
        kind: MessageKind,
        terms: InflateTerms,
        accounts: &mut Accounts<'_>,
    ) -> Result<Inflated, NotInflated> {
        let likely_bytes = payload.len().saturating_mul(LIKELY_RATIO).min(terms.message_bytes_max);
        let output = accounts.memory.take(likely_bytes, accounts.now)?;
        let progress = InflateProgress::default();
        let mut unpacking = Unpacking { kind, terms, progress, output, len: 0 };
        let is_short = payload.len() <= SHORT_BYTES;
        let may_wait = !is_short || self.begun_count() < BEGUN_MAX;
        if !is_short && self.begun_count() >= BEGUN_MAX {
            return self.wait(key, None, payload, unpacking, accounts);
        }
        let begun = self.begin(&mut unpacking, accounts);
        let stepped = begun
            .and_then(|()| step(&mut self.inflater, payload, &mut unpacking, may_wait, accounts));
        match stepped {
            Ok(true) => self.complete(payload.len(), unpacking, accounts),
            Ok(false) => {
                let inflater = std::mem::take(&mut self.inflater);
                self.wait(key, Some(inflater), payload, unpacking, accounts)
            }
            Err(error) => {
                accounts.memory.give(unpacking.output);
                Err(error)
            }
        }
    }

    /// Goes on with the message of a connection that waits.
    pub(in crate::conn) fn resume(
        &mut self,
        key: ConnKey,
        accounts: &mut Accounts<'_>,
    ) -> Result<Inflated, NotInflated> {
        let index = self.waiting.iter().position(|own| own.key == key);
        let Some(index) = index else { return Err(NotInflated::NoRoom) };
        if self.waiting[index].inflater.is_none() && self.begun_count() >= BEGUN_MAX {
            // Those before it go on first.
            accounts.work.charge(prices::EFFECT);
            return Err(NotInflated::Waits);
        }
        let Waiting { inflater, payload, payload_bytes, mut unpacking, .. } =
            self.waiting.swap_remove(index);
        let mut inflater = match inflater {
            Some(inflater) => inflater,
            None => match self.begin(&mut unpacking, accounts) {
                Ok(()) => std::mem::take(&mut self.inflater),
                Err(error) => {
                    accounts.memory.give(payload);
                    accounts.memory.give(unpacking.output);
                    accounts.memory.holders().set_inflating(key, 0, accounts.now.tick());
                    return Err(error);
                }
            },
        };
        let stepped =
            step(&mut inflater, &payload[..payload_bytes], &mut unpacking, true, accounts);
        if stepped == Ok(false) {
            let inflater = Some(inflater);
            self.push(Waiting { key, inflater, payload, payload_bytes, unpacking }, accounts);
            return Err(NotInflated::Waits);
        }
        accounts.memory.holders().set_inflating(key, 0, accounts.now.tick());
        self.keep_or_free(inflater, accounts.memory);
        accounts.memory.give(payload);
        match stepped {
            Ok(_) => self.complete(payload_bytes, unpacking, accounts),
            Err(error) => {
                accounts.memory.give(unpacking.output);
                Err(error)
            }
        }
    }

    /// Has the loop's decompressor start with a message.
    fn begin(
        &mut self,
        unpacking: &mut Unpacking,
        accounts: &mut Accounts<'_>,
    ) -> Result<(), NotInflated> {
        if self.inflater.bytes() == 0 {
            accounts.memory.charge(DECOMPRESSOR_BYTES)?;
        }
        let dictionary = match unpacking.terms.context {
            Some(context) => self.contexts.dictionary(context),
            None => &[],
        };
        accounts.work.charge(prices::copied_dictionary(dictionary.len()));
        unpacking.progress = self.inflater.start(dictionary, accounts.now);
        Ok(())
    }

    /// Keeps a message for the connection's next share.
    fn wait(
        &mut self,
        key: ConnKey,
        inflater: Option<Inflater>,
        payload: &[u8],
        unpacking: Unpacking,
        accounts: &mut Accounts<'_>,
    ) -> Result<Inflated, NotInflated> {
        match accounts.memory.take(payload.len(), accounts.now) {
            Ok(mut kept) => {
                kept[..payload.len()].copy_from_slice(payload);
                let payload_bytes = payload.len();
                let payload = kept;
                self.push(Waiting { key, inflater, payload, payload_bytes, unpacking }, accounts);
                Err(NotInflated::Waits)
            }
            Err(OverBudget) => {
                if let Some(inflater) = inflater {
                    self.keep_or_free(inflater, accounts.memory);
                }
                accounts.memory.give(unpacking.output);
                Err(NotInflated::NoRoom)
            }
        }
    }

    fn push(&mut self, waiting: Waiting, accounts: &mut Accounts<'_>) {
        let now = accounts.now.tick();
        accounts.memory.holders().set_inflating(waiting.key, waiting.bytes(), now);
        self.waiting.push(waiting);
    }

    /// The loop keeps one decompressor.
    fn keep_or_free(&mut self, inflater: Inflater, memory: &mut Buffers) {
        if self.inflater.bytes() == 0 {
            self.inflater = inflater;
        } else {
            memory.discharge(inflater.bytes());
        }
    }

    /// Checks a message that is unpacked, and remembers it.
    fn complete(
        &mut self,
        payload_bytes: usize,
        unpacking: Unpacking,
        accounts: &mut Accounts<'_>,
    ) -> Result<Inflated, NotInflated> {
        let Unpacking { kind, terms, output: buffer, len, .. } = unpacking;
        let message = &buffer[..len];
        let remembered = if kind == MessageKind::Text && !is_utf8(message) {
            Err(NotInflated::Broken(Violation::TextNotUtf8))
        } else {
            terms.context.map_or(Ok(()), |context| self.remember(context, message, accounts))
        };
        if let Err(error) = remembered {
            accounts.memory.give(buffer);
            return Err(error);
        }
        self.messages += 1;
        self.bytes_in += payload_bytes as u64;
        self.bytes_out += len as u64;
        Ok(Inflated { buffer, len, kind })
    }

    fn remember(
        &mut self,
        context: ContextKey,
        message: &[u8],
        accounts: &mut Accounts<'_>,
    ) -> Result<(), NotInflated> {
        let before = self.contexts.bytes();
        let wanted = self.contexts.bytes_wanted(context, message.len());
        accounts.memory.charge(wanted)?;
        self.contexts.remember(context, message, accounts.now);
        accounts.memory.discharge(before + wanted - self.contexts.bytes());
        Ok(())
    }

    /// Messages that wait with a decompressor of their own.
    fn begun_count(&self) -> usize {
        self.waiting.iter().filter(|own| own.inflater.is_some()).count()
    }

    /// Drops the message of a connection that waits.
    pub(in crate::conn) fn drop_waiting(&mut self, key: ConnKey, memory: &mut Buffers, now: Tick) {
        let Some(index) = self.waiting.iter().position(|own| own.key == key) else { return };
        let Waiting { inflater, payload, unpacking, .. } = self.waiting.swap_remove(index);
        memory.give(payload);
        memory.give(unpacking.output);
        if let Some(inflater) = inflater {
            self.keep_or_free(inflater, memory);
        }
        self.waiting.shrink_if_sparse(BEGUN_MAX);
        memory.holders().set_inflating(key, 0, now);
    }

    /// Connections whose message waits, and what it holds.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::conn) fn waiting(&self) -> impl ExactSizeIterator<Item = (ConnKey, usize)> {
        self.waiting.iter().map(|own| (own.key, own.bytes()))
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
        let waiting = self.waiting.iter().filter_map(|own| own.inflater.as_ref());
        self.inflater.bytes() + waiting.map(Inflater::bytes).sum::<usize>() + self.contexts.bytes()
    }

    /// As [`MessageInflater::bytes`], with the buffers of messages that wait.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::conn) fn recount(&self) -> usize {
        let buffers = self.waiting.iter().map(Waiting::buffer_bytes);
        self.bytes() + buffers.sum::<usize>()
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

/// Inflates until the message is whole, or the share is used up and it may wait. Whether it is whole.
fn step(
    inflater: &mut Inflater,
    payload: &[u8],
    unpacking: &mut Unpacking,
    may_wait: bool,
    accounts: &mut Accounts<'_>,
) -> Result<bool, NotInflated> {
    let message_bytes_max = unpacking.terms.message_bytes_max;
    let Unpacking { progress, output, len, .. } = unpacking;
    loop {
        // Sizes are rounded up, the limit is not.
        let room_end = output.len().min(message_bytes_max).min(*len + PIECE_BYTES_OUT);
        let is_at_limit = *len == message_bytes_max;
        // Only a byte that would go over the limit tells a message that reached it from one that
        // goes on.
        let mut beyond = [0];
        let room = if is_at_limit { &mut beyond } else { &mut output[*len..room_end] };
        let filled = inflater.fill(payload, progress, room, PIECE_BYTES)?;
        accounts.work.charge(prices::inflated(filled.read, filled.written));
        if is_at_limit && filled.written > 0 {
            return Err(Violation::MessageTooBig.into());
        }
        *len += filled.written;
        match filled.state {
            FillState::Whole => return Ok(true),
            FillState::OutputFull if *len == output.len() && *len < message_bytes_max => {
                accounts.memory.grow(output, message_bytes_max)?;
            }
            FillState::OutputFull | FillState::InputUsed => {}
        }
        if may_wait && accounts.work.is_share_used() {
            return Ok(false);
        }
    }
}

fn is_utf8(bytes: &[u8]) -> bool {
    let mut tail = Utf8Tail::default();
    tail.feed(bytes).and_then(|()| tail.finish()).is_ok()
}

/// What most text comes to, so that the buffer need not grow often.
const LIKELY_RATIO: usize = 4;
/// Input between two looks at the share.
const PIECE_BYTES: usize = 4 << 10;
/// Output between two looks at the share.
const PIECE_BYTES_OUT: usize = 256 << 10;
/// A payload that is never kept from being inflated at once while the decompressors are out.
const SHORT_BYTES: usize = 1 << 10;
/// Decompressors that wait with their messages.
const BEGUN_MAX: usize = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::pool::{NOTED_BYTES, SharedBudget};
    use crate::work::WorkLimits;
    use crate::ws::{Compressors, DeflateTerms};

    /// An inflater with what it is charged to.
    struct Own {
        inflater: MessageInflater,
        memory: Buffers,
        work: Work,
        share: u64,
    }

    impl Own {
        fn new(pool_bytes: usize, share: u64) -> (Self, SharedBudget) {
            let pool = SharedBudget::new(pool_bytes);
            let memory = Buffers::new(pool.clone());
            let inflater = MessageInflater::default();
            (Self { inflater, memory, work: Work::new(WorkLimits::default()), share }, pool)
        }

        /// Calls the inflater with a share of its own; the message, copied.
        fn with_share(
            &mut self,
            call: impl FnOnce(&mut MessageInflater, &mut Accounts<'_>) -> Result<Inflated, NotInflated>,
        ) -> Result<Vec<u8>, NotInflated> {
            self.work = Work::new(WorkLimits { turn: 0, share: self.share });
            let Self { inflater, memory, work, .. } = self;
            let mut accounts = Accounts { memory, work, now: Millis(0) };
            let inflated = call(inflater, &mut accounts);
            inflated.map(|mut inflated| {
                let message = inflated.payload_mut().to_vec();
                self.memory.give(inflated.into_buffer());
                message
            })
        }

        fn inflate(
            &mut self,
            index: u32,
            payload: &[u8],
            kind: MessageKind,
            limit: usize,
        ) -> Result<Vec<u8>, NotInflated> {
            let terms = InflateTerms::new(limit, None);
            self.with_share(|inflater, accounts| {
                inflater.inflate(key(index), payload, kind, terms, accounts)
            })
        }

        fn holds_nothing(&self) -> bool {
            self.memory.allocated_bytes() == self.memory.free_bytes() + self.inflater.bytes()
        }
    }

    fn key(index: u32) -> ConnKey {
        ConnKey { index, generation: 1 }
    }

    fn compressed(message: &[u8]) -> Vec<u8> {
        let terms = DeflateTerms { window_bits: 15, level: 6, bytes_min: 0 };
        Compressors::default().compress(message, terms, None).unwrap().to_vec()
    }

    #[test]
    fn a_message_may_reach_the_limit_and_not_pass_it() {
        let (mut own, _) = Own::new(1 << 20, u64::MAX / 2);
        for limit in [125, 4095, 4096, 4097, 100_000] {
            for len in [limit - 1, limit, limit + 1, 2 * limit] {
                let payload = compressed(&vec![b'a'; len]);
                match own.inflate(0, &payload, MessageKind::Text, limit) {
                    Ok(message) => {
                        assert!(len <= limit);
                        assert_eq!(message, vec![b'a'; len]);
                    }
                    Err(error) => {
                        assert!(len > limit);
                        assert_eq!(error, NotInflated::Broken(Violation::MessageTooBig));
                    }
                }
                assert!(own.holds_nothing());
            }
        }
    }

    #[test]
    fn text_is_checked_when_it_is_whole() {
        let (mut own, _) = Own::new(1 << 20, u64::MAX / 2);
        let payload = compressed(&[0xFF; 100]);
        let mut try_as = |kind| own.inflate(0, &payload, kind, 1000).map(|message| message.len());
        assert_eq!(try_as(MessageKind::Binary), Ok(100));
        assert_eq!(try_as(MessageKind::Text), Err(Violation::TextNotUtf8.into()));
    }

    #[test]
    fn without_memory_there_is_no_message_and_nothing_leaks() {
        let (mut own, pool) = Own::new(64 << 10, u64::MAX / 2);
        let payload = compressed(&vec![0; 1 << 20]);
        let result = own.inflate(0, &payload, MessageKind::Binary, 1 << 20);
        assert_eq!(result.unwrap_err(), NotInflated::NoRoom);
        drop(own);
        assert_eq!(pool.available(), 64 << 10);
    }

    /// Blocks that yield nothing: what comes out tells nothing of the work.
    fn empty_blocks(bytes: usize) -> Vec<u8> {
        // A stored block without bytes (RFC 1951 §3.2.4), not the last one.
        let mut payload = [0, 0, 0, 0xFF, 0xFF].repeat(bytes / 5);
        payload.push(0);
        payload
    }

    #[test]
    fn blocks_that_yield_nothing_use_up_shares() {
        let share = WorkLimits::default().share;
        let (mut own, _) = Own::new(16 << 20, share);
        let payload = empty_blocks(1 << 20);
        let mut result = own.inflate(7, &payload, MessageKind::Binary, 1 << 20);
        let (mut shares, mut most) = (1, own.work.used());
        while result == Err(NotInflated::Waits) {
            result = own.with_share(|inflater, accounts| inflater.resume(key(7), accounts));
            shares += 1;
            most = most.max(own.work.used());
        }
        assert_eq!(result, Ok(Vec::new()));
        // 20 to 80 ms, by the machine.
        assert!(shares > 60, "{shares}");
        assert!(most <= share + prices::STEP_MAX, "{most}");
        assert!(own.holds_nothing());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

        /// Whatever the shares, and however many connections there are, each message is the one that
        /// was sent, few decompressors are out, and all memory goes back.
        #[test]
        fn messages_that_wait_are_inflated_all_the_same(
            messages in prop::collection::vec(
                (any::<u8>(), prop_oneof![0..3_000usize, 0..100_000usize], any::<bool>()), 1..16,
            ),
            share in prop::sample::select(vec![1, 100_000, 500_000]),
            dropped in any::<prop::sample::Index>(),
        ) {
            let (mut own, pool) = Own::new(64 << 20, share);
            let text = |seed: u8, len: usize, is_noise: bool| -> Vec<u8> {
                let noise = |at: u32| (at ^ u32::from(seed)).wrapping_mul(0x9E37_79B9) >> 11;
                let byte = |at: u32| if is_noise { noise(at).to_le_bytes()[0] } else { seed };
                (0..).take(len).map(byte).collect()
            };
            let sent: Vec<Vec<u8>> =
                messages.iter().map(|(seed, len, is_noise)| text(*seed, *len, *is_noise)).collect();
            let mut waiting = Vec::new();
            for (message, slot) in sent.iter().zip(0..) {
                let mut stream = flate2::Compress::new(flate2::Compression::fast(), false);
                let mut payload = Vec::with_capacity(message.len() * 2 + 100);
                stream.compress_vec(message, &mut payload, flate2::FlushCompress::Finish).unwrap();
                match own.inflate(slot, &payload, MessageKind::Binary, 1 << 20) {
                    Ok(inflated) => prop_assert_eq!(&inflated, message),
                    Err(error) => {
                        prop_assert_eq!(error, NotInflated::Waits);
                        waiting.push(slot);
                    }
                }
                prop_assert!(own.inflater.begun_count() <= BEGUN_MAX);
                for (key, bytes) in own.inflater.waiting() {
                    prop_assert!(bytes < NOTED_BYTES || own.memory.large_holders().inflating(key) == bytes);
                }
            }
            if !waiting.is_empty() {
                let slot = waiting.remove(dropped.index(waiting.len()));
                own.inflater.drop_waiting(key(slot), &mut own.memory, Tick(0));
            }
            let mut rounds = 0;
            while !waiting.is_empty() {
                rounds += 1;
                prop_assert!(rounds < 100_000);
                let mut still = Vec::new();
                for slot in waiting {
                    match own.with_share(|inflater, accounts| inflater.resume(key(slot), accounts)) {
                        Ok(inflated) => prop_assert_eq!(&inflated, &sent[slot as usize]),
                        Err(error) => {
                            prop_assert_eq!(error, NotInflated::Waits);
                            still.push(slot);
                        }
                    }
                    prop_assert!(own.inflater.begun_count() <= BEGUN_MAX);
                }
                waiting = still;
            }
            prop_assert!(own.holds_nothing() && own.memory.holders().is_empty());
            prop_assert_eq!(own.inflater.waiting().len(), 0);
            drop(own);
            prop_assert_eq!(pool.available(), 64 << 20);
        }
    }
}
