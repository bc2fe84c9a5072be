//! Events in the style of the WebSocket APIs of Amazon API Gateway: each in a request of its own with an
//! object in JSON, as a function behind such an API gets it.
//!
//! A reply is the object that such a function returns, `{"statusCode", "headers", "body",
//! "isBase64Encoded"}`, or any reply of HTTP, whose status and body are taken for these. The format is
//! that of docs.aws.amazon.com/apigateway/latest/developerguide/apigateway-websocket-api.html.

use std::borrow::Cow;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Map, Value, json};

use super::client_event::ClientEvent;
use super::event::{EventKind, Events};
use super::request_head::EventHead;
use crate::http::{self, HttpDate, Query};
use crate::timer::WallTime;

/// How a route tells its backend of events in this style.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayStyle {
    /// What of a message names its route.
    pub selection: RouteSelection,
    /// The names of routes; other messages go to `$default`. Empty for any name.
    pub route_keys: Vec<String>,
    /// The routes whose replies go to the client; `*` for all.
    pub route_responses: Vec<String>,
    /// The name of the stage.
    pub stage: String,
}

/// What of a message names its route: a value of its object, by the names that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteSelection(Vec<String>);

impl RouteSelection {
    /// Reads an expression such as `$request.body.action` or `${request.body.action}`.
    #[must_use]
    pub fn parse(expression: &str) -> Option<Self> {
        let inside = expression.strip_prefix("${").and_then(|own| own.strip_suffix('}'));
        let inside = inside.or_else(|| expression.strip_prefix('$'))?;
        let path = inside.strip_prefix("request.body.")?;
        let names: Vec<String> = path.split('.').map(str::to_owned).collect();
        let is_name = |own: &String| {
            !own.is_empty()
                && own
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-')
        };
        names.iter().all(is_name).then_some(Self(names))
    }

    /// The text that a message has there.
    fn find(&self, content: &[u8]) -> Option<String> {
        let body: Value = serde_json::from_slice(content).ok()?;
        let found = self.0.iter().try_fold(&body, |value, name| value.get(name))?;
        found.as_str().map(str::to_owned)
    }
}

/// What is known of a connection and a request about it.
#[derive(Clone, Copy, Debug)]
pub struct GatewayRequest<'r> {
    /// The client's request.
    pub head: &'r EventHead,
    /// The id of the connection.
    pub connection_id: &'r str,
    /// The id of the request.
    pub request_id: &'r str,
    /// When the connection was begun.
    pub connected_at: WallTime,
    /// The date.
    pub now: WallTime,
}

/// An event in its object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The object.
    pub body: Vec<u8>,
    /// The route that it names.
    pub route_key: String,
}

impl GatewayStyle {
    /// The object for the one event of a body, which [`Conversation`](super::Conversation) gives; empty
    /// for none.
    #[must_use]
    pub fn encode(&self, request: &GatewayRequest<'_>, body: &[u8]) -> Encoded {
        let event = Events::of(body).find_map(Result::ok);
        let content = event.and_then(|own| own.content).unwrap_or_default();
        let mut object = Map::new();
        let (route_key, kind) = match event.map(|own| own.kind) {
            Some(EventKind::Open) => {
                put_request(&mut object, request.head);
                ("$connect".to_owned(), "CONNECT")
            }
            Some(EventKind::Close | EventKind::Disconnect) => {
                put_request(&mut object, request.head);
                ("$disconnect".to_owned(), "DISCONNECT")
            }
            Some(EventKind::Text | EventKind::Binary | EventKind::Ping | EventKind::Pong)
            | None => {
                let (body, is_base64) = match std::str::from_utf8(content) {
                    Ok(text) if event.is_some_and(|own| own.kind == EventKind::Text) => {
                        (text.to_owned(), false)
                    }
                    Ok(_) | Err(_) => (STANDARD.encode(content), true),
                };
                object.insert("body".to_owned(), body.into());
                object.insert("isBase64Encoded".to_owned(), is_base64.into());
                (self.route_key(content), "MESSAGE")
            }
        };
        let mut context = self.context(request, &route_key, kind);
        match kind {
            "MESSAGE" => put(&mut context, "messageId", request.request_id),
            "DISCONNECT" => put_end(&mut context, content),
            _ => {}
        }
        object.insert("requestContext".to_owned(), Value::Object(context));
        Encoded { body: Value::Object(object).to_string().into_bytes(), route_key }
    }

