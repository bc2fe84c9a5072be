//! Requests under way on one connection, by the inbox that all their answers come to.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_nats::{Client, HeaderMap, Message};
use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::error::Lost;
use crate::control::engine::decimal::Decimal;

/// Sends requests, and knows whose the answers are.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client,
    inbox: String,
    waiting: Mutex<Waiting>,
    timeout: Duration,
}

#[derive(Debug, Default)]
struct Waiting {
    last: u64,
    by_number: HashMap<u64, Waiter>,
    /// In the order in which they are due. Some are answered by now.
    deadlines: VecDeque<(Instant, u64)>,
}

/// Who waits for an answer.
#[derive(Debug)]
pub(super) enum Waiter {
    /// Who publishes by a stream.
    Publish {
        /// Of the command.
        number: u64,
        /// Which keeps it, if any does.
        stream: Option<usize>,
    },
    /// Who has published where nothing is kept, all by the numbers of their commands.
    Confirm(Vec<u64>),
    /// A question with one answer.
    One(oneshot::Sender<Message>),
    /// A question with several, until it is dropped.
    Many(mpsc::UnboundedSender<Message>),
}

impl Caller {
    pub(super) fn new(client: Client, inbox: String, timeout: Duration) -> Self {
        Self { client, inbox, waiting: Mutex::default(), timeout }
    }

    pub(super) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Requests that are not answered.
    pub(super) fn waiting(&self) -> usize {
        self.lock().by_number.len()
    }

    /// Publishes without an answer.
    pub(super) async fn tell(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<(), Lost> {
        let result = match headers {
            Some(headers) => self.client.publish_with_headers(subject, headers, payload).await,
            None => self.client.publish(subject, payload).await,
        };
        result.map_err(|error| Lost::new(error.to_string()))
    }

    /// Sends a request, whose answers [`Caller::answered`] gives to `waiter`.
    pub(super) async fn send(
        &self,
        waiter: Waiter,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<u64, Lost> {
        let number = {
            let mut waiting = self.lock();
            waiting.last += 1;
            let number = waiting.last;
            waiting.by_number.insert(number, waiter);
            waiting.deadlines.push_back((Instant::now() + self.timeout, number));
            number
        };
        let answer_to = self.own_subject(number);
        let client = &self.client;
        let result = match headers {
            Some(headers) => {
                client.publish_with_reply_and_headers(subject, answer_to, headers, payload).await
            }
            None => client.publish_with_reply(subject, answer_to, payload).await,
        };
        result.map_err(|error| Lost::new(error.to_string()))?;
        Ok(number)
    }

    /// Sends a message to the inbox itself: when it comes back, the server has done all that was sent before.
    pub(super) async fn send_round(&self, waiter: Waiter) -> Result<(), Lost> {
        let number = {
            let mut waiting = self.lock();
            waiting.last += 1;
            let number = waiting.last;
            waiting.by_number.insert(number, waiter);
            waiting.deadlines.push_back((Instant::now() + self.timeout, number));
            number
        };
        self.tell(self.own_subject(number), None, Bytes::new()).await
    }

    /// Waits until the server has done all that was sent before.
    pub(super) async fn round(&self) -> Result<(), Lost> {
        let (sender, receiver) = oneshot::channel();
        self.send_round(Waiter::One(sender)).await?;
        receiver.await.map(drop).map_err(|_| Lost::new("a question was dropped"))
    }

    /// Asks, and waits for the answer.
    pub(super) async fn ask(
        &self,
        subject: String,
        headers: Option<HeaderMap>,
        payload: Bytes,
    ) -> Result<Message, Lost> {
        let (sender, receiver) = oneshot::channel();
        self.send(Waiter::One(sender), subject, headers, payload).await?;
        receiver.await.map_err(|_| Lost::new("a question was dropped"))
    }

    /// Asks what has several answers.
    pub(super) async fn ask_many(
        self: &Arc<Self>,
        subject: String,
        payload: Bytes,
    ) -> Result<Answers, Lost> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let number = self.send(Waiter::Many(sender), subject, None, payload).await?;
        Ok(Answers { caller: Arc::clone(self), number, receiver })
    }

    /// Gives a message of the inbox to who waits for it. What the session itself waits for is returned.
    pub(super) fn answered(&self, message: Message) -> Option<(Waiter, Message)> {
        let (_, number) = message.subject.rsplit_once('.')?;
        let number = number.parse().ok()?;
        let mut waiting = self.lock();
        if let Some(Waiter::Many(sender)) = waiting.by_number.get(&number) {
            // If the question was dropped meanwhile, the answer is not wanted.
            let _ = sender.send(message);
            return None;
        }
        match waiting.by_number.remove(&number)? {
            Waiter::One(sender) => {
                let _ = sender.send(message);
                None
            }
            waiter @ (Waiter::Publish { .. } | Waiter::Confirm(_) | Waiter::Many(_)) => {
                Some((waiter, message))
            }
        }
    }

    /// Whether a request has had no answer for too long. To be asked after all answers that are there were
    /// given out.
    pub(super) fn is_overdue(&self) -> bool {
        let now = Instant::now();
        let mut waiting = self.lock();
        while let Some((deadline, number)) = waiting.deadlines.front().copied() {
            if waiting.by_number.contains_key(&number) {
                return deadline <= now;
            }
            waiting.deadlines.pop_front();
        }
        false
    }

    /// Where the answers to a request come.
    fn own_subject(&self, number: u64) -> String {
        let number = Decimal::new(number);
        let mut subject = String::with_capacity(self.inbox.len() + 1 + number.as_str().len());
        subject.push_str(&self.inbox);
        subject.push('.');
        subject.push_str(number.as_str());
        subject
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The answers to one question. To drop them is to want no more.
#[derive(Debug)]
pub(super) struct Answers {
    caller: Arc<Caller>,
    number: u64,
    receiver: mpsc::UnboundedReceiver<Message>,
}

impl Answers {
    /// The next one.
    pub(super) async fn next(&mut self) -> Result<Message, Lost> {
        self.receiver.recv().await.ok_or_else(|| Lost::new("a question was dropped"))
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.caller.lock().by_number.remove(&self.number);
    }
}
