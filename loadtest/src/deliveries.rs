//! Publications that a server is to deliver to every subscriber, once each and in order.

use std::time::Instant;

use thiserror::Error;

use crate::client::Piece;
use crate::driver::Peer;
use crate::message::{Mismatch, Pattern, STAMP_BYTES, Stamp};

/// What was published, and how far each subscriber has come.
#[derive(Debug)]
pub(crate) struct Deliveries {
    pattern: Pattern,
    /// When each publication was sent, by publisher.
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

/// Where a publication comes in the order in which it was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// So many before it have not come.
    Ahead { missing: u32 },
    /// It follows the one that came before.
    Next,
    /// A later one came before, or the same one did.
    Stale,
}

/// A message that was never published.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum DeliveryError {
    #[error("publication {sequence} of publisher {publisher} {mismatch}")]
    Altered { publisher: usize, sequence: u32, mismatch: Mismatch },
    #[error("a message arrived that was never published")]
    Foreign,
}

impl Deliveries {
    /// Publications must be long enough for their stamp.
    pub(crate) fn new(pattern: Pattern, publishers: usize, subscribers: usize) -> Self {
        let subscriber = Subscriber { stamp: [0; STAMP_BYTES], next: vec![0; publishers] };
        Self {
            pattern,
            published: vec![Vec::new(); publishers],
            subscribers: vec![subscriber; subscribers],
        }
    }

    /// Sends the next publication of `publisher`, whose connection this is.
    pub(crate) fn publish(&mut self, publisher: usize, peer: &mut Peer<'_>) {
        let stamp = self.record(publisher, peer.now());
        peer.post(&self.pattern, stamp);
    }

    /// Compares what arrived with what was published; the publication, if it is complete now.
    pub(crate) fn verify(
        &mut self,
        subscriber: usize,
        piece: &Piece<'_>,
    ) -> Result<Option<Delivery>, DeliveryError> {
        let Self { pattern, published, subscribers } = self;
        let subscriber = &mut subscribers[subscriber];
        // Only the stamp says what is to be expected, and it may itself arrive in pieces.
        if let Some(missing) = subscriber.stamp.get_mut(piece.offset..) {
            let bytes = missing.len().min(piece.payload.len());
            missing[..bytes].copy_from_slice(&piece.payload[..bytes]);
        }
        if piece.offset + piece.payload.len() < STAMP_BYTES {
            return if piece.is_end { Err(DeliveryError::Foreign) } else { Ok(None) };
        }
        let stamp = Stamp::parse(&subscriber.stamp).ok_or(DeliveryError::Foreign)?;
        let Stamp { sender, sequence } = stamp;
        let publisher = sender as usize;
        let moments = published.get(publisher).ok_or(DeliveryError::Foreign)?;
        let moment = *moments.get(sequence as usize).ok_or(DeliveryError::Foreign)?;
        pattern.expected(stamp).verify(piece).map_err(|mismatch| DeliveryError::Altered {
            publisher,
            sequence,
            mismatch,
        })?;
        if !piece.is_end {
            return Ok(None);
        }
        let order = subscriber.advance(publisher, sequence);
        Ok(Some(Delivery { publisher, sequence, published: moment, order }))
    }

    /// Publications that the subscriber has not come to yet.
    pub(crate) fn outstanding(&self, subscriber: usize) -> u64 {
        let next = &self.subscribers[subscriber].next;
        self.published
            .iter()
            .zip(next)
            .map(|(moments, next)| moments.len() as u64 - u64::from(*next))
            .sum()
    }

    fn record(&mut self, publisher: usize, now: Instant) -> Stamp {
        let moments = &mut self.published[publisher];
        let sequence = u32::try_from(moments.len()).unwrap_or(u32::MAX);
        let stamp = Stamp::of(publisher as u64, sequence);
        moments.push(now);
        stamp
    }
}

#[derive(Clone, Debug)]
struct Subscriber {
    /// Of the message that is coming in.
    stamp: [u8; STAMP_BYTES],
    /// The next publication of each publisher.
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
    use crate::client::DataKind;
    use crate::clock;
    use crate::message::Filling;

    fn deliveries(published: u32) -> Deliveries {
        let pattern = Pattern::new(Filling::Text, 40, 1);
        let mut deliveries = Deliveries::new(pattern, 2, 3);
        for _ in 0..published {
            for publisher in 0..2 {
                deliveries.record(publisher, clock::now());
            }
        }
        deliveries
    }

    fn payload(publisher: u32, sequence: u32) -> Vec<u8> {
        let pattern = Pattern::new(Filling::Text, 40, 1);
        pattern.expected(Stamp { sender: publisher, sequence }).to_vec()
    }

    fn whole(payload: &[u8]) -> Piece<'_> {
        Piece { kind: DataKind::Text, offset: 0, payload, is_end: true, is_compressed: false }
    }

    fn order(deliveries: &mut Deliveries, publisher: u32, sequence: u32) -> Order {
        let payload = payload(publisher, sequence);
        deliveries.verify(2, &whole(&payload)).unwrap().unwrap().order
    }

    #[test]
    fn what_is_missing_or_comes_again_is_noticed() {
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
    fn what_was_not_published_is_foreign() {
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
        fn publications_may_come_in_any_pieces(piece_bytes in 1_usize..50) {
            let mut deliveries = deliveries(1);
            let payload = payload(1, 0);
            let mut offset = 0;
            for part in payload.chunks(piece_bytes) {
                let is_end = offset + part.len() == payload.len();
                let piece = Piece { offset, is_end, ..whole(part) };
                let delivery = deliveries.verify(1, &piece).unwrap();
                prop_assert_eq!(delivery.is_some(), is_end);
                offset += part.len();
            }
            prop_assert_eq!(deliveries.outstanding(1), 1);
        }
    }
}
