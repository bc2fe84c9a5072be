//! Messages in their compressed form, each on its own (RFC 7692 §7.2).

use std::cell::RefCell;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};

use crate::client::{FrameError, PAYLOAD_BYTES_MAX};

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
        // Enough for what does not shrink, so that one call does it.
        let mut payload = Vec::with_capacity(message.len() + message.len() / 100 + 100);
        let outcome = stream.compress_vec(message, &mut payload, FlushCompress::Sync);
        debug_assert!(outcome.is_ok() && payload.ends_with(&END));
        payload.truncate(payload.len().saturating_sub(END.len()));
        payload
    }
}

/// Inflates the messages that a driver's connections receive.
#[derive(Debug)]
pub(crate) struct Inflater(Decompress);

impl Default for Inflater {
    fn default() -> Self {
        Self(Decompress::new(false))
    }
}

impl Inflater {
    /// Replaces what is in `message`.
    pub(crate) fn inflate(
        &mut self,
        payload: &[u8],
        message: &mut Vec<u8>,
    ) -> Result<(), FrameError> {
        self.0.reset(false);
        message.clear();
        for part in [payload, &END] {
            let mut rest = part;
            while !rest.is_empty() {
                if message.len() > PAYLOAD_BYTES_MAX {
                    return Err(FrameError::Compressed);
                }
                message.reserve(payload.len().max(4096));
                let (before, made) = (self.0.total_in(), message.len());
                self.0
                    .decompress_vec(rest, message, FlushDecompress::Sync)
                    .map_err(|_| FrameError::Compressed)?;
                let taken = usize::try_from(self.0.total_in() - before).unwrap_or(usize::MAX);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_message_survives_both_ways(
            messages in prop::collection::vec(prop::collection::vec(0..4_u8, 0..9000), 1..4),
        ) {
            let (deflater, mut inflater) = (Deflater::default(), Inflater::default());
            let mut inflated = Vec::new();
            for message in messages {
                let payload = deflater.compress(&message);
                inflater.inflate(&payload, &mut inflated).unwrap();
                prop_assert_eq!(&inflated, &message);
            }
        }

        #[test]
        fn garbage_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Inflater::default().inflate(&bytes, &mut Vec::new());
        }
    }
}
