//! A line as named fields: `key=value` pairs, or a JSON object.
//!
//! Both quote text in the same way, by the escapes of a JSON string (RFC 8259 §7), so that any text comes
//! back as it was. What a terminal would act on is escaped as well, though JSON allows it.

use crate::visible::is_unsafe;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldValue<'v> {
    /// A number.
    Number(u64),
    /// Text, which may hold anything.
    Text(&'v str),
}

/// A name and its value. A name is a word of letters, digits and `_`.
pub(super) type Field<'f> = (&'static str, FieldValue<'f>);

/// Appends the fields as `key=value` pairs with a line break at the end. A value is quoted if it is empty
/// or holds anything that would end it or look like another pair.
pub(super) fn push_key_value<'f>(fields: impl Iterator<Item = Field<'f>>, line: &mut Vec<u8>) {
    let begin = line.len();
    for (name, value) in fields {
        if line.len() > begin {
            line.push(b' ');
        }
        line.extend_from_slice(name.as_bytes());
        line.push(b'=');
        match value {
            FieldValue::Number(number) => line.extend_from_slice(number.to_string().as_bytes()),
            FieldValue::Text(text) if is_bare(text) => line.extend_from_slice(text.as_bytes()),
            FieldValue::Text(text) => push_quoted(text, line),
        }
    }
    line.push(b'\n');
}

/// Appends the fields as a JSON object with a line break at the end.
pub(super) fn push_json<'f>(fields: impl Iterator<Item = Field<'f>>, line: &mut Vec<u8>) {
    let mut separator = b'{';
    for (name, value) in fields {
        line.push(separator);
        separator = b',';
        push_quoted(name, line);
        line.push(b':');
        match value {
            FieldValue::Number(number) => line.extend_from_slice(number.to_string().as_bytes()),
            FieldValue::Text(text) => push_quoted(text, line),
        }
    }
    line.extend_from_slice(b"}\n");
}

/// Whether a value can stand without quotes.
fn is_bare(text: &str) -> bool {
    let is_plain = |character: char| {
        !matches!(character, '"' | '=' | '\\')
            && !character.is_whitespace()
            && !is_unsafe(character)
    };
    !text.is_empty() && text.chars().all(is_plain)
}

/// Appends text as a JSON string.
pub(super) fn push_quoted(text: &str, line: &mut Vec<u8>) {
    line.push(b'"');
    for character in text.chars() {
        match character {
            '"' => line.extend_from_slice(b"\\\""),
            '\\' => line.extend_from_slice(b"\\\\"),
            '\n' => line.extend_from_slice(b"\\n"),
            '\r' => line.extend_from_slice(b"\\r"),
            '\t' => line.extend_from_slice(b"\\t"),
            // All of them are in the basic plane, so four digits do.
            _ if is_unsafe(character) => {
                line.extend_from_slice(format!("\\u{:04x}", u32::from(character)).as_bytes());
            }
            _ => line.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    line.push(b'"');
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    /// Text with what needs escapes more often than chance would have it.
    pub(in crate::logging) fn any_text() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<String>(),
            "(\\PC|[\"\\\\= \t\r\n]|\u{1b}|\u{7f}|\u{9b}|\u{2028}|\u{202e}|é|漢|👩){0,20}",
            "[a-z0-9./:-]{0,12}",
        ]
    }

    /// What a line of `key=value` pairs holds, read by a parser of its own. `None` if it is no such line.
    pub(in crate::logging) fn parse_key_value(line: &str) -> Option<Vec<(String, String)>> {
        let mut rest = line.strip_suffix('\n')?;
        let mut pairs = Vec::new();
        while !rest.is_empty() {
            let (name, behind) = rest.split_once('=')?;
            let (value, behind) = if behind.starts_with('"') {
                let mut stream = serde_json::Deserializer::from_str(behind).into_iter::<String>();
                let value = stream.next()?.ok()?;
                (value, &behind[stream.byte_offset()..])
            } else {
                let end = behind.find(' ').unwrap_or(behind.len());
                (behind[..end].to_owned(), &behind[end..])
            };
            pairs.push((name.to_owned(), value));
            rest = match behind.strip_prefix(' ') {
                Some("") => return None,
                Some(next) => next,
                None if behind.is_empty() => "",
                None => return None,
            };
        }
        Some(pairs)
    }

    fn fields<'f>(texts: &'f [String], number: u64) -> impl Iterator<Item = Field<'f>> + Clone {
        const NAMES: [&str; 4] = ["a", "b_c", "d", "e"];
        let texts = NAMES.into_iter().zip(texts.iter().map(|text| FieldValue::Text(text)));
        texts.chain([("number", FieldValue::Number(number))])
    }

    proptest! {
        #[test]
        fn json_is_one_line_and_parses_back(
            texts in prop::collection::vec(any_text(), 0..4),
            number: u64,
        ) {
            let mut line = Vec::new();
            push_json(fields(&texts, number), &mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert!(line.ends_with('\n') && !line.trim_end_matches('\n').contains(is_unsafe));
            let parsed: Map<String, Value> = serde_json::from_str(&line).unwrap();
            prop_assert_eq!(parsed.len(), texts.len() + 1);
            for (name, value) in fields(&texts, number) {
                match value {
                    FieldValue::Number(number) => prop_assert_eq!(parsed[name].as_u64(), Some(number)),
                    FieldValue::Text(text) => prop_assert_eq!(parsed[name].as_str(), Some(text)),
                }
            }
        }

        #[test]
        fn key_value_is_one_line_and_parses_back(
            texts in prop::collection::vec(any_text(), 0..4),
            number: u64,
        ) {
            let mut line = Vec::new();
            push_key_value(fields(&texts, number), &mut line);
            let line = String::from_utf8(line).unwrap();
            prop_assert!(!line.trim_end_matches('\n').contains(is_unsafe));
            let expected: Vec<(String, String)> = fields(&texts, number)
                .map(|(name, value)| match value {
                    FieldValue::Number(number) => (name.to_owned(), number.to_string()),
                    FieldValue::Text(text) => (name.to_owned(), text.to_owned()),
                })
                .collect();
            prop_assert_eq!(parse_key_value(&line), Some(expected));
        }
    }

    #[test]
    fn only_values_that_need_quotes_have_them() {
        let pairs = [
            ("plain", FieldValue::Text("0.5.1")),
            ("spaced", FieldValue::Text("a b")),
            ("empty", FieldValue::Text("")),
            ("quoted", FieldValue::Text("say \"no\"\n")),
            ("count", FieldValue::Number(7)),
        ];
        let mut line = Vec::new();
        push_key_value(pairs.into_iter(), &mut line);
        let expected =
            "plain=0.5.1 spaced=\"a b\" empty=\"\" quoted=\"say \\\"no\\\"\\n\" count=7\n";
        assert_eq!(String::from_utf8(line).unwrap(), expected);
    }
}
