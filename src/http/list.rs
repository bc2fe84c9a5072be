//! Comma-separated lists, which may be spread over several header lines (RFC 9110 §5.6.1).

use super::grammar::{is_token_byte, trim_whitespace};

/// The elements of a list header: `values` are the values of all its lines, in order, as
/// [`RequestHead::header_values`](super::RequestHead::header_values) gives them.
///
/// Lines of the same name form one list (RFC 9110 §5.3). Empty elements are ignored (RFC 9110
/// §5.6.1.2). Every comma ends an element, also inside quotes, which lists of tokens do not have;
/// for other lists there is [`quoted_list_elements`].
pub fn list_elements<'b>(values: impl Iterator<Item = &'b [u8]>) -> impl Iterator<Item = &'b [u8]> {
    values
        .flat_map(|value| value.split(|&byte| byte == b','))
        .map(trim_whitespace)
        .filter(|element| !element.is_empty())
}

/// As [`list_elements`], for lists whose elements may hold quoted strings: a comma inside quotes
/// ends no element. A backslash escapes nothing, as in entity tags (RFC 9110 §8.8.3).
pub fn quoted_list_elements<'b>(
    values: impl Iterator<Item = &'b [u8]>,
) -> impl Iterator<Item = &'b [u8]> {
    let elements = values.flat_map(|value| {
        let mut is_quoted = false;
        value.split(move |&byte| {
            is_quoted ^= byte == b'"';
            byte == b',' && !is_quoted
        })
    });
    elements.map(trim_whitespace).filter(|element| !element.is_empty())
}

/// As [`has_token`]; `None` if the list holds something that is neither a token nor a protocol with
/// its version such as `other/1.0` (RFC 9110 §7.6.1, §7.8).
pub(super) fn find_token<'b>(values: impl Iterator<Item = &'b [u8]>, token: &[u8]) -> Option<bool> {
    let mut is_found = false;
    for element in list_elements(values) {
        if element.eq_ignore_ascii_case(token) {
            is_found = true;
        } else if !element.iter().all(|&byte| is_token_byte(byte) || byte == b'/') {
            return None;
        }
    }
    Some(is_found)
}

/// Whether `token` is an element of the list, in any letter case.
pub fn has_token<'b>(values: impl Iterator<Item = &'b [u8]>, token: &[u8]) -> bool {
    list_elements(values).any(|element| element.eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn elements<'b>(lines: &[&'b str]) -> Vec<&'b str> {
        list_elements(lines.iter().map(|line| line.as_bytes()))
            .map(|element| str::from_utf8(element).unwrap())
            .collect()
    }

    #[test]
    fn empty_elements_count_for_nothing_rfc_9110_section_5_6_1_2() {
        assert_eq!(elements(&["foo ,bar,"]), ["foo", "bar"]);
        assert_eq!(elements(&["foo , ,bar,charlie"]), ["foo", "bar", "charlie"]);
        assert_eq!(elements(&["", ",", ",   ,", "\t"]), [""; 0]);
        assert_eq!(elements(&[]), [""; 0]);
    }

    #[test]
    fn lines_join_rfc_9110_section_5_3() {
        assert_eq!(elements(&["keep-alive", "Upgrade, foo"]), ["keep-alive", "Upgrade", "foo"]);
    }

    #[test]
    fn tokens_are_whole_elements_in_any_case() {
        let has_upgrade = |line: &str| has_token([line.as_bytes()].into_iter(), b"upgrade");
        assert!(has_upgrade("upgrade"));
        assert!(has_upgrade("keep-alive,\tUPGRADE ,"));
        for line in ["", "up", "upgraded", "not upgrade", "\"upgrade\"", "upgrade;q=1", "upgrade/1"]
        {
            assert!(!has_upgrade(line), "{line}");
        }
    }

    #[test]
    fn commas_inside_quotes_end_no_element() {
        let elements = |lines: &[&'static str]| -> Vec<&str> {
            quoted_list_elements(lines.iter().map(|line| line.as_bytes()))
                .map(|element| str::from_utf8(element).unwrap())
                .collect()
        };
        assert_eq!(elements(&["\"a,*,b\" , W/\"c\",,", "*"]), ["\"a,*,b\"", "W/\"c\"", "*"]);
        assert_eq!(elements(&["\"a\\\", b"]), ["\"a\\\"", "b"]);
        assert_eq!(elements(&["\"a, b", "c"]), ["\"a, b", "c"]);
    }

    #[test]
    fn a_token_is_found_only_among_tokens() {
        let find = |line: &str| find_token([line.as_bytes()].into_iter(), b"upgrade");
        for line in ["Upgrade", "keep-alive, Upgrade", ",UPGRADE,h2c, other/1.0"] {
            assert_eq!(find(line), Some(true), "{line}");
        }
        for line in ["", ",", "keep-alive", "upgrade/1"] {
            assert_eq!(find(line), Some(false), "{line}");
        }
        for line in ["\"a, Upgrade, b\"", "a b, Upgrade", "Upgrade, a;q=1", "a=", "\u{e9}"] {
            assert_eq!(find(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn cutting_a_list_into_lines_changes_nothing(
            tokens in prop::collection::vec("[a-z!]{1,5}", 0..8),
            separator in "[ \t]{0,2},[ \t,]{0,3}",
            cut in 0_usize..8,
        ) {
            let cut = cut.min(tokens.len());
            let lines = [tokens[..cut].join(&separator), tokens[cut..].join(&separator)];
            prop_assert_eq!(elements(&[&lines[0], &lines[1]]), tokens);
        }
    }
}
