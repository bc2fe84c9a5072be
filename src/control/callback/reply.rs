//! What the reply of a backend says of a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::header::{HeaderMap, WWW_AUTHENTICATE};
use serde::Deserialize;
use serde_json::Value;

use crate::control::fetch::Reply;
use crate::http::{HeaderValue, Rejection, ResponseHeader};
use crate::jwt::numeric_date;
use crate::services::{
    INFO_BYTES_MAX, Identity, IdentityOutcome, REFUSAL_BODY_BYTES_MAX, Rights, RoomGrants,
};
use crate::timer::WallTime;

/// What a reply came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Judgement {
    /// The client is let in.
    Admitted(IdentityOutcome),
    /// The client is refused, with 401 or 403.
    Refused(IdentityOutcome),
    /// The backend is overloaded or fails: 429 or 5xx.
    Failed(String),
    /// The backend answers, but not as it must.
    Invalid(String),
}

/// The body of a reply that lets a client in.
#[derive(Deserialize)]
struct Admission {
    user: String,
    #[serde(default)]
    expire_at: Option<Value>,
    #[serde(default)]
    info: Option<Value>,
    #[serde(default)]
    rights: Option<Rights>,
    #[serde(default)]
    rooms: Option<RoomGrants>,
    #[serde(default)]
    headers: BTreeMap<String, Values>,
}

/// The value of a header, or several.
#[derive(Deserialize)]
#[serde(untagged)]
enum Values {
    One(String),
    Several(Vec<String>),
}

/// Judges the reply of a backend to the question of the `[[identity]]` called `name`, at a time.
pub(super) fn judge(name: &Arc<str>, reply: &Reply, now: WallTime) -> Judgement {
    match reply.status.as_u16() {
        200..=299 => match identity(name, &reply.body) {
            Ok(identity) if identity.expires_at().is_some_and(|end| end <= now) => {
                let why = "the identity has expired";
                Judgement::Refused(IdentityOutcome::Refused(unauthorized(None, why.to_owned())))
            }
            Ok(identity) => Judgement::Admitted(IdentityOutcome::Admitted(Box::new(identity))),
            Err(why) => Judgement::Invalid(why),
        },
        401 => {
            let rejection = unauthorized(Some(&reply.headers), text(&reply.body));
            Judgement::Refused(IdentityOutcome::Refused(rejection))
        }
        403 => {
            let rejection = Rejection::forbidden(text(&reply.body));
            Judgement::Refused(IdentityOutcome::Refused(rejection))
        }
        status @ (429 | 500..=599) => Judgement::Failed(format!("its status is {status}")),
        status => Judgement::Invalid(format!("its status is {status}")),
    }
}

fn identity(name: &Arc<str>, body: &[u8]) -> Result<Identity, String> {
    let admission: Admission = serde_json::from_slice(body)
        .map_err(|error| format!("its body is not as it must be at column {}", error.column()))?;
    let mut identity =
        Identity::new(name, &admission.user).map_err(|error| format!("its user: {error}"))?;
    if let Some(expire_at) = admission.expire_at.filter(|value| !value.is_null()) {
        let date = numeric_date(&expire_at);
        identity = identity.until(date.ok_or("its expire_at is no number of seconds since 1970")?);
    }
    if let Some(info) = admission.info.filter(|value| !value.is_null()) {
        let info = info.to_string();
        if info.len() > INFO_BYTES_MAX {
            return Err(format!("its info is longer than {INFO_BYTES_MAX} bytes"));
        }
        identity = identity.with_info(info);
    }
    if let Some(rights) = admission.rights {
        identity = identity.with_rights(rights);
    }
    if let Some(rooms) = admission.rooms {
        identity = identity.in_rooms(rooms);
    }
    let headers = headers(admission.headers)?;
    Ok(if headers.is_empty() { identity } else { identity.with_headers(headers) })
}

