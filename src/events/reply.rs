//! What the headers of a backend's reply say about the connection.

use super::grip::Grip;

/// What the headers of a reply say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplyFacts {
    /// Bytes of messages that the backend has taken; `None` for all.
    pub accepted_bytes: Option<usize>,
    /// How long the backend wants to be left without a request, in seconds.
    pub keep_alive_s: Option<u32>,
    /// Names and values that it wants back with each request, an empty value to forget the name.
    pub set_meta: Vec<(Box<str>, Box<str>)>,
    /// That it speaks GRIP.
    pub grip: Option<Grip>,
}

impl ReplyFacts {
    /// Reads the headers of a reply. Those that are not as they must be are as if they were not there.
    #[must_use]
    pub fn of<'h>(headers: impl IntoIterator<Item = (&'h str, &'h [u8])>) -> Self {
        let mut facts = Self::default();
        for (name, value) in headers {
            let Ok(text) = std::str::from_utf8(value) else { continue };
            let text = text.trim_ascii();
            let is = |own: &str| name.eq_ignore_ascii_case(own);
            if is("Content-Bytes-Accepted") {
                facts.accepted_bytes = number(text);
            } else if is("Keep-Alive-Interval") {
                let given = number(text).and_then(|own| u32::try_from(own).ok());
                facts.keep_alive_s = given
                    .filter(|own| *own > 0)
                    .map(|own| own.clamp(KEEP_ALIVE_S_MIN, KEEP_ALIVE_S_MAX));
            } else if is("Sec-WebSocket-Extensions") {
                facts.grip = Grip::parse(text).or(facts.grip);
            } else if let Some(rest) = meta_name(name) {
                facts.set_meta.push((rest.to_ascii_lowercase().into(), text.into()));
            }
        }
        facts
    }
}

/// Whether a header of the reply that lets a client in goes to the client: not what is about the reply
/// itself, the conversation or the gateway's connections (RFC 9110 §7.6.1).
#[must_use]
pub fn is_passed_on(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let prefixes = ["content-", "set-meta-", "sec-websocket-", "proxy-", "grip-"];
    !prefixes.iter().any(|prefix| lower.starts_with(prefix)) && !LEFT_OUT.contains(&&*lower)
}

/// The part of a name behind `Set-Meta-`.
fn meta_name(name: &str) -> Option<&str> {
    let (prefix, rest) = name.split_at_checked(META_PREFIX.len())?;
    (prefix.eq_ignore_ascii_case(META_PREFIX) && !rest.is_empty()).then_some(rest)
}

fn number(text: &str) -> Option<usize> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

const META_PREFIX: &str = "Set-Meta-";
/// A backend must not be able to have the gateway flood it.
const KEEP_ALIVE_S_MIN: u32 = 20;
const KEEP_ALIVE_S_MAX: u32 = 86_400;
const LEFT_OUT: [&str; 10] = [
    "alt-svc",
    "connection",
    "date",
    "http2-settings",
    "keep-alive",
    "keep-alive-interval",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn of(lines: &[(&str, &str)]) -> ReplyFacts {
        ReplyFacts::of(lines.iter().map(|(name, value)| (*name, value.as_bytes())))
    }

    #[test]
    fn headers_about_the_conversation_are_read() {
        let facts = of(&[
            ("content-bytes-accepted", "12"),
            ("Keep-Alive-Interval", "30"),
            ("Set-Meta-User", "alice"),
            ("set-meta-room", ""),
            ("Set-Meta-", "x"),
            ("Sec-WebSocket-Extensions", "grip; message-prefix=\"\""),
        ]);
        assert_eq!((facts.accepted_bytes, facts.keep_alive_s), (Some(12), Some(30)));
        let meta = [("user".into(), "alice".into()), ("room".into(), "".into())];
        assert_eq!(facts.set_meta, meta);
        assert_eq!(facts.grip.unwrap().message(b"x"), Some(&b"x"[..]));
    }

    #[test]
    fn what_is_not_as_it_must_be_is_left_out() {
        let facts = of(&[
            ("Content-Bytes-Accepted", "-1"),
            ("Keep-Alive-Interval", "soon"),
            ("Sec-WebSocket-Extensions", "permessage-deflate"),
        ]);
        assert_eq!(facts, ReplyFacts::default());
        assert_eq!(of(&[("Keep-Alive-Interval", "0")]).keep_alive_s, None);
        assert_eq!(of(&[("Keep-Alive-Interval", "1")]).keep_alive_s, Some(KEEP_ALIVE_S_MIN));
        assert_eq!(
            of(&[("Keep-Alive-Interval", "4000000000")]).keep_alive_s,
            Some(KEEP_ALIVE_S_MAX)
        );
    }

    #[test]
    fn the_client_gets_what_is_about_it() {
        for name in ["Set-Cookie", "X-Own", "Server"] {
            assert!(is_passed_on(name), "{name}");
        }
        for name in ["Content-Type", "content-length", "Set-Meta-A", "KEEP-ALIVE-INTERVAL", "Date"]
        {
            assert!(!is_passed_on(name), "{name}");
        }
    }
}
