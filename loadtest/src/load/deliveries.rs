//! Publications, which a server has to deliver to every subscriber once and in order.

use std::time::Instant;

use crate::driver::ConnHandle;
use crate::message::{DeliveryError, MESSAGE_ID_BYTES, MessageId, Pattern};
use crate::websocket::Chunk;

/// The publications so far, and the position of each subscriber in them.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pattern: Pattern,
    /// The times at which the publications were sent, by publisher.
    published: Vec<Vec<Instant>>,
    subscribers: Vec<Subscriber>,
}

/// A whole publication that arrived as it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    pub(crate) publisher: usize,
    pub(crate) sequence: u32,
    pub(crate) published: Instant,
    pub(crate) order: Order,
}

/// The position of a publication in the order of its publisher.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// `missing` publications before it have not arrived.
    Ahead { missing: u32 },
    /// It follows the one that arrived before it.
    Next,
    /// A later one, or the same one, arrived before it.
    Stale,
}

impl Deliveries {
    /// Publications must be long enough for a message id.
    pub(crate) fn new(pattern: Pattern, publishers: usize, subscribers: usize) -> Self {
        let subscriber = Subscriber { id: [0; MESSAGE_ID_BYTES], next: vec![0; publishers] };
        Self {
            pattern,
            published: vec![Vec::new(); publishers],
            subscribers: vec![subscriber; subscribers],
        }
    }

    /// Sends the next publication of `publisher` on its connection.
    pub(crate) fn publish(&mut self, publisher: usize, connection: &mut ConnHandle<'_>) {
        let id = self.record(publisher, connection.now());
        connection.send_one_way(&self.pattern, id);
    }

    /// Compares a chunk with what was published. Returns the publication if the chunk completes it.
    pub(crate) fn verify(
        &mut self,
        subscriber: usize,
        chunk: &Chunk<'_>,
    ) -> Result<Option<Delivery>, DeliveryError> {
        let Self { pattern, published, subscribers } = self;
        let subscriber = &mut subscribers[subscriber];
        // Only the message id tells what to expect, and it may itself arrive in several chunks.
        if let Some(missing) = subscriber.id.get_mut(chunk.offset..) {
            let bytes = missing.len().min(chunk.payload.len());
            missing[..bytes].copy_from_slice(&chunk.payload[..bytes]);
        }
        if chunk.offset + chunk.payload.len() < MESSAGE_ID_BYTES {
            return if chunk.is_end { Err(DeliveryError::Foreign) } else { Ok(None) };
        }
        let id = MessageId::parse(&subscriber.id).ok_or(DeliveryError::Foreign)?;
        let MessageId { sender, sequence } = id;
        let publisher = sender as usize;
        let sent_at = published.get(publisher).ok_or(DeliveryError::Foreign)?;
        let published_at = *sent_at.get(sequence as usize).ok_or(DeliveryError::Foreign)?;
        pattern.expected(id).verify(chunk).map_err(|mismatch| DeliveryError::Altered {
            publisher,
            sequence,
            mismatch,
        })?;
        if !chunk.is_end {
            return Ok(None);
        }
        let order = subscriber.advance(publisher, sequence);
        Ok(Some(Delivery { publisher, sequence, published: published_at, order }))
    }

    /// The number of publications that the subscriber has not received.
    pub(crate) fn outstanding(&self, subscriber: usize) -> u64 {
        let next = &self.subscribers[subscriber].next;
        self.published
            .iter()
            .zip(next)
            .map(|(sent_at, next)| sent_at.len() as u64 - u64::from(*next))
            .sum()
    }

    fn record(&mut self, publisher: usize, now: Instant) -> MessageId {
        let sent_at = &mut self.published[publisher];
        let sequence = u32::try_from(sent_at.len()).unwrap_or(u32::MAX);
        let id = MessageId::new(publisher as u64, sequence);
        sent_at.push(now);
        id
    }
}

#[derive(Clone, Debug)]
struct Subscriber {
    /// The id of the message that is arriving.
    id: [u8; MESSAGE_ID_BYTES],
    /// The next sequence number of each publisher.
    next: Vec<u32>,
}

impl Subscriber {
    fn advance(&mut self, publisher: usize, sequence: u32) -> Order {
        let next = &mut self.next[publisher];
        let Some(missing) = sequence.checked_sub(*next) else {
            return Order::Stale;
        };
        *next = sequence + 1;
        if missing == 0 { Order::Next } else { Order::Ahead { missing } }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::{Mismatch, PayloadKind};
    use crate::system::clock;
    use crate::websocket::DataKind;

    fn deliveries(published: u32) -> Deliveries {
        let pattern = Pattern::new(PayloadKind::Text, 40, 1);
        let mut deliveries = Deliveries::new(pattern, 2, 3);
        for _ in 0..published {
            for publisher in 0..2 {
                deliveries.record(publisher, clock::now());
            }
        }
        deliveries
    }

    fn payload(publisher: u32, sequence: u32) -> Vec<u8> {
        let pattern = Pattern::new(PayloadKind::Text, 40, 1);
        pattern.expected(MessageId { sender: publisher, sequence }).to_vec()
    }

    fn whole(payload: &[u8]) -> Chunk<'_> {
        Chunk { kind: DataKind::Text, offset: 0, payload, is_end: true, is_compressed: false }
    }

    fn order(deliveries: &mut Deliveries, publisher: u32, sequence: u32) -> Order {
        let payload = payload(publisher, sequence);
        deliveries.verify(2, &whole(&payload)).unwrap().unwrap().order
    }

    #[test]
    fn missing_and_repeated_publications_are_detected() {
        let mut deliveries = deliveries(10);
        assert_eq!(order(&mut deliveries, 1, 0), Order::Next);
        assert_eq!(order(&mut deliveries, 0, 0), Order::Next);
        assert_eq!(order(&mut deliveries, 1, 0), Order::Stale);
        assert_eq!(order(&mut deliveries, 1, 3), Order::Ahead { missing: 2 });
        assert_eq!(order(&mut deliveries, 1, 2), Order::Stale);
        assert_eq!(order(&mut deliveries, 1, 4), Order::Next);
        assert_eq!(deliveries.outstanding(2), 5 + 9);
        assert_eq!(deliveries.outstanding(0), 20);
    }

    #[test]
    fn a_message_that_was_not_published_is_an_error() {
        let mut deliveries = deliveries(1);
        for payload in [payload(0, 1), payload(2, 0), b"hello".to_vec(), vec![b'x'; 40]] {
            let found = deliveries.verify(0, &whole(&payload));
            assert_eq!(found, Err(DeliveryError::Foreign));
        }
        let mut altered = payload(1, 0);
        altered[20] ^= 1;
        let mismatch = Mismatch::Byte { offset: 20 };
        let error = DeliveryError::Altered { publisher: 1, sequence: 0, mismatch };
        assert_eq!(deliveries.verify(0, &whole(&altered)), Err(error));
    }

    proptest! {
        #[test]
        fn publications_are_verified_in_any_chunks(chunk_bytes in 1_usize..50) {
            let mut deliveries = deliveries(1);
            let payload = payload(1, 0);
            let mut offset = 0;
            for part in payload.chunks(chunk_bytes) {
                let is_end = offset + part.len() == payload.len();
                let chunk = Chunk { offset, is_end, ..whole(part) };
                let delivery = deliveries.verify(1, &chunk).unwrap();
                prop_assert_eq!(delivery.is_some(), is_end);
                offset += part.len();
            }
            prop_assert_eq!(deliveries.outstanding(1), 1);
        }
    }
}
