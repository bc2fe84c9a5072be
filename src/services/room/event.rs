//! The chat subprotocol: JSON events, one object in each text message.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::ws::EncodedFrame;

/// The subprotocol whose clients are spoken to in events instead of lines.
pub const CHAT_SUBPROTOCOL: &str = "tidegate.chat.v1";

/// What members are told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub(super) enum ServerEvent<'a> {
    /// How many there are now.
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
    /// Who is there.
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
    /// Who is there, and who the receiver is.
    #[serde(rename = "members")]
    Accept {
        room: &'a str,
        name: Option<&'a str>,
        count: usize,
        names: Vec<&'a str>,
    },
}

impl ServerEvent<'_> {
    pub(super) fn to_json(&self) -> String {
        // Text and numbers alone cannot fail to be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    pub(super) fn to_frame(&self) -> EncodedFrame {
        EncodedFrame::text(&self.to_json())
    }
}

/// Why what a client sent is not an event.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub(super) enum BadEvent {
    #[error(r#"send a JSON object such as {{"type":"message","text":"hi"}}"#)]
    NotAnEvent,
    #[error(r#"a message needs a "text""#)]
    MissingText,
    #[error(r#"the only "type" that clients send is "message""#)]
    UnknownType,
}

/// The text of the message that a client sent.
pub(super) fn parse_client_event(json: &str) -> Result<String, BadEvent> {
    #[derive(Deserialize)]
    struct ClientEvent {
        r#type: Option<String>,
        text: Option<String>,
    }
    let event: ClientEvent = serde_json::from_str(json).map_err(|_| BadEvent::NotAnEvent)?;
    match event.r#type.as_deref() {
        None => Err(BadEvent::NotAnEvent),
        Some("message") => event.text.ok_or(BadEvent::MissingText),
        Some(_) => Err(BadEvent::UnknownType),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_byte_for_byte() {
        let (room, names) = ("lobby", vec!["alice", "bob"]);
        for (event, json) in [
            (
                ServerEvent::Accept { room, name: Some("bob"), count: 2, names: names.clone() },
                r#"{"type":"members","room":"lobby","name":"bob","count":2,"names":["alice","bob"]}"#,
            ),
            (
                ServerEvent::Accept { room, name: None, count: 1, names: vec![] },
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
    fn clients_send_messages_and_nothing_else() {
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
            assert_eq!(parse_client_event(json), Err(BadEvent::NotAnEvent), "{json}");
        }
        assert_eq!(parse_client_event(r#"{"type":"message"}"#), Err(BadEvent::MissingText));
        let deep = "[".repeat(100_000);
        assert_eq!(parse_client_event(&deep), Err(BadEvent::NotAnEvent));
        assert_eq!(
            parse_client_event(r#"{"type":"joined","text":"a"}"#),
            Err(BadEvent::UnknownType)
        );
    }
}
