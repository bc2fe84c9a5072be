//! Where in a file a value stands: on which line is `route[1].origins`?

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::error::position;

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

#[cfg(test)]
mod tests {
    use super::*;

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
