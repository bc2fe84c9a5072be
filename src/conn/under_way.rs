//! How much of what the kernel has taken a peer may not have read yet.
//!
//! Between a gateway and a reader lie the buffers of two kernels and, with a proxy, of two more:
//! they take a megabyte at once, and nothing tells how much of it has arrived. A ping waits behind
//! it, and so does the room that a slow reader makes. So each deadline for a sign of the peer is put
//! off by as long as a reader of [`LEAST_BYTES_PER_S`] may need for what is under way.

use crate::timer::{TICK_MS, Tick};

/// An estimate in units of one second at [`LEAST_BYTES_PER_S`]. It ends at 255, about 2 MiB: what
/// deadlines are put off by has a bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct UnderWay(u8);

impl UnderWay {
    /// The kernel took `bytes`. Few at a time are not counted: they are no hindrance, and the path
    /// of small messages stays short.
    #[inline]
    pub(super) fn take(&mut self, bytes: usize) {
        if bytes >= COUNTED_BYTES_MIN {
            let units = u8::try_from(bytes.div_ceil(LEAST_BYTES_PER_S)).unwrap_or(u8::MAX);
            self.0 = self.0.saturating_add(units);
        }
    }

    /// Time has passed, and with it what a reader at the least rate takes in it, to the nearest
    /// second: of a peer that never pauses for half a second the estimate only grows.
    pub(super) fn pass(&mut self, from: Tick, to: Tick) {
        let passed_ms = u64::from(to.0.saturating_sub(from.0)) * TICK_MS;
        let seconds = (passed_ms + 500) / 1000;
        self.0 = self.0.saturating_sub(u8::try_from(seconds).unwrap_or(u8::MAX));
    }

    /// Whether nothing is under way.
    #[inline]
    pub(super) fn is_nothing(self) -> bool {
        self.0 == 0
    }

    /// How long to wait for it.
    pub(super) fn wait_ms(self) -> u64 {
        u64::from(self.0) * 1000
    }
}

/// The slowest reader that is waited for.
const LEAST_BYTES_PER_S: usize = 8 << 10;
const COUNTED_BYTES_MIN: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_at_the_least_rate_is_waited_for() {
        for bytes in [4 << 10, 8 << 10, 100_000, 1 << 20, (2 << 20) - (8 << 10)] {
            for piece in [4 << 10, 16 << 10, 1 << 20] {
                let mut under_way = UnderWay::default();
                let (mut left, mut pieces) = (bytes, 0);
                while left > 0 {
                    under_way.take(piece.min(left));
                    left -= piece.min(left);
                    pieces += 1;
                }
                let needed_ms = (bytes * 1000 / LEAST_BYTES_PER_S) as u64;
                let wait_ms = under_way.wait_ms();
                // The rest of a cut may be too small to count.
                assert!(wait_ms + 1000 >= needed_ms.min(254_000), "{wait_ms} for {bytes}");
                assert!(wait_ms <= needed_ms + 1000 * pieces, "{wait_ms} for {bytes}");
            }
        }
    }

    #[test]
    fn small_writes_are_not_counted_and_large_ones_are_bounded() {
        let mut under_way = UnderWay::default();
        under_way.take(COUNTED_BYTES_MIN - 1);
        assert!(under_way.is_nothing());
        under_way.take(usize::MAX);
        under_way.take(1 << 30);
        assert_eq!(under_way.wait_ms(), 255_000);
    }

    #[test]
    fn time_takes_away_what_has_passed() {
        let mut under_way = UnderWay::default();
        under_way.take(20 * LEAST_BYTES_PER_S);
        let second = u32::try_from(1000_u64.div_ceil(TICK_MS)).unwrap();
        under_way.pass(Tick(100), Tick(100 + 5 * second));
        assert_eq!(under_way.wait_ms(), 15_000);
        under_way.pass(Tick(100), Tick(100 + second / 3));
        assert_eq!(under_way.wait_ms(), 15_000);
        under_way.pass(Tick(100), Tick(100 + second * 2 / 3));
        assert_eq!(under_way.wait_ms(), 14_000);
        under_way.pass(Tick(0), Tick(u32::MAX));
        assert!(under_way.is_nothing());
    }
}
