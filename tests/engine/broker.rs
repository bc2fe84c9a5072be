//! An adapter on a thread of its own, asked and heard by a test.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::thread::{self, JoinHandle};

use tidegate::channels::Position;
use tidegate::channels::remote::{
    Batch, BrokerCommand, BrokerError, BrokerEvent, Placement, Retention, Span,
};
use tidegate::control::engine::{EventSender, event_queue};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use crate::wait::TIMEOUT;

/// The broker as one gateway sees it.
#[derive(Debug)]
pub(crate) struct Broker {
    commands: Option<UnboundedSender<BrokerCommand>>,
    events: Receiver<BrokerEvent>,
    number: Cell<u64>,
    /// What has become of publications, until it is asked for: the order is the adapter's.
    published: RefCell<HashMap<u64, Result<Option<Position>, BrokerError>>>,
    /// The kinds of the last events, for tests that fail.
    last: RefCell<VecDeque<String>>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts an adapter, and does not wait.
    pub(crate) fn start<F: Future<Output = ()>>(
        adapter: impl FnOnce(UnboundedReceiver<BrokerCommand>, EventSender) -> F + Send + 'static,
    ) -> Self {
        let (commands, receiver) = unbounded_channel();
        let (heard, events) = sync_channel(EVENTS_MAX);
        let thread = thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let (sender, mut spoken) = event_queue(EVENTS_MAX);
            // A test that reads no events has the adapter wait, as a slow gateway does.
            let forwarding = thread::spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                while let Some(own) = runtime.block_on(spoken.recv()) {
                    if heard.send(own.event).is_err() {
                        break;
                    }
                }
            });
            runtime.unwrap().block_on(adapter(receiver, sender));
            forwarding.join().unwrap();
        });
        Self {
            commands: Some(commands),
            events,
            number: Cell::new(0),
            published: RefCell::default(),
            last: RefCell::default(),
            thread: Some(thread),
        }
    }

    /// Sends a command.
    pub(crate) fn send(&self, command: BrokerCommand) {
        self.commands.as_ref().unwrap().send(command).unwrap();
    }

    /// A number for a question.
    pub(crate) fn number(&self) -> u64 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// The next event.
    pub(crate) fn event(&self) -> BrokerEvent {
        let Ok(event) = self.events.recv_timeout(TIMEOUT) else {
            panic!("no event comes in time behind {:?}", self.last.borrow());
        };
        let mut last = self.last.borrow_mut();
        last.truncate(LAST_MAX);
        last.push_front(format!("{event:.40?}").chars().take(40).collect());
        event
    }

    /// The next event that is wanted; others are dropped.
    pub(crate) fn wait_for<T>(&self, mut wanted: impl FnMut(BrokerEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = wanted(self.event()) {
                return found;
            }
        }
    }

    /// Whether there is no event to be heard yet.
    pub(crate) fn is_silent(&self) -> bool {
        self.events.try_recv().is_err()
    }

    pub(crate) fn up(&self) {
        self.become_known(&BrokerEvent::Up);
    }

    pub(crate) fn down(&self) {
        self.become_known(&BrokerEvent::Down);
    }

    /// Waits for an event that may take as long as others, which are no part of the test, need to agree.
    fn become_known(&self, wanted: &BrokerEvent) {
        while self.events.recv_timeout(5 * TIMEOUT).expect("an event comes in time") != *wanted {}
    }

    /// Subscribes, and waits until it has.
    pub(crate) fn subscribe(&self, channels: &[&str]) {
        let channels: Vec<Arc<str>> = channels.iter().map(|&channel| channel.into()).collect();
        self.send(BrokerCommand::Subscribe(channels.clone()));
        let mut missing = channels;
        while !missing.is_empty() {
            self.wait_for(|event| {
                let BrokerEvent::Subscribed(channel) = event else { return None };
                missing.retain(|own| *own != channel);
                Some(())
            });
        }
    }

    /// Publishes, and does not wait.
    pub(crate) fn publish_later(
        &self,
        channel: &str,
        retention: Option<Retention>,
        payload: &[u8],
        key: Option<&str>,
    ) -> u64 {
        let number = self.number();
        self.send(BrokerCommand::Publish {
            number,
            channel: channel.into(),
            retention,
            payload: payload.to_vec().into(),
            idempotency_key: key.map(Box::from),
        });
        number
    }

    /// The answer to that. Other events before it are dropped, but for other such answers.
    pub(crate) fn published(&self, number: u64) -> Result<Option<Position>, BrokerError> {
        self.outcome(number).expect("the adapter stays up")
    }

    /// As [`Broker::published`]; `None` if the adapter was down before it had an answer.
    pub(crate) fn outcome(&self, number: u64) -> Option<Result<Option<Position>, BrokerError>> {
        if let Some(result) = self.published.borrow_mut().remove(&number) {
            return Some(result);
        }
        self.wait_for(|event| {
            let BrokerEvent::Published(own, result) = event else {
                return (event == BrokerEvent::Down).then_some(None);
            };
            if own == number {
                return Some(Some(result));
            }
            self.published.borrow_mut().insert(own, result);
            None
        })
    }

    /// Publishes what is kept.
    pub(crate) fn publish(&self, channel: &str, retention: Retention, payload: &[u8]) -> Position {
        let number = self.publish_later(channel, Some(retention), payload, None);
        self.published(number).unwrap().unwrap()
    }

    pub(crate) fn read(&self, channel: &str, retention: Retention, span: Span) -> Batch {
        let number = self.number();
        self.send(BrokerCommand::Read { number, channel: channel.into(), retention, span });
        self.wait_for(|event| {
            let BrokerEvent::Read(own, result) = event else { return None };
            (own == number).then_some(result)
        })
        .unwrap()
    }

    pub(crate) fn remove(&self, channel: &str) {
        let number = self.number();
        self.send(BrokerCommand::Remove { number, channel: channel.into() });
        self.wait_for(|event| {
            let BrokerEvent::Removed(own, result) = event else { return None };
            (own == number).then_some(result)
        })
        .unwrap();
    }

    pub(crate) fn positions(&self, channels: &[(&str, Retention)]) -> Vec<Position> {
        let number = self.number();
        let channels = channels.iter().map(|(channel, kept)| (Arc::from(*channel), *kept));
        self.send(BrokerCommand::Positions { number, channels: channels.collect() });
        self.wait_for(|event| {
            let BrokerEvent::Positions(own, result) = event else { return None };
            (own == number).then_some(result)
        })
        .unwrap()
    }

    /// The next publication that is heard.
    pub(crate) fn live(&self) -> (String, Option<Placement>, Vec<u8>) {
        self.wait_for(|event| {
            let BrokerEvent::Live { channel, place, payload } = event else { return None };
            Some((channel.to_string(), place, payload))
        })
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.commands = None;
        // Events that no test wants, so that the adapter comes to its end.
        while self.events.recv_timeout(TIMEOUT).is_ok() {}
        let ended = self.thread.take().unwrap().join();
        if !thread::panicking() {
            ended.unwrap();
        }
    }
}

/// As much as is kept in most tests: for longer than any takes.
pub(crate) fn kept(size: usize) -> Retention {
    Retention { size, ttl_ms: 3_600_000, meta_ttl_ms: 7_200_000 }
}

const EVENTS_MAX: usize = 64;
const LAST_MAX: usize = 9;
