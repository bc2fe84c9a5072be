//! The request target: its path, its query and the authority it may name (RFC 9112 §3.2).

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};
use thiserror::Error;

use super::{
    authority::{Authority, default_port},
    grammar::{is_visible_ascii, split_once},
    percent::{DecodeError, Encoded, escapes_are_well_formed},
};

/// The path of a request: begins with `/`, and every escape in it is well formed.
///
/// Paths are split at raw slashes and each segment is decoded once, so `%2F` stays inside its
/// segment. `.` and `..` are segments like any other: no file system is behind them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Path<'b> {
    raw: &'b [u8],
}

impl<'b> Path<'b> {
    /// The path as it was sent.
    pub fn raw(self) -> &'b [u8] {
        self.raw
    }

    /// The segments: one after each slash, so `/` has one that is empty and `/a/` ends in one.
    pub fn segments(self) -> impl Iterator<Item = Encoded<'b>> + Clone {
        let after_slash = self.raw.strip_prefix(b"/").unwrap_or(self.raw);
        after_slash
            .split(|&byte| byte == b'/')
            .map(Encoded::segment)
    }

    /// Whether the decoded segments are those of `literal`, which begins with `/` and is not
    /// encoded: `/chat/room`. Never allocates. A slash at the end counts.
    pub fn matches(self, literal: &str) -> bool {
        let Some(literal) = literal.strip_prefix('/') else {
            return false;
        };
        let mut expected = literal.split('/');
        self.segments()
            .all(|segment| expected.next().is_some_and(|text| segment.matches(text)))
            && expected.next().is_none()
    }
}

/// The query of a request, read as a form: `name=value` pairs, in which `+` is a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'b> {
    raw: &'b [u8],
}

impl<'b> Query<'b> {
    /// What follows the first `?`, as it was sent; empty if there is no `?`.
    pub fn raw(self) -> &'b [u8] {
        self.raw
    }

    /// The pairs in the order sent. A name without `=` has an empty value; an empty pair (`&&`)
    /// is none.
    pub fn pairs(self) -> impl Iterator<Item = (Encoded<'b>, Encoded<'b>)> + Clone {
        let pieces = self
            .raw
            .split(|&byte| byte == b'&')
            .filter(|piece| !piece.is_empty());
        pieces.map(|piece| {
            let (name, value) = split_once(piece, b'=').unwrap_or((piece, &[]));
            (Encoded::query_part(name), Encoded::query_part(value))
        })
    }

    /// The decoded value of the one pair called `name`, or `None` if there is none.
    ///
    /// Pairs of other names are not judged: they are somebody else's.
    ///
    /// # Errors
    /// [`QueryError`] if there are several of that name, or if its value does not decode.
    pub fn value<'n>(self, name: &'n str) -> Result<Option<Cow<'b, str>>, QueryError<'n>> {
        let mut values = self
            .pairs()
            .filter_map(|(candidate, value)| candidate.matches(name).then_some(value));
        let Some(value) = values.next() else {
            return Ok(None);
        };
        if values.next().is_some() {
            return Err(QueryError::Repeated { name });
        }
        match value.decode() {
            Ok(text) => Ok(Some(text)),
            Err(source) => Err(QueryError::Undecodable { name, source }),
        }
    }
}

/// Why [`Query::value`] has no answer; `name` is what it was asked for.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QueryError<'n> {
    /// Which of the values is meant, nobody can know.
    #[error("query parameter `{name}` is given more than once")]
    Repeated {
        /// The name that was asked for.
        name: &'n str,
    },
    /// The value cannot be turned into text.
    #[error("query parameter `{name}`: {source}")]
    Undecodable {
        /// The name that was asked for.
        name: &'n str,
        /// What is wrong with its value.
        source: DecodeError,
    },
}

/// Why a request target is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// A space, a control character or an octet outside ASCII (RFC 3986 §2).
    #[error("the request target may hold visible ASCII only; percent-encode the rest")]
    Character,
    /// A `#`: fragments stay with the client (RFC 9110 §7.1).
    #[error("the request target must not hold a fragment (`#`)")]
    Fragment,
    /// Neither a path nor a URI: `*` and `host:port` belong to methods not served here
    /// (RFC 9112 §3.2.3 and §3.2.4).
    #[error("the request target must be a path or an absolute URI (RFC 9112 section 3.2)")]
    Form,
    /// A URI of another scheme than http, https, ws or wss.
    #[error("the request target must be an http, https, ws or wss URI")]
    Scheme,
    /// A URI without a host, with a malformed one, or with user information
    /// (RFC 9110 §4.2.1 and §4.2.4).
    #[error("the authority of the request target must be host[:port] (RFC 9110 section 4.2)")]
    Authority,
    /// A `%` in the path without two hexadecimal digits after it (RFC 3986 §2.1).
    #[error("a `%` in the path must be followed by two hexadecimal digits")]
    BadEscape,
}

