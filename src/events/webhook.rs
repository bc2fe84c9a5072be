//! Events that wait for a webhook: a bounded queue, in order, and the batches in which they are told.

use std::collections::VecDeque;

use serde::Serialize;

use crate::shrink::Shrink as _;

/// How much waits, and how much is told at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebhookLimits {
    /// Bytes of events that wait, with what each takes in the queue.
    pub waiting_bytes_max: usize,
    /// Events of one request.
    pub batch_events_max: usize,
    /// Bytes of the events of one request; one event is told however long it is.
    pub batch_bytes_max: usize,
}

/// Something that has happened on a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookEvent<'e> {
    /// What it is.
    pub happened: Happened<'e>,
    /// When, in milliseconds since 1970.
    pub at_unix_ms: u64,
}

/// What has happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Happened<'e> {
    /// A connection is open.
    Connected(WebhookClient<'e>),
    /// A connection has ended.
    Disconnected {
        /// The connection.
        client: WebhookClient<'e>,
        /// The code of the close frame, if there was one.
        code: Option<u16>,
        /// Why, as the log has it.
        reason: String,
    },
    /// A channel has its first member.
    Occupied(&'e str),
    /// A channel has no member any more.
    Vacated(&'e str),
}

/// A connection, and what is known of its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookClient<'e> {
    /// The id of the connection.
    pub connection: String,
    /// The user.
    pub user: Option<&'e str>,
    /// The address.
    pub address: Option<String>,
}

/// What has become of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pushed {
    /// It waits, behind others or for others.
    Waits,
    /// It waits, and is the first, or fills a batch: what tells events is to look.
    Wakes,
    /// There is no room for it. Its sequence number is missing, so that who is told sees the hole.
    Lost,
}

/// Events that wait for one webhook. Without any it holds nothing.
#[derive(Debug)]
pub struct WebhookQueue {
    limits: WebhookLimits,
    /// What stands before the events in the body of a request.
    opening: Box<str>,
    waiting: VecDeque<Box<str>>,
    /// Bytes of those that wait.
    bytes: usize,
    /// The sequence number of the next event.
    next: u64,
    /// How many at the front are being told.
    under_way: usize,
}

impl WebhookQueue {
    /// An empty queue. Its sequence numbers, which begin with 1, are those of `source`, and its events those
    /// of `route`.
    #[must_use]
    pub fn new(limits: WebhookLimits, source: &str, route: &str) -> Self {
        let names = encode(&Envelope { source, route });
        // The object is left open for the events.
        let opening = format!("{},\"events\":[", names.trim_end_matches('}'));
        let waiting = VecDeque::new();
        Self { limits, opening: opening.into(), waiting, bytes: 0, next: 1, under_way: 0 }
    }

    /// Something has happened.
    pub fn push(&mut self, event: &WebhookEvent<'_>) -> Pushed {
        let encoded = encode(&EncodedEvent::new(event, self.next));
        self.next += 1;
        let bytes = self.bytes.saturating_add(held_bytes(&encoded));
        if bytes > self.limits.waiting_bytes_max {
            return Pushed::Lost;
        }
        self.bytes = bytes;
        self.waiting.push_back(encoded.into());
        let wakes = self.waiting.len() == 1 || self.waiting.len() == self.limits.batch_events_max;
        if wakes { Pushed::Wakes } else { Pushed::Waits }
    }

    /// Whether as many wait as go into one request, so that nothing is won by waiting for others.
    #[must_use]
    pub fn is_batch_full(&self) -> bool {
        self.waiting.len() >= self.limits.batch_events_max
            || self.bytes >= self.limits.batch_bytes_max
    }

    /// How many wait, those that are being told included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The body of the next request; the same again until [`WebhookQueue::told`]. `None` without events.
    pub fn batch(&mut self) -> Option<String> {
        if self.under_way == 0 {
            let mut bytes = 0;
            let most = self.waiting.iter().take(self.limits.batch_events_max);
            let fits = most.take_while(|event| {
                bytes += event.len() + 1;
                bytes <= self.limits.batch_bytes_max
            });
            self.under_way = fits.count().max(1).min(self.waiting.len());
        }
        if self.under_way == 0 {
            return None;
        }
        let mut body = String::from(&*self.opening);
        for (number, event) in self.waiting.iter().take(self.under_way).enumerate() {
            if number > 0 {
                body.push(',');
            }
            body.push_str(event);
        }
        body.push_str("]}");
        Some(body)
    }

    /// The batch was told. How many events were in it.
    pub fn told(&mut self) -> usize {
        let count = std::mem::take(&mut self.under_way).min(self.waiting.len());
        self.bytes -= self.waiting.drain(..count).map(|own| held_bytes(&own)).sum::<usize>();
        self.waiting.shrink_if_sparse(0);
        count
    }
}

/// What an event takes that waits.
fn held_bytes(encoded: &str) -> usize {
    encoded.len() + size_of::<Box<str>>()
}

#[derive(Serialize)]
struct Envelope<'e> {
    source: &'e str,
    route: &'e str,
}

/// What is not known of an event is left out.
#[derive(Serialize)]
struct EncodedEvent<'e> {
    sequence: u64,
    event: &'static str,
    at_unix_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    connection: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'e str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'e str>,
}

impl<'e> EncodedEvent<'e> {
    fn new(event: &'e WebhookEvent<'_>, sequence: u64) -> Self {
        let own = |name| Self {
            sequence,
            event: name,
            at_unix_ms: event.at_unix_ms,
            connection: None,
            user: None,
            address: None,
            code: None,
            reason: None,
            channel: None,
        };
        let of = |name, client: &'e WebhookClient<'_>| Self {
            connection: Some(&client.connection),
            user: client.user,
            address: client.address.as_deref(),
            ..own(name)
        };
        match &event.happened {
            Happened::Connected(client) => of("connected", client),
            Happened::Disconnected { client, code, reason } => {
                Self { code: *code, reason: Some(reason), ..of("disconnected", client) }
            }
            Happened::Occupied(channel) => Self { channel: Some(channel), ..own("occupied") },
            Happened::Vacated(channel) => Self { channel: Some(channel), ..own("vacated") },
        }
    }
}

