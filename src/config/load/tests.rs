mod identity;
mod rooms;
mod secrets;
mod tls;

use super::*;
use crate::config::key::Key;
use crate::config::sections::keys;

/// The whole line with which a text is refused.
fn located(text: &str) -> String {
    let line = Config::from_toml(text, "tidegate.toml").unwrap_err().to_string();
    assert_eq!(line.lines().count(), 1, "{line}");
    line
}

/// The line without the number of the line in the text.
fn refusal(text: &str) -> String {
    let line = located(text);
    let rest = line.strip_prefix("tidegate.toml").unwrap();
    let (number, said) = rest.split_once(": ").unwrap();
    let number = number.strip_prefix(':').unwrap_or("1").parse::<usize>().unwrap_or(1);
    assert!((1..=text.lines().count().max(1)).contains(&number), "{line}");
    format!("tidegate.toml: {said}")
}

/// Each text is refused with exactly this line, after the file name.
fn refused(cases: &[(&str, &str)]) {
    for (text, line) in cases {
        assert_eq!(refusal(text), format!("tidegate.toml: {line}"), "{text}");
    }
}

const PATH_RULE: &str =
    "must start with / and be a URI path: no query, fragment, space or bad escape";

/// A kind of identity that takes this key, with what it needs.
fn identity_kind_of(leaf: &str) -> &'static str {
    match leaf {
        "lookup_ms" | "lookups_max" => "kind = \"redis\"",
        "callback_ms" | "connections_max" | "failures_max" | "refusal_ms" | "waiting_max" => {
            "kind = \"callback\"\ncallback_url = \"http://a/\""
        }
        _ => "kind = \"jwt\"\njwks_url = \"http://a/\"",
    }
}

/// The keys with a range that only the service `events` takes.
const EVENTS_KEYS: &[&str] = &[
    "failures_max",
    "meta_bytes_max",
    "reply_bytes_max",
    "requests_max",
    "waiting_bytes_max",
    "waiting_messages_max",
];

/// The keys with a range that only the service `chat` takes.
const CHAT_KEYS: &[&str] = &["session_ttl_s", "user_connections_burst", "user_connections_per_s"];

/// A file in which this key has this value, with what it needs beside it.
fn file_with(key: &Key, value: i128) -> String {
    match key.section() {
        "" => format!("{} = {value}\n", key.leaf()),
        "route" if EVENTS_KEYS.contains(&key.leaf()) => {
            let header = "[[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\n\
                          [[route]]\npath = \"/\"\nservice = \"events\"\nupstream = \"a\"\n";
            format!("{header}{} = {value}\n", key.leaf())
        }
        "route" if CHAT_KEYS.contains(&key.leaf()) => {
            let chat = "[[route]]\npath = \"/\"\nservice = \"chat\"\n";
            let channels = "[[route]]\npath = \"/a\"\nservice = \"channels\"\n";
            format!("{chat}{} = {value}\n{channels}", key.leaf())
        }
        "route" if ["body_bytes_max", "response_ms"].contains(&key.leaf()) => {
            let header = "[[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\n\
                          [[route]]\npath = \"/\"\nservice = \"relay\"\nupstream = \"a\"\n\
                          http = true\n";
            format!("{header}{} = {value}\n", key.leaf())
        }
        "route" => {
            let header = "[[route]]\npath = \"/\"\nservice = \"echo\"\n\
                          deflate_context_takeover = true\n";
            // What a burst needs beside it.
            let rates =
                ["messages_per_s", "bytes_per_s", "user_messages_per_s", "user_bytes_per_s"];
            let rates = rates.into_iter().filter(|rate| *rate != key.leaf());
            let rates: String = rates.map(|rate| format!("{rate} = 1\n")).collect();
            format!("{header}{rates}{} = {value}\n", key.leaf())
        }
        "identity" => {
            let kind = identity_kind_of(key.leaf());
            format!("[[identity]]\nname = \"a\"\n{kind}\n{} = {value}\n", key.leaf())
        }
        "listener" => format!("{TLS_AND_REDIRECT}{} = {value}\n", key.leaf()),
        "acme" => {
            let table = "[acme]\ndomains = [\"a.example\"]\ncache_dir = \"acme\"\n";
            format!("{TLS_AND_REDIRECT}{table}{} = {value}\n", key.leaf())
        }
        "upstream" => {
            let header = "[[route]]\npath = \"/\"\nservice = \"relay\"\nupstream = \"a\"\n\
                          [[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\nhealth = \"get\"\n";
            format!("{header}{} = {value}\n", key.leaf())
        }
        "channels.proxy" => {
            let upstream = "[[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\n";
            let header = "[[channels.proxy]]\nname = \"a\"\nupstream = \"a\"\npath = \"/\"\n";
            format!("{upstream}{header}{} = {value}\n", key.leaf())
        }
        "channels.namespace" => {
            format!("[[channels.namespace]]\n{} = {value}\n", key.leaf())
        }
        // Pings that are answered must come in longer intervals than the answers may take.
        "channels" if key.leaf() == "ping_ms" => {
            format!("[channels]\npong_ms = 0\nping_ms = {value}\n")
        }
        "channels" if key.leaf() == "pong_ms" => {
            format!("[channels]\nping_ms = 0\npong_ms = {value}\n")
        }
        "engine" => {
            let kind = match key.leaf() {
                "replicas" | "partitions" => "nats",
                _ => "redis",
            };
            let urls = format!("kind = \"{kind}\"\nurls = [\"{kind}://a\"]\n");
            format!("[engine]\n{urls}{} = {value}\n", key.leaf())
        }
        section => format!("[{section}]\n{} = {value}\n", key.leaf()),
    }
}

