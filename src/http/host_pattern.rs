//! The hosts that a route is for (RFC 9110 §7.2): which of several routes a request's host leads to.

// Of `core`, which has addresses and no sockets.
use core::net::IpAddr;
use std::fmt;

use super::{
    authority::Authority,
    host_rule::{HostRule, address, is_host},
};

/// A host that a route is for: a name, an IP address, or with `*.` before it all names below a name.
///
/// Names compare in any letter case, and one dot at the end of a request's host says nothing: a name with
/// it is the same name (RFC 1034 §3.1). Addresses compare by their value, ports are not looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum HostPattern {
    /// This address.
    Address(IpAddr),
    /// The names that end in this one and have at least one label more; in small letters.
    Below(Box<str>),
    /// This name; in small letters.
    Name(Box<str>),
}

/// How specific a host pattern is: the greater, the more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostRank(usize);

impl HostRank {
    /// That of a name or an address.
    pub const EXACT: Self = Self(usize::MAX);
    /// That of a route without hosts, which is for any.
    pub const ANY: Self = Self(0);
}

impl HostPattern {
    /// Parses a pattern; `None` if `text` is none. Names are in ASCII, those of other characters as
    /// punycode (RFC 5890 §2.3.2.1).
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(address) = address(text) {
            return Some(Self::Address(address));
        }
        let (name, is_below) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        // What follows is no address and no part of one.
        let is_number = name.rsplit('.').next().is_some_and(|last| last.parse::<u32>().is_ok());
        if !is_host(name) || !name.split('.').all(is_label) || is_number {
            return None;
        }
        let name = name.to_ascii_lowercase().into_boxed_str();
        Some(if is_below { Self::Below(name) } else { Self::Name(name) })
    }

    /// Whether a listener with this rule permits any host that the pattern matches.
    #[must_use]
    pub fn is_permitted_by(&self, rule: &HostRule) -> bool {
        match (self, rule) {
            (_, HostRule::Any) => true,
            (Self::Address(_) | Self::Name(_), _) => {
                rule.permits(Authority::parse(self.to_string().as_bytes()))
            }
            (Self::Below(_), HostRule::List(hosts)) => {
                hosts.iter().any(|host| self.rank(host).is_some())
            }
            (Self::Below(_), HostRule::Local) => false,
        }
    }

    /// How specific the pattern is, if it matches `host`, as [`Authority::host`] has it.
    fn rank(&self, host: &str) -> Option<HostRank> {
        let matches = match self {
            Self::Address(own) => address(host) == Some(*own),
            Self::Name(name) => without_last_dot(host).eq_ignore_ascii_case(name),
            Self::Below(name) => {
                return is_below(without_last_dot(host), name).then_some(HostRank(name.len()));
            }
        };
        matches.then_some(HostRank::EXACT)
    }
}

impl fmt::Display for HostPattern {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(IpAddr::V6(address)) => write!(formatter, "[{address}]"),
            Self::Address(IpAddr::V4(address)) => write!(formatter, "{address}"),
            Self::Below(name) => write!(formatter, "*.{name}"),
            Self::Name(name) => formatter.write_str(name),
        }
    }
}

/// How specifically a route with these patterns is for `host` (see
/// [`RequestHead::host`](super::RequestHead::host)): by the most specific that matches. A route without
/// patterns is for any host, and for requests that name none; `None` if the route is for other hosts.
#[must_use]
pub fn host_rank(patterns: &[HostPattern], host: Option<Authority<'_>>) -> Option<HostRank> {
    if patterns.is_empty() {
        return Some(HostRank::ANY);
    }
    let host = host?;
    patterns.iter().filter_map(|pattern| pattern.rank(host.host())).max()
}

/// Whether `host` ends in a dot and `name`, with something before that.
fn is_below(host: &str, name: &str) -> bool {
    let Some(before) = host.len().checked_sub(name.len() + 1).filter(|bytes| *bytes > 0) else {
        return false;
    };
    let (labels, end) = (host.as_bytes().get(..=before), host.as_bytes().get(before + 1..));
    labels.is_some_and(|labels| labels.ends_with(b"."))
        && end.is_some_and(|end| end.eq_ignore_ascii_case(name.as_bytes()))
}

fn without_last_dot(host: &str) -> &str {
    host.strip_suffix('.').unwrap_or(host)
}

