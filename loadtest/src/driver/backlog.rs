//! Output that the kernel has not taken yet.

use std::io::{self, ErrorKind, Write};
use std::mem;

/// The rest of a connection's output. It owns no memory while it is empty.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    bytes: Vec<u8>,
    written_bytes: usize,
}

/// Empty buffers of earlier backlogs, so that busy connections need not allocate.
#[derive(Debug, Default)]
pub(super) struct BufferPool(Vec<Vec<u8>>);

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Writes the backlog, then `output`, as far as the kernel takes them, and keeps the rest.
    /// `output` is empty afterwards.
    pub(super) fn flush(
        &mut self,
        output: &mut Vec<u8>,
        buffer_pool: &mut BufferPool,
        socket: &mut impl Write,
    ) -> io::Result<()> {
        if self.is_empty() {
            let written_bytes = write_some(socket, output)?;
            if written_bytes < output.len() {
                let bytes = mem::replace(output, buffer_pool.take());
                *self = Self { bytes, written_bytes };
            }
            output.clear();
            return Ok(());
        }
        self.compact();
        self.bytes.append(output);
        self.written_bytes += write_some(socket, &self.bytes[self.written_bytes..])?;
        if self.written_bytes == self.bytes.len() {
            buffer_pool.put(mem::take(self).bytes);
        }
        Ok(())
    }

    /// Moves the rest to the front of the buffer, but only if it is shorter than the space that
    /// this frees.
    fn compact(&mut self) {
        if self.written_bytes > self.bytes.len() / 2 {
            self.bytes.drain(..self.written_bytes);
            self.written_bytes = 0;
        }
    }
}

impl BufferPool {
    fn take(&mut self) -> Vec<u8> {
        self.0.pop().unwrap_or_default()
    }

    fn put(&mut self, mut buffer: Vec<u8>) {
        if self.0.len() < POOLED_BUFFERS_MAX && buffer.capacity() <= POOLED_BYTES_MAX {
            buffer.clear();
            self.0.push(buffer);
        }
    }
}

/// Writes until all is written or the kernel takes no more; returns the number of bytes that it
/// took.
fn write_some(socket: &mut impl Write, bytes: &[u8]) -> io::Result<usize> {
    let mut written_bytes = 0;
    while written_bytes < bytes.len() {
        match socket.write(&bytes[written_bytes..]) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(more_bytes) => written_bytes += more_bytes,
            Err(error) if error.kind() == ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written_bytes)
}

const POOLED_BUFFERS_MAX: usize = 64;
const POOLED_BYTES_MAX: usize = 1024 * 1024;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A socket that takes `allowance` bytes and then would block.
    #[derive(Default)]
    struct Socket {
        taken: Vec<u8>,
        allowance: usize,
    }

    impl Write for Socket {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken_bytes = bytes.len().min(self.allowance);
            if taken_bytes == 0 {
                return Err(ErrorKind::WouldBlock.into());
            }
            self.allowance -= taken_bytes;
            self.taken.extend_from_slice(&bytes[..taken_bytes]);
            Ok(taken_bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    proptest! {
        #[test]
        fn everything_is_written_once_and_in_order(
            rounds in prop::collection::vec((0_usize..50, 0_usize..50), 1..20)
        ) {
            let (mut backlog, mut buffer_pool) = (Backlog::default(), BufferPool::default());
            let (mut socket, mut output) = (Socket::default(), Vec::new());
            let (mut sent, mut next) = (Vec::new(), (0..=u8::MAX).cycle());
            for (output_bytes, allowance) in rounds {
                output.extend(next.by_ref().take(output_bytes));
                sent.extend_from_slice(&output);
                socket.allowance = allowance;
                backlog.flush(&mut output, &mut buffer_pool, &mut socket).unwrap();
                prop_assert!(output.is_empty());
            }
            socket.allowance = usize::MAX;
            backlog.flush(&mut output, &mut buffer_pool, &mut socket).unwrap();
            prop_assert!(backlog.is_empty());
            prop_assert_eq!(socket.taken, sent);
        }
    }

    #[test]
    fn buffers_are_used_again() {
        let (mut backlog, mut buffer_pool) = (Backlog::default(), BufferPool::default());
        let (mut socket, mut output) = (Socket::default(), b"abc".to_vec());
        backlog.flush(&mut output, &mut buffer_pool, &mut socket).unwrap();
        assert!(!backlog.is_empty());
        socket.allowance = 3;
        backlog.flush(&mut output, &mut buffer_pool, &mut socket).unwrap();
        assert_eq!(backlog.bytes.capacity(), 0);
        assert_eq!(buffer_pool.0.len(), 1);
    }
}