/// The headers of the reply 101 that a backend chooses.
fn headers(chosen: BTreeMap<String, Values>) -> Result<Vec<ResponseHeader>, String> {
    let mut headers = Vec::new();
    let mut bytes = 0;
    for (name, values) in chosen {
        let values = match values {
            Values::One(value) => vec![value],
            Values::Several(values) => values,
        };
        if is_of_the_connection(&name) {
            return Err("one of its headers is not for a backend to set".to_owned());
        }
        for value in values {
            bytes += name.len() + value.len();
            if bytes > HEADERS_BYTES_MAX || headers.len() == HEADERS_MAX {
                let most = format!("{HEADERS_MAX} lines of {HEADERS_BYTES_MAX} bytes together");
                return Err(format!("its headers are more than {most}"));
            }
            let header = ResponseHeader::new(name.clone(), value);
            headers.push(header.map_err(|error| format!("one of its headers: {error}"))?);
        }
    }
    Ok(headers)
}

/// Whether a header is about the connection itself (RFC 9110 section 7.6.1) or the upgrade of it, so
/// that only the gateway can know its value.
fn is_of_the_connection(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    OF_THE_CONNECTION.contains(&&*name)
        || name.starts_with("sec-websocket-")
        || name.starts_with("proxy-")
}

/// 401 with the challenge of the backend, if it has one that can be passed on.
fn unauthorized(headers: Option<&HeaderMap>, body: String) -> Rejection {
    let challenge = headers.and_then(|headers| headers.get(WWW_AUTHENTICATE)?.to_str().ok());
    let challenge = challenge.and_then(|own| HeaderValue::new(own.to_owned()).ok());
    match challenge.map_or_else(|| HeaderValue::new("Bearer"), Ok) {
        Ok(challenge) => Rejection::unauthorized(challenge, body),
        Err(_) => Rejection::forbidden(body),
    }
}

/// The beginning of a body as text for a client.
fn text(body: &[u8]) -> String {
    let Ok(text) = str::from_utf8(body) else { return REFUSED.to_owned() };
    let text = text.trim();
    if text.is_empty() {
        return REFUSED.to_owned();
    }
    text.get(..text.floor_char_boundary(REFUSAL_BODY_BYTES_MAX)).unwrap_or(REFUSED).to_owned()
}

