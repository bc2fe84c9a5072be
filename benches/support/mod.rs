//! Shared by the benchmarks: client frames, streams in memory, and running a benchmark.
#![allow(dead_code, reason = "each benchmark uses a part of this")]

pub(crate) mod whole_loop;

use std::io::{self, ErrorKind, Read, Write};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use criterion::Criterion;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Runs a benchmark by the options of the command line, for a shorter time than criterion's
/// default.
pub(crate) fn run(bench: impl FnOnce(&mut Criterion)) {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .configure_from_args();
    bench(&mut criterion);
    criterion.final_summary();
}

/// Payload sizes from a short chat line to a large message.
pub(crate) const SIZES: [usize; 4] = [16, 128, 1024, 65_536];

/// A masking key without zero bytes.
pub(crate) const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

pub(crate) const TEXT: u8 = 1;
pub(crate) const BINARY: u8 = 2;

/// Bytes with a long period.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 1_u32;
    let draws = std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    });
    draws.take(bytes).collect()
}

/// ASCII of this length.
pub(crate) fn ascii(bytes: usize) -> Vec<u8> {
    noise(bytes).into_iter().map(|byte| b' ' + byte % 95).collect()
}

/// Characters of three bytes each, filled up to this length with ASCII.
pub(crate) fn chinese(bytes: usize) -> Vec<u8> {
    let mut text = "張三李四".repeat(bytes / 12).into_bytes();
    text.resize(bytes, b'.');
    text
}

/// A masked, unfragmented client frame.
pub(crate) fn client_frame(opcode: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x80 | opcode];
    match payload.len() {
        len @ ..126 => frame.push(0x80 | u8::try_from(len).unwrap_or(0)),
        len @ ..65_536 => {
            frame.push(0x80 | 126);
            frame.extend(u16::try_from(len).unwrap_or(0).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend(KEY);
    frame.extend(payload.iter().zip(KEY.iter().cycle()).map(|(byte, key)| byte ^ key));
    frame
}

/// A stream in memory that yields the same bytes once or repeatedly, at most to their end in one
/// read, and accepts all writes.
#[derive(Clone, Debug)]
pub(crate) struct Tape {
    bytes: Vec<u8>,
    at: usize,
    repeats: bool,
}

impl Tape {
    pub(crate) fn once(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0, repeats: false }
    }

    pub(crate) fn over_and_over(bytes: &[u8]) -> Self {
        Self { bytes: bytes.to_vec(), at: 0, repeats: true }
    }

    fn next_bytes(&mut self, count_max: usize) -> &[u8] {
        if self.at == self.bytes.len() && self.repeats {
            self.at = 0;
        }
        let from = self.at;
        self.at = self.bytes.len().min(from + count_max);
        &self.bytes[from..self.at]
    }
}

impl Read for Tape {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let taken = self.next_bytes(buffer.len());
        if taken.is_empty() {
            return Err(ErrorKind::WouldBlock.into());
        }
        buffer[..taken.len()].copy_from_slice(taken);
        Ok(taken.len())
    }
}

impl Write for Tape {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl AsyncRead for Tape {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let taken = self.next_bytes(buffer.remaining());
        if taken.is_empty() {
            return Poll::Pending;
        }
        buffer.put_slice(taken);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tape {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Runs a future whose streams are in memory, without a runtime that would be measured as well.
pub(crate) fn run_to_end<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    for _ in 0..POLLS_MAX {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
    unreachable!("streams in memory never wait")
}

const POLLS_MAX: usize = 1000;
