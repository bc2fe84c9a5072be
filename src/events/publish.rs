//! What a backend publishes to the members of channels: the body of `POST /publish`.
//!
//! The forms are those that libraries of GRIP send: an item has its formats in `formats`, or beside the
//! channel. Only `ws-message` is for WebSockets.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Deserialize;

use super::client_event::ClientEvent;
use super::event::CLOSE_REASON_BYTES_MAX;
use super::filter::Meta;
use super::grip::is_channel;
use crate::ws::CloseCode;

/// A publication to the members of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelItem {
    /// The channel.
    pub channel: Arc<str>,
    /// What tells it from others of the channel, if its backend says so.
    pub id: Option<Arc<str>>,
    /// The ID of the one before it in the channel, if its backend says so.
    pub prev_id: Option<Arc<str>>,
    /// What filters of members look at.
    pub meta: Meta,
    /// What becomes of its members.
    pub action: ChannelAction,
}

/// What becomes of the members of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ChannelAction {
    /// They get a message.
    Send(ClientEvent, Vec<u8>),
    /// They are closed, with this code and reason.
    Close(CloseCode, String),
    /// Their backend is asked about each of them, by a request without events.
    Refresh,
    /// Nothing: the hint is for members of other transports, which ask again.
    Hint,
}

impl ChannelItem {
    /// Bytes on the heap.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        let ids = [&self.id, &self.prev_id].into_iter().flatten().map(|id| id.len());
        let action = match &self.action {
            ChannelAction::Send(_, content) => content.len(),
            ChannelAction::Close(_, reason) => reason.len(),
            ChannelAction::Refresh | ChannelAction::Hint => 0,
        };
        self.channel.len() + ids.sum::<usize>() + self.meta.held_bytes() + action
    }
}

/// The items of a body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Items {
    /// Those for WebSockets, in order.
    pub items: Vec<ChannelItem>,
    /// Those that are for other transports only.
    pub others: usize,
}

/// Why a body is none that can be published. Displays as a line for its author.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// It is not as it must be.
    #[error("the body is no JSON with items: {0}")]
    Json(String),
    /// More items than are taken at once.
    #[error("more than {ITEMS_MAX} items")]
    TooMany,
    /// An item is not as it must be.
    #[error("items[{0}]: {1}")]
    Item(usize, &'static str),
}

#[derive(Deserialize)]
struct Body {
    items: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    channel: Option<String>,
    #[serde(default)]
    id: Option<String>,
    #[serde(default, rename = "prev-id")]
    prev_id: Option<String>,
    #[serde(default)]
    meta: Option<serde_json::Map<String, serde_json::Value>>,
    #[serde(default)]
    formats: Option<Formats>,
    #[serde(flatten)]
    beside: Formats,
}

#[derive(Default, Deserialize)]
struct Formats {
    #[serde(default, rename = "ws-message")]
    ws_message: Option<WsMessage>,
    #[serde(default, rename = "http-stream")]
    http_stream: Option<serde::de::IgnoredAny>,
    #[serde(default, rename = "http-response")]
    http_response: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct WsMessage {
    #[serde(default)]
    content: Option<String>,
    #[serde(default, rename = "content-bin")]
    content_bin: Option<String>,
    #[serde(default)]
    r#type: Option<String>,
    #[serde(default)]
    action: Option<String>,
    #[serde(default)]
    code: Option<u16>,
    #[serde(default)]
    reason: Option<String>,
}

/// Reads the body of `POST /publish`.
///
/// # Errors
/// [`PublishError`], which names the first item that is wrong; then nothing is to be published.
pub fn parse_items(body: &[u8]) -> Result<Items, PublishError> {
    let body: Body =
        serde_json::from_slice(body).map_err(|error| PublishError::Json(error.to_string()))?;
    if body.items.len() > ITEMS_MAX {
        return Err(PublishError::TooMany);
    }
    let mut items = Items::default();
    for (index, item) in body.items.into_iter().enumerate() {
        let wrong = |why| PublishError::Item(index, why);
        let channel = item.channel.filter(|own| is_channel(own));
        let channel = channel.ok_or_else(|| wrong("needs a channel of 1 to 256 bytes"))?;
        let formats = item.formats.unwrap_or(item.beside);
        match formats.ws_message {
            Some(message) => items.items.push(ChannelItem {
                channel: channel.into(),
                id: id(item.id).map_err(wrong)?,
                prev_id: id(item.prev_id).map_err(wrong)?,
                meta: meta(item.meta).map_err(wrong)?,
                action: action(message).map_err(wrong)?,
            }),
            None if formats.http_stream.is_some() || formats.http_response.is_some() => {
                items.others += 1;
            }
            None => return Err(wrong("needs a format: ws-message")),
        }
    }
    Ok(items)
}

fn action(message: WsMessage) -> Result<ChannelAction, &'static str> {
    match message.action.as_deref() {
        None | Some("send") => {}
        Some("close") => {
            let code = message.code.unwrap_or(CloseCode::NORMAL.number());
            let code = CloseCode::from_wire(code).ok_or("code: no endpoint may send it")?;
            let reason = message.reason.unwrap_or_default();
            if reason.len() > CLOSE_REASON_BYTES_MAX {
                return Err("reason: more than 123 bytes");
            }
            return Ok(ChannelAction::Close(code, reason));
        }
        Some("refresh") => return Ok(ChannelAction::Refresh),
        Some("hint") => return Ok(ChannelAction::Hint),
        Some(_) => return Err("action: must be send, close, refresh or hint"),
    }
    let given = match message.r#type.as_deref() {
        Some("text") => Some(ClientEvent::Text),
        Some("binary") => Some(ClientEvent::Binary),
        Some("ping") => Some(ClientEvent::Ping),
        Some("pong") => Some(ClientEvent::Pong),
        None => None,
        Some(_) => return Err("type: must be text, binary, ping or pong"),
    };
    let (content, event) = match (message.content, message.content_bin) {
        (Some(text), _) => (text.into_bytes(), given.unwrap_or(ClientEvent::Text)),
        (None, Some(base64)) => {
            let content = STANDARD.decode(base64).map_err(|_| "content-bin: no base64")?;
            (content, given.unwrap_or(ClientEvent::Binary))
        }
        (None, None) if given.is_some_and(ClientEvent::is_control) => {
            (Vec::new(), given.unwrap_or(ClientEvent::Ping))
        }
        (None, None) => return Err("needs content or content-bin"),
    };
    match event {
        ClientEvent::Text if std::str::from_utf8(&content).is_err() => Err("a text must be UTF-8"),
        ClientEvent::Ping | ClientEvent::Pong if content.len() > CONTROL_BYTES_MAX => {
            Err("content: more than 125 bytes, which a ping has no room for")
        }
        ClientEvent::Text | ClientEvent::Binary | ClientEvent::Ping | ClientEvent::Pong => {
            Ok(ChannelAction::Send(event, content))
        }
    }
}

