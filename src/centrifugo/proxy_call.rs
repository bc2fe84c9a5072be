//! What a backend is asked about a connection: the body of the request, one JSON object.
//!
//! The fields are those that backends of Centrifugo's proxies read (`proxyproto`, the messages `…Request`).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;

/// A question about a connection.
#[derive(Clone, Debug, PartialEq)]
pub struct ProxyCall<'q> {
    /// The connection; empty for a call that no client has made.
    pub client: &'q str,
    /// How the client writes commands: `json` or `protobuf`.
    pub protocol: &'static str,
    /// Its user, who may be empty; `None` before it is known.
    pub user: Option<&'q str>,
    /// What a backend has said of the connection before, as JSON.
    pub meta: Option<&'q [u8]>,
    /// What is asked.
    pub about: ProxyQuestion<'q>,
}

/// What is asked about a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum ProxyQuestion<'q> {
    /// Who a client is that shows no token.
    Connect {
        /// The name of the client's library.
        name: &'q str,
        /// The version of that.
        version: &'q str,
        /// What the client sends along.
        data: Option<&'q [u8]>,
        /// Channels to which the server has subscribed it before.
        channels: Vec<&'q str>,
    },
    /// Whether it may stay, now that what it was allowed has expired.
    Refresh,
    /// Whether it may stay in a channel, now that its subscription has expired.
    SubRefresh(&'q str),
    /// Whether it may subscribe to a channel.
    Subscribe {
        /// The channel.
        channel: &'q str,
        /// What the client sends along.
        data: Option<&'q [u8]>,
    },
    /// Whether it may publish.
    Publish {
        /// The channel.
        channel: &'q str,
        /// What.
        data: &'q [u8],
    },
    /// A call of the backend.
    Rpc {
        /// Which call.
        method: &'q str,
        /// What it is given.
        data: Option<&'q [u8]>,
    },
}

impl ProxyCall<'_> {
    /// The body of the request. What is said to be JSON and is not is left out.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let Self { client, protocol, user, meta, about } = self;
        let data = match about {
            ProxyQuestion::Connect { data, .. }
            | ProxyQuestion::Subscribe { data, .. }
            | ProxyQuestion::Rpc { data, .. } => *data,
            ProxyQuestion::Publish { data, .. } => Some(*data),
            ProxyQuestion::Refresh | ProxyQuestion::SubRefresh(_) => None,
        };
        let json = data.and_then(raw);
        let b64data = data.filter(|_| json.is_none()).map(|own| STANDARD.encode(own));
        let mut fields = Fields {
            client,
            transport: "websocket",
            protocol,
            encoding: if b64data.is_some() { "binary" } else { "json" },
            user: *user,
            name: "",
            version: "",
            channels: &[],
            channel: None,
            method: None,
            data: json,
            b64data,
            meta: meta.and_then(raw),
        };
        match about {
            ProxyQuestion::Connect { name, version, channels, .. } => {
                (fields.name, fields.version, fields.channels) = (name, version, channels);
            }
            ProxyQuestion::Refresh => {}
            ProxyQuestion::SubRefresh(channel)
            | ProxyQuestion::Subscribe { channel, .. }
            | ProxyQuestion::Publish { channel, .. } => fields.channel = Some(channel),
            ProxyQuestion::Rpc { method, .. } => fields.method = Some(method),
        }
        // Texts and JSON can always be written.
        serde_json::to_vec(&fields).unwrap_or_default()
    }
}

#[derive(Serialize)]
struct Fields<'f> {
    client: &'f str,
    transport: &'static str,
    protocol: &'static str,
    encoding: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<&'f str>,
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'f str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'f str,
    #[serde(skip_serializing_if = "<[&str]>::is_empty")]
    channels: &'f [&'f str],
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<&'f str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'f RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    b64data: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    meta: Option<&'f RawValue>,
}

/// Bytes as they are, if they are JSON.
fn raw(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn call(about: ProxyQuestion<'_>) -> Value {
        let call = ProxyCall {
            client: "c",
            protocol: "json",
            user: Some("ann"),
            meta: Some(b"{\"a\":1}"),
            about,
        };
        serde_json::from_slice(&call.body()).unwrap()
    }

    fn common(more: &Value) -> Value {
        let mut own = json!({ "client": "c", "transport": "websocket", "protocol": "json",
            "encoding": "json", "user": "ann", "meta": { "a": 1 } });
        own.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        own
    }

    proptest! {
        /// Whatever a client sends, the body is an object that says it.
        #[test]
        fn a_body_says_what_is_asked(text in "\\PC{0,12}", bytes: Vec<u8>, number: i64) {
            let about = ProxyQuestion::Rpc { method: &text, data: Some(&bytes) };
            let found = call(about);
            prop_assert_eq!(&found["method"], &Value::from(text.as_str()));
            match serde_json::from_slice::<Value>(&bytes) {
                Ok(value) => prop_assert_eq!(&found["data"], &value),
                Err(_) => prop_assert_eq!(&found["b64data"], &Value::from(STANDARD.encode(&bytes))),
            }
            let data = number.to_string();
            let about = ProxyQuestion::Publish { channel: &text, data: data.as_bytes() };
            prop_assert_eq!(call(about), common(&json!({ "channel": text, "data": number })));
        }
    }

    #[test]
    fn what_is_not_known_is_left_out() {
        let about = ProxyQuestion::Connect {
            name: "js",
            version: "5.8",
            data: Some(b"[1]"),
            channels: vec!["a"],
        };
        let own = ProxyCall { client: "c", protocol: "json", user: None, meta: None, about };
        let text = String::from_utf8(own.body()).unwrap();
        assert_eq!(
            text,
            "{\"client\":\"c\",\"transport\":\"websocket\",\"protocol\":\"json\",\
             \"encoding\":\"json\",\"name\":\"js\",\"version\":\"5.8\",\"channels\":[\"a\"],\
             \"data\":[1]}"
        );
        assert_eq!(call(ProxyQuestion::Refresh), common(&json!({})));
        assert_eq!(call(ProxyQuestion::SubRefresh("a")), common(&json!({ "channel": "a" })));
        let about = ProxyQuestion::Subscribe { channel: "a", data: None };
        assert_eq!(call(about), common(&json!({ "channel": "a" })));
    }

    #[test]
    fn bytes_that_are_no_json_come_encoded() {
        let found = call(ProxyQuestion::Publish { channel: "a", data: b"\xFF" });
        assert_eq!((&found["encoding"], &found["b64data"]), (&json!("binary"), &json!("/w==")));
        assert_eq!(found.get("data"), None);
    }
}