#[test]
fn every_range_is_enforced_at_both_ends() {
    for key in keys() {
        let Rule::Integer { min, max } = key.rule else { continue };
        if key.section() == "acme" && !cfg!(feature = "acme")
            || key.section() == "channels.proxy" && !cfg!(feature = "http-backends")
            || key.section() == "engine" && !cfg!(all(feature = "redis", feature = "nats"))
        {
            continue;
        }
        let line = |value: i128| file_with(key, value);
        let name = match key.section() {
            "listener" => format!("listener[1].{}", key.leaf()),
            section @ ("channels.namespace" | "channels.proxy" | "identity" | "route"
            | "upstream") => {
                format!("{section}[0].{}", key.leaf())
            }
            _ => key.name.to_owned(),
        };
        for bad in [i128::from(min) - 1, i128::from(max) + 1] {
            let expected =
                format!("tidegate.toml: {name} = {bad}: must be between {min} and {max}");
            assert_eq!(refusal(&line(bad)), expected);
        }
        for good in [min, max] {
            // The pool must hold the largest message, whatever the key under test is.
            let pool = match key.leaf() {
                "message_bytes_max" => "[limits]\npool_bytes_max = 2147483648\n",
                "pool_bytes_max" => "message_bytes_max = 125\n",
                _ => "",
            };
            let text = match key.section() {
                "limits" if !pool.is_empty() => {
                    format!("{}{}", line(good.into()), pool.trim_start_matches("[limits]\n"))
                }
                _ => format!("{}{pool}", line(good.into())),
            };
            Config::from_toml(&text, "tidegate.toml").unwrap();
        }
    }
}

/// A listener with TLS, and one that redirects to it.
const TLS_AND_REDIRECT: &str = "[[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n\
    [[listener]]\naddress = \"127.0.0.1:443\"\ntls = true\n\
    [[listener]]\naddress = \"127.0.0.1:80\"\nredirect = \"https\"\n";

#[test]
fn an_error_about_a_wrong_type_names_the_rule() {
    refused(&[
        ("loops = \"two\"", "loops = \"two\": must be a whole number between 0 and 1024"),
        ("loops = 1.5", "loops = 1.5: must be a whole number between 0 and 1024"),
        ("share_port = 1", "share_port = 1: must be true or false"),
        (
            "[limits]\nconnections_max = \"all\"",
            "limits.connections_max = \"all\": must be a whole number between 1 and 16777216",
        ),
        (
            "[[listener]]\naddress = \"localhost:80\"",
            "listener[0].address = \"localhost:80\": \
             must be an IP address and port such as \"127.0.0.1:8080\"",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"ehco\"",
            "route[0].service = \"ehco\": must be one of \"broadcast\", \"channels\", \"chat\", \"echo\", \"events\", \"hall\", \"page\", \"relay\", \"room\"",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"echo\"\nslow_policy = \"keep-latest\"",
            "route[0].slow_policy = \"keep-latest\": \
             must be one of \"disconnect\", \"drop_newest\", \"keep_latest\"",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"echo\"\norigins = \"https://a.example\"",
            "route[0].origins = \"https://a.example\": must be \"*\" or a list of \"null\" and \
             scheme://host[:port] as the Origin header has it, without a path",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"echo\"\nsubprotocols = [1]",
            "route[0].subprotocols[0] = 1: \
             must be a list of RFC 9110 tokens (letters, digits, !#$%&'*+-.^_`|~)",
        ),
    ]);
}