/// An ID, if it is given.
fn id(text: Option<String>) -> Result<Option<Arc<str>>, &'static str> {
    match text {
        Some(text) if text.len() > ID_BYTES_MAX => Err("id: more than 256 bytes"),
        text => Ok(text.map(Arc::from)),
    }
}

/// What filters look at: values that are texts.
fn meta(given: Option<serde_json::Map<String, serde_json::Value>>) -> Result<Meta, &'static str> {
    let pairs = given.into_iter().flatten().filter_map(|(name, value)| match value {
        serde_json::Value::String(value) => Some((name.into(), value.into())),
        serde_json::Value::Null
        | serde_json::Value::Bool(_)
        | serde_json::Value::Number(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => None,
    });
    let meta = Meta::new(pairs.collect());
    if meta.held_bytes() > META_BYTES_MAX { Err("meta: more than 4096 bytes") } else { Ok(meta) }
}

/// The longest ID of a publication.
const ID_BYTES_MAX: usize = 256;
/// Names and values of a publication.
const META_BYTES_MAX: usize = 4096;
/// The payload of a control frame (RFC 6455 §5.5).
const CONTROL_BYTES_MAX: usize = 125;
/// Items of one request.
const ITEMS_MAX: usize = 1000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn only(json: &str) -> Result<ChannelAction, PublishError> {
        parse_items(json.as_bytes()).map(|mut own| own.items.remove(0).action)
    }

    #[test]
    fn all_forms_of_libraries_are_read() {
        let text = Ok(ChannelAction::Send(ClientEvent::Text, b"hi".to_vec()));
        let binary = Ok(ChannelAction::Send(ClientEvent::Binary, b"hi".to_vec()));
        for (message, expected) in [
            (r#"{"content": "hi"}"#, &text),
            (r#"{"content": "hi", "action": "send", "type": "text"}"#, &text),
            (r#"{"content-bin": "aGk="}"#, &binary),
            (r#"{"content-bin": "aGk=", "type": "text"}"#, &text),
            (r#"{"content": "hi", "type": "binary"}"#, &binary),
        ] {
            let beside =
                format!(r#"{{"items": [{{"channel": "a", "id": "1", "ws-message": {message}}}]}}"#);
            assert_eq!(&only(&beside), expected, "{message}");
            let inside = format!(
                r#"{{"items": [{{"channel": "a", "formats": {{"ws-message": {message}}}}}]}}"#
            );
            assert_eq!(&only(&inside), expected, "{message}");
        }
        let close = r#"{"items": [{"channel": "a", "ws-message": {"action": "close", "code": 4001, "reason": "x"}}]}"#;
        assert_eq!(only(close), Ok(ChannelAction::Close(CloseCode::REPLACED, "x".to_owned())));
    }

    #[test]
    fn items_for_other_transports_are_counted() {
        let json = r#"{"items": [{"channel": "a", "http-stream": {"content": "x"}},
            {"channel": "b", "formats": {"http-response": {}, "ws-message": {"content": ""}}}]}"#;
        let read = parse_items(json.as_bytes()).unwrap();
        assert_eq!((read.others, read.items.len(), &*read.items[0].channel), (1, 1, "b"));
    }

    #[test]
    fn what_cannot_be_published_is_refused_at_its_place() {
        let item = |rest: &str| format!(r#"{{"items": [{{"channel": "a"{rest}}}]}}"#);
        for (json, place) in [
            (item(""), "needs a format"),
            (item(r#", "ws-message": {}"#), "needs content"),
            (item(r#", "ws-message": {"content-bin": "?"}"#), "content-bin"),
            (item(r#", "ws-message": {"content-bin": "/w==", "type": "text"}"#), "UTF-8"),
            (item(r#", "ws-message": {"action": "close", "code": 1006}"#), "code"),
            (item(r#", "ws-message": {"action": "fly"}"#), "action"),
            (item(r#", "ws-message": {"content": "", "type": "fin"}"#), "type"),
            (r#"{"items": [{"ws-message": {"content": ""}}]}"#.to_owned(), "channel"),
            ("[]".to_owned(), "no JSON with items"),
        ] {
            let error = only(&json).unwrap_err().to_string();
            assert!(error.contains(place), "{json}: {error}");
        }
    }

    proptest! {
        #[test]
        fn any_body_may_come(body in ".{0,60}") {
            let _ = parse_items(body.as_bytes());
        }
    }
}
