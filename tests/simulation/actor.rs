//! A client of the sweep: it sends its script in chunks of any size, reads at its [`Pace`], and
//! ends as its [`Leave`] says.

use tidegate::sim::Random;

use crate::client::Client;
use crate::script::{Answer, End, Script};
use crate::wire::{PONG, TEXT, frame};

/// How fast an actor reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All available bytes at each read.
    Prompt,
    /// At most this many bytes at each read.
    Slow(usize),
    /// Nothing more once this many bytes were read.
    Stops(usize),
}

/// How an actor ends a connection whose script has no close frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// Resets the connection once it has sent this many bytes.
    Reset(usize),
    /// Shuts its sending side down and reads on.
    Shutdown,
    /// Waits for the server to close.
    Stays,
}

/// A client, its script, and how far it has got.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) client: Client,
    pub(crate) script: Script,
    pub(crate) pace: Pace,
    pub(crate) leave: Leave,
    pub(crate) has_left: bool,
    /// Whether its first pace was another than [`Pace::Prompt`].
    pub(crate) is_slow: bool,
    /// Since when bytes for it have waited without a break, and how many it had read by then.
    behind: Option<(u64, usize)>,
    /// Bytes waited for it for as long as a pong may take, and it read fewer of them than the slowest
    /// reader that the server waits for.
    pub(crate) was_too_slow: bool,
    sent: usize,
    pings_seen: usize,
    connected_at: u64,
}

impl Actor {
    pub(crate) fn new(client: Client, script: Script, random: &mut Random, now: u64) -> Self {
        let pace = match random.below(12) {
            0 => Pace::Stops(random.below(30_000)),
            // Fast enough to have read the 101 before the first ping is due.
            1..=2 => Pace::Slow(60 + random.below(2_000)),
            _ => Pace::Prompt,
        };
        let leave = match random.below(10) {
            0 => Leave::Reset(random.below(script.bytes.len() + 1)),
            1..=4 => Leave::Shutdown,
            _ => Leave::Stays,
        };
        Self {
            client,
            script,
            pace,
            leave,
            has_left: false,
            is_slow: pace != Pace::Prompt,
            behind: None,
            was_too_slow: false,
            sent: 0,
            pings_seen: 0,
            connected_at: now,
        }
    }

    /// Sends a chunk of random size from its script.
    pub(crate) fn act(&mut self, random: &mut Random) {
        let piece = match random.below(10) {
            0..=2 => 1,
            3..=5 => 1 + random.below(30),
            6..=7 => 1 + random.below(5_000),
            _ => usize::MAX,
        };
        if let Some(tls) = self.client.tls()
            && !self.has_sent_all()
            && random.percent(20)
        {
            tls.borrow_mut().update_keys();
        }
        self.send_until(self.sent.saturating_add(piece));
    }

    /// Sends the rest of its script.
    pub(crate) fn finish(&mut self) {
        self.send_until(usize::MAX);
    }

    /// Begins the TLS handshake, if it has not.
    pub(crate) fn greet(&self) {
        if !self.client.is_gone() {
            self.client.send(b"");
        }
    }

    /// Sends the rest of its HTTP request.
    pub(crate) fn ask(&mut self) {
        if self.sent < self.script.head_end {
            self.send_until(self.script.head_end);
        }
    }

    /// Meets the server's deadlines: sends the rest of the request before the handshake times out,
    /// and a pong for each new ping. A slow reader, which sees pings late, sends pongs unasked.
    pub(crate) fn keep_alive(&mut self, now: u64) {
        if now >= self.connected_at + HEAD_MS {
            self.ask();
        }
        let pings = self.client.received.pings;
        let owes_pong = pings > self.pings_seen && !matches!(self.pace, Pace::Stops(_));
        self.pings_seen = pings;
        let is_open = self.client.received.status == Some(101);
        if owes_pong || (is_open && matches!(self.pace, Pace::Slow(_))) {
            self.send_pong();
        }
    }

    /// Reads at its pace and returns the number of bytes.
    pub(crate) fn read(&mut self) -> Result<usize, String> {
        let bytes_max = match self.pace {
            Pace::Prompt => usize::MAX,
            Pace::Slow(bytes) => bytes,
            Pace::Stops(bytes) => bytes.saturating_sub(self.client.received.bytes),
        };
        let count = self.client.try_read(bytes_max)?;
        if self.client.connection.has_ended() && !self.has_left {
            // After the server's FIN the actor sends what is left of its script, then its own FIN.
            self.finish();
            self.shutdown();
        }
        Ok(count)
    }

