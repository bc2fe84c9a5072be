//! A connection whose streams are there, and questions to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::{HeaderMap, Message};
use bytes::Bytes;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::answers::{
    DirectAnswer, Headers, KIND, KeptMessage, LeaderAnswer, MARK, OFFSET, PublishAnswer,
};
use super::caller::Caller;
use super::error::{Failed, Lost};
use super::stream_options::StreamOptions;
use super::subjects::{Section, Subjects, hash};
use crate::channels::{Epoch, Position};

/// A connection with all its streams.
#[derive(Debug)]
pub(super) struct NatsConnection {
    pub(super) caller: Arc<Caller>,
    pub(super) subjects: Subjects,
    pub(super) streams: Vec<Stream>,
    /// The place of the first stream of a namespace in `streams`.
    pub(super) first_streams: HashMap<String, usize>,
    /// The stream that takes publications with keys once where nothing is kept; `None` if there is none.
    pub(super) keys: Option<Arc<str>>,
    /// Bytes that a message may have, with its headers.
    pub(super) payload_bytes_max: usize,
    /// Whether several servers keep each stream, so that one of them may be behind.
    pub(super) is_replicated: bool,
    /// Whether publications may come by other servers than this one.
    pub(super) is_clustered: bool,
    /// The time of the server when it was asked, in milliseconds since 1970, and when that was.
    pub(super) clock: (u64, Instant),
}

/// One stream.
#[derive(Debug)]
pub(super) struct Stream {
    pub(super) name: String,
    pub(super) beacon: String,
    pub(super) epoch: Epoch,
    /// The highest sequence that this node knows of.
    seen: AtomicU64,
}

impl Stream {
    pub(super) fn new(options: &StreamOptions, subjects: &Subjects, created: &str) -> Self {
        let beacon = subjects.beacon(&options.namespace, options.partition);
        let epoch = Epoch(hash(format!("{}\n{created}", options.name).as_bytes()));
        Self { name: options.name.clone(), beacon, epoch, seen: AtomicU64::new(0) }
    }

    /// The position of a sequence.
    pub(super) fn position(&self, offset: u64) -> Position {
        Position { offset, epoch: self.epoch }
    }

    /// Notes that the stream has come to this sequence.
    pub(super) fn see(&self, sequence: u64) {
        self.seen.fetch_max(sequence, Ordering::Relaxed);
    }
}

impl NatsConnection {
    /// The stream that keeps a channel, with its index; `None` if its namespace keeps nothing.
    pub(super) fn stream_of(&self, channel: &str) -> Option<(usize, &Stream)> {
        let section = Section::of(channel);
        let first = self.first_streams.get(section.namespace)?;
        let index = first + usize::from(self.subjects.partition(section.bucket));
        Some((index, self.streams.get(index)?))
    }

    /// The time there, in milliseconds since 1970.
    pub(super) fn now_ms(&self) -> u64 {
        let (then_ms, then) = self.clock;
        then_ms.saturating_add(u64::try_from(then.elapsed().as_millis()).unwrap_or(u64::MAX))
    }

    /// Waits until the leader of a stream has done what was sent before, over whatever servers, and returns
    /// the last sequence. It is asked to keep a message only behind one that is never reached, so that it
    /// refuses.
    pub(super) async fn barrier(&self, stream: &Stream) -> Result<u64, Lost> {
        let patience = Patience::new(self, stream);
        loop {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Last-Sequence", NEVER);
            let subject = stream.beacon.clone();
            // While the answer is on its way more may be published and seen, which it does not know of.
            let seen = stream.seen.load(Ordering::Relaxed);
            let answer = self.caller.ask(subject, Some(headers), Bytes::new()).await?;
            if let Some(PublishAnswer::LastIs(last)) = PublishAnswer::parse(&answer.payload) {
                if last < seen {
                    let name = &stream.name;
                    return Err(Lost::new(format!(
                        "the stream {name} was replaced, or has lost its end"
                    )));
                }
                stream.see(last);
                return Ok(last);
            }
            patience.pause().await?;
        }
    }

    /// The last message of a subject, from the leader where others may be behind.
    pub(super) async fn last(
        &self,
        stream: &Stream,
        subject: &str,
    ) -> Result<Option<KeptMessage>, Lost> {
        let body = Bytes::from(json!({ "last_by_subj": subject }).to_string());
        let patience = Patience::new(self, stream);
        loop {
            let kind = if self.is_replicated { "STREAM.MSG.GET" } else { "DIRECT.GET" };
            let question = format!("$JS.API.{kind}.{}", stream.name);
            let answer = self.caller.ask(question, None, body.clone()).await?;
            let answer = if self.is_replicated {
                LeaderAnswer::read(&answer.payload)
            } else {
                match direct(&answer) {
                    DirectAnswer::Message(message) => LeaderAnswer::Message(message),
                    DirectAnswer::Nothing => LeaderAnswer::Nothing,
                    DirectAnswer::End { .. } | DirectAnswer::Unavailable => {
                        LeaderAnswer::Unavailable
                    }
                }
            };
            match answer {
                LeaderAnswer::Message(message) => {
                    stream.see(message.sequence);
                    return Ok(Some(message));
                }
                LeaderAnswer::Nothing => return Ok(None),
                LeaderAnswer::Unavailable => patience.pause().await?,
            }
        }
    }

