//! Suggestions for an unknown key: the known one that it is most likely a typing mistake of.

use super::key::split;
use super::sections::{SECTIONS, Section, find_section, inner_sections, keys};

/// The end of the sentence "unknown key": the closest key if one is close, and otherwise the
/// keys that exist, because a distant guess would mislead.
pub(super) fn hint(unknown: &str) -> String {
    match closest(unknown) {
        Some(name) => format!(", did you mean {name}?"),
        None => choices(split(unknown).0),
    }
}

/// The known name closest to `unknown`, if one is close enough to be a typing mistake.
///
/// The name inside the table decides; being in another table counts as one more edit, so that a
/// key under the wrong header is recognised but never beats a typing mistake under the right one.
fn closest(unknown: &str) -> Option<&'static str> {
    if unknown.len() > UNKNOWN_BYTES_MAX {
        return None;
    }
    let (section, leaf) = split(unknown);
    let sections = SECTIONS.iter().map(|section| section.name).filter(|name| !name.is_empty());
    sections
        .chain(keys().map(|key| key.name))
        .filter_map(|name| {
            let (known_section, known_leaf) = split(name);
            let is_elsewhere = section != known_section;
            let edits = edits(leaf, known_leaf) + usize::from(is_elsewhere);
            let is_slip = edits <= leaf.chars().count().max(known_leaf.len()).div_ceil(3);
            let plain_edits = strsim::damerau_levenshtein(leaf, known_leaf);
            is_slip.then_some(((edits, is_elsewhere, plain_edits), name))
        })
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The edit distance, kinder to units.
fn edits(written: &str, known: &str) -> usize {
    // A unit that is left out or added is the most frequent mistake, whatever its length.
    let (short, long) =
        if written.len() < known.len() { (written, known) } else { (known, written) };
    if short.len() >= 4 && long.strip_prefix(short).is_some_and(|rest| rest.starts_with('_')) {
        return 1;
    }
    strsim::damerau_levenshtein(written, known)
}

/// The keys of a table.
fn choices(section: &str) -> String {
    let known = find_section(section).filter(|known| !known.name.is_empty());
    let (holder, keys) = match known {
        Some(known) => (known.header(), known.keys()),
        None => ("the file".to_owned(), SECTIONS[0].keys()),
    };
    let mut names: Vec<String> = keys.map(|key| key.leaf().to_owned()).collect();
    let inner = inner_sections(known.map_or("", |known| known.name));
    names.extend(inner.map(Section::header));
    format!("; {holder} takes {}", names.join(", "))
}

/// The longest name that is compared, beyond any mistyped key: the distance takes quadratic time.
const UNKNOWN_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_its_key() {
        for (unknown, meant) in [
            ("loop", "loops"),
            ("lopos", "loops"),
            ("shareport", "share_port"),
            ("listeners", "listener"),
            ("limit", "limits"),
            ("routes", "route"),
            ("limits.mesage_bytes_max", "limits.message_bytes_max"),
            ("limits.conections_max", "limits.connections_max"),
            ("listener.adress", "listener.address"),
            ("route.origin", "route.origins"),
            ("route.sub_protocols", "route.subprotocols"),
            ("socket.nodelay", "socket.no_delay"),
            ("route.identities", "route.identity"),
            ("identities", "identity"),
            ("identity.tokens.tokne", "identity.tokens.token"),
            ("identity.token_prefx", "identity.token_prefix"),
            ("listener.routes", "listener.route"),
        ] {
            assert_eq!(closest(unknown), Some(meant), "{unknown}");
        }
    }

    #[test]
    fn a_missing_unit_finds_its_key() {
        assert_eq!(closest("timeouts.pong"), Some("timeouts.pong_ms"));
        assert_eq!(closest("limits.message_bytes"), Some("limits.message_bytes_max"));
    }

    #[test]
    fn a_key_under_the_wrong_header_finds_its_place() {
        assert_eq!(closest("head_bytes_max"), Some("limits.head_bytes_max"));
        assert_eq!(closest("limits.pong_ms"), Some("timeouts.pong_ms"));
    }

    #[test]
    fn the_same_name_in_the_same_table_comes_first() {
        assert_eq!(closest("route.message_bytes_mx"), Some("route.message_bytes_max"));
        assert_eq!(closest("limits.message_bytes_mx"), Some("limits.message_bytes_max"));
    }

    #[test]
    fn every_key_is_found_with_its_last_letter_missing() {
        for key in keys() {
            let unknown = &key.name[..key.name.len() - 1];
            if keys().any(|own| own.name == unknown) {
                // `route.host` is no misspelled `route.hosts`.
                continue;
            }
            assert_eq!(closest(unknown), Some(key.name), "{unknown}");
        }
    }

    #[test]
    fn nothing_close_lists_what_there_is() {
        assert_eq!(
            hint("listener.xyzzy"),
            "; [[listener]] takes address, kind, route, hosts, redirect, redirect_port, tls, client_certificates, client_ca, \
             proxy_protocol"
        );
        assert_eq!(
            hint("xyzzy"),
            "; the file takes loops, pin_loops, trusted_proxies, forwarded_header, share_port, [[listener]], [[certificate]], [acme], [tls], [admin], \
             [api], [webhooks], [log], [limits], [addresses], [overload], [timeouts], [turn], [socket], [[route]], [[identity]], [[upstream]], [channels], [engine]"
        );
        assert!(hint(&"x".repeat(100_000)).starts_with("; the file takes"));
    }
}