const REFUSED: &str = "the backend refuses this client";
const OF_THE_CONNECTION: [&str; 8] = [
    "connection",
    "date",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "content-encoding",
];
const HEADERS_MAX: usize = 16;
const HEADERS_BYTES_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use hyper::StatusCode;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const NOW: WallTime = WallTime(1_000_000);

    fn judged(status: u16, body: impl Into<Bytes>) -> Judgement {
        let status = StatusCode::from_u16(status).unwrap();
        let reply = Reply { status, headers: HeaderMap::new(), body: body.into() };
        judge(&"app".into(), &reply, NOW)
    }

    fn admitted(body: &Value) -> Result<Identity, String> {
        match judged(200, body.to_string()) {
            Judgement::Admitted(IdentityOutcome::Admitted(identity)) => Ok(*identity),
            Judgement::Invalid(why) => Err(why),
            other @ (Judgement::Admitted(_) | Judgement::Refused(_) | Judgement::Failed(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn refused(judgement: Judgement) -> (u16, String) {
        let Judgement::Refused(IdentityOutcome::Refused(rejection)) = judgement else {
            panic!("{judgement:?}")
        };
        (rejection.status().code(), rejection.body().to_owned())
    }

    #[test]
    fn a_body_says_who_comes() {
        let identity = admitted(&json!({
            "user": "ann",
            "expire_at": 1000.5,
            "info": { "name": "Ann" },
            "rights": ["read"],
            "rooms": { "lobby": ["read", "write"] },
            "headers": { "Set-Cookie": ["a=1; HttpOnly", "b=2"], "X-Own": "1" },
            "unknown": [1],
        }));
        let identity = identity.unwrap();
        assert_eq!((&**identity.name(), &**identity.user()), ("app", "ann"));
        assert_eq!(identity.expires_at(), Some(WallTime(1_000_500)));
        assert_eq!(identity.info(), Some(r#"{"name":"Ann"}"#));
        assert_eq!(identity.rights_in("lobby"), Some(Rights::READ.and(Rights::WRITE)));
        assert_eq!(identity.rights_in("other"), None);
        let bare = admitted(&json!({
            "user": "ann", "expire_at": null, "info": null, "rights": null, "rooms": null, "headers": {},
        }));
        let bare = bare.unwrap();
        assert_eq!((bare.expires_at(), bare.info()), (None, None));
        assert_eq!(bare.rights_in("any"), Some(Rights::ALL));
        assert!(admitted(&json!({ "user": "ann" })).is_ok());
    }

    #[test]
    fn a_body_that_is_not_as_it_must_be_is_of_no_use() {
        for body in [
            json!({}),
            json!([]),
            json!({ "user": "" }),
            json!({ "user": 1 }),
            json!({ "user": null }),
            json!({ "user": "a\nb" }),
            json!({ "user": "a".repeat(257) }),
            json!({ "user": "ann", "expire_at": "tomorrow" }),
            json!({ "user": "ann", "rights": ["fly"] }),
            json!({ "user": "ann", "rights": "read" }),
            json!({ "user": "ann", "rooms": 1 }),
            json!({ "user": "ann", "info": "x".repeat(INFO_BYTES_MAX) }),
            json!({ "user": "ann", "headers": [] }),
            json!({ "user": "ann", "headers": { "X-Own": 1 } }),
            json!({ "user": "ann", "headers": { "X Own": "1" } }),
            json!({ "user": "ann", "headers": { "X-Own": "a\r\nX: b" } }),
            json!({ "user": "ann", "headers": { "X-Own": vec!["a"; 17] } }),
            json!({ "user": "ann", "headers": { "X-Own": "a".repeat(5000) } }),
        ] {
            assert!(admitted(&body).is_err(), "{body}");
        }
        for body in ["", "{", "<html>", "null", r#"{"user":"ann"} x"#, r#"{"user":"a","user":"b"}"#]
        {
            assert!(matches!(judged(200, body), Judgement::Invalid(_)), "{body}");
        }
    }

    #[test]
    fn headers_of_the_connection_are_not_for_a_backend_to_set() {
        for name in [
            "Connection",
            "keep-alive",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Content-Length",
            "Content-Type",
            "Date",
            "Proxy-Authenticate",
            "Proxy-Anything",
            "Sec-WebSocket-Accept",
            "sec-websocket-extensions",
            "Sec-WebSocket-Protocol",
            "SEC-WEBSOCKET-ANYTHING",
        ] {
            let body = json!({ "user": "ann", "headers": { name: "x" } });
            assert!(admitted(&body).is_err(), "{name}");
        }
    }

    #[test]
    fn statuses_admit_refuse_or_neither() {
        assert!(matches!(judged(201, r#"{"user":"ann"}"#), Judgement::Admitted(_)));
        assert_eq!(refused(judged(401, "log in")), (401, "log in".to_owned()));
        assert_eq!(refused(judged(403, " banned\n")), (403, "banned".to_owned()));
        assert_eq!(refused(judged(403, "")), (403, REFUSED.to_owned()));
        assert_eq!(refused(judged(403, b"\xff".to_vec())), (403, REFUSED.to_owned()));
        let long = refused(judged(403, "\u{e9}".repeat(2000))).1;
        assert_eq!(long.len(), REFUSAL_BODY_BYTES_MAX);
        let past = json!({ "user": "ann", "expire_at": 1000 });
        assert_eq!(refused(judged(200, past.to_string())).0, 401);
        for status in [429, 500, 502, 503, 504, 599] {
            assert!(
                matches!(judged(status, r#"{"user":"ann"}"#), Judgement::Failed(_)),
                "{status}"
            );
        }
        for status in [204, 301, 302, 307, 400, 404, 405, 418, 600] {
            let body = if status == 204 { "" } else { r#"{"user":"ann"}"# };
            assert!(matches!(judged(status, body), Judgement::Invalid(_)), "{status}");
        }
    }

    proptest! {
        /// Whatever a backend writes, nothing panics, and only a status of success lets a client in.
        #[test]
        fn any_reply_is_judged(status in 100_u16..1000, body: Vec<u8>, text in "\\PC{0,80}") {
            for body in [Bytes::from(body), Bytes::from(text)] {
                let is_success = (200..300).contains(&status);
                let is_admitted = matches!(judged(status, body), Judgement::Admitted(_));
                prop_assert!(is_success || !is_admitted);
            }
        }
    }
}