    /// The route of a message.
    fn route_key(&self, content: &[u8]) -> String {
        let named = self.selection.find(content).filter(|own| {
            // Those that begin with `$` are not for clients to choose.
            !own.starts_with('$') && (self.route_keys.is_empty() || self.route_keys.contains(own))
        });
        named.unwrap_or_else(|| "$default".to_owned())
    }

    /// Whether the reply to a message of a route goes to the client.
    #[must_use]
    pub fn has_response(&self, route_key: &str) -> bool {
        self.route_responses.iter().any(|own| own == "*" || own == route_key)
    }

    fn context(
        &self,
        request: &GatewayRequest<'_>,
        route_key: &str,
        kind: &str,
    ) -> Map<String, Value> {
        let GatewayRequest { head, connection_id, request_id, connected_at, now } = request;
        let line = |name: &str| line(head, name).unwrap_or_default();
        let mut context = Map::new();
        for (name, value) in [
            ("routeKey", route_key),
            ("eventType", kind),
            ("connectionId", connection_id),
            ("messageDirection", "IN"),
            ("requestId", request_id),
            ("extendedRequestId", request_id),
            ("stage", &self.stage),
            ("apiId", "tidegate"),
        ] {
            put(&mut context, name, value);
        }
        put(&mut context, "domainName", &line("Host"));
        put(&mut context, "requestTime", &clf_date(*now));
        context.insert("requestTimeEpoch".to_owned(), now.0.into());
        context.insert("connectedAt".to_owned(), connected_at.0.into());
        let identity = json!({
            "sourceIp": line("X-Real-IP"),
            "userAgent": line("User-Agent"),
        });
        context.insert("identity".to_owned(), identity);
        if let Some(user) = self::line(head, "X-Tidegate-User") {
            context.insert("authorizer".to_owned(), json!({ "principalId": user }));
        }
        context
    }
}

fn put(object: &mut Map<String, Value>, name: &str, value: &str) {
    object.insert(name.to_owned(), value.into());
}

/// How the connection has ended: the content of a close frame, or nothing.
fn put_end(context: &mut Map<String, Value>, content: &[u8]) {
    let (code, reason) = match content.split_first_chunk::<2>() {
        Some((code, reason)) => (u16::from_be_bytes(*code), String::from_utf8_lossy(reason)),
        // No close frame, or one without a code (RFC 6455 §7.1.5).
        None => (NO_STATUS, "".into()),
    };
    context.insert("disconnectStatusCode".to_owned(), code.into());
    put(context, "disconnectReason", &reason);
}

/// What a client has asked with: headers and query, each value once and all of them.
fn put_request(object: &mut Map<String, Value>, head: &EventHead) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let lines = head.lines().map(|(name, value)| (text(name), text(value)));
    put_pairs(object, "headers", "multiValueHeaders", lines);
    if let Some(query) = head.target().splitn(2, |byte| *byte == b'?').nth(1) {
        let pairs = Query::new(query).pairs().map(|(name, value)| {
            let decoded = |own: http::Encoded<'_>| {
                own.decode().map_or_else(|_| text(own.raw()), Cow::into_owned)
            };
            (decoded(name), decoded(value))
        });
        put_pairs(object, "queryStringParameters", "multiValueQueryStringParameters", pairs);
    }
    object.insert("isBase64Encoded".to_owned(), false.into());
}

