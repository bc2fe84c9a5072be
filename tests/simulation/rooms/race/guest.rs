//! One client of a race: what it says, hears and believes.

use serde_json::Value;
use tidegate::sim::SimClient;

use super::super::Form;
use super::super::events::Belief;
use crate::client::Client;
use crate::wire::{TEXT, frame};

/// How a client's part ended, by its own will.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Stays,
    /// A close frame, the end of input, or `quit`: all that it said before counts.
    Orderly,
    /// The same before it was let in: it may never have been.
    AtTheDoor,
    Reset,
}

/// One client and what it did.
pub(super) struct Guest {
    pub(super) connection: GuestConnection,
    pub(super) form: Option<Form>,
    pub(super) room: &'static str,
    pub(super) name: String,
    /// Whether it has said who it is.
    pub(super) is_named: bool,
    /// Settled moments before it came.
    pub(super) came_at: usize,
    /// Whether it was a member at a settled moment, and how much its room had heard by then.
    pub(super) settled_at: Option<usize>,
    pub(super) said: Vec<String>,
    pub(super) leave: Leave,
    /// `sender|message`, in the order of hearing.
    pub(super) heard: Vec<String>,
    pub(super) closed: Option<u16>,
    pub(super) belief: Belief,
    pub(super) frames_read: usize,
}

pub(super) enum GuestConnection {
    Line(SimClient, String),
    Socket(Client),
}

/// A line client has no form, as it has no frames.
pub(super) const LINE_CLIENT: Option<Form> = None;

impl Guest {
    pub(super) fn send(&self, bytes: &[u8]) {
        match &self.connection {
            GuestConnection::Line(connection, _) => connection.send(bytes),
            GuestConnection::Socket(client) => client.send(bytes),
        }
    }

    pub(super) fn connection(&self) -> &SimClient {
        match &self.connection {
            GuestConnection::Line(connection, _) => connection,
            GuestConnection::Socket(client) => &client.connection,
        }
    }

    pub(super) fn say(&self, text: &str) {
        match self.form {
            Some(Form::Lines) => self.send(&frame(TEXT, text.as_bytes())),
            Some(Form::Events) => {
                let event = serde_json::json!({ "type": "message", "text": text });
                self.send(&frame(TEXT, event.to_string().as_bytes()));
            }
            None => self.send(format!("{text}\n").as_bytes()),
        }
    }

    /// Reads what is there; gives how many bytes came.
    pub(super) fn read(&mut self) -> Result<usize, String> {
        let count = match &mut self.connection {
            GuestConnection::Line(connection, unread) => {
                let bytes = connection.receive(usize::MAX);
                unread.push_str(std::str::from_utf8(&bytes).map_err(|error| error.to_string())?);
                while let Some((line, rest)) = unread.split_once('\n') {
                    match line.split_once(": ") {
                        Some((from, text)) => self.heard.push(format!("{from}|{text}")),
                        None if line.starts_with("replaced") => self.closed = Some(4001),
                        None => {}
                    }
                    *unread = rest.to_owned();
                }
                bytes.len()
            }
            GuestConnection::Socket(client) => client.try_read(usize::MAX)?,
        };
        self.take_frames()?;
        Ok(count)
    }

    pub(super) fn take_frames(&mut self) -> Result<(), String> {
        let GuestConnection::Socket(client) = &self.connection else { return Ok(()) };
        let data = client.heard.data();
        for frame in &data[self.frames_read..] {
            let text = std::str::from_utf8(&frame.payload).map_err(|error| error.to_string())?;
            if self.form == Some(Form::Events) {
                let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
                match event["type"].as_str() {
                    Some("message") => {
                        let [from, text] =
                            ["from", "text"].map(|key| event[key].as_str().unwrap_or_default());
                        self.heard.push(format!("{from}|{text}"));
                    }
                    _ => self.belief.learn(&event)?,
                }
            } else {
                // Several lines may have been joined into one message.
                let lines = text.split('\n').map(|line| line.replacen(": ", "|", 1));
                self.heard.extend(lines);
            }
        }
        self.frames_read = data.len();
        self.closed = client.heard.close_code().or(self.closed);
        Ok(())
    }

    /// Whether it knows that its connection is open.
    pub(super) fn is_let_in(&self) -> bool {
        match &self.connection {
            GuestConnection::Line(..) => true,
            GuestConnection::Socket(client) => client.heard.status == Some(101),
        }
    }

    /// Whether it must be a member at a settled moment, unless it was replaced.
    pub(super) fn wants_to_be_here(&self) -> bool {
        self.leave == Leave::Stays
    }

    pub(super) fn is_here(&self) -> bool {
        self.wants_to_be_here() && self.closed.is_none()
    }
}
