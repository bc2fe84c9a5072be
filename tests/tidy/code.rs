//! Rust source as tokens, without comments, without what stands in strings, and without tests.

/// An identifier, a number, `::`, or one other character. A literal with quotes is the token `"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) text: String,
    /// Counted from 1.
    pub(crate) line: usize,
}

impl Token {
    pub(crate) fn is(&self, text: &str) -> bool {
        self.text == text
    }

    pub(crate) fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

/// The tokens of `source`, tests included.
pub(crate) fn tokens(source: &str) -> Vec<Token> {
    let mut rest = source;
    let mut line = 1;
    let mut found = Vec::new();
    while let Some(first) = rest.chars().next() {
        let (length, text) = if first.is_whitespace() {
            (first.len_utf8(), "")
        } else if let Some(length) = comment(rest) {
            (length, "")
        } else if let Some(length) = literal(rest) {
            (length, "\"")
        } else {
            let length = word(rest);
            (length, &rest[..length])
        };
        if !text.is_empty() {
            found.push(Token { text: text.to_owned(), line });
        }
        line += rest[..length].matches('\n').count();
        rest = &rest[length..];
    }
    found
}

/// The tokens of `source` without the items that only tests are built with.
pub(crate) fn tokens_without_tests(source: &str) -> Vec<Token> {
    let all = tokens(source);
    let mut kept = Vec::with_capacity(all.len());
    let mut at = 0;
    while at < all.len() {
        if is_test_attribute(&all[at..]) {
            at += item(&all[at..]);
        } else {
            kept.push(all[at].clone());
            at += 1;
        }
    }
    kept
}

/// Whether the tokens begin as a list of texts does.
pub(crate) fn begins(tokens: &[Token], texts: &[&str]) -> bool {
    tokens.len() >= texts.len() && tokens.iter().zip(texts).all(|(token, text)| token.is(text))
}

/// The position behind the bracket that closes the one at `open`.
pub(crate) fn behind_bracket(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + 1;
        }
    }
    tokens.len()
}

fn is_test_attribute(tokens: &[Token]) -> bool {
    begins(tokens, &["#", "[", "cfg", "(", "test", ")"])
        || begins(tokens, &["#", "[", "cfg", "(", "all", "(", "test"])
}

/// The length of an item with its attributes: to its `;` or the end of its first braces.
fn item(tokens: &[Token]) -> usize {
    let mut at = 0;
    while at < tokens.len() {
        match tokens[at].text.as_str() {
            ";" => return at + 1,
            "{" => return behind_bracket(tokens, at),
            "(" | "[" => at = behind_bracket(tokens, at),
            _ => at += 1,
        }
    }
    at
}

/// The length of the comment at the beginning.
fn comment(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    rest.starts_with("/*").then(|| rest.find("*/").map_or(rest.len(), |end| end + 2))
}

/// The length of the string, character or lifetime at the beginning.
fn literal(rest: &str) -> Option<usize> {
    let after = rest.trim_start_matches(['b', 'c', 'r']);
    let prefix = &rest[..rest.len() - after.len()];
    let is_raw = prefix.contains('r');
    let quoted = after.trim_start_matches('#');
    let hashes = &after[..after.len() - quoted.len()];
    if prefix.len() > 2 || (!is_raw && !hashes.is_empty()) {
        return None;
    }
    let begin = prefix.len() + hashes.len();
    if is_raw && quoted.starts_with('"') {
        let end = quoted[1..].find(&format!("\"{hashes}"))?;
        return Some(begin + 1 + end + 1 + hashes.len());
    }
    if !is_raw && quoted.starts_with('"') {
        return Some(begin + escaped(quoted, '"'));
    }
    (!is_raw && quoted.starts_with('\'')).then(|| begin + character(quoted))
}

/// The length of a literal between two `quote`s, with escapes.
fn escaped(rest: &str, quote: char) -> usize {
    let mut is_escape = false;
    for (at, character) in rest.char_indices().skip(1) {
        if !is_escape && character == quote {
            return at + 1;
        }
        is_escape = !is_escape && character == '\\';
    }
    rest.len()
}

/// The length of a character literal, or of a lifetime.
fn character(rest: &str) -> usize {
    let mut characters = rest.char_indices().skip(1);
    let first = characters.next().map_or(' ', |(_, first)| first);
    let is_character = first == '\\' || characters.next().is_some_and(|(_, next)| next == '\'');
    if is_character { escaped(rest, '\'') } else { 1 + word(&rest[1..]) }
}

/// The length of an identifier, a number, `::` or one character.
fn word(rest: &str) -> usize {
    let is_part = |character: char| character.is_alphanumeric() || character == '_';
    let length = rest.find(|character| !is_part(character)).unwrap_or(rest.len());
    if length > 0 {
        length
    } else if rest.starts_with("::") {
        2
    } else {
        rest.chars().next().map_or(0, char::len_utf8)
    }
}

#[test]
fn comments_strings_and_tests_are_no_code() {
    let source = concat!(
        "//! a::b\nuse x::y; // c::d\n/* e::f */ let s = \"g::\\\"h\"; r#\"i \" j\"#;\n",
        "fn k<'l>(_: &'l str) { '\\''; b'm'; 'n' }\n",
        "#[cfg(test)]\nmod tests {\n    use o::p;\n}\n#[cfg(test)]\nmod q;\nstruct R;\n"
    );
    let texts: Vec<String> =
        tokens_without_tests(source).into_iter().map(|token| token.text).collect();
    assert_eq!(
        texts.join(" "),
        "use x :: y ; let s = \" ; \" ; fn k < \" > ( _ : & \" str ) { \" ; \" ; \" } struct R ;"
    );
}
