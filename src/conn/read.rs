//! One read of a socket: into the loop's receive buffer, into a connection's partial-read buffer, or, where the
//! partial-read buffer waits for the end of a message, into both.
//!
//! A large message of which a part has come is read straight into its place, and what follows it
//! into the receive buffer, by the same call:
//!
//! ```text
//!   partial-read buffer            [ header | payload so far | rest ]
//!   receive buffer                                    [ further messages ... ]
//!                                             ◄──────── one read ────────►
//! ```

use std::io;

use super::{Conn, Connections, Flags, Phase};
use crate::key::ConnKey;
use crate::pool::ReadBuffer;
use crate::transport::Transport;
use crate::ws::CLIENT_CONTROL_FRAME_BYTES_MAX;

/// What one read gave.
pub(super) enum Read {
    Failed,
    Ended,
    Got {
        /// Bytes of it that lie in the receive buffer, behind a partial-read buffer that is now full.
        behind: usize,
        filled_the_room: bool,
    },
    /// There was no memory to read into; the connection is being ended.
    NoRoom,
    Nothing,
}

impl<S: Transport> Connections<S> {
    /// One read into the free room of `buffer`, which grows if it has none.
    pub(super) fn read(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> Read {
        if buffer.filled == buffer.bytes.len() && !self.grow(key, buffer) {
            self.overloaded(key);
            return Read::NoRoom;
        }
        let Some(conn) = self.table.get_mut(key) else { return Read::Nothing };
        let end =
            if conn.partial.is_none() || !conn.holds_frames() { None } else { large_end(buffer) };
        let ahead_end = end.unwrap_or(buffer.bytes.len());
        let ahead = &mut buffer.bytes[buffer.filled..ahead_end];
        let behind = if end.is_some() { &mut self.receive_buffer.bytes[..] } else { &mut [] };
        let (ahead_bytes, behind_bytes) = (ahead.len(), behind.len());
        loop {
            let result = if behind_bytes == 0 {
                conn.socket.read(ahead)
            } else {
                conn.socket.read_both(ahead, behind)
            };
            return match result {
                Ok(0) => Read::Ended,
                Ok(count) => {
                    buffer.filled += count.min(ahead_bytes);
                    if conn.phase == Phase::Open {
                        conn.seen = self.tick;
                        conn.flags.clear(Flags::PING_UNWRITTEN);
                        if conn.flags.take(Flags::PINGED) {
                            self.arm(key);
                        }
                    }
                    Read::Got {
                        behind: count.saturating_sub(ahead_bytes),
                        filled_the_room: count == ahead_bytes + behind_bytes,
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    conn.flags.clear(Flags::INPUT_ENDING);
                    Read::Nothing
                }
                Err(_) => Read::Failed,
            };
        }
    }

    /// Makes a full buffer longer; whether there was memory for it.
    fn grow(&mut self, key: ConnKey, buffer: &mut ReadBuffer) -> bool {
        let Some(conn) = self.table.get_mut(key) else { return true };
        let message_bytes_max = match conn.phase {
            Phase::Open => self.router.socket(conn.route).options.message_bytes_max,
            Phase::Closing
            | Phase::Dead
            | Phase::Handshake
            | Phase::Lingering
            | Phase::Refusing => self.settings.head_bytes_max,
        };
        // Longer than any header, so it covers a message and its header as well.
        let bytes_max = message_bytes_max + CLIENT_CONTROL_FRAME_BYTES_MAX;
        self.buffers.grow(&mut buffer.bytes, bytes_max).is_ok()
    }
}

impl<S> Conn<S> {
    /// Whether what is kept for this connection are frames.
    fn holds_frames(&self) -> bool {
        self.phase == Phase::Open && !self.flags.has(Flags::LINES)
    }
}

/// The end of a large message, for whose rest a buffer has room.
fn large_end(buffer: &ReadBuffer) -> Option<usize> {
    let end = buffer.message_end().filter(|end| *end >= BOTH_FROM_BYTES)?;
    (buffer.filled + 1..=buffer.bytes.len()).contains(&end).then_some(end)
}

/// Shorter messages are read together with what follows them, and answered in one write.
const BOTH_FROM_BYTES: usize = 16 << 10;
