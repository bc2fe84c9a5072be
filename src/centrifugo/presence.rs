//! Who is in a channel, as the reply of the HTTP API says it: what gateways that share an engine tell each other.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::channels::{ClientId, ClientInfo};

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    presence: Result<'a>,
}

#[derive(Deserialize)]
struct Result<'a> {
    #[serde(borrow)]
    presence: HashMap<String, Info<'a>>,
}

#[derive(Deserialize)]
struct Info<'a> {
    user: String,
    client: String,
    #[serde(borrow, default)]
    conn_info: Option<&'a RawValue>,
    #[serde(borrow, default)]
    chan_info: Option<&'a RawValue>,
}

/// The members that the reply to a call `presence` names; `None` if it is an error, or no such reply.
#[must_use]
pub fn parse_presence(text: &str) -> Option<Vec<ClientInfo>> {
    let answer: Answer<'_> = serde_json::from_str(text).ok()?;
    let json = |own: Option<&RawValue>| own.map(|own| Arc::from(own.get().as_bytes()));
    let members = answer.presence.presence.into_values().map(|own| {
        Some(ClientInfo {
            user: own.user.into(),
            client: ClientId::parse(&own.client)?,
            conn_info: json(own.conn_info),
            chan_info: json(own.chan_info),
        })
    });
    members.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::centrifugo::{Encoder, Reply};

    #[test]
    fn what_is_said_is_read() {
        let info = |number: u8, conn_info: Option<&str>| ClientInfo {
            user: format!("user \"{number}\"").into(),
            client: ClientId::new([number; 16]),
            conn_info: conn_info.map(|own| own.as_bytes().into()),
            chan_info: None,
        };
        let members = [info(1, None), info(2, Some("{\"name\": [1, 2]}"))];
        let mut encoder = Encoder::default();
        let reply = encoder.result(&Reply::Presence(&members), None).to_vec();
        let text = format!("{{\"presence\":{}}}", String::from_utf8(reply).unwrap());
        let mut read = parse_presence(&text).unwrap();
        read.sort_by_key(|own| own.client);
        assert_eq!(read, members);
        for text in
            ["", "{}", "{\"error\":{\"code\":100}}", "{\"presence\":{\"presence\":{\"a\":{}}}}"]
        {
            assert_eq!(parse_presence(text), None, "{text}");
        }
    }
}