/// A request target, taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// The host and port of an absolute-form target.
    pub(super) authority: Option<Authority<'b>>,
    pub(super) path: Path<'b>,
    pub(super) query: Query<'b>,
}

impl<'b> Target<'b> {
    /// Takes an origin-form or absolute-form target apart (RFC 9112 §3.2.1 and §3.2.2).
    pub(super) fn parse(target: &'b [u8]) -> Result<Self, TargetError> {
        if !is_visible_ascii(target) {
            return Err(TargetError::Character);
        }
        if memchr(b'#', target).is_some() {
            return Err(TargetError::Fragment);
        }
        let (authority, path_and_query) = if target.starts_with(b"/") {
            (None, target)
        } else {
            let (authority, rest) = split_absolute_form(target)?;
            (Some(authority), rest)
        };
        let (path, query) = split_once(path_and_query, b'?').unwrap_or((path_and_query, &[]));
        if !escapes_are_well_formed(path) {
            return Err(TargetError::BadEscape);
        }
        // Only an absolute URI can come without a path; it means `/` (RFC 9110 §4.2.3).
        let path = if path.is_empty() { b"/" } else { path };
        Ok(Self {
            authority,
            path: Path { raw: path },
            query: Query { raw: query },
        })
    }
}

fn split_absolute_form(target: &[u8]) -> Result<(Authority<'_>, &[u8]), TargetError> {
    let separator = memmem::find(target, b"://").ok_or(TargetError::Form)?;
    let (scheme, rest) = target
        .split_at_checked(separator)
        .ok_or(TargetError::Form)?;
    let rest = rest.strip_prefix(b"://").ok_or(TargetError::Form)?;
    // The schemes served here are those that have a default port.
    if default_port(scheme).is_none() {
        return Err(TargetError::Scheme);
    }
    let authority_bytes = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, rest) = rest
        .split_at_checked(authority_bytes)
        .ok_or(TargetError::Authority)?;
    Ok((
        Authority::parse(authority).ok_or(TargetError::Authority)?,
        rest,
    ))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(target: &str) -> Target<'_> {
        Target::parse(target.as_bytes()).unwrap()
    }

    fn segments(target: &str) -> Vec<String> {
        parse(target)
            .path
            .segments()
            .map(|text| text.decode().unwrap().into_owned())
            .collect()
    }

    fn pairs(target: &str) -> Vec<(String, String)> {
        let decode = |text: Encoded<'_>| text.decode().unwrap().into_owned();
        parse(target)
            .query
            .pairs()
            .map(|(name, value)| (decode(name), decode(value)))
            .collect()
    }

    #[test]
    fn origin_form_rfc_9112_section_3_2_1() {
        let target = parse("/chat/room?user=a?b");
        assert_eq!(target.authority, None);
        assert_eq!(target.path.raw(), b"/chat/room");
        assert_eq!(target.query.raw(), b"user=a?b");
    }

    #[test]
    fn absolute_form_rfc_9112_section_3_2_2() {
        let target = parse("WS://Example.com:81/chat?x=1");
        let authority = target.authority.unwrap();
        assert_eq!(
            (authority.host(), authority.port()),
            ("Example.com", Some(81))
        );
        assert_eq!(
            (target.path.raw(), target.query.raw()),
            (&b"/chat"[..], &b"x=1"[..])
        );

        assert_eq!(parse("http://a").path.raw(), b"/");
        let without_path = parse("https://a?x=http://b/");
        assert_eq!(without_path.path.raw(), b"/");
        assert_eq!(without_path.query.raw(), b"x=http://b/");
    }

    #[test]
    fn refused_targets() {
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
    fn queries_are_forms() {
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
    fn a_query_value_is_the_only_one_of_its_name() {
        let query = parse("/?user=%E5%BC%A0%E4%B8%89&a=1&%61=2&bad=%zz&%zz=1&raw=%ff&e").query;
        assert_eq!(query.value("user"), Ok(Some(Cow::Owned("张三".to_owned()))));
        assert_eq!(query.value("e"), Ok(Some(Cow::Borrowed(""))));
        assert_eq!(query.value("missing"), Ok(None));
        assert_eq!(query.value("a"), Err(QueryError::Repeated { name: "a" }));
        let undecodable = |name, source| Err(QueryError::Undecodable { name, source });
        assert_eq!(
            query.value("bad"),
            undecodable("bad", DecodeError::BadEscape)
        );
        assert_eq!(query.value("raw"), undecodable("raw", DecodeError::NotUtf8));
    }

    proptest! {
        #[test]
        fn segments_survive_the_journey(texts in prop::collection::vec(any::<String>(), 1..5)) {
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
        fn never_panics(target: Vec<u8>) {
            let _ = Target::parse(&target);
        }
    }
}
