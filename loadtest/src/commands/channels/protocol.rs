//! What the command says and hears of the Centrifugo client protocol, in JSON: frames of one or more
//! objects, with a line feed between them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer};
use serde_json::json;

use super::arguments::NUMBER_DIGITS;

/// An object of the server. A ping has none of these.
#[derive(Debug, Deserialize)]
pub(super) struct Reply<'a> {
    #[serde(default)]
    pub(super) id: u32,
    pub(super) error: Option<ReplyError>,
    pub(super) connect: Option<Connected>,
    #[serde(borrow)]
    pub(super) subscribe: Option<Subscribed<'a>>,
    pub(super) presence: Option<Presence>,
    #[serde(borrow)]
    pub(super) push: Option<Push<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct ReplyError {
    pub(super) code: u32,
    #[serde(default)]
    pub(super) message: String,
}

#[derive(Debug, Deserialize)]
pub(super) struct Connected {
    /// Whether pings are to be answered.
    #[serde(default)]
    pub(super) pong: bool,
}

/// The answer to a subscription.
#[derive(Debug, Deserialize)]
pub(super) struct Subscribed<'a> {
    #[serde(default)]
    pub(super) recovered: bool,
    #[serde(default, borrow)]
    pub(super) epoch: Cow<'a, str>,
    #[serde(default)]
    pub(super) offset: u64,
    #[serde(default, borrow)]
    pub(super) publications: Vec<Publication<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Presence {
    /// Members that are named.
    #[serde(rename = "presence", deserialize_with = "count")]
    pub(super) count: usize,
}

fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<usize, D::Error> {
    serde_json::Map::deserialize(deserializer).map(|members| members.len())
}

#[derive(Debug, Deserialize)]
pub(super) struct Push<'a> {
    #[serde(default, borrow, rename = "pub")]
    pub(super) publication: Option<Publication<'a>>,
    pub(super) unsubscribe: Option<ReplyError>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Publication<'a> {
    #[serde(borrow)]
    pub(super) data: Cow<'a, str>,
    #[serde(default)]
    pub(super) offset: u64,
}

/// A subscription that is asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subscribe<'a> {
    pub(super) channel: &'a str,
    /// The offset and the epoch of one who comes back.
    pub(super) since: Option<(u64, &'a str)>,
}

/// The first frame of a connection: it connects and, for a subscriber, subscribes.
pub(super) fn begin(token: Option<&str>, subscribe: Option<Subscribe<'_>>) -> String {
    let connect = match token {
        Some(token) => json!({ "id": 1, "connect": { "token": token } }),
        None => json!({ "id": 1, "connect": {} }),
    };
    let subscribe = subscribe.map(|Subscribe { channel, since }| match since {
        None => json!({ "channel": channel, "recoverable": true }),
        Some((offset, epoch)) => json!({ "channel": channel, "recoverable": true, "recover": true,
            "offset": offset, "epoch": epoch }),
    });
    match subscribe {
        Some(subscribe) => format!("{connect}\n{}", json!({ "id": 2, "subscribe": subscribe })),
        None => connect.to_string(),
    }
}

/// A command to publish publication `number`.
pub(super) fn publish(id: u32, channel: &str, number: usize, bytes: usize) -> String {
    json!({ "id": id, "publish": { "channel": channel, "data": payload(number, bytes) } })
        .to_string()
}

/// A command to name the members of a channel.
pub(super) fn presence(id: u32, channel: &str) -> String {
    json!({ "id": id, "presence": { "channel": channel } }).to_string()
}

/// The text of a publication: its number, and what tells it from others of that length.
pub(super) fn payload(number: usize, bytes: usize) -> String {
    let mut text = format!("{number:0NUMBER_DIGITS$}");
    let filling = char::from(b'a' + u8::try_from(number % 26).unwrap_or(0));
    text.extend(std::iter::repeat_n(filling, bytes.saturating_sub(text.len())));
    text
}

/// The number of a publication whose text is as it was sent.
pub(super) fn number(text: &str, bytes: usize) -> Option<usize> {
    let number = text.get(..NUMBER_DIGITS)?.parse().ok()?;
    (text == payload(number, bytes)).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_publication_is_known_by_its_text() {
        for (wanted, bytes) in [(0, 10), (7, 11), (123_456, 300)] {
            let text = payload(wanted, bytes);
            assert_eq!((text.len(), number(&text, bytes)), (bytes, Some(wanted)));
            assert_eq!(number(&text, bytes + 1), None);
        }
        assert_eq!(number("0000000001b", 11), Some(1));
        assert_eq!(number("0000000001c", 11), None);
        assert_eq!(number("short", 11), None);
    }

    #[test]
    fn replies_are_read_as_the_protocol_has_them() {
        let text = r#"{"id":2,"subscribe":{"recoverable":true,"epoch":"x","offset":3,"was_recovering":true,
            "recovered":true,"publications":[{"data":"é","offset":4}]}}"#;
        let reply: Reply<'_> = serde_json::from_str(text).unwrap();
        let subscribed = reply.subscribe.unwrap();
        assert!(subscribed.recovered);
        assert_eq!((&*subscribed.epoch, subscribed.offset), ("x", 3));
        assert_eq!(subscribed.publications[0].offset, 4);
        let ping: Reply<'_> = serde_json::from_str("{}").unwrap();
        assert!(ping.push.is_none() && ping.id == 0);
        let push = r#"{"push":{"channel":"c","pub":{"data":"a","offset":9}}}"#;
        let push: Reply<'_> = serde_json::from_str(push).unwrap();
        assert_eq!(push.push.unwrap().publication.unwrap().offset, 9);
    }
}