    /// Has a subject keep a mark behind this sequence, whose offset it bears, or behind nothing. Returns its
    /// sequence; `None` if something else is the last, or that cannot be told now.
    pub(super) async fn mark(
        &self,
        stream: &Stream,
        subject: &str,
        behind: u64,
    ) -> Result<Option<u64>, Failed> {
        let mut headers = HeaderMap::new();
        headers.insert(KIND, MARK);
        headers.insert("Nats-Expected-Last-Subject-Sequence", behind.to_string());
        if behind > 0 {
            headers.insert(OFFSET, behind.to_string());
        }
        let answer = self.caller.ask(subject.to_owned(), Some(headers), Bytes::new()).await?;
        match PublishAnswer::parse(&answer.payload) {
            Some(PublishAnswer::Kept(sequence)) => {
                stream.see(sequence);
                Ok(Some(sequence))
            }
            Some(PublishAnswer::Full(_)) => Err(Failed::Full),
            Some(PublishAnswer::LastIs(_) | PublishAnswer::Refused(_)) | None => Ok(None),
        }
    }

    /// Removes what a subject keeps before this sequence.
    pub(super) async fn purge(
        &self,
        stream: &Stream,
        subject: &str,
        before: u64,
    ) -> Result<(), Lost> {
        let question = format!("$JS.API.STREAM.PURGE.{}", stream.name);
        let body = Bytes::from(json!({ "filter": subject, "seq": before }).to_string());
        let patience = Patience::new(self, stream);
        loop {
            let answer = self.caller.ask(question.clone(), None, body.clone()).await?;
            let answer: Value = serde_json::from_slice(&answer.payload).unwrap_or_default();
            if answer["success"].as_bool() == Some(true) {
                return Ok(());
            }
            patience.pause().await?;
        }
    }

    /// Asks a stream directly, and waits for all of the answer; `None` if it cannot tell now.
    pub(super) async fn direct(
        &self,
        stream: &Stream,
        question: &Value,
        mut take: impl FnMut(&str, KeptMessage),
    ) -> Result<Option<End>, Lost> {
        let subject = format!("$JS.API.DIRECT.GET.{}", stream.name);
        let body = Bytes::from(question.to_string());
        let mut answers = self.caller.ask_many(subject, body).await?;
        loop {
            let message = answers.next().await?;
            match direct(&message) {
                DirectAnswer::Message(kept) => {
                    stream.see(kept.sequence);
                    let headers = message.headers.as_ref();
                    let subject = headers.and_then(|headers| headers.text("Nats-Subject"));
                    take(subject.unwrap_or_default(), kept);
                }
                DirectAnswer::End { pending, up_to } => return Ok(Some(End { pending, up_to })),
                DirectAnswer::Nothing => return Ok(Some(End { pending: 0, up_to: None })),
                DirectAnswer::Unavailable => return Ok(None),
            }
        }
    }
}

/// How long a stream that cannot tell now is asked again. Requests without any answer are the caller's
/// concern.
#[derive(Debug)]
pub(super) struct Patience<'s> {
    until: Instant,
    stream: &'s str,
}

impl<'s> Patience<'s> {
    pub(super) fn new(nats: &NatsConnection, stream: &'s Stream) -> Self {
        Self { until: Instant::now() + nats.caller.timeout(), stream: &stream.name }
    }

    /// Waits until it is time to ask again.
    pub(super) async fn pause(&self) -> Result<(), Lost> {
        if Instant::now() >= self.until {
            return Err(Lost::new(format!("the stream {} does not answer", self.stream)));
        }
        sleep(PAUSE).await;
        Ok(())
    }
}

/// How the answer to a direct question ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    /// Messages that did not fit.
    pub(super) pending: u64,
    /// How far the replica was; `None` if it does not tell, as where it found nothing.
    pub(super) up_to: Option<u64>,
}

fn direct(message: &Message) -> DirectAnswer {
    let status = message.status.map(|status| status.as_u16());
    DirectAnswer::read(status, message.headers.as_ref(), &message.payload)
}

impl Headers for HeaderMap {
    fn text(&self, name: &str) -> Option<&str> {
        self.get(name).map(|value| value.as_str())
    }
}

/// Between attempts to ask what cannot tell now.
const PAUSE: Duration = Duration::from_millis(50);
/// A sequence behind which nothing is kept: the largest that all JSON readers take.
const NEVER: &str = "9007199254740991";