/// Whether a part of a name has the characters of one, `_` included, which names inside of networks have.
fn is_label(label: &str) -> bool {
    let characters = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    !label.is_empty() && label.bytes().all(characters)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pattern(text: &str) -> HostPattern {
        HostPattern::parse(text).unwrap_or_else(|| panic!("{text} is a pattern"))
    }

    fn rank(patterns: &[&str], host: &str) -> Option<HostRank> {
        let patterns: Vec<HostPattern> = patterns.iter().map(|own| pattern(own)).collect();
        host_rank(&patterns, Some(Authority::parse(host.as_bytes()).unwrap()))
    }

    #[test]
    fn names_match_in_any_case_on_any_port_and_with_a_last_dot() {
        for host in
            ["app.example.com", "APP.Example.com:8443", "app.example.com.", "app.example.com.:1"]
        {
            assert_eq!(rank(&["app.example.com"], host), Some(HostRank::EXACT), "{host}");
            assert_eq!(rank(&["App.EXAMPLE.com"], host), Some(HostRank::EXACT), "{host}");
        }
        for host in [
            "example.com",
            "a.app.example.com",
            "app.example.com..",
            "app.example.co",
            "a%70p.example.com",
        ] {
            assert_eq!(rank(&["app.example.com"], host), None, "{host}");
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label_and_more() {
        for host in ["a.example.com", "a.b.EXAMPLE.com:80", "a.example.com."] {
            assert!(rank(&["*.example.com"], host).is_some(), "{host}");
        }
        for host in ["example.com", ".example.com", "aexample.com", "a.example.com.evil", "com"] {
            assert_eq!(rank(&["*.example.com"], host), None, "{host}");
        }
    }

    #[test]
    fn a_name_comes_before_the_longest_wildcard_and_that_before_none() {
        let host = "a.b.example.com";
        let ranks =
            [&["*.example.com"][..], &["*.b.example.com"], &[host]].map(|own| rank(own, host));
        assert!(Some(HostRank::ANY) < ranks[0] && ranks[0] < ranks[1] && ranks[1] < ranks[2]);
        assert_eq!(rank(&["*.example.com", host, "*.b.example.com"], host), ranks[2]);
        assert_eq!(rank(&[], host), Some(HostRank::ANY));
    }

    #[test]
    fn addresses_compare_by_their_value() {
        for (own, host) in [("192.0.2.7", "192.0.2.7:1"), ("[2001:DB8::1]", "[2001:db8:0::1]:80")] {
            assert_eq!(rank(&[own], host), Some(HostRank::EXACT));
        }
        assert_eq!(rank(&["[::ffff:192.0.2.7]"], "192.0.2.7"), Some(HostRank::EXACT));
        assert_eq!(rank(&["192.0.2.7"], "192.0.2.8"), None);
    }

    #[test]
    fn a_request_without_a_host_is_for_routes_without_hosts() {
        assert_eq!(host_rank(&[], None), Some(HostRank::ANY));
        assert_eq!(host_rank(&[pattern("a.example")], None), None);
    }

    #[test]
    fn a_listener_permits_a_pattern_if_it_permits_a_host_of_it() {
        let list = HostRule::List(vec!["A.example".to_owned(), "10.0.0.1".to_owned()]);
        for (text, by_list, by_local) in [
            ("a.example", true, false),
            ("b.example", false, false),
            ("*.example", true, false),
            ("*.a.example", false, false),
            ("10.0.0.1", true, true),
            ("localhost", false, true),
        ] {
            let own = pattern(text);
            let permitted =
                [&list, &HostRule::Local, &HostRule::Any].map(|rule| own.is_permitted_by(rule));
            assert_eq!(permitted, [by_list, by_local, true], "{text}");
        }
    }

    #[test]
    fn what_is_no_host_is_no_pattern() {
        for text in [
            "",
            "*",
            "*.",
            "*a.example",
            "a.*.example",
            "a.*",
            "*.*.example",
            "a.example.",
            "a..b",
            ".a",
            "a:80",
            "*.10.0.0.1",
            "*.[::1]",
            "1.2.3.4.5",
            "256.1.1.1",
            "a%41",
            "b\u{fc}cher.example",
            "a b",
            "a/b",
            "*.1",
        ] {
            assert_eq!(HostPattern::parse(text), None, "{text}");
        }
        for text in
            ["localhost", "xn--bcher-kva.example", "a_b.example", "*.com", "10.0.0.1", "[::1]"]
        {
            assert!(HostPattern::parse(text).is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_wildcard_matches_as_labels_compared_one_by_one(
            labels in prop::collection::vec("[abAB]{1,2}", 1..5),
            own in prop::collection::vec("[abAB]{1,2}", 1..4),
            dot: bool,
        ) {
            let host = labels.join(".") + if dot { "." } else { "" };
            let text = own.join(".");
            let is_same = |a: &[String], b: &[String]| {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b))
            };
            let tail = labels.len().checked_sub(own.len());
            let below = tail.is_some_and(|from| from > 0 && is_same(&labels[from..], &own));
            prop_assert_eq!(rank(&[&format!("*.{text}")], &host).is_some(), below);
            prop_assert_eq!(rank(&[&text], &host).is_some(), is_same(&labels, &own));
        }

        #[test]
        fn a_pattern_shows_what_it_was_parsed_from(text in "(\\*\\.)?[a-z]{1,4}(\\.[a-z]{1,4}){0,2}") {
            prop_assert_eq!(pattern(&text).to_string(), text);
        }

        #[test]
        fn never_panics(text: String, host in "[a-z.]{1,12}") {
            if let Some(pattern) = HostPattern::parse(&text) {
                let _ = host_rank(&[pattern], Authority::parse(host.as_bytes()));
            }
        }
    }
}
