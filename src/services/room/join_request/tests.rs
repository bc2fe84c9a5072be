use super::*;
use crate::http::{OriginRule, Subprotocol, UpgradePolicy, check_upgrade, parse_head};
use crate::services::Identity;

const ADDRESS: &str = "[::ffff:192.0.2.7]:4000";

fn settings(name: NameSource) -> RoomSettings {
    RoomSettings { name, ..RoomSettings::default() }
}

/// A name that the path states and an identity proves.
fn proven() -> NameSource {
    NameSource::Identity { segment: Some(1) }
}

/// What a request for `target` that offers the subprotocols of `offer` asks for.
fn join_request(
    name: NameSource,
    target: &str,
    offer: Option<&str>,
) -> Result<JoinRequest, Refusal> {
    join_request_with(&settings(name), target, offer)
}

fn join_request_with(
    settings: &RoomSettings,
    target: &str,
    offer: Option<&str>,
) -> Result<JoinRequest, Refusal> {
    let offer = offer.map_or(String::new(), |names| format!("Sec-WebSocket-Protocol: {names}\r\n"));
    let head = format!(
        "GET {target} HTTP/1.1\r\nHost: a.example\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n"
    );
    let head = parse_head(head.as_bytes()).unwrap();
    let subprotocols = [CHAT_SUBPROTOCOL, "other"].map(|name| Subprotocol::new(name).unwrap());
    let policy = UpgradePolicy { origins: &OriginRule::SameHost, subprotocols: &subprotocols };
    let request = check_upgrade(&head, &policy).unwrap();
    read_join_request(settings, &ConnectRequest::new(Some(&request), ADDRESS.parse().ok()))
}

fn requested_name(name: NameSource, target: &str) -> Result<RequestedName, String> {
    let join_request = join_request(name, target, None);
    join_request.map(|join_request| join_request.name).map_err(|refusal| refusal.reason)
}

fn line_client(name: NameSource) -> Result<JoinRequest, Refusal> {
    read_join_request(&settings(name), &ConnectRequest::new(None, ADDRESS.parse().ok()))
}

#[test]
fn a_name_in_the_query_is_decoded_once() {
    for (query, name) in [
        ("user=bob", "bob"),
        ("user=%E5%BC%A0%E4%B8%89", "张三"),
        ("room=x&user=a+b%2Bc&user2=y", "a b+c"),
        ("user=%2562ob", "%62ob"),
        ("user=%20bob%20", "bob"),
    ] {
        let given = requested_name(NameSource::Query, &format!("/chat?{query}"));
        assert_eq!(given, Ok(RequestedName::Now(name.into())), "{query}");
    }
}

#[test]
fn a_room_is_named_by_the_path_or_else_by_the_query() {
    let room = |target: &str| {
        let settings = RoomSettings { room_segment: Some(1), ..settings(NameSource::FirstText) };
        let join_request = join_request_with(&settings, target, None);
        join_request.map(|join_request| join_request.room).map_err(|refusal| refusal.reason)
    };
    assert_eq!(room("/chat/caf%C3%A9?room=other"), Ok(Some("café".into())));
    assert_eq!(room("/chat?room=other"), Ok(Some("other".into())));
    assert_eq!(room("/chat"), Ok(None));
    assert!(room("/chat/%00").unwrap_err().starts_with("room refused: "));
}

#[test]
fn an_invalid_name_is_refused_with_the_reason() {
    for (query, reason) in [
        ("", "give one with ?user=NAME"),
        ("user=", "it must not be empty"),
        ("user=+", "it must not be empty"),
        ("user=a&user=b", "given more than once"),
        ("user=%ff", "must be UTF-8"),
        ("user=%0a", "it must not be empty"),
        ("user=a%0ab", "control characters"),
        (&format!("user={}", "x".repeat(65)), "longer than 64 bytes"),
    ] {
        let refusal = requested_name(NameSource::Query, &format!("/chat?{query}")).unwrap_err();
        assert!(refusal.starts_with("name refused: "), "{refusal}");
        assert!(refusal.contains(reason), "{refusal}");
    }
}

