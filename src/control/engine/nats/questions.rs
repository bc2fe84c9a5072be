//! What is read of streams, and forgotten: each question is one task that waits for servers.

use std::collections::HashMap;
use std::sync::Arc;

use futures_util::future::join_all;
use serde_json::json;

use super::answers::KeptMessage;
use super::connection::{End, NatsConnection, Patience, Stream};
use super::error::{Failed, Lost};
use crate::channels::remote::{Batch, BrokerError, BrokerEvent, Retention, Span};
use crate::channels::{Position, RECOVERED_MAX};

/// Answers [`BrokerCommand::Read`](crate::channels::remote::BrokerCommand::Read).
pub(super) async fn read(
    nats: Arc<NatsConnection>,
    number: u64,
    channel: Arc<str>,
    retention: Retention,
    span: Span,
) -> Result<BrokerEvent, Lost> {
    let Some((_, stream)) = nats.stream_of(&channel) else {
        return Ok(BrokerEvent::Read(number, Err(BrokerError::Refused)));
    };
    let reading = Reading { nats: &nats, stream, subject: nats.subjects.kept(&channel), retention };
    let batch = unless_full(reading.batch(span).await)?;
    Ok(BrokerEvent::Read(number, batch))
}

/// Answers [`BrokerCommand::Remove`](crate::channels::remote::BrokerCommand::Remove).
pub(super) async fn remove(
    nats: Arc<NatsConnection>,
    number: u64,
    channel: Arc<str>,
) -> Result<BrokerEvent, Lost> {
    let Some((_, stream)) = nats.stream_of(&channel) else {
        return Ok(BrokerEvent::Removed(number, Ok(())));
    };
    let subject = nats.subjects.kept(&channel);
    let removed = match unless_full(marked(&nats, stream, &subject).await)? {
        Ok(None) => Ok(()),
        Ok(Some(mark)) => Ok(nats.purge(stream, &subject, mark).await?),
        Err(refused) => Err(refused),
    };
    Ok(BrokerEvent::Removed(number, removed))
}

/// Has a mark be the last of a subject, unless it keeps nothing.
async fn marked(
    nats: &NatsConnection,
    stream: &Stream,
    subject: &str,
) -> Result<Option<u64>, Failed> {
    let patience = Patience::new(nats, stream);
    loop {
        let Some(last) = nats.last(stream, subject).await? else { return Ok(None) };
        if last.is_mark {
            return Ok(Some(last.sequence));
        }
        // The mark has the place of the last publication, so that the position stays.
        let mark = nats.mark(stream, subject, last.sequence).await?;
        if mark.is_some() {
            return Ok(mark);
        }
        patience.pause().await?;
    }
}

/// A server without room refuses a question. All others it answers, so it is not given up.
fn unless_full<T>(result: Result<T, Failed>) -> Result<Result<T, BrokerError>, Lost> {
    match result {
        Ok(answer) => Ok(Ok(answer)),
        Err(Failed::Full) => Ok(Err(BrokerError::Refused)),
        Err(Failed::Lost(lost)) => Err(lost),
    }
}

/// Answers [`BrokerCommand::Positions`](crate::channels::remote::BrokerCommand::Positions).
pub(super) async fn positions(
    nats: Arc<NatsConnection>,
    number: u64,
    channels: Vec<Arc<str>>,
) -> Result<BrokerEvent, Lost> {
    let mut of_streams: HashMap<usize, Vec<usize>> = HashMap::new();
    for (place, channel) in channels.iter().enumerate() {
        let Some((index, _)) = nats.stream_of(channel) else {
            return Ok(BrokerEvent::Positions(number, Err(BrokerError::Refused)));
        };
        of_streams.entry(index).or_default().push(place);
    }
    let mut found = vec![None; channels.len()];
    for (index, places) in of_streams {
        let Some(stream) = nats.streams.get(index) else { continue };
        let kept = |place: &usize| channels.get(*place).map(|channel| nats.subjects.kept(channel));
        let subjects: Vec<String> = places.iter().filter_map(kept).collect();
        let offsets = match unless_full(offsets(&nats, stream, &subjects).await)? {
            Ok(offsets) => offsets,
            Err(refused) => return Ok(BrokerEvent::Positions(number, Err(refused))),
        };
        for (place, subject) in places.iter().zip(&subjects) {
            let offset = offsets.get(subject).copied().unwrap_or(0);
            if let Some(entry) = found.get_mut(*place) {
                *entry = Some(stream.position(offset));
            }
        }
    }
    let positions: Option<Vec<Position>> = found.into_iter().collect();
    Ok(BrokerEvent::Positions(number, positions.ok_or(BrokerError::Refused)))
}

/// Waits until the server hears what is published in channels that were subscribed before, wherever that is.
pub(super) async fn heard(nats: &NatsConnection, streams: &[usize]) -> Result<(), Lost> {
    nats.caller.round().await?;
    for stream in streams.iter().filter_map(|index| nats.streams.get(*index)) {
        nats.barrier(stream).await?;
    }
    Ok(())
}

