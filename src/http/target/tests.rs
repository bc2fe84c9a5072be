use proptest::prelude::*;

use super::*;

fn parse(target: &str) -> Target<'_> {
    Target::parse(target.as_bytes()).unwrap()
}

fn segments(target: &str) -> Vec<String> {
    parse(target).path.segments().map(|text| text.decode().unwrap().into_owned()).collect()
}

fn pairs(target: &str) -> Vec<(String, String)> {
    let decode = |text: Encoded<'_>| text.decode().unwrap().into_owned();
    parse(target).query.pairs().map(|(name, value)| (decode(name), decode(value))).collect()
}

#[test]
fn origin_form_is_split_rfc_9112_section_3_2_1() {
    let target = parse("/chat/room?user=a?b");
    assert_eq!(target.authority, None);
    assert_eq!(target.path.raw(), b"/chat/room");
    assert_eq!(target.query.raw(), b"user=a?b");
}

#[test]
fn absolute_form_is_split_rfc_9112_section_3_2_2() {
    let target = parse("WS://Example.com:81/chat?x=1");
    let authority = target.authority.unwrap();
    assert_eq!((authority.host(), authority.port()), ("Example.com", Some(81)));
    assert_eq!((target.path.raw(), target.query.raw()), (&b"/chat"[..], &b"x=1"[..]));

    assert_eq!(parse("http://a").path.raw(), b"/");
    let without_path = parse("https://a?x=http://b/");
    assert_eq!(without_path.path.raw(), b"/");
    assert_eq!(without_path.query.raw(), b"x=http://b/");
}

#[test]
fn invalid_targets_are_refused() {
    let refused = [
        ("*", TargetError::Form),
        ("example.com:80", TargetError::Form),
        ("", TargetError::Form),
        ("chat", TargetError::Form),
        ("http:/a", TargetError::Form),
        ("?x=1", TargetError::Form),
        ("ftp://a/", TargetError::Scheme),
        ("://a/", TargetError::Scheme),
        ("http://", TargetError::Authority),
        ("http:///chat", TargetError::Authority),
        ("http://:80/", TargetError::Authority),
        ("http://user@a/", TargetError::Authority),
        ("http://a:b/", TargetError::Authority),
        ("/a#b", TargetError::Fragment),
        ("/#", TargetError::Fragment),
        ("/a%2", TargetError::BadEscape),
        ("/%zz/b", TargetError::BadEscape),
        ("http://a/%", TargetError::BadEscape),
        ("/a b", TargetError::Character),
        ("/\u{5f20}", TargetError::Character),
        ("/a\0", TargetError::Character),
        ("/a\x7f", TargetError::Character),
    ];
    for (target, error) in refused {
        assert_eq!(Target::parse(target.as_bytes()), Err(error), "{target:?}");
    }
}

#[test]
fn paths_split_at_raw_slashes_only() {
    assert_eq!(segments("/"), [""]);
    assert_eq!(segments("/a/b"), ["a", "b"]);
    assert_eq!(segments("/a//b/"), ["a", "", "b", ""]);
    assert_eq!(segments("/a%2Fb/%2e%2E/../+"), ["a/b", "..", "..", "+"]);
    assert_eq!(segments("/%E5%BC%A0%E4%B8%89"), ["张三"]);
}

#[test]
fn paths_match_by_decoded_segment() {
    assert!(parse("/").path.matches("/"));
    assert!(parse("/chat/room").path.matches("/chat/room"));
    assert!(parse("/ch%61t?x").path.matches("/chat"));
    assert!(parse("/%E5%BC%A0").path.matches("/张"));
    assert!(parse("/room/a%2Fb/x").path.matches("/room/:name/x"));
    assert!(parse("/:name").path.matches("/:name"));
    for (target, literal) in [
        ("/chat", "chat"),
        ("/chat", "/"),
        ("/chat", "/chat/"),
        ("/chat/", "/chat"),
        ("/chat/room", "/chat"),
        ("/chat", "/chat/room"),
        ("/chat%2Froom", "/chat/room"),
        ("/Chat", "/chat"),
        ("/chat/../chat", "/chat"),
        ("/cha%ff", "/cha"),
        ("/", ""),
    ] {
        assert!(!parse(target).path.matches(literal), "{target} {literal}");
    }
}

#[test]
fn queries_are_decoded_as_forms() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    assert_eq!(pairs("/"), []);
    assert_eq!(pairs("/?"), []);
    assert_eq!(
        pairs("/?&a=1&&b&c=&=d&e=f=g&h+i=j%2Bk+l&"),
        [
            pair("a", "1"),
            pair("b", ""),
            pair("c", ""),
            pair("", "d"),
            pair("e", "f=g"),
            pair("h i", "j+k l"),
        ]
    );
}