#[test]
fn tables_must_be_tables() {
    refused(&[
        ("limits = [1, 2]", "limits = [1, 2]: must be written as [limits]"),
        ("turn = 5", "turn = 5: must be written as [turn]"),
        (
            "[listener]\naddress = \"127.0.0.1:80\"",
            "listener = { address = \"127.0.0.1:80\" }: must be written as [[listener]]",
        ),
        (
            "route = [[\"/\", \"echo\"]]",
            "route = [[\"/\", \"echo\"]]: must be written as [[route]]",
        ),
        (
            "[[socket]]\nno_delay = true",
            "socket = [{ no_delay = true }]: must be written as [socket]",
        ),
    ]);
}

#[test]
fn keys_without_default_are_required() {
    refused(&[
        (
            "[[listener]]",
            "listener[0].address: is required, and \
             must be an IP address and port such as \"127.0.0.1:8080\"",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"page\"\n[[route]]\npath = \"/a\"",
            "route[1].service: is required, and must be one of \"broadcast\", \"channels\", \"chat\", \"echo\", \"events\", \"hall\", \"page\", \"relay\", \"room\"",
        ),
        (
            "[[route]]\nservice = \"page\"",
            "route[0].path: is required, and must start with / and be a URI path: \
             no query, fragment, space or bad escape",
        ),
    ]);
}

/// A relay holds its clients to what it can see of their messages.
#[test]
fn limits_of_messages_are_for_relays_of_frames() {
    let relay = |mode: &str, key: &str| {
        format!(
            "[[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\n[[route]]\npath = \"/\"\n\
             service = \"relay\"\nupstream = \"a\"\nmode = \"{mode}\"\n{key}\n"
        )
    };
    for key in
        ["message_bytes_max = 1000", "fragments_max = 2", "deflate = false", "bytes_per_s = 9"]
    {
        Config::from_toml(&relay("frames", key), "tidegate.toml").unwrap();
        let refusal = refusal(&relay("bytes", key));
        assert!(refusal.ends_with("must be left out where the mode is \"bytes\""), "{refusal}");
    }
    for key in ["subprotocols = [\"a\"]", "slow_policy = \"drop_newest\""] {
        let refusal = refusal(&relay("frames", key));
        assert!(refusal.ends_with("must be left out of a relay"), "{refusal}");
    }
}

#[test]
fn keys_must_agree() {
    refused(&[
        (
            "[limits]\nconnections_max = 10\nhalf_open_max = 11",
            "limits.half_open_max = 11: must be at most limits.connections_max (10)",
        ),
        (
            "[limits]\npool_bytes_max = 1310850",
            "limits.pool_bytes_max = 1310850: must be at least 1310851, \
             to hold one message of the largest message_bytes_max (1048576) beside the reserve",
        ),
        (
            "[limits]\npool_bytes_max = 600014\nmessage_bytes_max = 600000\n\
             [turn]\nreceive_buffer_bytes = 1048576",
            "limits.pool_bytes_max = 600014: must be at least 1310720, \
             to hold one message of the largest message_bytes_max (600000) beside the reserve",
        ),
        ("listener = []", "listener = []: must hold at least one address"),
        (
            "[[listener]]\naddress = \"[::1]:80\"\n[[listener]]\naddress = \"[0::1]:80\"",
            "listener[1].address = \"[::1]:80\": must not be listed twice",
        ),
        ("route = []", "route = []: must hold at least one route"),
    ]);
}

#[test]
fn routes_are_held_to_their_rules() {
    for path in ["", "echo", "/a?b", "/a#b", "/a b"] {
        assert_eq!(
            refusal(&format!("[[route]]\npath = \"{path}\"\nservice = \"echo\"")),
            format!("tidegate.toml: route[0].path = \"{path}\": {PATH_RULE}")
        );
    }
    let echo = |rest: &str| format!("[[route]]\npath = \"/\"\nservice = \"echo\"\n{rest}");
    refused(&[
        (
            &echo("origins = [\"null\", \"https://a.example/\"]"),
            "route[0].origins[1] = \"https://a.example/\": must be \"null\" or \
             scheme://host[:port] as the Origin header has it, without a path",
        ),
        (
            &echo("subprotocols = [\"a b\"]"),
            "route[0].subprotocols[0] = \"a b\": \
             must be an RFC 9110 token (letters, digits, !#$%&'*+-.^_`|~)",
        ),
        (
            &echo("subprotocols = [\"a\", \"b\", \"a\"]"),
            "route[0].subprotocols[2] = \"a\": must not be listed twice",
        ),
    ]);
}

