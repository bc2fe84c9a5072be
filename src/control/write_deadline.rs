//! A stream whose peer has to read what is written to it.
//!
//! A peer that asks for megabytes and reads nothing would keep them, and a place of its listener, for as long as a
//! connection may last.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// Fails to write with [`io::ErrorKind::TimedOut`] once the peer has taken no byte for too long, of those that wait.
#[derive(Debug)]
pub(super) struct WriteDeadline<S> {
    stream: S,
    stall_max: Duration,
    /// Runs while bytes wait of which the peer takes none.
    stall: Option<Pin<Box<Sleep>>>,
}

impl<S> WriteDeadline<S> {
    pub(super) fn new(stream: S, stall_max: Duration) -> Self {
        Self { stream, stall_max, stall: None }
    }

    fn in_time(
        &mut self,
        context: &mut Context<'_>,
        taken: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if taken.is_ready() {
            self.stall = None;
            return taken;
        }
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(self.stall_max)));
        stall.as_mut().poll(context).map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteDeadline<S> {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for WriteDeadline<S> {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        let taken = Pin::new(&mut own.stream).poll_write(context, bytes);
        own.in_time(context, taken)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let own = self.get_mut();
        let taken = Pin::new(&mut own.stream).poll_write_vectored(context, parts);
        own.in_time(context, taken)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::runtime::Builder;

    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
    }

    fn write(stream: &mut (impl AsyncWrite + Unpin), count: usize) -> Poll<io::Result<usize>> {
        let mut context = Context::from_waker(Waker::noop());
        Pin::new(stream).poll_write(&mut context, &vec![b'x'; count])
    }

    #[test]
    fn a_peer_that_takes_nothing_for_too_long_is_given_up() {
        block_on(async {
            let (own, _peer) = duplex(100);
            let mut own = WriteDeadline::new(own, Duration::ZERO);
            // What is taken at once costs no timer.
            assert!(matches!(write(&mut own, 100), Poll::Ready(Ok(100))));
            assert!(own.stall.is_none());
            let failed = own.write_all(b"more").await.unwrap_err();
            assert_eq!(failed.kind(), io::ErrorKind::TimedOut);
        });
    }

    #[test]
    fn a_peer_that_takes_some_has_all_of_the_time_again() {
        block_on(async {
            let (own, mut peer) = duplex(100);
            let mut own = WriteDeadline::new(own, HOUR);
            assert!(matches!(write(&mut own, 200), Poll::Ready(Ok(100))));
            assert!(write(&mut own, 100).is_pending());
            let first = own.stall.as_ref().unwrap().deadline();
            assert!(write(&mut own, 100).is_pending());
            assert_eq!(own.stall.as_ref().unwrap().deadline(), first, "it goes on meanwhile");
            peer.read_exact(&mut [0; 10]).await.unwrap();
            assert!(matches!(write(&mut own, 100), Poll::Ready(Ok(10))));
            assert!(own.stall.is_none());
        });
    }

    #[test]
    fn a_peer_that_is_owed_nothing_may_be_silent() {
        block_on(async {
            let (own, _peer) = duplex(100);
            let mut own = WriteDeadline::new(own, Duration::ZERO);
            let mut context = Context::from_waker(Waker::noop());
            let mut space = [0; 10];
            let mut buffer = ReadBuf::new(&mut space);
            assert!(Pin::new(&mut own).poll_read(&mut context, &mut buffer).is_pending());
            assert!(matches!(Pin::new(&mut own).poll_flush(&mut context), Poll::Ready(Ok(()))));
            assert!(own.stall.is_none());
        });
    }
}
