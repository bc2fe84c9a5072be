//! What a message may refer back to: the last bytes of those before it, in one direction
//! (RFC 7692 §7.1.1).

/// The end of everything that went compressed through one direction of a connection. It takes as
/// much memory as that came to, up to the size of the agreed window.
#[derive(Debug, Default)]
pub struct SlidingWindow {
    bytes: Vec<u8>,
}

impl SlidingWindow {
    /// The bytes, the oldest first.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Bytes of memory that it takes.
    #[must_use]
    pub fn allocated_bytes(&self) -> usize {
        self.bytes.capacity()
    }

    /// Bytes of memory that it will take once `message_len` more bytes went through.
    #[must_use]
    pub fn allocated_bytes_after(&self, message_len: usize, window_bits: u8) -> usize {
        let window_bytes = 1 << window_bits;
        let needed = self.bytes.len().saturating_add(message_len).min(window_bytes);
        if needed <= self.bytes.capacity() {
            return self.bytes.capacity();
        }
        needed.next_power_of_two().clamp(ALLOCATED_BYTES_MIN.min(window_bytes), window_bytes)
    }

    /// Lets a message go through a window of 2^`window_bits` bytes, always of the same size.
    pub fn slide(&mut self, message: &[u8], window_bits: u8) {
        let window_bytes = 1 << window_bits;
        let allocated_bytes = self.allocated_bytes_after(message.len(), window_bits);
        let message = &message[message.len().saturating_sub(window_bytes)..];
        let kept = self.bytes.len().min(window_bytes - message.len());
        self.bytes.drain(..self.bytes.len() - kept);
        self.bytes.reserve_exact(allocated_bytes - kept);
        self.bytes.extend_from_slice(message);
    }
}

/// Short messages do not make it grow step by step.
const ALLOCATED_BYTES_MIN: usize = 512;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive twin keeps everything.
        #[test]
        fn it_is_the_end_of_all_that_went_through(
            window_bits in 8..=15u8,
            messages in prop::collection::vec((any::<u8>(), prop_oneof![0..40usize, 0..70_000usize]), 0..12),
        ) {
            let window_bytes = 1 << window_bits;
            let mut window = SlidingWindow::default();
            let mut all: Vec<u8> = Vec::new();
            prop_assert_eq!(window.allocated_bytes(), 0);
            for (seed, len) in messages {
                let message: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0] ^ seed).collect();
                let promised = window.allocated_bytes_after(len, window_bits);
                window.slide(&message, window_bits);
                all.extend_from_slice(&message);
                prop_assert_eq!(window.as_bytes(), &all[all.len().saturating_sub(window_bytes)..]);
                prop_assert_eq!(window.allocated_bytes(), promised);
                prop_assert!(promised <= window_bytes);
            }
        }
    }
}