#[test]
fn heads_have_limits_that_a_pool_can_hold() {
    refused(&[
        (
            "[limits]\nhead_bytes_max = 65537",
            "limits.head_bytes_max = 65537: must be between 512 and 65536",
        ),
        (
            "[limits]\nheader_lines_max = 15",
            "limits.header_lines_max = 15: must be between 16 and 1024",
        ),
        (
            "[limits]\nhead_bytes_max = 65536\nmessage_bytes_max = 1000\npool_bytes_max = 65536",
            "limits.pool_bytes_max = 65536: must be at least 174763, to hold one head of \
             head_bytes_max (65536) beside the reserve",
        ),
    ]);
}

#[test]
fn hosts_are_names_and_addresses_of_http_listeners() {
    let host = "must be a name or an IP address as the Host header has it, without a port, a \
                pattern, or characters outside ASCII";
    for item in ["a.example:8080", "*.example", "::1", "http://a", "b\u{fc}cher.example", ""] {
        let text = format!("[[listener]]\naddress = \"127.0.0.1:1\"\nhosts = [\"a\", \"{item}\"]");
        refused(&[(&text, &format!("listener[0].hosts[1] = \"{item}\": {host}"))]);
    }
    refused(&[
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nhosts = \"a.example\"",
            "listener[0].hosts = \"a.example\": must be \"*\" or a list of names and IP addresses as \
             the Host header has them, without a port",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nhosts = [\"a\", \"a\"]",
            "listener[0].hosts[1] = \"a\": must not be listed twice",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\nkind = \"line\"\nroute = \"/echo\"\nhosts = \"*\"",
            "listener[0].hosts = \"*\": must be left out where the kind is \"line\"",
        ),
    ]);
}

#[test]
fn unknown_keys_suggest_the_right_one_at_every_level() {
    refused(&[
        ("loop = 2", "loop = 2: unknown key, did you mean loops?"),
        ("[limit]\nhead_bytes_max = 600", "limit: unknown key, did you mean limits?"),
        (
            "[limits]\nmesage_bytes_max = 0",
            "limits.mesage_bytes_max = 0: unknown key, did you mean limits.message_bytes_max?",
        ),
        (
            "message_bytes_max = 4096",
            "message_bytes_max = 4096: unknown key, did you mean limits.message_bytes_max?",
        ),
        (
            "[[listener]]\naddress = \"127.0.0.1:1\"\n[[listener]]\nadress = \"127.0.0.1:2\"",
            "listener[1].adress = \"127.0.0.1:2\": unknown key, did you mean listener.address?",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"echo\"\norigin = \"*\"",
            "route[0].origin = \"*\": unknown key, did you mean route.origins?",
        ),
        (
            "[timeouts]\nfoo = { a = 1 }",
            "timeouts.foo: unknown key; [timeouts] takes handshake_ms, refuse_ms, ping_idle_ms, \
             pong_ms, message_grace_ms, write_stall_ms, close_ms, half_close_ms, http_idle_ms, age_ms, drain_grace_ms, drain_ms, \
             handover_ms, pool_idle_ms, accept_pause_ms",
        ),
    ]);
}

#[test]
fn text_that_is_not_toml_is_located() {
    for (text, place) in [
        ("loops = ", "tidegate.toml:1:9: "),
        ("loops = 1\nloops = 2\n", "tidegate.toml:2:1: "),
        ("[limits]\nhead_bytes_max = 512 bytes\n", "tidegate.toml:2:18: "),
        ("loops = 99999999999999999999", "tidegate.toml:1:9: this number is beyond "),
        (
            "[limits]\nhead_bytes_max = -9223372036854775809",
            "tidegate.toml:2:18: this number is beyond ",
        ),
        ("# \u{e4}\n[limits\n", "tidegate.toml:2:8: "),
    ] {
        let line = located(text);
        assert!(line.starts_with(place) && line.len() > place.len(), "{line}");
    }
}

#[test]
fn a_duplicate_key_is_named() {
    for (text, line) in [
        ("loops = 1\nloops = 2\n", "tidegate.toml:2:1: duplicate key loops"),
        (
            "[limits]\nhead_bytes_max = 512\nhead_bytes_max = 512\n",
            "tidegate.toml:3:1: duplicate key head_bytes_max",
        ),
        ("[limits]\n[turn]\n[limits]\n", "tidegate.toml:3:2: duplicate key limits"),
    ] {
        assert_eq!(located(text), line);
    }
}

