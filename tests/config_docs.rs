//! Holds `docs/configuration.md` against the code: every key with its default, range and meaning,
//! every TOML block, every message.

use std::collections::BTreeMap;

use tidegate::config::{Config, KEYS, Rule};

const PAGE: &str = include_str!("../docs/configuration.md");

/// The cells of every table row that documents a key, by the name of the key.
fn documented() -> BTreeMap<&'static str, Vec<&'static str>> {
    let (_, keys) = PAGE.split_once("\n## Keys\n").unwrap_or_default();
    keys.lines()
        .filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "))
        .map(|(name, cells)| (name, cells.split(" | ").collect()))
        .collect()
}

/// The blocks that open with this fence.
fn blocks(fence: &'static str) -> impl Iterator<Item = &'static str> {
    let opened = PAGE.split(fence).skip(1);
    opened.filter_map(|rest| rest.split_once("```")).map(|(block, _)| block)
}

#[test]
fn the_documented_keys_are_the_keys() {
    let mut documented: Vec<&str> = documented().into_keys().collect();
    let mut known: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    documented.sort_unstable();
    known.sort_unstable();
    assert_eq!(documented, known);
}

#[test]
fn each_key_is_documented_as_it_is() {
    let documented = documented();
    for key in KEYS {
        let [default, accepted, meaning, reached] = documented[key.name][..] else {
            panic!("{}: a row has five cells", key.name)
        };
        assert_eq!(default.trim_matches('`'), key.default, "{}", key.name);
        assert_eq!(meaning, key.doc, "{}", key.name);
        assert!(!reached.is_empty(), "{}", key.name);
        match key.rule {
            Rule::Integer { min, max } => {
                assert_eq!(accepted, format!("{min} to {max}"), "{}", key.name);
            }
            Rule::Boolean => assert_eq!(accepted, "`true`, `false`", "{}", key.name),
            Rule::OneOf(words) => {
                assert_eq!(accepted, format!("`{}`", words.join("`, `")), "{}", key.name);
            }
            Rule::Text { bytes_min, bytes_max } => {
                let expected = format!("text of {bytes_min} to {bytes_max} bytes");
                assert_eq!(accepted, expected, "{}", key.name);
            }
            Rule::Address
            | Rule::Line
            | Rule::Name
            | Rule::Origins
            | Rule::Path
            | Rule::Paths
            | Rule::RedisUrl
            | Rule::Tokens => {
                assert!(!accepted.is_empty(), "{}", key.name);
            }
        }
    }
}

#[test]
fn every_key_the_text_mentions_exists() {
    for word in PAGE.split('`') {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_';
        let Some((section, leaf)) = word.split_once('.') else { continue };
        let sections =
            ["limits", "listener", "redis", "route", "socket", "timeouts", "token", "turn"];
        if sections.contains(&section) && leaf.chars().all(is_name) {
            assert!(KEYS.iter().any(|key| key.name == word), "{word} does not exist");
        }
    }
}

#[test]
fn every_toml_block_is_a_configuration() {
    assert!(blocks("```toml\n").count() > 0);
    for block in blocks("```toml\n") {
        Config::from_toml(block, "docs/configuration.md").unwrap();
    }
}

#[test]
fn the_default_routes_are_the_default_routes() {
    let block = blocks("```toml\n").last().unwrap();
    let documented = Config::from_toml(block, "docs/configuration.md").unwrap();
    assert_eq!(documented, Config::default());
}

/// The messages shown to readers are those of the program.
#[test]
fn the_messages_shown_are_real() {
    let shown: Vec<&str> = blocks("```text\n").next().unwrap().lines().collect();
    let route = "[[route]]\npath = \"/echo\"\nservice = \"echo\"\n";
    for (text, line) in [
        ("[limits]\nmessage_bytes_max = 0", shown[0]),
        ("[limits]\nmesage_bytes_max = 4096", shown[1]),
        (&format!("{route}{route}"), shown[2]),
        ("\n\n\n\n\n[limits]\nhead_bytes_max = 8 KiB\n", shown[3]),
        ("[[listener]]\naddress = \"[::]:1\"\nkind = \"line\"\nroute = \"/none\"", shown[6]),
        ("[[route]]\npath = \"/:name\"\nservice = \"room\"\nname = \"token\"", shown[7]),
        (&format!("{route}logins = \"one\""), shown[8]),
    ] {
        let error = Config::from_toml(text, "tidegate.toml").unwrap_err();
        assert_eq!(error.to_string(), line);
    }
}
