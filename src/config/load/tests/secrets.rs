//! Secrets: how they are given, and that no message holds them.

use std::fs;

use super::{refusal, refused};
use crate::config::{Config, IdentityKind, arbitrary};

fn token(keys: &str) -> String {
    format!(
        "[[identity]]\nname = \"a\"\nkind = \"tokens\"\n\
         [[identity.tokens]]\nname = \"bob\"\n{keys}\n"
    )
}

fn redis(keys: &str) -> String {
    format!("[[identity]]\nname = \"a\"\nkind = \"redis\"\n{keys}\n")
}

/// The secrets of a file of this name, and what `--check` prints of it.
fn loaded(text: &str, file_name: &str) -> (Vec<String>, String) {
    let around = arbitrary::surroundings(file_name);
    let config = Config::from_toml_in(text, file_name, &around).unwrap();
    let secrets = config.identities.iter().flat_map(|identity| match &identity.kind {
        IdentityKind::Redis(_, redis) => vec![redis.url.expose().to_owned()],
        IdentityKind::Callback(own, _) => vec![own.callback_url.expose().to_owned()],
        IdentityKind::Jwt(own, _, keys) => {
            let secrets = keys.iter().flat_map(|own| &own.secret);
            let secrets = secrets.map(|own| own.expose().to_owned());
            secrets.chain(own.jwks_url.iter().map(|own| own.expose().to_owned())).collect()
        }
        IdentityKind::Certificate(_)
        | IdentityKind::Cookie(_)
        | IdentityKind::Header(_)
        | IdentityKind::Query(_) => Vec::new(),
        IdentityKind::Tokens(_, tokens) => {
            tokens.iter().map(|own| own.token.expose().to_owned()).collect()
        }
    });
    let secrets = secrets.collect();
    let printed = config.tables().iter().map(ToString::to_string).collect();
    (secrets, printed)
}

#[test]
fn a_secret_is_given_by_itself_by_file_or_by_variable() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("bob"), "s3cret\n").unwrap();
    fs::write(folder.path().join("dos"), "s3cret\r\n").unwrap();
    fs::write(folder.path().join("url"), "redis://:s3cret@host").unwrap();
    let file_name = folder.path().join("tidegate.toml").display().to_string();
    let absolute = format!("token_file = \"{}\"", folder.path().join("bob").display());
    let url = format!("redis://user:{}@host", arbitrary::SECRET);
    for (text, secret, printed) in [
        (token("token = \"s3cret\""), "s3cret", "\ntoken = \"***\"\n"),
        (token("token_file = \"bob\""), "s3cret", "\ntoken_file = \"bob\"\n"),
        (token("token_file = \"dos\""), "s3cret", "\ntoken_file = \"dos\"\n"),
        (token(&absolute), "s3cret", &format!("\n{absolute}\n")),
        (token("token = \"${SECRET}\""), arbitrary::SECRET, "\ntoken = \"${SECRET}\"\n"),
        (token("token = \"$SECRET\""), "$SECRET", "\ntoken = \"***\"\n"),
        (redis("url_file = \"url\""), "redis://:s3cret@host", "\nurl_file = \"url\"\n"),
        (redis("url = \"${URL}\""), &url, "\nurl = \"${URL}\"\n"),
    ] {
        let (secrets, text) = loaded(&text, &file_name);
        assert_eq!(secrets, [secret]);
        assert!(text.contains(printed) && !text.contains("s3cret"), "{text}");
    }
}

