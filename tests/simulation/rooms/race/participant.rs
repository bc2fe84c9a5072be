//! One client of a race: what it has sent and received.

use serde_json::Value;
use tidegate::sim::SimClient;

use super::super::ClientFormat;
use super::super::events::MemberView;
use crate::client::Client;
use crate::wire::{TEXT, frame};

/// How a participant left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    Stays,
    /// With a close frame, a FIN, or `quit`, once it was accepted: all that it sent before must be
    /// delivered.
    Orderly,
    /// The same before it was accepted: it may never have been a member.
    BeforeAccept,
    Reset,
}

/// One client and what it did.
pub(super) struct Participant {
    pub(super) connection: ParticipantConnection,
    pub(super) format: Option<ClientFormat>,
    pub(super) room: &'static str,
    pub(super) name: String,
    /// Whether it has sent its name.
    pub(super) is_named: bool,
    /// The number of settled moments before it connected.
    pub(super) connected_at: usize,
    /// Whether it was a member at a settled moment, and how much its room had received by then.
    pub(super) settled_at: Option<usize>,
    pub(super) sent: Vec<String>,
    pub(super) leave: Leave,
    /// `sender|message`, in the order of arrival.
    pub(super) received: Vec<String>,
    pub(super) closed: Option<u16>,
    pub(super) view: MemberView,
    pub(super) frames_read: usize,
}

pub(super) enum ParticipantConnection {
    Line(SimClient, String),
    Socket(Client),
}

/// A line client has no format, as it has no frames.
pub(super) const LINE_CLIENT: Option<ClientFormat> = None;

impl Participant {
    pub(super) fn send(&self, bytes: &[u8]) {
        match &self.connection {
            ParticipantConnection::Line(connection, _) => connection.send(bytes),
            ParticipantConnection::Socket(client) => client.send(bytes),
        }
    }

    pub(super) fn connection(&self) -> &SimClient {
        match &self.connection {
            ParticipantConnection::Line(connection, _) => connection,
            ParticipantConnection::Socket(client) => &client.connection,
        }
    }

    pub(super) fn send_text(&self, text: &str) {
        match self.format {
            Some(ClientFormat::Lines) => self.send(&frame(TEXT, text.as_bytes())),
            Some(ClientFormat::Events) => {
                let event = serde_json::json!({ "type": "message", "text": text });
                self.send(&frame(TEXT, event.to_string().as_bytes()));
            }
            None => self.send(format!("{text}\n").as_bytes()),
        }
    }

    /// Reads all available bytes and returns their number.
    pub(super) fn read(&mut self) -> Result<usize, String> {
        let count = match &mut self.connection {
            ParticipantConnection::Line(connection, unread) => {
                let bytes = connection.receive(usize::MAX);
                unread.push_str(std::str::from_utf8(&bytes).map_err(|error| error.to_string())?);
                while let Some((line, rest)) = unread.split_once('\n') {
                    match line.split_once(": ") {
                        Some((from, text)) => self.received.push(format!("{from}|{text}")),
                        None if line.starts_with("replaced") => self.closed = Some(4001),
                        None => {}
                    }
                    *unread = rest.to_owned();
                }
                bytes.len()
            }
            ParticipantConnection::Socket(client) => client.try_read(usize::MAX)?,
        };
        self.take_frames()?;
        Ok(count)
    }

    pub(super) fn take_frames(&mut self) -> Result<(), String> {
        let ParticipantConnection::Socket(client) = &self.connection else { return Ok(()) };
        let data = client.received.data();
        for frame in &data[self.frames_read..] {
            let text = std::str::from_utf8(&frame.payload).map_err(|error| error.to_string())?;
            if self.format == Some(ClientFormat::Events) {
                let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
                match event["type"].as_str() {
                    Some("message") => {
                        let [from, text] =
                            ["from", "text"].map(|key| event[key].as_str().unwrap_or_default());
                        self.received.push(format!("{from}|{text}"));
                    }
                    _ => self.view.apply(&event)?,
                }
            } else {
                // Several lines may have been joined into one message.
                let lines = text.split('\n').map(|line| line.replacen(": ", "|", 1));
                self.received.extend(lines);
            }
        }
        self.frames_read = data.len();
        self.closed = client.received.close_code().or(self.closed);
        Ok(())
    }

    /// Whether it has received the 101. A line client gets no answer and counts as accepted.
    pub(super) fn is_accepted(&self) -> bool {
        match &self.connection {
            ParticipantConnection::Line(..) => true,
            ParticipantConnection::Socket(client) => client.received.status == Some(101),
        }
    }

    /// Whether it must be a member at a settled moment, unless it was replaced.
    pub(super) fn means_to_stay(&self) -> bool {
        self.leave == Leave::Stays
    }

    pub(super) fn is_member(&self) -> bool {
        self.means_to_stay() && self.closed.is_none()
    }
}
