//! The request target: its path, its query and its authority, if it has one (RFC 9112 §3.2).

use std::borrow::Cow;

use memchr::{memchr, memchr2, memmem};
use thiserror::Error;

use super::{
    authority::{Authority, default_port},
    grammar::{is_visible_ascii, split_once},
    percent::{DecodeError, Encoded, escapes_are_well_formed},
};

/// The path of a request, which begins with `/` and has only well-formed escapes.
///
/// A path is split at raw slashes and each segment is decoded once, so `%2F` stays inside its
/// segment. `.` and `..` are ordinary segments, because no file system is behind them; only what a
/// pattern leaves open must be plain (see [`Path::matches`]), as a backend may read it otherwise.
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
        after_slash.split(|&byte| byte == b'/').map(Encoded::segment)
    }

    /// Whether the decoded segments equal those of `pattern`, such as `/chat/room`, which begins
    /// with `/` and is not encoded. A segment `:name` of the pattern matches any that is not empty.
    /// A slash at the end is significant. Never allocates.
    ///
    /// A last segment `*` matches all that follows, at least one segment, which may be empty:
    /// `/app/*` matches `/app/` and `/app/a/b`, but not `/app`. What follows must mean the same to
    /// all that read the path after this: no segment but the last may be empty, and none may decode
    /// to `.` or `..` (with `;` and anything behind it or not), nor hold a slash, a backslash or a control character. Otherwise
    /// `/app/x/..%2Fadmin` would pass by a rule for `/app/admin/*`.
    pub fn matches(self, pattern: &str) -> bool {
        let Some(pattern) = pattern.strip_prefix('/') else { return false };
        let (mut segments, mut expected) = (self.segments(), pattern.split('/').peekable());
        while let Some(text) = expected.next() {
            if text == WILDCARD && expected.peek().is_none() {
                return is_plain_rest(segments);
            }
            let is_match = segments.next().is_some_and(|segment| match text.strip_prefix(':') {
                Some(_) => !segment.raw().is_empty(),
                None => segment.matches(text),
            });
            if !is_match {
                return false;
            }
        }
        segments.next().is_none()
    }

    /// What the `*` at the end of a pattern stands for in this path, which the pattern matches: as it
    /// was sent, without the slash before it. Empty for a pattern without `*`.
    pub fn rest_after(self, pattern: &str) -> &'b [u8] {
        let Some(prefix) = pattern.strip_suffix(WILDCARD).filter(|own| own.ends_with('/')) else {
            return &[];
        };
        let mut rest = self.raw;
        for _ in prefix.matches('/') {
            let Some((_, behind)) = split_once(rest, b'/') else { return &[] };
            rest = behind;
        }
        rest
    }
}

/// Whether segments mean the same to every reader, and there is one.
fn is_plain_rest<'b>(segments: impl Iterator<Item = Encoded<'b>>) -> bool {
    let mut segments = segments.peekable();
    let has_any = segments.peek().is_some();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        if segment.is_dots() || (segment.raw().is_empty() && !is_last) || !segment.is_one_for_all()
        {
            return false;
        }
    }
    has_any
}

/// The last segment of a pattern that stands for all that follows.
const WILDCARD: &str = "*";

/// The query of a request, read as a form: `name=value` pairs, in which `+` is a space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query<'b> {
    raw: &'b [u8],
}

impl<'b> Query<'b> {
    /// A query by the text after the first `?`.
    pub fn new(raw: &'b [u8]) -> Self {
        Self { raw }
    }

    /// The text after the first `?` as it was sent; empty if there is no `?`.
    pub fn raw(self) -> &'b [u8] {
        self.raw
    }

    /// The pairs in the order sent. A name without `=` has an empty value; empty pairs (`&&`) are
    /// skipped.
    pub fn pairs(self) -> impl Iterator<Item = (Encoded<'b>, Encoded<'b>)> + Clone {
        let pairs = self.raw.split(|&byte| byte == b'&').filter(|pair| !pair.is_empty());
        pairs.map(|pair| {
            let (name, value) = split_once(pair, b'=').unwrap_or((pair, &[]));
            (Encoded::query_part(name), Encoded::query_part(value))
        })
    }

    /// The decoded value of the pair called `name`, or `None` if there is none. Other pairs are not
    /// checked.
    ///
    /// # Errors
    /// [`QueryError`] if there are several of that name, or if the value cannot be decoded.
    pub fn value<'n>(self, name: &'n str) -> Result<Option<Cow<'b, str>>, QueryError<'n>> {
        let mut values =
            self.pairs().filter_map(|(candidate, value)| candidate.matches(name).then_some(value));
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(QueryError::Repeated { name });
        }
        match value.decode() {
            Ok(text) => Ok(Some(text)),
            Err(source) => Err(QueryError::Undecodable { name, source }),
        }
    }
}

/// Why [`Query::value`] fails for a name.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum QueryError<'n> {
    /// The parameter occurs more than once, and none of its values takes precedence.
    #[error("query parameter `{name}` is given more than once")]
    Repeated {
        /// The name of the parameter.
        name: &'n str,
    },
    /// The value cannot be decoded.
    #[error("query parameter `{name}`: {source}")]
    Undecodable {
        /// The name of the parameter.
        name: &'n str,
        /// Why its value cannot be decoded.
        source: DecodeError,
    },
}

/// Why a request target is refused.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum TargetError {
    /// A space, a control character or an octet outside ASCII (RFC 3986 §2).
    #[error("the request target may hold visible ASCII only; percent-encode the rest")]
    Character,
    /// A `#`: clients do not send fragments (RFC 9110 §7.1).
    #[error("the request target must not hold a fragment (`#`)")]
    Fragment,
    /// Neither a path nor a URI: `*` and `host:port` belong to methods that are not served
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

/// The parts of a request target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target<'b> {
    /// The host and port of an absolute-form target.
    pub(super) authority: Option<Authority<'b>>,
    pub(super) path: Path<'b>,
    pub(super) query: Query<'b>,
}

impl<'b> Target<'b> {
    /// Splits an origin-form or absolute-form target (RFC 9112 §3.2.1 and §3.2.2).
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
        // An absolute URI may have an empty path, which means `/` (RFC 9110 §4.2.3).
        let path = if path.is_empty() { b"/" } else { path };
        Ok(Self { authority, path: Path { raw: path }, query: Query { raw: query } })
    }
}

fn split_absolute_form(target: &[u8]) -> Result<(Authority<'_>, &[u8]), TargetError> {
    let separator = memmem::find(target, b"://").ok_or(TargetError::Form)?;
    let (scheme, rest) = target.split_at_checked(separator).ok_or(TargetError::Form)?;
    let rest = rest.strip_prefix(b"://").ok_or(TargetError::Form)?;
    // The schemes served here are those that have a default port.
    if default_port(scheme).is_none() {
        return Err(TargetError::Scheme);
    }
    let authority_bytes = memchr2(b'/', b'?', rest).unwrap_or(rest.len());
    let (authority, rest) = rest.split_at_checked(authority_bytes).ok_or(TargetError::Authority)?;
    Ok((Authority::parse(authority).ok_or(TargetError::Authority)?, rest))
}

#[cfg(test)]
mod tests;