fn put_pairs(
    object: &mut Map<String, Value>,
    single: &str,
    multiple: &str,
    pairs: impl Iterator<Item = (String, String)>,
) {
    let (mut last, mut all) = (Map::new(), Map::new());
    for (name, value) in pairs {
        let values = all.entry(name.clone()).or_insert_with(|| Value::Array(Vec::new()));
        if let Value::Array(values) = values {
            values.push(value.clone().into());
        }
        last.insert(name, value.into());
    }
    object.insert(single.to_owned(), Value::Object(last));
    object.insert(multiple.to_owned(), Value::Object(all));
}

fn line(head: &EventHead, wanted: &str) -> Option<String> {
    let mut lines = head.lines();
    let found = lines.find(|(name, _)| name.eq_ignore_ascii_case(wanted.as_bytes()));
    found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
}

/// A date as logs of web servers have it: `06/Nov/1994:08:49:37 +0000`.
fn clf_date(at: WallTime) -> String {
    let date = HttpDate::from_unix_seconds(at.0 / 1000);
    let text = String::from_utf8_lossy(date.as_bytes());
    let mut words = text.split(' ').skip(1);
    let mut next = || words.next().unwrap_or_default();
    format!("{}/{}/{}:{} +0000", next(), next(), next(), next())
}

/// What a backend has answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GatewayReply {
    /// The status.
    pub status: u16,
    /// Headers for the reply that lets the client in.
    pub headers: Vec<(String, String)>,
    /// What the client may be sent.
    pub body: Vec<u8>,
    /// Whether that is a text.
    pub is_text: bool,
}

impl GatewayReply {
    /// Reads a reply with this status of HTTP and this body.
    #[must_use]
    pub fn parse(status: u16, body: &[u8]) -> Self {
        let object = serde_json::from_slice::<Value>(body).ok();
        let given = object.as_ref().and_then(|own| own.get("statusCode")).and_then(status_of);
        let (Some(object), Some(own_status), true) = (&object, given, (200..300).contains(&status))
        else {
            return Self::plain(status, body);
        };
        let text = match object.get("body") {
            Some(Value::String(text)) => text.clone(),
            Some(Value::Null) | None => String::new(),
            Some(other) => other.to_string(),
        };
        let is_base64 = object.get("isBase64Encoded").and_then(Value::as_bool).unwrap_or(false);
        let decoded = is_base64.then(|| STANDARD.decode(&text).ok()).flatten();
        let is_text = decoded.is_none();
        let headers = object.get("headers").and_then(Value::as_object);
        let headers = headers.into_iter().flatten().filter_map(|(name, value)| {
            let value = value.as_str().map(str::to_owned);
            value.or_else(|| value_text(object, name)).map(|value| (name.clone(), value))
        });
        Self {
            status: own_status,
            headers: headers.collect(),
            body: decoded.unwrap_or_else(|| text.into_bytes()),
            is_text,
        }
    }

    fn plain(status: u16, body: &[u8]) -> Self {
        let is_text = std::str::from_utf8(body).is_ok();
        Self { status, headers: Vec::new(), body: body.to_vec(), is_text }
    }

    /// Whether it is a success.
    #[must_use]
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// What the client is sent of it; `None` for nothing.
    #[must_use]
    pub fn message(self) -> Option<(ClientEvent, Vec<u8>)> {
        let event = if self.is_text { ClientEvent::Text } else { ClientEvent::Binary };
        (!self.body.is_empty()).then_some((event, self.body))
    }
}

/// A status, which functions may write as a text.
fn status_of(value: &Value) -> Option<u16> {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|own| own.parse().ok()))?;
    u16::try_from(number).ok().filter(|own| (100..=599).contains(own))
}