/// Text and numbers alone, of which every one has its JSON.
fn encode(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const LIMITS: WebhookLimits =
        WebhookLimits { waiting_bytes_max: 100_000, batch_events_max: 3, batch_bytes_max: 100_000 };

    fn client(connection: &str) -> WebhookClient<'static> {
        WebhookClient { connection: connection.to_owned(), user: Some("ann"), address: None }
    }

    fn event(connection: &str) -> WebhookEvent<'static> {
        WebhookEvent { happened: Happened::Connected(client(connection)), at_unix_ms: 7 }
    }

    fn queue(limits: WebhookLimits) -> WebhookQueue {
        WebhookQueue::new(limits, "5f0c2b1a-1", "/ws\"}")
    }

    /// Bytes that one event takes.
    fn event_bytes() -> usize {
        let mut own = queue(LIMITS);
        own.push(&event("c"));
        own.bytes
    }

    fn sequences(body: &str) -> Vec<u64> {
        let body: Value = serde_json::from_str(body).unwrap();
        let events = body["events"].as_array().unwrap();
        events.iter().map(|own| own["sequence"].as_u64().unwrap()).collect()
    }

    #[test]
    fn events_are_told_in_batches_until_they_were_taken() {
        let mut own = queue(LIMITS);
        assert_eq!(own.batch(), None);
        assert_eq!(own.push(&event("c1")), Pushed::Wakes);
        let happened = Happened::Disconnected {
            client: WebhookClient {
                connection: "c1".to_owned(),
                user: None,
                address: Some("::1".to_owned()),
            },
            code: Some(1000),
            reason: "gone\n".to_owned(),
        };
        assert_eq!(own.push(&WebhookEvent { happened, at_unix_ms: 8 }), Pushed::Waits);
        let body: Value = serde_json::from_str(&own.batch().unwrap()).unwrap();
        let expected = json!({ "source": "5f0c2b1a-1", "route": "/ws\"}", "events": [
            { "sequence": 1, "event": "connected", "connection": "c1", "user": "ann",
              "at_unix_ms": 7 },
            { "sequence": 2, "event": "disconnected", "connection": "c1", "address": "::1",
              "at_unix_ms": 8, "code": 1000, "reason": "gone\n" },
        ] });
        assert_eq!(body, expected);
        let occupied = WebhookEvent { happened: Happened::Occupied("news"), at_unix_ms: 9 };
        assert_eq!(own.push(&occupied), Pushed::Wakes, "a batch is full");
        // What is told again is the same.
        assert_eq!(sequences(&own.batch().unwrap()), [1, 2]);
        assert_eq!((own.told(), sequences(&own.batch().unwrap())), (2, vec![3]));
        let body: Value = serde_json::from_str(&own.batch().unwrap()).unwrap();
        let expected =
            json!([{ "sequence": 3, "event": "occupied", "channel": "news", "at_unix_ms": 9 }]);
        assert_eq!(body["events"], expected);
        assert_eq!((own.told(), own.batch(), own.is_empty()), (1, None, true));
        assert_eq!((own.told(), own.bytes, own.waiting.capacity()), (0, 0, 0));
    }

    #[test]
    fn an_event_without_room_leaves_a_hole() {
        let mut own = queue(WebhookLimits { waiting_bytes_max: 5 * event_bytes(), ..LIMITS });
        let pushed: Vec<bool> = (0..6).map(|_| own.push(&event("c")) != Pushed::Lost).collect();
        assert_eq!(pushed, [true, true, true, true, true, false]);
        assert!(own.is_batch_full());
        assert_eq!(sequences(&own.batch().unwrap()), [1, 2, 3]);
        own.told();
        assert_eq!(own.push(&event("c")), Pushed::Wakes);
        assert_eq!(sequences(&own.batch().unwrap()), [4, 5, 7]);
    }

    #[test]
    fn a_batch_is_no_longer_than_it_may_be() {
        let mut own = queue(WebhookLimits { batch_bytes_max: 1, ..LIMITS });
        (0..2).for_each(|_| assert_ne!(own.push(&event("c")), Pushed::Lost));
        assert!(own.is_batch_full());
        assert_eq!(sequences(&own.batch().unwrap()), [1]);
    }

    proptest! {
        /// Whatever is lost on the way of requests, each event that had room is told, in order.
        #[test]
        fn each_event_is_told_in_order(
            steps in prop::collection::vec((0..3_u8, any::<bool>()), 0..60),
            room in 1..6_usize,
        ) {
            let mut own =
                queue(WebhookLimits { waiting_bytes_max: room * (event_bytes() + 1), ..LIMITS });
            let (mut pushed, mut told, mut next) = (Vec::new(), Vec::new(), 0);
            let mut tell = |own: &mut WebhookQueue, is_taken: bool| {
                if let Some(body) = own.batch()
                    && is_taken
                {
                    told.append(&mut sequences(&body));
                    own.told();
                }
            };
            for (step, is_taken) in steps {
                if step == 0 {
                    tell(&mut own, is_taken);
                } else {
                    next += 1;
                    if own.push(&event("c")) != Pushed::Lost {
                        pushed.push(next);
                    }
                }
            }
            while !own.is_empty() {
                tell(&mut own, true);
            }
            prop_assert_eq!(told, pushed);
            prop_assert_eq!(own.bytes, 0);
        }
    }
}