    /// Looks whether it keeps up, after a read at `now`. A ping may wait behind what it has not read.
    pub(crate) fn note_pace(&mut self, now: u64, pong_ms: u64) {
        let bytes = self.client.received.bytes;
        if self.client.connection.unread_bytes() == 0 {
            self.behind = None;
            return;
        }
        let (since, bytes_then) = *self.behind.get_or_insert((now, bytes));
        let (waited_ms, read) = (now - since, (bytes - bytes_then) as u64);
        self.was_too_slow |= waited_ms >= pong_ms && read * 1000 < LEAST_BYTES_PER_S * waited_ms;
    }

    /// Turns a slow reader into a prompt one. A reader that stopped stays stopped.
    pub(crate) fn read_promptly(&mut self) {
        if matches!(self.pace, Pace::Slow(_)) {
            self.pace = Pace::Prompt;
        }
    }

    /// Whether the whole script is sent.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.sent == self.script.bytes.len()
    }

    /// Whether nothing more will happen on this connection, unless the server closes an idle one.
    pub(crate) fn is_settled(&self) -> bool {
        let ends_itself = match self.script.answer {
            Answer::Nothing => false,
            Answer::Reply(_) => true,
            Answer::Socket { end, .. } => end != End::Open || self.leave == Leave::Shutdown,
        };
        let has_stopped = matches!(self.pace, Pace::Stops(_));
        self.client.is_gone() || (self.has_sent_all() && (!ends_itself || has_stopped))
    }

    /// Shuts the sending side down, once.
    pub(crate) fn shutdown(&mut self) {
        if !std::mem::replace(&mut self.has_left, true) {
            self.client.shutdown();
        }
    }

    /// Whether the actor itself has reset the connection.
    pub(crate) fn has_reset(&self) -> bool {
        self.has_left && matches!(self.leave, Leave::Reset(at) if self.sent >= at)
    }

    /// The name in the relay's greeting, if it has arrived.
    pub(crate) fn relay_name(&self) -> Option<String> {
        let is_relay = matches!(self.script.answer, Answer::Socket { is_relay: true, .. });
        let mut data = self.client.received.data().iter().filter(|_| is_relay);
        let greeting = data.find(|frame| frame.opcode == TEXT)?;
        String::from_utf8(greeting.payload.clone()).ok()
    }

    /// Script, pace and progress, for error messages.
    pub(crate) fn summary(&self) -> String {
        let Self { client, pace, leave, sent, has_left, .. } = self;
        let received = &client.received;
        let end = match &self.script.answer {
            Answer::Nothing => "unfinished".into(),
            Answer::Reply(status) => format!("request for {status}"),
            Answer::Socket { is_relay, replies, end } => {
                format!("relay: {is_relay}, {} replies, {end:?}", replies.len())
            }
        };
        let tls = client.tls().map(|tls| format!("; {:?}", tls.borrow()));
        let tls = tls.unwrap_or_default();
        format!(
            "{end}, {pace:?}, {leave:?}, sent {sent} of {}, left: {has_left}; received {:?} with {} \
             frames, close {:?}, pings {}, whole: {}, ended: {}, reset: {}, gone: {}{tls}",
            self.script.bytes.len(),
            received.status,
            received.data().len(),
            received.close_code(),
            received.pings,
            received.is_whole(),
            client.connection.has_ended(),
            client.connection.was_reset(),
            client.is_gone(),
        )
    }

    fn send_until(&mut self, end: usize) {
        let reset_at = match self.leave {
            Leave::Reset(at) => at,
            Leave::Shutdown | Leave::Stays => usize::MAX,
        };
        let end = end.min(self.script.bytes.len()).min(reset_at);
        if self.has_left || self.client.is_gone() {
            // Bytes sent to a closed socket would be answered with a reset, which discards what is
            // still in the receive buffer.
            self.sent = self.script.bytes.len();
            return;
        }
        if end > self.sent {
            self.client.send(&self.script.bytes[self.sent..end]);
            self.sent = end;
        }
        if self.sent >= reset_at {
            self.has_left = true;
            self.client.connection.reset();
        } else if self.has_sent_all() && self.leave == Leave::Shutdown && self.is_open_ended() {
            self.shutdown();
        }
    }

    fn is_open_ended(&self) -> bool {
        matches!(self.script.answer, Answer::Socket { end: End::Open, .. })
    }

    /// Sends a pong at the next frame boundary of the script, if there is one.
    fn send_pong(&mut self) {
        let gap = self.script.gaps.iter().copied().find(|gap| *gap >= self.sent);
        // After the last boundary only the end of the script is left.
        let Some(gap) = gap else { return self.finish() };
        self.send_until(gap);
        if self.sent == gap && !self.has_left && !self.client.is_gone() {
            self.client.send(&frame(PONG, b""));
        }
    }
}

/// The rate of the slowest reader that the server waits for (docs/configuration.md).
const LEAST_BYTES_PER_S: u64 = 8 << 10;
/// The time after which an actor completes its request. The rest of the handshake timeout is longer
/// than a slice of [`crate::sweep`].
const HEAD_MS: u64 = 2_000;