#[test]
fn a_mistake_is_located() {
    let listener = "[[listener]]\naddress = \"127.0.0.1:80\"\n";
    for (text, line) in [
        ("\nloops = 2000", "tidegate.toml:2: loops = 2000: must be between 0 and 1024"),
        (
            "[limits]\n# Few.\nmessage_bytes_max = 0\n",
            "tidegate.toml:3: limits.message_bytes_max = 0: must be between 125 and 268435456",
        ),
        (
            "[limits]\n\nmesage_bytes_max = 0\n",
            "tidegate.toml:3: limits.mesage_bytes_max = 0: unknown key, \
             did you mean limits.message_bytes_max?",
        ),
        (
            &format!("{listener}{listener}"),
            "tidegate.toml:4: listener[1].address = \"127.0.0.1:80\": must not be listed twice",
        ),
        (
            "[[route]]\npath = \"/\"\n",
            "tidegate.toml:1: route[0].service: is required, and must be one of \"broadcast\", \
             \"channels\", \"chat\", \"echo\", \"events\", \"hall\", \"page\", \"relay\", \"room\"",
        ),
        (
            "[[route]]\npath = \"/\"\nservice = \"echo\"\norigins = [\n  \"null\",\n  \"a\",\n]",
            "tidegate.toml:6: route[0].origins[1] = \"a\": must be \"null\" or \
             scheme://host[:port] as the Origin header has it, without a path",
        ),
        (
            "turn.receive_buffer_bytes = 1048576\nlimits.pool_bytes_max = 65536\n\
             limits.message_bytes_max = 600000\n",
            "tidegate.toml:2: limits.pool_bytes_max = 65536: must be at least 1310720, \
             to hold one message of the largest message_bytes_max (600000) beside the reserve",
        ),
        ("listener = []", "tidegate.toml:1: listener = []: must hold at least one address"),
    ] {
        assert_eq!(located(text), line);
    }
}

#[test]
fn hostile_text_still_gives_one_line() {
    // A quoted name with a dot is one name, and no way into another table.
    located("\"identity.tokens\" = []");
    located("\"limits.head_bytes_max\" = 512");
    located("\"a\\nb\" = \"c\\nd\"");
    located("[[route]]\npath = '''\n/a\nb'''\nservice = \"echo\"");
    located("[[listener]]\naddress = \"\\u2028\\u0000\"");
    located("loops = 99999999999999999999");
    located(&"[".repeat(10_000));
    located(&format!("{} = 1", "x".repeat(10_000)));
    located(&format!("a = {}{}", "[".repeat(70), "]".repeat(70)));
}

#[test]
fn a_file_is_loaded_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tidegate.toml");
    fs::write(&path, "loops = 2\n").unwrap();
    assert_eq!(Config::load(&path).unwrap().process.loops, 2);
    fs::write(&path, b"loops = \xff\n").unwrap();
    assert_eq!(
        Config::load(&path).unwrap_err().to_string(),
        format!("{}: cannot be read: stream did not contain valid UTF-8", path.display())
    );
}

#[test]
fn keys_of_context_takeover_are_refused_where_they_mean_nothing() {
    let route = |service: &str, keys: &str| {
        format!("[[route]]\npath = \"/\"\nservice = \"{service}\"\n{keys}")
    };
    for (service, keys, expected) in [
        (
            "echo",
            "deflate_window_bits_max = 11",
            "deflate_window_bits_max = 11: \
             must be left out where deflate_context_takeover is not true",
        ),
        (
            "room",
            "deflate = false\ndeflate_context_takeover = true",
            "deflate_context_takeover = true: must be left out where deflate is false",
        ),
        (
            "page",
            "deflate_context_takeover = true",
            "deflate_context_takeover = true: must be left out where the service is \"page\"",
        ),
        (
            "page",
            "deflate_window_bits_max = 11",
            "deflate_window_bits_max = 11: must be left out where the service is \"page\"",
        ),
    ] {
        let expected = format!("tidegate.toml: route[0].{expected}");
        assert_eq!(refusal(&route(service, keys)), expected);
    }
    let text = route("echo", "deflate_context_takeovr = true");
    assert!(refusal(&text).contains("deflate_context_takeover"), "{}", refusal(&text));
}
