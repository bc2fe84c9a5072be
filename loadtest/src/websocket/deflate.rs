//! Compresses and inflates messages without context takeover (RFC 7692 §7.2).

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use super::frame::{FrameError, PAYLOAD_BYTES_MAX};

/// Compresses the messages of a run.
#[derive(Debug)]
pub(crate) struct Deflater(RefCell<Compress>);

impl Default for Deflater {
    fn default() -> Self {
        Self(RefCell::new(Compress::new(Compression::fast(), false)))
    }
}

impl Deflater {
    pub(crate) fn compress(&self, message: &[u8]) -> Vec<u8> {
        let mut stream = self.0.borrow_mut();
        stream.reset();
        // Large enough for a message that does not shrink, so that one call suffices: a byte may
        // take nine bits.
        let mut payload = Vec::with_capacity(message.len() + message.len() / 8 + 64);
        let outcome = stream.compress_vec(message, &mut payload, FlushCompress::Sync);
        debug_assert!(outcome.is_ok() && payload.ends_with(&END));
        payload.truncate(payload.len().saturating_sub(END.len()));
        payload
    }
}

/// Inflates the messages that a driver's connections receive.
#[derive(Debug)]
pub(crate) struct Inflater {
    stream: Decompress,
    /// Payloads and the messages that they inflate to, the latest first.
    recent: VecDeque<(Vec<u8>, Rc<[u8]>)>,
    /// The buffer that a message is inflated into.
    room: Vec<u8>,
}

impl Default for Inflater {
    fn default() -> Self {
        Self { stream: Decompress::new(false), recent: VecDeque::new(), room: Vec::new() }
    }
}

impl Inflater {
    /// The message that a payload inflates to. A thousand subscribers receive a publication in the
    /// same bytes, perhaps with others in between. After the first of them it costs a comparison,
    /// so that the load generator does not become the limit of the measurement.
    pub(crate) fn inflate(&mut self, payload: &[u8]) -> Result<Rc<[u8]>, FrameError> {
        if let Some((_, message)) = self.recent.iter().find(|(known, _)| known == payload) {
            return Ok(Rc::clone(message));
        }
        let mut room = std::mem::take(&mut self.room);
        let outcome = self.inflate_into(payload, &mut room);
        let message = Rc::from(&room[..]);
        self.room = room;
        outcome?;
        self.recent.truncate(RECENT_MAX - 1);
        self.recent.push_front((payload.to_vec(), Rc::clone(&message)));
        Ok(message)
    }

    fn inflate_into(&mut self, payload: &[u8], message: &mut Vec<u8>) -> Result<(), FrameError> {
        self.stream.reset(false);
        message.clear();
        for part in [payload, &END] {
            let mut rest = part;
            while !rest.is_empty() {
                if message.len() > PAYLOAD_BYTES_MAX {
                    return Err(FrameError::Compressed);
                }
                message.reserve(payload.len().max(4096));
                let (before, made) = (self.stream.total_in(), message.len());
                self.stream
                    .decompress_vec(rest, message, FlushDecompress::Sync)
                    .map_err(|_| FrameError::Compressed)?;
                let taken = usize::try_from(self.stream.total_in() - before).unwrap_or(usize::MAX);
                if taken == 0 && message.len() == made {
                    return Err(FrameError::Compressed);
                }
                rest = rest.get(taken..).unwrap_or_default();
            }
        }
        Ok(())
    }
}

const END: [u8; 4] = [0, 0, 0xFF, 0xFF];
/// The number of publications in a burst.
const RECENT_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn compressed_messages_inflate_to_the_same_bytes(
            messages in prop::collection::vec(prop::collection::vec(0..4_u8, 0..9000), 1..4),
        ) {
            let (deflater, mut inflater) = (Deflater::default(), Inflater::default());
            for message in messages {
                let payload = deflater.compress(&message);
                for _ in 0..2 {
                    prop_assert_eq!(&*inflater.inflate(&payload).unwrap(), &message);
                }
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Inflater::default().inflate(&bytes);
        }
    }

    #[test]
    fn an_error_does_not_return_the_message_before() {
        let mut inflater = Inflater::default();
        let payload = Deflater::default().compress(b"the one before");
        assert!(inflater.inflate(&payload).is_ok());
        for _ in 0..2 {
            assert_eq!(inflater.inflate(&[0xFF; 9]), Err(FrameError::Compressed));
        }
        assert_eq!(&*inflater.inflate(&payload).unwrap(), b"the one before");
        assert_eq!(&*inflater.inflate(b"").unwrap(), b"");
    }
}
