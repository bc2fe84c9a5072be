//! Identities, and the routes that take them.

use super::{located, refused};
use crate::config::{Config, IdentityKind};

/// An identity of kind `tokens` with these tokens, each a name and a value as they are written.
fn tokens(name: &str, tokens: &[(&str, &str)]) -> String {
    let tokens: Vec<String> = tokens
        .iter()
        .map(|(name, token)| format!("{{ name = {name}, token = {token} }}"))
        .collect();
    let tokens = tokens.join(", ");
    format!("[[identity]]\nname = \"{name}\"\nkind = \"tokens\"\ntokens = [{tokens}]\n")
}

/// An identity of kind `redis` with these further keys.
fn redis(name: &str, keys: &str) -> String {
    format!("[[identity]]\nname = \"{name}\"\nkind = \"redis\"\n{keys}\n")
}

/// A room that asks for tokens, with these further keys.
fn room(keys: &str) -> String {
    let path = "path = \"/:name/:token\"";
    format!("[[route]]\n{path}\nservice = \"room\"\nname = \"token\"\n{keys}\n")
}

#[test]
fn identities_are_held_to_their_rules() {
    let name = "must be 1 to 64 bytes of text that can be seen, without white space around it";
    let text = "must be text of 1 to 256 bytes without control characters";
    let url = "must be redis://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH";
    let tls = "must not be rediss://: connections to Redis are made without TLS";
    refused(&[
        ("[[identity]]\nkind = \"tokens\"", &format!("identity[0].name: is required, and {name}")),
        (
            "[[identity]]\nname = \"a\"",
            "identity[0].kind: is required, and must be one of \"redis\", \"tokens\"",
        ),
        (
            "[[identity]]\nname = \"a\"\nkind = \"jwt\"",
            "identity[0].kind = \"jwt\": must be one of \"redis\", \"tokens\"",
        ),
        (
            &(tokens("a", &[]) + &redis("a", "")),
            "identity[1].name = \"a\": must not be the name of two identities",
        ),
        (
            "[[identity]]\nname = \"a\"\nkind = \"tokens\"\ntokens = [{ name = \"b\" }]",
            &format!("identity[0].tokens[0].token: is required, and {text}"),
        ),
        (&tokens("a", &[("\"\"", "\"b\"")]), &format!("identity[0].tokens[0].name = \"\": {name}")),
        (
            &tokens("a", &[("\"a\"", "\"\"")]),
            &format!("identity[0].tokens[0].token = \"***\": {text}"),
        ),
        (
            &tokens("a", &[("\"a\"", "\"b\""), ("\"a\"", "\"c\"")]),
            "identity[0].tokens[1].name = \"a\": must not be the name of two tokens",
        ),
        (&redis("a", "url = \"rediss://h\""), &format!("identity[0].url = \"rediss://h\": {tls}")),
        (&redis("a", "url = \"host:6379\""), &format!("identity[0].url = \"host:6379\": {url}")),
        (
            &(redis("a", "lookup_ms = 5000") + &room("identity = [\"a\"]")),
            "identity[0].lookup_ms = 5000: must be below timeouts.handshake_ms (5000)",
        ),
    ]);
    // An identity that no route takes may be anything.
    Config::from_toml(&redis("a", "lookup_ms = 5000"), "tidegate.toml").unwrap();
}

#[test]
fn a_kind_takes_no_keys_of_another() {
    refused(&[
        (
            &tokens("a", &[]).replace("tokens = []", "url = \"redis://h\""),
            "identity[0].url = \"redis://h\": must be left out where the kind is \"tokens\"",
        ),
        (
            &tokens("a", &[]).replace("tokens = []", "url_file = \"url\""),
            "identity[0].url_file = \"url\": must be left out where the kind is \"tokens\"",
        ),
        (
            &redis("a", "tokens = [{ name = \"b\", token = \"c\" }]"),
            "identity[0].tokens = \"***\": must be left out where the kind is \"redis\"",
        ),
        (
            &redis("a", "lookups = 3"),
            "identity[0].lookups = \"***\": unknown key, did you mean identity.lookups_max?",
        ),
    ]);
}

#[test]
fn a_route_names_one_identity_that_exists() {
    let both = tokens("a", &[]) + &redis("b", "");
    refused(&[
        (
            &room("identity = [\"a\"]"),
            "route[0].identity[0] = \"a\": \
             must be the name of an [[identity]], of which there is none",
        ),
        (
            &(both.clone() + &room("identity = [\"c\"]")),
            "route[0].identity[0] = \"c\": must be the name of an [[identity]]: [\"a\", \"b\"]",
        ),
        (
            &(both.clone() + &room("identity = [\"a\", \"b\"]")),
            "route[0].identity = [\"a\", \"b\"]: must name exactly one [[identity]] so far, \
             of kind \"redis\" or \"tokens\"",
        ),
        (
            &(both.clone() + &room("identity = []")),
            "route[0].identity = []: must name exactly one [[identity]] so far, \
             of kind \"redis\" or \"tokens\"",
        ),
        (
            &(both.clone() + &room("identity = [\"a\", \"a\"]")),
            "route[0].identity[1] = \"a\": must not be listed twice",
        ),
        (
            &(both.clone() + &room("identity = \"a\"")),
            "route[0].identity = \"a\": must be a list of names of [[identity]] tables",
        ),
    ]);
    for name in ["a", "b"] {
        let text = both.clone() + &room(&format!("identity = [\"{name}\"]"));
        Config::from_toml(&text, "tidegate.toml").unwrap();
    }
}

#[test]
fn tokens_may_be_written_as_tables_too() {
    let text = "[[identity]]\nname = \"a\"\nkind = \"tokens\"\n\
                [[identity.tokens]]\nname = \"bob\"\ntoken = \"s3cret\"\n";
    let config = Config::from_toml(text, "tidegate.toml").unwrap();
    let inline = tokens("a", &[("\"bob\"", "\"s3cret\"")]);
    assert_eq!(Config::from_toml(&inline, "tidegate.toml"), Ok(config.clone()));
    let IdentityKind::Tokens(tokens) = &config.identities[0].kind else { panic!("{config:?}") };
    assert_eq!((tokens[0].name.as_str(), tokens[0].token.expose()), ("bob", "s3cret"));
}

#[test]
fn a_renamed_key_is_refused_with_its_new_name() {
    for (text, line) in [
        (
            "loops = 1\n[[token]]\nname = \"a\"\ntoken = \"5318008\"",
            "tidegate.toml:2: token: renamed, write [[identity]] with kind = \"tokens\" and \
             tokens = [{ name = ..., token = ... }]",
        ),
        (
            "[redis]\nurl = \"redis://:5318008@host\"",
            "tidegate.toml:1: redis: renamed, write [[identity]] with kind = \"redis\"",
        ),
        (
            &room("tokens = \"redis\""),
            "tidegate.toml:5: route[0].tokens: renamed, write route.identity = [...], \
             the names of [[identity]] tables",
        ),
    ] {
        assert_eq!(located(text), line);
    }
}