#[test]
fn a_name_in_the_path_is_one_segment() {
    let path = || NameSource::Path { segment: 1 };
    assert_eq!(requested_name(path(), "/chat/a%2Fb/x"), Ok(RequestedName::Now("a/b".into())));
    assert!(requested_name(path(), "/chat").unwrap_err().contains("none in the path"));
    assert!(requested_name(path(), "/chat/").unwrap_err().contains("empty"));
    assert!(requested_name(path(), "/chat/%ff").unwrap_err().contains("UTF-8"));
}

#[test]
fn a_proven_name_that_the_path_states_must_be_one() {
    let given = |target| requested_name(proven(), target);
    assert_eq!(given("/ws/bob/s3%2Fcret"), Ok(RequestedName::Unnamed), "nothing is proven yet");
    assert!(given("/ws/%20/token").unwrap_err().contains("empty"));
    assert!(given("/ws/%ff/token").unwrap_err().contains("UTF-8"));
}

#[test]
fn a_proven_name_is_the_user_of_the_identity() {
    let name = |user: &str| {
        let identity = Identity::new(&"users".into(), user).unwrap();
        let connect = ConnectRequest::new(None, None).with_identity(Some(&identity));
        let source = NameSource::Identity { segment: None };
        let join_request = read_join_request(&settings(source), &connect);
        join_request.map(|join_request| join_request.name).map_err(|refusal| refusal.reason)
    };
    assert_eq!(name("Zoe\u{308}"), Ok(RequestedName::Now("Zo\u{eb}".into())));
    assert!(name(&"x".repeat(65)).unwrap_err().contains("longer than 64 bytes"));
    let connect = ConnectRequest::new(None, None);
    let join_request =
        read_join_request(&settings(NameSource::Identity { segment: None }), &connect);
    assert_eq!(join_request.unwrap().name, RequestedName::Unnamed);
}

#[test]
fn an_address_is_a_name() {
    let name = RequestedName::Now("192.0.2.7:4000".into());
    assert_eq!(requested_name(NameSource::Address, "/"), Ok(name));
    assert!(name_of_address(None).is_err());
}

#[test]
fn a_room_in_the_query_is_decoded_and_checked() {
    let room = |query: &str| {
        let join_request = join_request(NameSource::FirstText, &format!("/chat?{query}"), None);
        join_request.map(|join_request| join_request.room).map_err(|refusal| refusal.reason)
    };
    assert_eq!(room(""), Ok(None));
    assert_eq!(room("room=caf%C3%A9"), Ok(Some("café".into())));
    assert!(room("room=").unwrap_err().starts_with("room refused: it must not be empty"));
    assert!(room("room=a&room=b").unwrap_err().contains("more than once"));
}

#[test]
fn the_subprotocol_decides_the_format() {
    let format = |offer| join_request(NameSource::FirstText, "/", offer).unwrap().format;
    assert_eq!(format(None), ClientFormat::Lines);
    assert_eq!(format(Some("unknown")), ClientFormat::Lines);
    assert_eq!(format(Some("other")), ClientFormat::Lines);
    assert_eq!(format(Some("other, tidegate.chat.v1")), ClientFormat::Events);
    let refusal = join_request(NameSource::Query, "/", Some(CHAT_SUBPROTOCOL)).unwrap_err();
    assert_eq!(refusal.format, ClientFormat::Events);
}

#[test]
fn a_line_client_is_named_by_its_first_line_or_its_address() {
    for source in [NameSource::FirstText, NameSource::Query, NameSource::Path { segment: 1 }] {
        let join_request =
            JoinRequest { room: None, name: RequestedName::Later, format: ClientFormat::Lines };
        assert_eq!(line_client(source), Ok(join_request));
    }
    let name = RequestedName::Now("192.0.2.7:4000".into());
    assert_eq!(line_client(NameSource::Address).unwrap().name, name);
    assert!(line_client(proven()).is_err());
}
