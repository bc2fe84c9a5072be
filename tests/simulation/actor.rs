//! A client that plays its script: in pieces cut anywhere, reading at its own pace, and leaving
//! in its own way.

use tidegate::sim::Random;

use crate::client::Client;
use crate::script::{Answer, End, Script};
use crate::wire::{PONG, TEXT, frame};

/// How it reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// All that is there.
    Prompt,
    /// So many bytes at a time.
    Slow(usize),
    /// Nothing after so many bytes.
    Stops(usize),
}

/// How it leaves when its script ends without a close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Leave {
    /// It breaks the connection when it has sent so many bytes.
    Reset(usize),
    /// It ends its half and reads on.
    Shutdown,
    /// It waits for the server to end.
    Stays,
}

/// A client at work.
#[derive(Debug)]
pub(crate) struct Actor {
    pub(crate) client: Client,
    pub(crate) script: Script,
    pub(crate) pace: Pace,
    pub(crate) leave: Leave,
    pub(crate) has_left: bool,
    /// It does not read whatever there is, or did not at first.
    pub(crate) dawdles: bool,
    sent: usize,
    pings_seen: usize,
    connected_at: u64,
}

impl Actor {
    pub(crate) fn new(client: Client, script: Script, random: &mut Random, now: u64) -> Self {
        let pace = match random.below(12) {
            0 => Pace::Stops(random.below(30_000)),
            // Fast enough to have read the reply to its request before it is asked for a sign.
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
            dawdles: pace != Pace::Prompt,
            sent: 0,
            pings_seen: 0,
            connected_at: now,
        }
    }

    /// Sends the next piece of its script.
    pub(crate) fn act(&mut self, random: &mut Random) {
        let piece = match random.below(10) {
            0..=2 => 1,
            3..=5 => 1 + random.below(30),
            6..=7 => 1 + random.below(5_000),
            _ => usize::MAX,
        };
        self.send_until(self.sent.saturating_add(piece));
    }

    /// Sends all the rest.
    pub(crate) fn finish(&mut self) {
        self.send_until(usize::MAX);
    }

    /// Sends the rest of its request.
    pub(crate) fn ask(&mut self) {
        if self.sent < self.script.head_end {
            self.send_until(self.script.head_end);
        }
    }

    /// What must not wait: a request within its time, the answer to a ping, a sign of life of
    /// whoever may not see the ping for long.
    pub(crate) fn keep_alive(&mut self, now: u64) {
        if now >= self.connected_at + HEAD_MS {
            self.ask();
        }
        let pings = self.client.heard.pings;
        let owes_pong = pings > self.pings_seen && !matches!(self.pace, Pace::Stops(_));
        self.pings_seen = pings;
        let is_open = self.client.heard.status == Some(101);
        if owes_pong || (is_open && matches!(self.pace, Pace::Slow(_))) {
            self.send_pong();
        }
    }

    /// Reads at its pace; gives how many bytes came.
    pub(crate) fn read(&mut self) -> Result<usize, String> {
        let bytes_max = match self.pace {
            Pace::Prompt => usize::MAX,
            Pace::Slow(bytes) => bytes,
            Pace::Stops(bytes) => bytes.saturating_sub(self.client.heard.bytes),
        };
        let count = self.client.try_read(bytes_max)?;
        if self.client.connection.has_ended() && !self.has_left {
            // The end is answered with the rest of what was under way, and the own end.
            self.finish();
            self.shutdown();
        }
        Ok(count)
    }

    /// From now on it reads all there is, unless it has stopped for good.
    pub(crate) fn hurry(&mut self) {
        if matches!(self.pace, Pace::Slow(_)) {
            self.pace = Pace::Prompt;
        }
    }

    /// It has nothing left to say.
    pub(crate) fn has_sent_all(&self) -> bool {
        self.sent == self.script.bytes.len()
    }

    /// It waits for nothing any more, unless for the server to end an open connection.
    pub(crate) fn is_settled(&self) -> bool {
        let ends_itself = match self.script.answer {
            Answer::Nothing => false,
            Answer::Reply(_) => true,
            Answer::Socket { end, .. } => end != End::Open || self.leave == Leave::Shutdown,
        };
        let has_stopped = matches!(self.pace, Pace::Stops(_));
        self.client.is_gone() || (self.has_sent_all() && (!ends_itself || has_stopped))
    }

    /// Ends its half if it has not yet.
    pub(crate) fn shutdown(&mut self) {
        if !std::mem::replace(&mut self.has_left, true) {
            self.client.connection.shutdown();
        }
    }

    /// Whether it broke the connection itself.
    pub(crate) fn has_reset(&self) -> bool {
        self.has_left && matches!(self.leave, Leave::Reset(at) if self.sent >= at)
    }

    /// The name that the relay has greeted it with.
    pub(crate) fn relay_name(&self) -> Option<String> {
        let is_relay = matches!(self.script.answer, Answer::Socket { is_relay: true, .. });
        let mut data = self.client.heard.data().iter().filter(|_| is_relay);
        let greeting = data.find(|frame| frame.opcode == TEXT)?;
        String::from_utf8(greeting.payload.clone()).ok()
    }

    /// Where it stands, for messages.
    pub(crate) fn brief(&self) -> String {
        let Self { client, pace, leave, sent, has_left, .. } = self;
        let heard = &client.heard;
        let end = match &self.script.answer {
            Answer::Nothing => "unfinished".into(),
            Answer::Reply(status) => format!("request for {status}"),
            Answer::Socket { is_relay, replies, end } => {
                format!("relay: {is_relay}, {} replies, {end:?}", replies.len())
            }
        };
        format!(
            "{end}, {pace:?}, {leave:?}, sent {sent} of {}, left: {has_left}; heard {:?} with {} \
             frames, close {:?}, pings {}, whole: {}, ended: {}, reset: {}, gone: {}",
            self.script.bytes.len(),
            heard.status,
            heard.data().len(),
            heard.close_code(),
            heard.pings,
            heard.is_whole(),
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
            // Sending to a socket that is gone would reset what it still has for us.
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

    /// Puts a pong in at the next gap between frames, if there is one.
    fn send_pong(&mut self) {
        let gap = self.script.gaps.iter().copied().find(|gap| *gap >= self.sent);
        // Past the last gap it is about to end, and had better do so.
        let Some(gap) = gap else { return self.finish() };
        self.send_until(gap);
        if self.sent == gap && !self.has_left && !self.client.is_gone() {
            self.client.send(&frame(PONG, b""));
        }
    }
}

/// A request is finished in this time; slices of time are shorter than what then remains of the
/// server's patience.
const HEAD_MS: u64 = 2_000;
