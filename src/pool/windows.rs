//! LZ77 windows for context takeover: the last bytes of the messages in one direction of many
//! connections, to which the next message may refer (RFC 7692 §7.1.1).
//!
//! Windows of one size are slots of one block. A block is large enough for the allocator to map it
//! on its own (`M_MMAP_THRESHOLD`, mallopt(3)), so its memory returns to the system when it
//! shrinks. Windows allocated one by one would lie between other allocations on the heap, and a
//! small neighbour that is still in use would keep their pages.

use std::collections::BTreeSet;

use crate::key::slot_number;

/// The windows of one direction.
#[derive(Debug, Default)]
pub struct Windows {
    /// By the base-two logarithm of the size of their slots.
    blocks: [Block; WINDOW_BITS_MAX + 1],
    /// Bytes of all blocks that are resident memory.
    held_bytes: usize,
}

/// One window. It takes as much memory as the bytes that passed through it, rounded up, and at most
/// the agreed size. Its owner must [`release`](Windows::release) it.
#[derive(Debug, Default)]
pub struct Window {
    /// The base-two logarithm of the size of its slot; 0 without a slot.
    slot_bits: u8,
    index: u32,
    len: u32,
}

/// Slots of one size, side by side.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Slots that are not in use. The last slot of `bytes` is never among them.
    free_slots: BTreeSet<u32>,
    /// The largest length of `bytes` since it last shrank. Pages beyond were never written and take
    /// no memory, so this and not the capacity is what the block costs.
    touched: usize,
}

impl Windows {
    /// The contents of a window, the oldest byte first.
    #[must_use]
    pub fn bytes(&self, window: &Window) -> &[u8] {
        let (start, len) = (window.start(), window.len as usize);
        let block = self.blocks.get(usize::from(window.slot_bits));
        block.and_then(|block| block.bytes.get(start..start + len)).unwrap_or(&[])
    }

    /// An upper bound of the bytes of memory that [`Windows::slide`] would add to what is held.
    #[must_use]
    pub fn bytes_wanted(&self, window: &Window, message_len: usize, window_bits: u8) -> usize {
        let slot_bits = window.slot_bits_after(message_len, window_bits);
        if slot_bits == window.slot_bits {
            return 0;
        }
        self.blocks[usize::from(slot_bits)].bytes_wanted(1 << slot_bits)
    }

    /// Appends a message to a window of at most 2^`window_bits` bytes and drops what no longer
    /// fits. `window_bits` is at most 15 and must be the same in all calls for one window.
    pub fn slide(&mut self, window: &mut Window, message: &[u8], window_bits: u8) {
        let slot_bits = window.slot_bits_after(message.len(), window_bits);
        if slot_bits != window.slot_bits {
            // The new slot is in another block, so the contents move through a temporary copy.
            let dictionary = self.bytes(window).to_vec();
            self.release(window);
            let block = &mut self.blocks[usize::from(slot_bits)];
            let touched = block.touched;
            let index = block.take(1 << slot_bits);
            self.held_bytes += block.touched - touched;
            *window = Window { slot_bits, index, len: slot_number(dictionary.len()) };
            self.slot_mut(window)[..dictionary.len()].copy_from_slice(&dictionary);
        }
        let window_bytes = 1 << window_bits;
        let message = &message[message.len().saturating_sub(window_bytes)..];
        let len = window.len as usize;
        let kept = len.min(window_bytes - message.len());
        let slot = self.slot_mut(window);
        slot.copy_within(len - kept..len, 0);
        slot[kept..kept + message.len()].copy_from_slice(message);
        window.len = slot_number(kept + message.len());
    }

    /// Releases the slot of a window, which is then empty.
    pub fn release(&mut self, window: &mut Window) {
        let Window { slot_bits, index, .. } = std::mem::take(window);
        if slot_bits > 0 {
            let block = &mut self.blocks[usize::from(slot_bits)];
            let touched = block.touched;
            block.release(index, 1 << slot_bits);
            self.held_bytes -= touched - block.touched;
        }
    }

    /// Bytes of memory held, those of free slots included.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn slot_mut(&mut self, window: &Window) -> &mut [u8] {
        if window.slot_bits == 0 {
            return &mut [];
        }
        let start = window.start();
        &mut self.blocks[usize::from(window.slot_bits)].bytes[start..][..1 << window.slot_bits]
    }
}

