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
    let url = "must be redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE] or unix:///PATH";
    refused(&[
        ("[[identity]]\nkind = \"tokens\"", &format!("identity[0].name: is required, and {name}")),
        (
            "[[identity]]\nname = \"a\"",
            "identity[0].kind: is required, and must be one of \"callback\", \"certificate\", \"cookie\", \
             \"header\", \"jwt\", \"query\", \"redis\", \"tokens\"",
        ),
        (
            "[[identity]]\nname = \"a\"\nkind = \"token\"",
            "identity[0].kind = \"token\": must be one of \"callback\", \"certificate\", \"cookie\", \
             \"header\", \"jwt\", \"query\", \"redis\", \"tokens\"",
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
fn a_route_names_identities_that_exist() {
    let both = tokens("a", &[]) + &redis("b", "");
    let needs_path = "must name an [[identity]] of kind \"redis\" or \"tokens\" whose place is \
                      \"path\" where the route's name is \"token\"";
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
            &(both.clone() + &room("identity = []")),
            &format!("route[0].identity = []: {needs_path}"),
        ),
        (
            &(both.clone() + &room("identity = [\"a\", \"a\"]")),
            "route[0].identity[1] = \"a\": must not be listed twice",
        ),
        (
            &(both.clone() + &room("identity = \"a\"")),
            "route[0].identity = \"a\": must be a list of names of [[identity]] tables",
        ),
        (
            &(query("a") + &room("identity = [\"a\"]")),
            &format!("route[0].identity = [\"a\"]: {needs_path}"),
        ),
    ]);
    for names in ["\"a\"", "\"b\"", "\"a\", \"b\""] {
        let text = both.clone() + &room(&format!("identity = [{names}]"));
        Config::from_toml(&text, "tidegate.toml").unwrap();
    }
}

/// An identity that the query states.
fn query(name: &str) -> String {
    format!("[[identity]]\nname = \"{name}\"\nkind = \"query\"\n")
}

/// An identity of kind `tokens` whose credentials stand in the query.
fn in_query(name: &str) -> String {
    tokens(name, &[]).replace("tokens = []", "tokens = []\nplace = \"query\"")
}

#[test]
fn every_service_takes_identities() {
    let route = |path: &str, keys: &str| format!("[[route]]\npath = \"{path}\"\n{keys}\n");
    for service in ["broadcast", "echo", "room"] {
        let keys =
            format!("service = \"{service}\"\nidentity = [\"a\", \"b\"]\nidentity_optional = true");
        let text = in_query("a") + &query("b") + &route("/x", &keys);
        Config::from_toml(&text, "tidegate.toml").unwrap();
    }
    let in_path = "service = \"echo\"\nidentity = [\"a\"]";
    Config::from_toml(&(tokens("a", &[]) + &route("/x/:name/:token", in_path)), "a.toml").unwrap();
    refused(&[
        (
            &(tokens("a", &[]) + &route("/x", in_path)),
            "route[0].path = \"/x\": must hold the segment :name, in which an identity of the route \
             stands",
        ),
        (
            &(tokens("a", &[]) + &route("/x/:name/:token/:room", in_path)),
            "route[0].path = \"/x/:name/:token/:room\": must not hold :room, which only a room's path \
             may",
        ),
        (
            &(in_query("a") + &route("/x/:name/:token", in_path)),
            "route[0].path = \"/x/:name/:token\": must not hold :name, which only a room's path may",
        ),
        (
            &route("/x", "service = \"echo\"\nidentity_optional = true"),
            "route[0].identity_optional = true: must be left out where identity names none",
        ),
        (
            &route("/x", "service = \"page\"\nidentity = []"),
            "route[0].identity = []: must be left out where the service is \"page\": only routes that \
             speak WebSocket take an identity",
        ),
    ]);
}

