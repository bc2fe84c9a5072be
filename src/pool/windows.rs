//! What messages may refer back to: the last bytes of those before them, for one direction of many
//! connections (RFC 7692 §7.1.1).
//!
//! Windows of one size lie side by side in one block. A block is large enough to be mapped on its
//! own, so that its memory goes back when they are gone; windows that the allocator spread over its
//! heap would stay there for the sake of whatever small thing came to lie between them.

use std::collections::BTreeSet;

use crate::key::slot_number;

/// The windows of one direction.
#[derive(Debug, Default)]
pub struct Windows {
    /// By the base-two logarithm of the windows' size.
    blocks: [Block; WINDOW_BITS_MAX + 1],
    /// Bytes of all blocks that are real memory.
    held_bytes: usize,
}

/// One of them. It takes as much memory as what came through it, up to the size that was agreed, and
/// is to be given back.
#[derive(Debug, Default)]
pub struct Window {
    /// The base-two logarithm of the room it has; 0 if none.
    room_bits: u8,
    place: u32,
    len: u32,
}

/// Rooms of one size, side by side.
#[derive(Debug, Default)]
struct Block {
    bytes: Vec<u8>,
    /// Rooms that are not in use, but the last is.
    free: BTreeSet<u32>,
    /// Bytes that were in use since the block was last made smaller: how much of it is real memory.
    touched: usize,
}

impl Windows {
    /// What came through a window, the oldest byte first.
    #[must_use]
    pub fn bytes(&self, window: &Window) -> &[u8] {
        let (start, len) = (window.start(), window.len as usize);
        let block = self.blocks.get(usize::from(window.room_bits));
        block.and_then(|block| block.bytes.get(start..start + len)).unwrap_or(&[])
    }

    /// Bytes of memory that [`Windows::slide`] will take at most beyond what is held.
    #[must_use]
    pub fn bytes_wanted(&self, window: &Window, message_len: usize, window_bits: u8) -> usize {
        let room_bits = window.room_bits_after(message_len, window_bits);
        if room_bits == window.room_bits {
            return 0;
        }
        self.blocks[usize::from(room_bits)].bytes_wanted(1 << room_bits)
    }

    /// Lets a message go through a window of 2^`window_bits` bytes at most, at most 2¹⁵ and always
    /// the same.
    pub fn slide(&mut self, window: &mut Window, message: &[u8], window_bits: u8) {
        let room_bits = window.room_bits_after(message.len(), window_bits);
        if room_bits != window.room_bits {
            let dictionary = self.bytes(window).to_vec();
            self.release(window);
            let block = &mut self.blocks[usize::from(room_bits)];
            let touched = block.touched;
            let place = block.take(1 << room_bits);
            self.held_bytes += block.touched - touched;
            *window = Window { room_bits, place, len: slot_number(dictionary.len()) };
            self.room(window)[..dictionary.len()].copy_from_slice(&dictionary);
        }
        let window_bytes = 1 << window_bits;
        let message = &message[message.len().saturating_sub(window_bytes)..];
        let len = window.len as usize;
        let kept = len.min(window_bytes - message.len());
        let room = self.room(window);
        room.copy_within(len - kept..len, 0);
        room[kept..kept + message.len()].copy_from_slice(message);
        window.len = slot_number(kept + message.len());
    }

    /// Takes a window's memory back; it is then as a new one.
    pub fn release(&mut self, window: &mut Window) {
        let Window { room_bits, place, .. } = std::mem::take(window);
        if room_bits > 0 {
            let block = &mut self.blocks[usize::from(room_bits)];
            let touched = block.touched;
            block.give(place, 1 << room_bits);
            self.held_bytes -= touched - block.touched;
        }
    }

    /// Bytes of memory held, also by room that nobody uses now.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    fn room(&mut self, window: &Window) -> &mut [u8] {
        if window.room_bits == 0 {
            return &mut [];
        }
        let start = window.start();
        &mut self.blocks[usize::from(window.room_bits)].bytes[start..][..1 << window.room_bits]
    }
}

impl Window {
    fn start(&self) -> usize {
        (self.place as usize) << self.room_bits
    }

    /// The room it will have once a message of so many bytes went through.
    fn room_bits_after(&self, message_len: usize, window_bits: u8) -> u8 {
        let needed = (self.len as usize).saturating_add(message_len).min(1 << window_bits);
        if needed == 0 {
            return self.room_bits;
        }
        let bits = needed.next_power_of_two().trailing_zeros();
        // Short messages do not make it grow step by step.
        let bits = u8::try_from(bits).unwrap_or(window_bits).max(ROOM_BITS_MIN).min(window_bits);
        bits.max(self.room_bits)
    }
}

impl Block {
    fn bytes_wanted(&self, room_bytes: usize) -> usize {
        if self.free.is_empty() && self.bytes.len() + room_bytes > self.touched {
            room_bytes
        } else {
            0
        }
    }

    /// The first room that is free, or one more.
    fn take(&mut self, room_bytes: usize) -> u32 {
        if let Some(place) = self.free.pop_first() {
            return place;
        }
        let place = self.bytes.len() / room_bytes;
        self.bytes.resize(self.bytes.len() + room_bytes, 0);
        self.touched = self.touched.max(self.bytes.len());
        slot_number(place)
    }

    /// Rooms at the end that nobody uses are cut off, and given back when most of what was used is.
    fn give(&mut self, place: u32, room_bytes: usize) {
        self.free.insert(place);
        let mut end = self.bytes.len() / room_bytes;
        while end > 0 && self.free.remove(&slot_number(end - 1)) {
            end -= 1;
        }
        self.bytes.truncate(end * room_bytes);
        if self.bytes.len() < self.touched / 4 || self.bytes.is_empty() {
            self.bytes.shrink_to(2 * self.bytes.len());
            self.touched = self.bytes.len();
        }
    }
}

const WINDOW_BITS_MAX: usize = 15;
const ROOM_BITS_MIN: u8 = 9;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// The naive twin keeps everything that was ever said.
        #[test]
        fn each_is_the_end_of_all_that_went_through_it(
            window_bits in 8..=15u8,
            steps in prop::collection::vec(
                (0..6usize, any::<u8>(), prop_oneof![0..40usize, 0..9_000usize, 0..70_000usize]),
                0..60,
            ),
        ) {
            let window_bytes = 1 << window_bits;
            let mut windows = Windows::default();
            let mut crowd: Vec<(Window, Vec<u8>)> = (0..6).map(|_| Default::default()).collect();
            for (who, seed, len) in steps {
                let (window, all) = &mut crowd[who];
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
                for (window, all) in &crowd {
                    let end = &all[all.len().saturating_sub(window_bytes)..];
                    prop_assert_eq!(windows.bytes(window), end);
                    prop_assert!(1 << window.room_bits <= window_bytes);
                }
                let used: usize = crowd.iter().filter(|(window, _)| window.room_bits > 0)
                    .map(|(window, _)| 1 << window.room_bits).sum();
                prop_assert!(windows.held_bytes() >= used);
                let touched: usize = windows.blocks.iter().map(|block| block.touched).sum();
                prop_assert_eq!(windows.held_bytes(), touched);
            }
            for (window, _) in &mut crowd {
                windows.release(window);
            }
            prop_assert_eq!(windows.held_bytes(), 0);
            let is_empty = |block: &Block| block.bytes.capacity() == 0 && block.free.is_empty();
            prop_assert!(windows.blocks.iter().all(is_empty));
        }
    }
}