/// The offsets of subjects. Those without a message are given a mark.
async fn offsets(
    nats: &NatsConnection,
    stream: &Stream,
    subjects: &[String],
) -> Result<HashMap<String, u64>, Failed> {
    let least = if nats.is_replicated { nats.barrier(stream).await? } else { 0 };
    let patience = Patience::new(nats, stream);
    let mut found = HashMap::new();
    let mut rest: Vec<&String> = subjects.iter().collect();
    loop {
        let question = json!({ "multi_last": &rest });
        let mut answered = Vec::new();
        let take = |subject: &str, kept: KeptMessage| {
            answered.push((subject.to_owned(), kept.offset));
        };
        let end = nats.direct(stream, &question, take).await?;
        let is_behind = |end: &End| end.up_to.is_some_and(|up_to| up_to < least);
        if let Some(end) = end.filter(|end| !is_behind(end)) {
            found.extend(answered);
            if end.pending == 0 {
                rest.retain(|subject| !found.contains_key(*subject));
                // A replica that is behind may have found nothing; then the leader takes no mark.
                let marks = rest.iter().map(|subject| nats.mark(stream, subject, 0));
                for (subject, mark) in rest.iter().zip(join_all(marks).await) {
                    found.extend(mark?.map(|offset| ((*subject).clone(), offset)));
                }
            }
        }
        rest.retain(|subject| !found.contains_key(*subject));
        if rest.is_empty() {
            return Ok(found);
        }
        patience.pause().await?;
    }
}

/// The reading of one channel.
struct Reading<'l> {
    nats: &'l NatsConnection,
    stream: &'l Stream,
    subject: String,
    retention: Retention,
}

impl Reading<'_> {
    async fn batch(&self, span: Span) -> Result<Batch, Failed> {
        let patience = Patience::new(self.nats, self.stream);
        loop {
            let Some(last) = self.nats.last(self.stream, &self.subject).await? else {
                self.nats.mark(self.stream, &self.subject, 0).await?;
                patience.pause().await?;
                continue;
            };
            let batch = match span {
                Span::Nothing => Some(self.ended(&last, &[], true)),
                Span::Latest => {
                    let is_there = !last.is_mark && self.is_fresh(&last);
                    let entries = std::slice::from_ref(&last);
                    Some(self.ended(&last, if is_there { entries } else { &[] }, true))
                }
                Span::After(offset) => self.after(offset, &last).await?,
                Span::All => self.all(&last).await?,
            };
            match batch {
                Some(batch) => return Ok(batch),
                None => patience.pause().await?,
            }
        }
    }

    /// What was published behind an offset; `None` if that cannot be told now.
    async fn after(&self, offset: u64, end: &KeptMessage) -> Result<Option<Batch>, Lost> {
        if offset == 0 || offset >= end.offset {
            return Ok(Some(self.ended(end, &[], offset == end.offset)));
        }
        // The oldest go first: while the message at the offset is there, all behind it are.
        let Some(messages) = self.messages(offset, RECOVERED_MAX + 2).await? else {
            return Ok(None);
        };
        let Some((first, behind)) = messages.split_first() else { return Ok(None) };
        let is_anchored = first.sequence == offset || (first.is_mark && first.offset == offset);
        if !is_anchored || behind.len() > RECOVERED_MAX {
            return Ok(Some(self.ended(end, &[], false)));
        }
        let Some(last) = behind.last().filter(|last| last.sequence >= end.sequence) else {
            return Ok(None);
        };
        // Behind a mark is what was published after the history was removed.
        let is_whole = behind.iter().all(|message| !message.is_mark && self.is_fresh(message));
        Ok(Some(self.ended(last, if is_whole { behind } else { &[] }, is_whole)))
    }

    /// All that is kept; `None` if that cannot be told now.
    async fn all(&self, end: &KeptMessage) -> Result<Option<Batch>, Lost> {
        let Some(messages) = self.messages(1, usize::MAX).await? else { return Ok(None) };
        let Some(last) = messages.last().filter(|last| last.sequence >= end.sequence) else {
            return Ok(None);
        };
        let marked = messages.iter().rposition(|message| message.is_mark);
        let from = marked.map_or(0, |place| place + 1);
        let from = from.max(messages.len().saturating_sub(self.retention.size));
        let kept = messages.iter().skip(from).skip_while(|message| !self.is_fresh(message));
        let kept: Vec<KeptMessage> = kept.cloned().collect();
        Ok(Some(self.ended(last, &kept, true)))
    }

    /// Messages from a sequence on, at most `limit`; `None` if that cannot be told now.
    async fn messages(&self, from: u64, limit: usize) -> Result<Option<Vec<KeptMessage>>, Lost> {
        let mut messages: Vec<KeptMessage> = Vec::new();
        loop {
            let from = messages.last().map_or(from, |last| last.sequence + 1);
            let count = limit.saturating_sub(messages.len()).min(PAGE);
            let question = json!({ "seq": from, "next_by_subj": &self.subject, "batch": count });
            let known = messages.len();
            let take = |_: &str, message| messages.push(message);
            let Some(end) = self.nats.direct(self.stream, &question, take).await? else {
                return Ok(None);
            };
            if end.pending == 0 || messages.len() == known || messages.len() >= limit {
                return Ok(Some(messages));
            }
        }
    }

    fn ended(&self, end: &KeptMessage, messages: &[KeptMessage], is_whole: bool) -> Batch {
        let entry = |message: &KeptMessage| (message.sequence, message.payload.clone());
        let entries = messages.iter().map(entry).collect();
        Batch { position: self.stream.position(end.offset), entries, is_whole }
    }

    fn is_fresh(&self, message: &KeptMessage) -> bool {
        message.at_ms.saturating_add(self.retention.ttl_ms) > self.nats.now_ms()
    }
}

/// Messages in one answer.
const PAGE: usize = 500;