#[test]
fn a_repeated_query_parameter_is_refused() {
    let query = parse("/?user=%E5%BC%A0%E4%B8%89&a=1&%61=2&bad=%zz&%zz=1&raw=%ff&e").query;
    assert_eq!(query.value("user"), Ok(Some(Cow::Owned("张三".to_owned()))));
    assert_eq!(query.value("e"), Ok(Some(Cow::Borrowed(""))));
    assert_eq!(query.value("missing"), Ok(None));
    assert_eq!(query.value("a"), Err(QueryError::Repeated { name: "a" }));
    let undecodable = |name, source| Err(QueryError::Undecodable { name, source });
    assert_eq!(query.value("bad"), undecodable("bad", DecodeError::BadEscape));
    assert_eq!(query.value("raw"), undecodable("raw", DecodeError::NotUtf8));
}

proptest! {
    #[test]
    fn encoded_segments_are_decoded_back(texts in prop::collection::vec(any::<String>(), 1..5)) {
        let escape = |text: &String| -> String {
            text.bytes().map(|byte| format!("%{byte:02X}")).collect()
        };
        let target = format!("/{}", texts.iter().map(escape).collect::<Vec<_>>().join("/"));
        prop_assert_eq!(segments(&target), texts);
    }

    #[test]
    fn paths_match_themselves_when_decoded(target in "(/([ab]|%6[12]){0,3}){1,4}") {
        let literal = format!("/{}", segments(&target).join("/"));
        prop_assert!(parse(&target).path.matches(&literal));
        let longer = format!("{literal}/");
        prop_assert!(!parse(&target).path.matches(&longer));
    }

    #[test]
    fn any_bytes_are_parsed_without_panic(target: Vec<u8>) {
        let _ = Target::parse(&target);
    }
}

#[test]
fn a_wildcard_matches_all_that_follows_its_slash() {
    let rest = |path: &'static str, pattern: &str| {
        let path = parse(path).path;
        path.matches(pattern).then(|| str::from_utf8(path.rest_after(pattern)).unwrap().to_owned())
    };
    for (path, expected) in [
        ("/app/", Some("")),
        ("/app/a", Some("a")),
        ("/%61pp/a/b%20c/", Some("a/b%20c/")),
        ("/app/.../a.b/..c", Some(".../a.b/..c")),
        ("/app", None),
        ("/apple/a", None),
        ("/", None),
        ("/b/app/", None),
    ] {
        assert_eq!(rest(path, "/app/*").as_deref(), expected, "{path}");
    }
    assert_eq!(rest("/a/b", "/*").as_deref(), Some("a/b"));
    assert_eq!(rest("/x/y/z", "/:any/*").as_deref(), Some("y/z"));
    assert_eq!(rest("/a", "/a").as_deref(), Some(""));
    // Elsewhere it is a character like others.
    assert_eq!(rest("/*/a", "/*/a").as_deref(), Some(""));
    assert_eq!(rest("/b/a", "/*/a"), None);
}

#[test]
fn a_wildcard_does_not_match_what_others_may_read_differently() {
    for rest in [
        "..", "../a", "a/..", "a/../b", ".", "./a", "%2e%2e/a", ".%2E", "..;/a", "..;x=1/a", "/a",
        "a//b", "a%2Fb", "a%2fb", "a%5cb", "a\\b", "a%00b", "a%0d%0ab", "%2F",
    ] {
        let path = format!("/app/{rest}");
        assert!(!parse(&path).path.matches("/app/*"), "{path}");
    }
}

proptest! {
    /// Decoding the rest once more, resolving dots or merging slashes leads to the same place.
    #[test]
    fn the_rest_of_a_wildcard_is_the_same_for_every_reader(rest in "([.;a/\\\\]|%2[ef]|%5c){0,12}") {
        let path = format!("/app/{rest}");
        let path = parse(&path).path;
        if path.matches("/app/*") {
            let raw = str::from_utf8(path.raw()).unwrap();
            let decoded = format!("/{}", segments(raw).join("/"));
            prop_assert_eq!(decoded.matches('/').count(), raw.matches('/').count());
            prop_assert!(!decoded.contains("//") && !decoded.contains('\\'), "{}", decoded);
            let is_dots = |part: &str| [".", ".."].contains(&part.split(';').next().unwrap());
            prop_assert!(!decoded.split('/').any(is_dots), "{}", decoded);
        }
    }
}
