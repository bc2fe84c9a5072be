//! Requests to the scripts.

use std::sync::Arc;

use super::names::Names;
use super::question::Question;
use super::shard::{Pending, Shard};
use crate::channels::remote::{Retention, Span};
use crate::channels::{Epoch, IDEMPOTENCY_MS, RECOVERED_MAX};
use crate::control::engine::decimal::Decimal;

/// Asks on one connection.
pub(super) struct Asking<'s> {
    pub(super) shard: &'s mut Shard,
    pub(super) names: &'s Names,
    pub(super) beat: u32,
    /// Of a stream that has none yet.
    pub(super) epoch: Epoch,
}

impl Asking<'_> {
    /// Publishes by the script.
    pub(super) fn publish(
        self,
        number: u64,
        channel: &str,
        retention: Option<Retention>,
        (payload, idempotency_key): (&[u8], Option<&str>),
    ) {
        let Self { shard, names, beat, epoch } = self;
        let form = retention.map_or(Form::None, Form::of);
        let retention = retention.unwrap_or(Retention { size: 0, ttl_ms: 1, meta_ttl_ms: 1 });
        let (script, live) = (Arc::clone(&shard.scripts.publish), names.live(channel));
        let (meta_key, history_key) = (names.meta(channel), form.key(names, channel));
        let done_key = idempotency_key.map(|key| names.idempotency(channel, key));
        let count: &[u8] = if done_key.is_some() { b"3" } else { b"2" };
        let epoch = epoch.to_string();
        let numbers = [
            Decimal::new(retention.size as u64),
            kept_ms(retention.ttl_ms),
            meta_ms(retention),
            Decimal::new(IDEMPOTENCY_MS),
        ];
        let [size, ttl, meta, done] = numbers.each_ref().map(Decimal::as_bytes);
        let mut parts: Vec<&[u8]> = Vec::with_capacity(PUBLISH_PARTS_MAX);
        parts.extend([b"EVALSHA", &*script, count, &meta_key, &history_key]);
        parts.extend(done_key.as_deref());
        parts.extend([epoch.as_bytes(), payload, &live, names.verbs().publish]);
        parts.extend([form.name(), size, ttl, meta, done]);
        shard.ask(&parts, Pending::Question(Question::Publish(number)), beat);
    }

    /// Reads a position, and what is kept.
    pub(super) fn read(self, number: u64, channel: &str, retention: Retention, span: Span) {
        let Self { shard, names, beat, epoch } = self;
        let form = Form::of(retention);
        let (script, meta_key) = (Arc::clone(&shard.scripts.read), names.meta(channel));
        let history_key = form.key(names, channel);
        let (mode, argument): (&[u8], String) = match span {
            Span::Nothing => (b"last", "0".to_owned()),
            Span::Latest => (b"last", "1".to_owned()),
            Span::All => (b"last", retention.size.to_string()),
            // No offset is above that, which a number of a script can be.
            Span::After(offset) => (b"after", offset.min(1 << 53).to_string()),
        };
        let (epoch, meta, most) =
            (epoch.to_string(), meta_ms(retention), RECOVERED_MAX.to_string());
        let parts: [&[u8]; 11] = [
            b"EVALSHA",
            &script,
            b"2",
            &meta_key,
            &history_key,
            epoch.as_bytes(),
            meta.as_bytes(),
            form.name(),
            mode,
            argument.as_bytes(),
            most.as_bytes(),
        ];
        let question = Question::Read { number, span, size: retention.size };
        shard.ask(&parts, Pending::Question(question), beat);
    }

    /// Forgets what is kept.
    pub(super) fn remove(self, number: u64, channel: &str) {
        let (list, stream) = (self.names.list(channel), self.names.stream(channel));
        let pending = Pending::Question(Question::Remove(number));
        self.shard.ask(&[b"UNLINK", &list, &stream], pending, self.beat);
    }

    /// Reads the positions of channels of one slot.
    pub(super) fn positions<'c>(
        self,
        number: u64,
        indexes: Vec<usize>,
        channels: impl Iterator<Item = (&'c str, Retention)>,
    ) {
        let Self { shard, names, beat, epoch } = self;
        let (keys, times): (Vec<Vec<u8>>, Vec<Decimal>) =
            channels.map(|(channel, retention)| (names.meta(channel), meta_ms(retention))).unzip();
        let (script, epoch) = (Arc::clone(&shard.scripts.positions), epoch.to_string());
        let count = keys.len().to_string();
        let mut parts: Vec<&[u8]> = vec![b"EVALSHA", &script, count.as_bytes()];
        parts.extend(keys.iter().map(|key| &**key));
        parts.push(epoch.as_bytes());
        parts.extend(times.iter().map(Decimal::as_bytes));
        let question = Question::Positions { number, indexes };
        shard.ask(&parts, Pending::Question(question), beat);
    }
}

/// How the publications of a channel are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    List,
    Stream,
    None,
}

impl Form {
    fn of(retention: Retention) -> Self {
        if retention.size <= LIST_MAX { Self::List } else { Self::Stream }
    }

    fn name(self) -> &'static [u8] {
        match self {
            Self::List => b"list",
            Self::Stream => b"stream",
            Self::None => b"none",
        }
    }

    fn key(self, names: &Names, channel: &str) -> Vec<u8> {
        match self {
            Self::List | Self::None => names.list(channel),
            Self::Stream => names.stream(channel),
        }
    }
}

/// A time that Redis takes.
fn kept_ms(ms: u64) -> Decimal {
    Decimal::new(ms.clamp(1, KEPT_MS_MAX))
}

/// How long the meta of a channel is kept: at least as long as its publications.
fn meta_ms(retention: Retention) -> Decimal {
    kept_ms(retention.meta_ttl_ms.max(retention.ttl_ms))
}

/// Parts of the command that publishes.
const PUBLISH_PARTS_MAX: usize = 15;
/// A list of this length is smaller than a stream, and read from its end as fast.
pub(super) const LIST_MAX: usize = 100;
/// A hundred years: with the time of day it is far from the largest number of a script.
const KEPT_MS_MAX: u64 = 100 * 366 * 86_400_000;