impl Window {
    fn start(&self) -> usize {
        (self.index as usize) << self.slot_bits
    }

    /// The size class of the slot after a message of `message_len` bytes.
    fn slot_bits_after(&self, message_len: usize, window_bits: u8) -> u8 {
        let needed = (self.len as usize).saturating_add(message_len).min(1 << window_bits);
        if needed == 0 {
            return self.slot_bits;
        }
        let bits = needed.next_power_of_two().trailing_zeros();
        // The smallest slot holds several short messages, so that a window is not copied from
        // class to class while it fills.
        let bits = u8::try_from(bits).unwrap_or(window_bits).max(SLOT_BITS_MIN).min(window_bits);
        bits.max(self.slot_bits)
    }
}

impl Block {
    fn bytes_wanted(&self, slot_bytes: usize) -> usize {
        if self.free_slots.is_empty() && self.bytes.len() + slot_bytes > self.touched {
            slot_bytes
        } else {
            0
        }
    }

    /// Takes the first free slot, or appends one.
    fn take(&mut self, slot_bytes: usize) -> u32 {
        // The lowest first: slots at the end then become free, and only those can be cut off.
        if let Some(index) = self.free_slots.pop_first() {
            return index;
        }
        let index = self.bytes.len() / slot_bytes;
        self.bytes.resize(self.bytes.len() + slot_bytes, 0);
        self.touched = self.touched.max(self.bytes.len());
        slot_number(index)
    }

    /// Frees a slot. Cuts free slots off the end, and shrinks when less than a quarter is left.
    fn release(&mut self, index: u32, slot_bytes: usize) {
        self.free_slots.insert(index);
        let mut end = self.bytes.len() / slot_bytes;
        while end > 0 && self.free_slots.remove(&slot_number(end - 1)) {
            end -= 1;
        }
        self.bytes.truncate(end * slot_bytes);
        // Not `crate::shrink`: it looks at the capacity, which the growth of a vector doubles
        // without touching the pages. What counts here are the pages that were written.
        if self.bytes.len() < self.touched / 4 || self.bytes.is_empty() {
            self.bytes.shrink_to(2 * self.bytes.len());
            self.touched = self.bytes.len();
        }
    }
}

const WINDOW_BITS_MAX: usize = 15;
/// The smallest slot is 512 bytes.
const SLOT_BITS_MIN: u8 = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive twin keeps all messages.
        #[test]
        fn a_window_holds_the_end_of_all_messages(
            window_bits in 8..=15u8,
            steps in prop::collection::vec(
                (0..6usize, any::<u8>(), prop_oneof![0..40usize, 0..9_000usize, 0..70_000usize]),
                0..60,
            ),
        ) {
            let window_bytes = 1 << window_bits;
            let mut windows = Windows::default();
            let mut all_windows: Vec<(Window, Vec<u8>)> = (0..6).map(|_| Default::default()).collect();
            for (which, seed, len) in steps {
                let (window, all) = &mut all_windows[which];
                if seed < 40 {
                    windows.release(window);
                    all.clear();
                } else {
                    let message: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0] ^ seed).collect();
                    let wanted = windows.bytes_wanted(window, len, window_bits);
                    let before = windows.held_bytes();
                    windows.slide(window, &message, window_bits);
                    all.extend_from_slice(&message);
                    prop_assert!(windows.held_bytes() <= before + wanted);
                }
                for (window, all) in &all_windows {
                    let end = &all[all.len().saturating_sub(window_bytes)..];
                    prop_assert_eq!(windows.bytes(window), end);
                    prop_assert!(1 << window.slot_bits <= window_bytes);
                }
                let used: usize = all_windows.iter().filter(|(window, _)| window.slot_bits > 0)
                    .map(|(window, _)| 1 << window.slot_bits).sum();
                prop_assert!(windows.held_bytes() >= used);
                let touched: usize = windows.blocks.iter().map(|block| block.touched).sum();
                prop_assert_eq!(windows.held_bytes(), touched);
            }
            for (window, _) in &mut all_windows {
                windows.release(window);
            }
            prop_assert_eq!(windows.held_bytes(), 0);
            let is_empty = |block: &Block| block.bytes.capacity() == 0 && block.free_slots.is_empty();
            prop_assert!(windows.blocks.iter().all(is_empty));
        }
    }
}
