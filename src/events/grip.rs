//! GRIP: what a backend says to the gateway itself, among the messages for its client.
//!
//! A backend that answers with the extension `grip` marks what it sends: a text that begins with `c:`
//! is a control message in JSON, and what begins with the message prefix is for the client, without the
//! prefix. Anything else is dropped. The format is that of pushpin.org/docs/protocols/grip.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

/// How a backend with GRIP marks messages for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grip {
    prefix: Box<str>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The client is a member of a channel from now on.
    Subscribe(String),
    /// The client leaves a channel.
    Unsubscribe(String),
    /// The backend is to be told nothing more of the connection.
    Detach,
    /// Something is kept about the connection, or forgotten without a value.
    SetMeta(String, Option<String>),
    /// A message for the client when it was sent nothing for a while; `None` for no more.
    KeepAlive(Option<KeepAlive>),
}

/// A message that keeps a quiet connection alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// Whether it is a text.
    pub is_text: bool,
    /// Its payload.
    pub content: Vec<u8>,
    /// After how many seconds it is sent.
    pub timeout_s: u32,
    /// Whether it is sent at an interval in seconds, whatever else is.
    pub is_regular: bool,
}

impl Grip {
    /// Reads the value of `Sec-WebSocket-Extensions`: `grip`, perhaps with `message-prefix`. `None` if it
    /// names another extension.
    #[must_use]
    pub fn parse(value: &str) -> Option<Self> {
        let mut elements = value.split(',').map(|element| element.split(';').map(str::trim_ascii));
        let mut parameters = elements.find_map(|mut parts| {
            let is_grip = parts.next().is_some_and(|own| own.eq_ignore_ascii_case("grip"));
            is_grip.then_some(parts)
        })?;
        let prefix = parameters.find_map(|own| {
            let (name, value) = own.split_once('=')?;
            name.trim_ascii().eq_ignore_ascii_case("message-prefix").then_some(value.trim_ascii())
        });
        let prefix = prefix.map_or(DEFAULT_PREFIX, |own| own.trim_matches('"'));
        Some(Self { prefix: prefix.into() })
    }

    /// What of a message is for the client; `None` if it is not for it.
    #[must_use]
    pub fn message<'m>(&self, content: &'m [u8]) -> Option<&'m [u8]> {
        content.strip_prefix(self.prefix.as_bytes())
    }
}

#[derive(Deserialize)]
struct Raw {
    r#type: String,
    #[serde(default)]
    channel: Option<String>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    value: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default, rename = "content-bin")]
    content_bin: Option<String>,
    #[serde(default, rename = "message-type")]
    message_type: Option<String>,
    #[serde(default)]
    timeout: Option<u32>,
    #[serde(default, rename = "keep-alive-mode", alias = "mode")]
    mode: Option<String>,
}

impl Control {
    /// Reads what stands behind `c:`. `None` for what is none, or of a kind that there is not, which
    /// backends may send to gateways that know it.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        let raw: Raw = serde_json::from_str(json).ok()?;
        let channel = raw.channel.filter(|own| is_channel(own));
        match raw.r#type.as_str() {
            "subscribe" => channel.map(Self::Subscribe),
            "unsubscribe" => channel.map(Self::Unsubscribe),
            "detach" => Some(Self::Detach),
            "set-meta" => {
                let name = raw.name.filter(|own| (1..=META_BYTES_MAX).contains(&own.len()))?;
                let value = raw.value.filter(|own| own.len() <= META_BYTES_MAX);
                Some(Self::SetMeta(name, value))
            }
            "keep-alive" => {
                let content = match (raw.content, raw.content_bin) {
                    (Some(text), _) => Some(text.into_bytes()),
                    (None, Some(binary)) => Some(STANDARD.decode(binary).ok()?),
                    (None, None) => None,
                };
                let keep = content.filter(|own| own.len() <= KEEP_ALIVE_BYTES_MAX);
                Some(Self::KeepAlive(keep.map(|content| KeepAlive {
                    is_text: raw.message_type.as_deref() != Some("binary")
                        && std::str::from_utf8(&content).is_ok(),
                    content,
                    timeout_s: raw.timeout.unwrap_or(KEEP_ALIVE_S).clamp(1, DAY_S),
                    is_regular: raw.mode.as_deref() == Some("interval"),
                })))
            }
            _ => None,
        }
    }
}

/// Whether a text may be the name of a channel.
#[must_use]
pub fn is_channel(name: &str) -> bool {
    (1..=CHANNEL_BYTES_MAX).contains(&name.len()) && !name.chars().any(char::is_control)
}

const DEFAULT_PREFIX: &str = "m:";
/// The longest name of a channel.
pub const CHANNEL_BYTES_MAX: usize = 256;
/// The longest name, and the longest value, that is kept about a connection.
const META_BYTES_MAX: usize = 256;
const KEEP_ALIVE_BYTES_MAX: usize = 1024;
const KEEP_ALIVE_S: u32 = 55;
const DAY_S: u32 = 86_400;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_extension_says_how_messages_are_marked() {
        let message = |value: &str, content: &'static str| {
            Grip::parse(value).and_then(|own| own.message(content.as_bytes()))
        };
        for value in ["grip", "GRIP", " a, grip ;x=1", "grip; message-prefix=\"m:\""] {
            assert_eq!(message(value, "m:hello"), Some(&b"hello"[..]), "{value}");
            assert_eq!(message(value, "hello"), None, "{value}");
        }
        assert_eq!(message("grip; message-prefix=\"\"", "m:hello"), Some(&b"m:hello"[..]));
        assert_eq!(message("grip; Message-Prefix=data-", "data-1"), Some(&b"1"[..]));
        for value in ["", "gripe", "permessage-deflate; grip"] {
            assert_eq!(Grip::parse(value), None, "{value}");
        }
    }

    #[test]
    fn control_messages_of_libraries_are_read() {
        let subscribe = r#"{"channel": "room", "type": "subscribe", "filters": ["skip-self"]}"#;
        assert_eq!(Control::parse(subscribe), Some(Control::Subscribe("room".to_owned())));
        let unsubscribe = r#"{"type": "unsubscribe", "channel": "room"}"#;
        assert_eq!(Control::parse(unsubscribe), Some(Control::Unsubscribe("room".to_owned())));
        assert_eq!(Control::parse(r#"{"type":"detach"}"#), Some(Control::Detach));
        let meta = r#"{"type":"set-meta","name":"user","value":"ann"}"#;
        let kept = Control::SetMeta("user".to_owned(), Some("ann".to_owned()));
        assert_eq!(Control::parse(meta), Some(kept));
        let keep = r#"{"type":"keep-alive","content":"{}","timeout":20}"#;
        let expected =
            KeepAlive { is_text: true, content: b"{}".to_vec(), timeout_s: 20, is_regular: false };
        assert_eq!(Control::parse(keep), Some(Control::KeepAlive(Some(expected))));
        assert_eq!(Control::parse(r#"{"type":"keep-alive"}"#), Some(Control::KeepAlive(None)));
    }

    #[test]
    fn what_is_no_control_message_is_left_out() {
        let long = format!(r#"{{"type":"subscribe","channel":"{}"}}"#, "a".repeat(257));
        for json in ["", "{}", "[]", r#"{"type":"subscribe"}"#, r#"{"type":"fly"}"#, &long] {
            assert_eq!(Control::parse(json), None, "{json}");
        }
    }

    proptest! {
        #[test]
        fn any_text_may_come(text in ".{0,40}") {
            let _ = (Control::parse(&text), Grip::parse(&text));
        }
    }
}
