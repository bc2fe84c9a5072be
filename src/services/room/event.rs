//! The chat subprotocol: JSON events, one object in each text message.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ws::EncodedFrame;

/// The subprotocol whose clients receive events instead of lines.
pub const CHAT_SUBPROTOCOL: &str = "tidegate.chat.v1";

/// What the server sends to members.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ServerEvent<'a> {
    /// The number of members.
    #[serde(rename = "members")]
    Count {
        room: &'a str,
        count: usize,
    },
    Error {
        text: &'a str,
    },
    Joined {
        name: &'a str,
        count: usize,
    },
    Left {
        name: &'a str,
        count: usize,
    },
    /// The number of members and their names.
    #[serde(rename = "members")]
    List {
        room: &'a str,
        count: usize,
        names: Vec<&'a str>,
    },
    Message {
        from: &'a str,
        text: &'a str,
    },
    /// A message of the gateway itself. It has a type of its own, because there is no name that no
    /// member could have.
    Notice {
        text: &'a str,
    },
    /// The state of the room when the receiver enters it or takes a name, with the receiver's name.
    #[serde(rename = "members")]
    Snapshot {
        room: &'a str,
        name: Option<&'a str>,
        count: usize,
        names: Vec<&'a str>,
    },
}

impl ServerEvent<'_> {
    pub(super) fn to_json(&self) -> String {
        // Serializing fails for maps with keys that are not text, which no event has.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn to_frame(&self) -> EncodedFrame {
        EncodedFrame::text(&self.to_json())
    }
}

/// Why a client's text is not an event; the text of the error is sent to the client.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum EventError {
    #[error(r#"send a JSON object such as {{"type":"message","text":"hi"}}"#)]
    NotAnEvent,
    #[error(r#"a message needs a "text""#)]
    MissingText,
    #[error(r#"the only "type" that clients send is "message""#)]
    UnknownType,
}

/// Parses a client's event and gives the text of its message.
pub(super) fn parse_client_event(json: &str) -> Result<String, EventError> {
    #[derive(Deserialize)]
    struct ClientEvent {
        r#type: Option<String>,
        text: Option<String>,
    }
    let event: ClientEvent = serde_json::from_str(json).map_err(|_| EventError::NotAnEvent)?;
    match event.r#type.as_deref() {
        None => Err(EventError::NotAnEvent),
        Some("message") => event.text.ok_or(EventError::MissingText),
        Some(_) => Err(EventError::UnknownType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_this_json() {
        let (room, names) = ("lobby", vec!["alice", "bob"]);
        for (event, json) in [
            (
                ServerEvent::Snapshot { room, name: Some("bob"), count: 2, names: names.clone() },
                r#"{"type":"members","room":"lobby","name":"bob","count":2,"names":["alice","bob"]}"#,
            ),
            (
                ServerEvent::Snapshot { room, name: None, count: 1, names: vec![] },
                r#"{"type":"members","room":"lobby","name":null,"count":1,"names":[]}"#,
            ),
            (
                ServerEvent::List { room, count: 2, names },
                r#"{"type":"members","room":"lobby","count":2,"names":["alice","bob"]}"#,
            ),
            (
                ServerEvent::Count { room, count: 230 },
                r#"{"type":"members","room":"lobby","count":230}"#,
            ),
            (
                ServerEvent::Joined { name: "张三", count: 4 },
                r#"{"type":"joined","name":"张三","count":4}"#,
            ),
            (
                ServerEvent::Left { name: "bob", count: 3 },
                r#"{"type":"left","name":"bob","count":3}"#,
            ),
            (
                ServerEvent::Message { from: "b\"", text: "\n\u{1}</script>" },
                r#"{"type":"message","from":"b\"","text":"\n\u0001</script>"}"#,
            ),
            (ServerEvent::Error { text: "why" }, r#"{"type":"error","text":"why"}"#),
        ] {
            assert_eq!(event.to_json(), json);
        }
    }

    #[test]
    fn only_message_events_are_accepted() {
        let text = parse_client_event(r#"{"type":"message","text":"a\nb","id":[1,{}]}"#);
        assert_eq!(text.as_deref(), Ok("a\nb"));
        for json in [
            "",
            "hi",
            "[]",
            "{}",
            "null",
            r#"{"type":"message","text":5}"#,
            r#"{"type":"message","text":"a"} x"#,
            r#"{"type":"message","text":"a","text":"b"}"#,
            r#"{"text":"a"}"#,
        ] {
            assert_eq!(parse_client_event(json), Err(EventError::NotAnEvent), "{json}");
        }
        assert_eq!(parse_client_event(r#"{"type":"message"}"#), Err(EventError::MissingText));
        let deep = "[".repeat(100_000);
        assert_eq!(parse_client_event(&deep), Err(EventError::NotAnEvent));
        assert_eq!(
            parse_client_event(r#"{"type":"joined","text":"a"}"#),
            Err(EventError::UnknownType)
        );
    }
}
