//! Counts what compression allocates: the constants by which the pool is charged must be the sizes
//! that the library allocates, and a window must take what `--check` prints.

use std::alloc::System;
use std::hint::black_box;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use tidegate::output::context_bytes_max;
use tidegate::pool::{Window, Windows};
use tidegate::ws::{DECOMPRESSOR_BYTES, compressor_bytes};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Bytes that `make` leaves allocated. The threads of the harness allocate as well, at a few moments of their
/// own, so it is what two countings in a row agree on.
fn allocated<T>(mut make: impl FnMut() -> T) -> usize {
    let mut count = || {
        let region = Region::new(ALLOCATOR);
        let made = make();
        let change = region.change();
        black_box(made);
        change.bytes_allocated - change.bytes_deallocated
    };
    let mut last = count();
    loop {
        let next = count();
        if next == last {
            return next;
        }
        last = next;
    }
}

/// One test for all, since allocations of another test at the same time would be counted as well.
#[test]
fn allocated_sizes_match_the_charged_constants() {
    let message = vec![b'a'; 40_000];
    let (mut room, mut output) = (vec![0; 50_000], vec![0; 50_000]);
    let mut compressed_len = 0;
    for window_bits in 9..=15 {
        let dictionary = vec![b'b'; 1 << window_bits];
        for level in 1..=9 {
            let bytes = allocated(|| {
                let level = Compression::new(level);
                let mut stream = Compress::new_with_window_bits(level, false, window_bits);
                stream.set_dictionary(&dictionary).unwrap();
                stream.compress(&message, &mut output, FlushCompress::Sync).unwrap();
                compressed_len = usize::try_from(stream.total_out()).unwrap();
                stream
            });
            assert_eq!(bytes, compressor_bytes(window_bits), "{window_bits} bits, level {level}");
        }
        let bytes = allocated(|| {
            let mut stream = Decompress::new_with_window_bits(false, window_bits);
            stream.set_dictionary(&dictionary).unwrap();
            let compressed = &output[..compressed_len];
            stream.decompress(compressed, &mut room, FlushDecompress::Sync).unwrap();
            assert_eq!(room[..message.len()], message);
            stream
        });
        assert_eq!(bytes, DECOMPRESSOR_BYTES, "{window_bits} bits");

        // Windows of many connections; capacity that a block reserves in advance is not touched.
        let mut held = 0;
        let bytes = allocated(|| {
            let mut windows = Windows::default();
            let mut crowd: Vec<Window> = (0..100).map(|_| Window::default()).collect();
            for len in [10, 100, 1000, 10_000, 30_000] {
                for window in &mut crowd {
                    windows.slide(window, &message[..len], window_bits);
                }
            }
            held = windows.held_bytes();
            (windows, crowd)
        });
        assert_eq!(held, 100 << window_bits);
        assert!(2 * held / 100 < context_bytes_max(window_bits));
        assert!((held..2 * held + (64 << 10)).contains(&bytes), "{bytes} for {held}");
    }
}