#[test]
fn rights_are_for_identities_that_the_route_takes() {
    let room = |keys: &str| {
        let route = "[[route]]\npath = \"/x\"\nservice = \"room\"\n";
        query("a") + &query("b") + route + keys + "\n"
    };
    for keys in [
        "identity = [\"a\", \"b\"]\nwrite = [\"b\"]\nsee_members = []",
        "identity = [\"a\"]\nname = \"identity\"\nread = [\"a\"]",
    ] {
        Config::from_toml(&room(keys), "tidegate.toml").unwrap();
    }
    refused(&[
        (
            &room("identity = [\"a\"]\nwrite = [\"a\", \"b\"]"),
            "route[0].write[1] = \"b\": must be the name of one of the route's identities: [\"a\"]",
        ),
        (
            &room("read = [\"a\"]"),
            "route[0].read[0] = \"a\": must be the name of one of the route's identities, of which \
             there is none",
        ),
        (
            &room("name = \"identity\""),
            "route[0].identity: must name at least one [[identity]] where the route's name is \
             \"identity\"",
        ),
        (
            &room("name = \"identity\"\nidentity = []"),
            "route[0].identity = []: must name at least one [[identity]] where the route's name is \
             \"identity\"",
        ),
    ]);
}

#[test]
fn a_certificate_is_asked_for_where_it_is_an_identity() {
    let identity = "[[identity]]\nname = \"a\"\nkind = \"certificate\"\n";
    let route = "[[route]]\npath = \"/x\"\nservice = \"echo\"\nidentity = [\"a\"]\n";
    refused(&[(
        &format!("{identity}{route}"),
        "identity[0].kind = \"certificate\": must not be taken by a route while no [[listener]] asks \
         for client_certificates",
    )]);
    Config::from_toml(identity, "tidegate.toml").unwrap();
    let listener = "[[listener]]\naddress = \"127.0.0.1:443\"\ntls = true\n\
                    client_certificates = \"optional\"\nclient_ca = \"ca.pem\"\n\
                    [[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
    Config::from_toml(&format!("{listener}{identity}{route}"), "tidegate.toml").unwrap();
}

#[test]
fn a_kind_needs_its_keys() {
    let identity = |keys: &str| format!("[[identity]]\nname = \"a\"\n{keys}\n");
    let token = "must be an RFC 9110 token (letters, digits, !#$%&'*+-.^_`|~)";
    refused(&[
        (&identity("kind = \"header\""), &format!("identity[0].header: is required, and {token}")),
        (
            &identity("kind = \"header\"\nheader = \"X User\""),
            &format!("identity[0].header = \"X User\": {token}"),
        ),
        (&identity("kind = \"cookie\""), &format!("identity[0].cookie: is required, and {token}")),
        (
            &identity("kind = \"tokens\"\nname_key = \"u\""),
            "identity[0].name_key = \"u\": must be left out where the place is \"path\"",
        ),
        (
            &identity("kind = \"query\"\ncookie = \"u\""),
            "identity[0].cookie = \"u\": must be left out where the kind is \"query\"",
        ),
    ]);
}