/// A header whose value is a number or a word.
fn value_text(object: &Value, name: &str) -> Option<String> {
    match object.get("headers")?.get(name)? {
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(own) => Some(own.to_string()),
        Value::Null | Value::String(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// What a client is told of a message that could not be dealt with.
#[must_use]
pub fn failure(connection_id: &str, request_id: &str) -> Vec<u8> {
    let object = json!({
        "message": "Internal server error",
        "connectionId": connection_id,
        "requestId": request_id,
    });
    object.to_string().into_bytes()
}

/// What stands for no code of a close frame (RFC 6455 §7.1.5).
const NO_STATUS: u16 = 1005;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::http::{ClientFacts, ForwardRules, parse_head};

    fn style(route_keys: &[&str]) -> GatewayStyle {
        GatewayStyle {
            selection: RouteSelection::parse("$request.body.action").unwrap(),
            route_keys: route_keys.iter().map(|own| (*own).to_owned()).collect(),
            route_responses: vec!["ask".to_owned()],
            stage: "prod".to_owned(),
        }
    }

    fn head(target: &str) -> EventHead {
        let text = format!(
            "GET {target} HTTP/1.1\r\nHost: app.example\r\nUser-Agent: cli/1\r\nX-A: 1\r\nX-A: 2\r\n\r\n"
        );
        let head = parse_head(text.as_bytes()).unwrap();
        let client = ClientFacts {
            address: Some([192, 0, 2, 1].into()),
            user: Some("ann"),
            ..ClientFacts::default()
        };
        EventHead::new(&head, target.as_bytes(), &ForwardRules::default(), &client)
    }

    fn encode(style: &GatewayStyle, target: &str, body: &[u8]) -> (Value, String) {
        let head = head(target);
        let request = GatewayRequest {
            head: &head,
            connection_id: "c1",
            request_id: "r1",
            connected_at: WallTime(5),
            now: WallTime(784_111_777_123),
        };
        let Encoded { body, route_key } = style.encode(&request, body);
        (serde_json::from_slice(&body).unwrap(), route_key)
    }

    #[test]
    fn the_client_is_described_when_it_connects() {
        let (event, route) = encode(&style(&[]), "/ws?a=1&a=%20&b", b"OPEN\r\n");
        assert_eq!(route, "$connect");
        assert_eq!(event["queryStringParameters"], json!({ "a": " ", "b": "" }));
        assert_eq!(event["multiValueQueryStringParameters"]["a"], json!(["1", " "]));
        assert_eq!(event["headers"]["X-A"], "2");
        assert_eq!(event["multiValueHeaders"]["X-A"], json!(["1", "2"]));
        assert_eq!(event["isBase64Encoded"], false);
        let context = &event["requestContext"];
        let expected = json!({
            "routeKey": "$connect", "eventType": "CONNECT", "connectionId": "c1", "connectedAt": 5,
            "messageDirection": "IN", "requestId": "r1", "extendedRequestId": "r1",
            "requestTime": "06/Nov/1994:08:49:37 +0000", "requestTimeEpoch": 784_111_777_123_u64,
            "domainName": "app.example", "stage": "prod", "apiId": "tidegate",
            "identity": { "sourceIp": "192.0.2.1", "userAgent": "cli/1" },
            "authorizer": { "principalId": "ann" },
        });
        assert_eq!(context, &expected);
        let (event, _) = encode(&style(&[]), "/ws", b"OPEN\r\n");
        assert!(event.get("queryStringParameters").is_none());
    }

    #[test]
    fn a_message_names_its_route() {
        for (keys, content, expected) in [
            (&[][..], r#"{"action":"send","x":1}"#, "send"),
            (&["send"], r#"{"action":"send"}"#, "send"),
            (&["other"], r#"{"action":"send"}"#, "$default"),
            (&[], r#"{"action":"$connect"}"#, "$default"),
            (&[], r#"{"action":1}"#, "$default"),
            (&[], "hello", "$default"),
            (&[], "[]", "$default"),
        ] {
            let body = format!("TEXT {:x}\r\n{content}\r\n", content.len());
            let (event, route) = encode(&style(keys), "/ws", body.as_bytes());
            assert_eq!((route.as_str(), &event["body"]), (expected, &json!(content)));
            assert_eq!(event["requestContext"]["messageId"], "r1");
            assert_eq!(event["isBase64Encoded"], false);
        }
        let (event, _) = encode(&style(&[]), "/ws", b"BINARY 2\r\n\x01\x02\r\n");
        assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("AQI="), &json!(true)));
    }

    #[test]
    fn the_end_has_its_code_and_reason() {
        for (body, code, reason) in [
            (&b"CLOSE 5\r\n\x0f\xa0bye\r\n"[..], 4000, "bye"),
            (b"CLOSE\r\n", 1005, ""),
            (b"DISCONNECT\r\n", 1005, ""),
        ] {
            let (event, route) = encode(&style(&[]), "/ws", body);
            let context = &event["requestContext"];
            assert_eq!(route, "$disconnect");
            assert_eq!(context["disconnectStatusCode"], code);
            assert_eq!(context["disconnectReason"], reason);
        }
    }

    #[test]
    fn routes_are_selected_by_an_expression() {
        let find = |expression: &str, content: &str| {
            RouteSelection::parse(expression).unwrap().find(content.as_bytes())
        };
        assert_eq!(find("${request.body.a.b}", r#"{"a":{"b":"x"}}"#).as_deref(), Some("x"));
        assert_eq!(find("$request.body.a", r#"{"b":"x"}"#), None);
        for expression in
            ["", "$request.body.", "$request.header.x", "request.body.a", "$request.body.a..b"]
        {
            assert_eq!(RouteSelection::parse(expression), None, "{expression}");
        }
    }

    #[test]
    fn replies_of_functions_and_of_plain_backends_are_read() {
        let reply = GatewayReply::parse(
            200,
            br#"{"statusCode":201,"body":"hi","headers":{"A":"b","N":1}}"#,
        );
        let headers = vec![("A".to_owned(), "b".to_owned()), ("N".to_owned(), "1".to_owned())];
        assert_eq!((reply.status, reply.is_success(), &reply.headers), (201, true, &headers));
        assert_eq!(reply.message(), Some((ClientEvent::Text, b"hi".to_vec())));
        let binary = br#"{"statusCode":"200","body":"AQI=","isBase64Encoded":true}"#;
        let message = GatewayReply::parse(200, binary).message();
        assert_eq!(message, Some((ClientEvent::Binary, vec![1, 2])));
        assert_eq!(GatewayReply::parse(204, b"").message(), None);
        let plain = GatewayReply::parse(200, b"plain");
        assert_eq!(
            (plain.status, plain.message()),
            (200, Some((ClientEvent::Text, b"plain".to_vec())))
        );
        // Its own status is that of the gateway in front of the backend.
        assert_eq!(GatewayReply::parse(502, br#"{"statusCode":200}"#).status, 502);
        assert_eq!(GatewayReply::parse(200, br#"{"statusCode":99}"#).status, 200);
        let style = style(&[]);
        assert!(style.has_response("ask") && !style.has_response("$default"));
    }

    proptest! {
        #[test]
        fn anything_may_come(body in prop::collection::vec(any::<u8>(), 0..60), target in "/[ -~]{0,20}") {
            let _ = GatewayReply::parse(200, &body);
            let line = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            if parse_head(line.as_bytes()).is_ok() {
                let head = head(&target);
                let request = GatewayRequest {
                    head: &head, connection_id: "", request_id: "",
                    connected_at: WallTime(0), now: WallTime(u64::MAX),
                };
                let mut event = Vec::new();
                super::super::encode_event(&mut event, EventKind::Text, Some(&body));
                let encoded = style(&[]).encode(&request, &event);
                prop_assert!(serde_json::from_slice::<Value>(&encoded.body).is_ok());
            }
        }
    }
}
