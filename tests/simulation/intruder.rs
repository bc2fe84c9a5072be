//! Clients that speak TLS up to some byte, and then do something else.

use tidegate::sim::Random;

use crate::client::Client;
use crate::wire::{BINARY, client_frame, upgrade_request};

/// What an intruder does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Misconduct {
    /// Sends nothing more once this many bytes are sent.
    Stops(usize),
    /// Ends its half there.
    Ends(usize),
    /// Resets the connection there.
    Resets(usize),
    /// Changes the byte with this number.
    Damages(usize, u8),
    /// Sends something else from there on.
    Babbles(usize),
    /// Speaks plain HTTP.
    IsPlain,
}

/// One such client.
#[derive(Debug)]
pub(crate) struct Intruder {
    client: Client,
    pub(crate) misconduct: Misconduct,
    sent: usize,
    noise: Vec<u8>,
    has_turned: bool,
    received: Vec<u8>,
}

impl Intruder {
    pub(crate) fn new(client: Client, random: &mut Random) -> Self {
        // A ClientHello has some 200 bytes, and what follows 100 and more.
        let at = [random.below(8), random.below(250), random.below(1_500)][random.below(3)];
        let misconduct = match random.below(6) {
            0 => Misconduct::Stops(at),
            1 => Misconduct::Ends(at),
            2 => Misconduct::Resets(at),
            3 => Misconduct::Damages(at, 1 << random.below(8)),
            4 => Misconduct::Babbles(at),
            _ => Misconduct::IsPlain,
        };
        let noise_bytes = random.below(40_000);
        let noise = random.bytes(noise_bytes);
        if let Some(tls) = client.tls() {
            let mut tls = tls.borrow_mut();
            tls.write(&upgrade_request("/echo"));
            tls.write(&client_frame(0x80 | BINARY, &noise[..noise_bytes / 8], [7; 4]));
        }
        Self { client, misconduct, sent: 0, noise, has_turned: false, received: Vec::new() }
    }

    /// Receives and sends what there is; how many bytes.
    pub(crate) fn act(&mut self) -> usize {
        let arrived = self.client.connection.receive(usize::MAX);
        if self.misconduct == Misconduct::IsPlain {
            if !std::mem::replace(&mut self.has_turned, true) {
                self.client.connection.send(&upgrade_request("/echo"));
            }
            self.received.extend_from_slice(&arrived);
            return arrived.len();
        }
        let Some(tls) = self.client.tls() else { return 0 };
        let mut tls = tls.borrow_mut();
        let _ = tls.open(&arrived);
        let mut sealed = tls.take_sealed();
        if self.client.is_gone() || self.has_turned {
            return arrived.len();
        }
        let start = self.sent;
        self.sent += sealed.len();
        let turns_at = match self.misconduct {
            Misconduct::Stops(at)
            | Misconduct::Ends(at)
            | Misconduct::Resets(at)
            | Misconduct::Babbles(at) => at,
            Misconduct::Damages(at, change) => {
                if let Some(byte) = at.checked_sub(start).and_then(|at| sealed.get_mut(at)) {
                    *byte ^= change;
                }
                usize::MAX
            }
            Misconduct::IsPlain => 0,
        };
        sealed.truncate(turns_at.saturating_sub(start));
        let connection = &self.client.connection;
        connection.send(&sealed);
        if self.sent >= turns_at {
            self.has_turned = true;
            match self.misconduct {
                Misconduct::Ends(_) => connection.shutdown(),
                Misconduct::Resets(_) => connection.reset(),
                Misconduct::Babbles(_) => connection.send(&self.noise),
                Misconduct::Stops(_) | Misconduct::Damages(..) | Misconduct::IsPlain => {}
            }
        }
        arrived.len() + sealed.len()
    }

    /// Whether it was dealt with, once all deadlines are over. `is_calm` says that nothing was scarce.
    pub(crate) fn check(&self, is_calm: bool) -> Result<(), String> {
        if !self.client.is_gone() {
            return Err("never dropped".into());
        }
        let is_answered = self.received.starts_with(b"HTTP/1.1 400 Bad Request\r\n");
        if self.misconduct == Misconduct::IsPlain && self.has_turned && is_calm && !is_answered {
            return Err(format!("answered with {:?}", String::from_utf8_lossy(&self.received)));
        }
        Ok(())
    }
}