#[test]
fn tokens_may_be_written_as_tables_too() {
    let text = "[[identity]]\nname = \"a\"\nkind = \"tokens\"\n\
                [[identity.tokens]]\nname = \"bob\"\ntoken = \"s3cret\"\n";
    let config = Config::from_toml(text, "tidegate.toml").unwrap();
    let inline = tokens("a", &[("\"bob\"", "\"s3cret\"")]);
    assert_eq!(Config::from_toml(&inline, "tidegate.toml"), Ok(config.clone()));
    let IdentityKind::Tokens(_, tokens) = &config.identities[0].kind else { panic!("{config:?}") };
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

/// An identity of kind `jwt` with these further keys.
fn jwt(keys: &str) -> String {
    format!("[[identity]]\nname = \"a\"\nkind = \"jwt\"\n{keys}\n")
}

#[test]
fn a_key_of_tokens_is_given_as_its_algorithm_wants() {
    let one = |key: &str| jwt(&format!("keys = [{{ {key} }}]"));
    let secret = "s".repeat(64);
    for key in [
        format!("algorithm = \"HS256\", secret = \"{}\"", &secret[..32]),
        format!("algorithm = \"HS512\", secret = \"{secret}\", kid = \"a\""),
        "algorithm = \"ES256\", file = \"a.pem\"".to_owned(),
    ] {
        Config::from_toml(&one(&key), "tidegate.toml").unwrap();
    }
    let short = "must have at least 32 bytes for this algorithm (RFC 7518 section 3.2)";
    refused(&[
        (
            &jwt(""),
            "identity[0].keys: is required where jwks_url is not given: one \
                    [[identity.keys]] at least",
        ),
        (
            &one("algorithm = \"none\""),
            "identity[0].keys[0].algorithm = \"none\": must be one of \"HS256\", \"HS384\", \"HS512\", \
             \"RS256\", \"RS384\", \"RS512\", \"PS256\", \"PS384\", \"PS512\", \"ES256\", \"ES384\", \
             \"EdDSA\"",
        ),
        (
            &one("algorithm = \"HS256\", file = \"a.pem\""),
            "identity[0].keys[0].file = \"a.pem\": must be left out: this algorithm verifies by a \
             secret",
        ),
        (
            &one("algorithm = \"RS256\", secret = \"a\""),
            "identity[0].keys[0].secret = \"***\": must be left out: this algorithm verifies by a \
             public key",
        ),
        (
            &one("algorithm = \"HS256\", secret = \"short\""),
            &format!("identity[0].keys[0].secret = \"***\": {short}"),
        ),
        (
            &one(
                "algorithm = \"HS256\", secret = \"-----BEGIN PUBLIC KEY-----MFkwEwYHKoZIzj0CAQYIKo\"",
            ),
            "identity[0].keys[0].secret = \"***\": must not be a key in PEM: anybody may know a public \
             key, and sign with it as a secret",
        ),
        (
            &one("algorithm = \"HS256\""),
            "identity[0].keys[0].secret: is required for this algorithm",
        ),
        (&one("algorithm = \"EdDSA\""), "identity[0].keys[0].file: is required for this algorithm"),
    ]);
}

#[test]
fn signed_tokens_have_keys_from_one_source_and_a_place() {
    let url = "jwks_url = \"https://app/keys?code=s3cret\"";
    for keys in [
        url.to_owned(),
        format!("{url}\njwks_algorithms = [\"PS256\"]\ntls_ca = \"ca.pem\""),
        format!("{url}\ntoken_authorization = false\ntoken_query = \"token\""),
    ] {
        Config::from_toml(&jwt(&keys), "tidegate.toml").unwrap();
    }
    let http = "must be http://HOST[:PORT]/PATH, https://HOST[:PORT]/PATH or http://unix:/SOCKET:/PATH, \
                without a user";
    refused(&[
        (
            &jwt(&format!("{url}\nkeys = [{{ algorithm = \"EdDSA\", file = \"a.pem\" }}]")),
            "identity[0].keys = \"***\": must be left out where jwks_url is given",
        ),
        (
            &jwt(&format!("{url}\ntoken_authorization = false")),
            "identity[0].token_authorization = false: must be true where no other place of a token is \
             given",
        ),
        (
            &jwt(&format!("{url}\njwks_algorithms = [\"HS256\"]")),
            "identity[0].jwks_algorithms[0] = \"HS256\": must be a list of algorithms of public keys: \
             RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, EdDSA",
        ),
        (
            &jwt("jwks_url = \"ftp://app/keys?code=s3cret\""),
            &format!("identity[0].jwks_url = \"***\": {http}"),
        ),
        (
            &jwt("jwks_refresh_ms = 5000\nkeys = [{ algorithm = \"EdDSA\", file = \"a.pem\" }]"),
            "identity[0].jwks_refresh_ms = 5000: must be left out where jwks_url is not given",
        ),
        (
            &(jwt(&format!("{url}\njwks_fetch_ms = 5000"))
                + "[[route]]\npath = \"/\"\nservice = \"echo\"\nidentity = [\"a\"]\n"),
            "identity[0].jwks_fetch_ms = 5000: must be below timeouts.handshake_ms (5000)",
        ),
    ]);
}

#[test]
fn a_callback_passes_on_what_is_the_clients() {
    let callback = |keys: &str| {
        format!(
            "[[identity]]\nname = \"a\"\nkind = \"callback\"\ncallback_url = \"http://app/who\"\n\
             {keys}\n"
        )
    };
    let headers = "callback_headers = [\"Authorization\", \"Sec-WebSocket-Protocol\", \"X-Own\"]";
    Config::from_toml(&callback(headers), "tidegate.toml").unwrap();
    for name in
        ["Cookie", "connection", "Sec-WebSocket-Key", "Proxy-Authorization", "X-Forwarded-For"]
    {
        refused(&[(
            &callback(&format!("callback_headers = [\"X\", \"{name}\"]")),
            &format!(
                "identity[0].callback_headers[1] = \"{name}\": must not be passed on: the gateway sets \
                 it, or it is of the connection"
            ),
        )]);
    }
}