#[test]
fn a_secret_that_does_not_exist_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (long, empty) = (file("long", &"x".repeat(65_537)), file("empty", "\n"));
    let text = "must be text of 1 to 256 bytes without control characters";
    let readable = "must be the path of a file that can be read";
    let place = "identity[0].tokens[0]";
    refused(&[
        (
            &token("token = \"a\"\ntoken_file = \"b\""),
            &format!("{place}.token_file = \"b\": must be left out where token is given"),
        ),
        (
            &token("token_file = \"none\""),
            &format!(
                "{place}.token_file = \"none\": {readable}: No such file or directory (os error 2)"
            ),
        ),
        (&token("token_file = 1"), &format!("{place}.token_file = 1: {readable}")),
        (
            &token(&format!("token_file = \"{long}\"")),
            &format!(
                "{place}.token_file = \"{}\": {readable}: it is longer than 65536 bytes",
                long
            ),
        ),
        (
            &token(&format!("token_file = \"{empty}\"")),
            &format!("{place}.token_file = \"{}\": {text}", empty),
        ),
        (
            &token("token = \"${TIDEGATE_NO_SUCH_VARIABLE}\""),
            &format!(
                "{place}.token = \"${{TIDEGATE_NO_SUCH_VARIABLE}}\": \
                 must name an environment variable that is set"
            ),
        ),
        (
            &redis("url = \"redis://${HOST}/\""),
            "identity[0].url = \"redis://${HOST}/\": must be \"${NAME}\" and nothing else where \
             it names an environment variable",
        ),
        (
            &redis("token_prefix_file = \"a\""),
            "identity[0].token_prefix_file = \"***\": unknown key, \
             did you mean identity.token_prefix?",
        ),
    ]);
}

/// Whatever is wrong with them, tokens and passwords get into no message.
#[test]
fn secrets_stay_out_of_messages() {
    for text in [
        &token("token = 5318008"),
        &token("token = x5318008"),
        &token("token = \"5318008"),
        &token("token = 53180085318008531800853180085318008"),
        &token("token = \"5318008\\n\""),
        &token("token = \"a${5318008}\""),
        &token("tokne = \"5318008\""),
        &token("token = { value = \"5318008\" }"),
        "[[identity]]\nname = \"a\"\nkind = \"tokens\"\ntokens = [\"5318008\"]",
        "[[identity]]\nname = \"a\"\nkind = \"tokens\"\ntokens = { a = \"5318008\" }",
        "[[identity]]\nname = \"a\"\nkind = \"tokens\"\ntoken = \"5318008\"",
        "identity = [{ name = \"a\", token = \"5318008\" }, 1]",
        "identity = \"redis://u:5318008@host\"",
        "[[identities]]\nname = \"a\"\ntoken = \"5318008\"",
        "[[token]]\nname = \"a\"\ntoken = 5318008",
        "[[tokens]]\nname = \"a\"\ntoken = \"5318008\"",
        "[token]\nname = \"a\"\ntoken = \"5318008\"",
        "token = \"5318008\"",
        "token = [{ name = \"a\", token = \"5318008\" }, 1]",
        "[[route]]\npath = \"/\"\nservice = \"room\"\ntoken = \"5318008\"",
        &redis("url = \"http://:5318008@host\""),
        &redis("url = \"redis://u:5318008@host:port\""),
        &redis("url = \"u:5318008@host\""),
        &redis("url = [\"redis://u:5318008@host\"]"),
        &redis("password = \"5318008\""),
        "[[redis]]\nurl = \"redis://u:5318008@host\"",
        "[redis]\npassword = \"5318008\"",
        "redis = \"redis://u:5318008@host\"",
        "redis_url = \"redis://u:5318008@host\"",
    ] {
        let line = refusal(text);
        assert!(!line.contains("5318008"), "{line}");
    }
}

/// A printed configuration that is used as it is would accept a token that anyone can guess.
#[test]
fn what_stands_for_a_secret_is_no_secret() {
    refused(&[
        (
            &token("token = \"***\""),
            "identity[0].tokens[0].token = \"***\": must not be what --check prints in its place",
        ),
        (
            &redis("url = \"redis://:***@host\""),
            "identity[0].url = \"redis://:***@host\": must not be what --check prints in its place",
        ),
    ]);
}
