//! One connection to a server, in RESP3.
//!
//! The connections of the redis crate hand what is pushed to a queue without a limit, and commands to a task of
//! their own. Here the task that owns a connection reads it, and does not read it while it has no room for more,
//! so that a slow gateway holds back the server and not its own memory. The protocol is that of the crate.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BytesMut};
use redis::{Value, ValueCodec};
use tokio::io::{AsyncReadExt as _, AsyncWrite as _};
use tokio_util::codec::Decoder as _;

use super::failure::Failure;
use crate::control::engine::decimal::Decimal;
use crate::control::redis_stream::RedisStream;
use crate::control::redis_url::{RedisLogin, RedisUrl};

/// A connection with what is written to it and has not gone out yet.
pub(super) struct Connection {
    stream: RedisStream,
    codec: ValueCodec,
    incoming: BytesMut,
    /// Whether `incoming` holds no whole value.
    needs_more: bool,
    outgoing: BytesMut,
    /// Whether the stream may hold bytes that it was given.
    is_unflushed: bool,
}

impl Connection {
    /// Connects, and says who the gateway is.
    pub(super) async fn open(url: &RedisUrl, login: &RedisLogin) -> Result<Self, Failure> {
        let mut own = Self {
            stream: url.connect().await?,
            codec: ValueCodec::default(),
            incoming: BytesMut::new(),
            needs_more: true,
            outgoing: BytesMut::new(),
            is_unflushed: false,
        };
        let mut hello: Vec<&[u8]> = vec![b"HELLO", b"3"];
        if let Some(password) = login.password() {
            hello.extend([
                b"AUTH",
                login.user().unwrap_or("default").as_bytes(),
                password.as_bytes(),
            ]);
        }
        own.ask(&hello).await?;
        if login.database() != 0 {
            own.ask(&[b"SELECT", login.database().to_string().as_bytes()]).await?;
        }
        Ok(own)
    }

    /// Writes a command behind those before.
    pub(super) fn command(&mut self, parts: &[&[u8]]) {
        let out = &mut self.outgoing;
        let bytes: usize = parts.iter().map(|part| part.len() + HEAD_BYTES_MAX).sum();
        out.reserve(bytes + HEAD_BYTES_MAX);
        write_head(out, b"*", parts.len());
        for part in parts {
            write_head(out, b"$", part.len());
            out.extend_from_slice(part);
            out.extend_from_slice(b"\r\n");
        }
    }

    /// Bytes that have not gone out.
    pub(super) fn outgoing_bytes(&self) -> usize {
        self.outgoing.len()
    }

    /// Asks one thing, where nothing else is under way, and returns the answer.
    pub(super) async fn ask(&mut self, parts: &[&[u8]]) -> Result<Value, Failure> {
        self.command(parts);
        self.next().await
    }

    /// Writes what there is, and returns the next value that is no error.
    pub(super) async fn next(&mut self) -> Result<Value, Failure> {
        let value = std::future::poll_fn(|context| {
            let _ = self.poll_flush(context)?;
            self.poll_value(context)
        });
        let value = value.await?;
        if let Value::ServerError(error) = value { Err(Failure::Server(error)) } else { Ok(value) }
    }

    /// Writes what the socket takes. Ready when all has gone out.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        while !self.outgoing.is_empty() {
            let written = Pin::new(&mut self.stream).poll_write(context, &self.outgoing);
            let count = ready!(written)?;
            if count == 0 {
                return Poll::Ready(Err(io::Error::from(io::ErrorKind::WriteZero).into()));
            }
            self.outgoing.advance(count);
            self.is_unflushed = true;
        }
        if self.is_unflushed {
            ready!(Pin::new(&mut self.stream).poll_flush(context))?;
            self.is_unflushed = false;
            release(&mut self.outgoing);
        }
        Poll::Ready(Ok(()))
    }

    /// The next value.
    pub(super) fn poll_value(&mut self, context: &mut Context<'_>) -> Poll<Result<Value, Failure>> {
        loop {
            if !self.needs_more {
                if let Some(value) = self.codec.decode(&mut self.incoming)? {
                    return Poll::Ready(Ok(value));
                }
                self.needs_more = true;
                release(&mut self.incoming);
            }
            self.incoming.reserve(READ_BYTES);
            let read = pin!(self.stream.read_buf(&mut self.incoming));
            if ready!(read.poll(context))? == 0 {
                return Poll::Ready(Err(Failure::Closed));
            }
            self.needs_more = false;
        }
    }
}

/// Writes how many parts there are, or how many bytes. Without the formatter, which took a third of what a
/// publication costs here.
fn write_head(out: &mut BytesMut, kind: &[u8], count: usize) {
    out.extend_from_slice(kind);
    out.extend_from_slice(Decimal::new(count as u64).as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Gives the memory of an empty buffer back that has once held much.
fn release(buffer: &mut BytesMut) {
    if buffer.is_empty() && buffer.capacity() > KEPT_BYTES_MAX {
        *buffer = BytesMut::new();
    }
}

/// What a part takes beside its bytes: its kind, up to 20 digits, and the ends of two lines.
const HEAD_BYTES_MAX: usize = 25;
/// Room for one read.
const READ_BYTES: usize = 16 << 10;
/// An empty buffer keeps no more than this.
const KEPT_BYTES_MAX: usize = 256 << 10;
