//! Where in a file a value stands: the line of `route[1].origins`, the column of an offset.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The line, counted from 1, of the value with this name and its array positions; if the file does
/// not hold it, that of the innermost table around it. `None` if the file holds neither, or the
/// text is not TOML.
pub(super) fn line_of(text: &str, key: &str) -> Option<usize> {
    let file = DeTable::parse(text).ok()?;
    let mut found = None;
    let mut table = Some(file.get_ref());
    for step in key.split('.') {
        let (name, indices) = step.split_once('[').unwrap_or((step, ""));
        let Some((key, value)) = table.and_then(|table| table.get_key_value(name)) else { break };
        let mut value: &Spanned<DeValue<'_>> = value;
        found = Some(key.span().start);
        for index in indices.split(['[', ']']).filter_map(|index| index.parse::<usize>().ok()) {
            let Some(item) = value.get_ref().as_array().and_then(|items| items.get(index)) else {
                break;
            };
            value = item;
            found = Some(item.span().start);
        }
        table = value.get_ref().as_table();
    }
    found.map(|offset| position(text, offset).0)
}

/// Line and column, counted from 1, of a byte offset.
pub(super) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    let line = before.matches('\n').count() + 1;
    (line, before[line_start..].chars().count() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_count_lines_and_characters_from_one() {
        assert_eq!(position("", 0), (1, 1));
        assert_eq!(position("ab\ncd", 3), (2, 1));
        assert_eq!(position("ab\nöd", 5), (2, 2));
        assert_eq!(position("ab\n", 99), (2, 1));
    }

    #[test]
    fn the_line_of_a_value_is_found() {
        let text = "loops = 1\n\n[limits]\nhead_bytes_max = 1\n\n[[route]]\npath = \"/a\"\n\
                    [[route]]\naliases = [\n  \"/b\",\n  \"/c\",\n]\n\
                    [[identity]]\nname = \"a\"\ntokens = [\n  { name = \"b\" },\n]\n";
        for (key, line) in [
            ("loops", Some(1)),
            ("pin_loops", None),
            ("limits", Some(3)),
            ("limits.head_bytes_max", Some(4)),
            ("limits.message_bytes_max", Some(3)),
            ("turn.reads_per_turn", None),
            ("route[0].path", Some(7)),
            ("route[1].path", Some(8)),
            ("route[1].aliases", Some(9)),
            ("route[1].aliases[1]", Some(11)),
            ("route[2].path", Some(6)),
            ("identity[0].tokens[0].name", Some(16)),
            ("identity[0].tokens[0].token", Some(16)),
        ] {
            assert_eq!(line_of(text, key), line, "{key}");
        }
        assert_eq!(line_of("loops =", "loops"), None);
    }
}
