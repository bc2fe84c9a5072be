//! GRIP: what a backend says to the gateway itself, among the messages for its client.
//!
//! A backend that answers with the extension `grip` marks what it sends: a text that begins with `c:`
//! is a control message in JSON, and what begins with the message prefix is for the client, without the
//! prefix. Anything else is dropped. The format is that of pushpin.org/docs/protocols/grip.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::client_event::ClientEvent;
use super::filter::{FILTERS_MAX, Filter};

/// How a backend with GRIP marks messages for its client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grip {
    prefix: Box<str>,
}

/// A control message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Control {
    /// The client is a member of a channel from now on, and gets what these let through.
    Subscribe(String, Vec<Filter>),
    /// The client leaves a channel.
    Unsubscribe(String),
    /// The backend is to be told nothing more of the connection.
    Detach,
    /// Something is kept about the connection, or forgotten without a value.
    SetMeta(String, Option<String>),
    /// A message for the client when it was sent nothing for a while, or also if it was; `None` for no
    /// more.
    KeepAlive(Option<Timed>, KeepAliveMode),
    /// A message for the client after a while. One that waits already is sent at once.
    SendDelayed(Timed),
    /// What waits to be sent is sent at once.
    FlushDelayed,
    /// The connection belongs to a session of the backend, or to none any more.
    Session(Option<String>),
}

/// A message that is sent to the client after a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timed {
    /// What it is.
    pub event: ClientEvent,
    /// Its payload.
    pub content: Vec<u8>,
    /// After how many seconds it is sent.
    pub timeout_s: u32,
}

/// When a message that keeps a connection alive is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeepAliveMode {
    /// When nothing else was.
    #[default]
    Idle,
    /// Again and again, whatever else is.
    Interval,
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
    filters: Option<Vec<String>>,
    #[serde(default)]
    id: Option<String>,
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
    #[serde(default)]
    mode: Option<String>,
}

impl Control {
    /// Reads what stands behind `c:`. `None` for what is none, or of a kind that there is not, which
    /// backends may send to gateways that know it.
    #[must_use]
    pub fn parse(json: &str) -> Option<Self> {
        let mut raw: Raw = serde_json::from_str(json).ok()?;
        let channel = raw.channel.take().filter(|own| is_channel(own));
        match raw.r#type.as_str() {
            "subscribe" => {
                // Pushpin lets a filter that it does not know through, and so does this.
                let names = raw.filters.unwrap_or_default();
                let known = names.iter().filter_map(|name| Filter::of_name(name));
                let filters: Vec<Filter> = known.take(FILTERS_MAX).collect();
                channel.map(|channel| Self::Subscribe(channel, filters))
            }
            "unsubscribe" => channel.map(Self::Unsubscribe),
            "detach" => Some(Self::Detach),
            "session" => {
                Some(Self::Session(raw.id.filter(|own| (1..=META_BYTES_MAX).contains(&own.len()))))
            }
            "flush-delayed" => Some(Self::FlushDelayed),
            "send-delayed" => raw.timed().flatten().map(Self::SendDelayed),
            "set-meta" => {
                let name = raw.name.filter(|own| (1..=META_BYTES_MAX).contains(&own.len()))?;
                let value = raw.value.filter(|own| own.len() <= META_BYTES_MAX);
                Some(Self::SetMeta(name, value))
            }
            "keep-alive" => {
                let mode = match raw.mode.as_deref() {
                    Some("interval") => KeepAliveMode::Interval,
                    Some(_) | None => KeepAliveMode::Idle,
                };
                raw.timed().map(|own| Self::KeepAlive(own, mode))
            }
            _ => None,
        }
    }
}

impl Raw {
    /// The message that is to be sent after a while, if there is one; `None` if it cannot be sent.
    fn timed(self) -> Option<Option<Timed>> {
        let given = match self.message_type.as_deref() {
            Some("text") => Some(ClientEvent::Text),
            Some("binary") => Some(ClientEvent::Binary),
            Some("ping") => Some(ClientEvent::Ping),
            Some("pong") => Some(ClientEvent::Pong),
            None => None,
            Some(_) => return None,
        };
        let (content, event) = match (self.content_bin, self.content) {
            (Some(binary), _) => (STANDARD.decode(binary).ok()?, ClientEvent::Binary),
            (None, Some(text)) => (text.into_bytes(), ClientEvent::Text),
            (None, None) if given.is_some_and(ClientEvent::is_control) => {
                (Vec::new(), ClientEvent::Ping)
            }
            (None, None) => return Some(None),
        };
        let event = given.unwrap_or(event);
        let bytes_max = if event.is_control() { CONTROL_BYTES_MAX } else { TIMED_BYTES_MAX };
        let is_right = event != ClientEvent::Text || std::str::from_utf8(&content).is_ok();
        let timeout_s = self.timeout.unwrap_or(KEEP_ALIVE_S).clamp(1, DAY_S);
        let fits = is_right && content.len() <= bytes_max;
        fits.then_some(Some(Timed { event, content, timeout_s }))
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
/// The longest message that waits to be sent.
const TIMED_BYTES_MAX: usize = 1024;
/// The payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;
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
        let expected = Control::Subscribe("room".to_owned(), vec![Filter::SkipSelf]);
        assert_eq!(Control::parse(subscribe), Some(expected));
        let unsubscribe = r#"{"type": "unsubscribe", "channel": "room"}"#;
        assert_eq!(Control::parse(unsubscribe), Some(Control::Unsubscribe("room".to_owned())));
        assert_eq!(Control::parse(r#"{"type":"detach"}"#), Some(Control::Detach));
        let meta = r#"{"type":"set-meta","name":"user","value":"ann"}"#;
        let kept = Control::SetMeta("user".to_owned(), Some("ann".to_owned()));
        assert_eq!(Control::parse(meta), Some(kept));
        let keep = r#"{"type":"keep-alive","content":"{}","timeout":20}"#;
        let timed = |event, content: &[u8], timeout_s| Timed {
            event,
            content: content.to_vec(),
            timeout_s,
        };
        let expected = timed(ClientEvent::Text, b"{}", 20);
        let expected = Control::KeepAlive(Some(expected), KeepAliveMode::Idle);
        assert_eq!(Control::parse(keep), Some(expected));
        let none = Control::KeepAlive(None, KeepAliveMode::Idle);
        assert_eq!(Control::parse(r#"{"type":"keep-alive"}"#), Some(none));
        let ping = r#"{"type":"keep-alive","message-type":"ping","mode":"interval"}"#;
        let expected = timed(ClientEvent::Ping, b"", KEEP_ALIVE_S);
        let expected = Control::KeepAlive(Some(expected), KeepAliveMode::Interval);
        assert_eq!(Control::parse(ping), Some(expected));
        let delayed = r#"{"type":"send-delayed","content-bin":"AQI=","timeout":3}"#;
        let expected = Control::SendDelayed(timed(ClientEvent::Binary, &[1, 2], 3));
        assert_eq!(Control::parse(delayed), Some(expected));
        assert_eq!(Control::parse(r#"{"type":"flush-delayed"}"#), Some(Control::FlushDelayed));
        let session = Control::Session(Some("s1".to_owned()));
        assert_eq!(Control::parse(r#"{"type":"session","id":"s1"}"#), Some(session));
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
