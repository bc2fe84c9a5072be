use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use toml::{Table, Value};

use super::*;
use crate::config::word::Word as _;
use crate::config::{
    AcmeOptions, AdminAddress, CertificateFiles, ClientCertificates, Config, EngineKind,
    EngineOptions, FilePath, HealthChoice, Hosts, Identity, IdentityKind, IdentityWord, Listener,
    MachineLimits, NameKind, NamespaceOptions, Origins, PlaceKind, ProxyOptions, Redirect,
    RedisDeployment, RedisOptions, Route, RouteService, RpcOptions, Rule, Secret, Secrets,
    ServerUrl, ServiceKind, Token, UpstreamOptions,
};
use crate::jwt::Algorithm;
use crate::upstream::Balance;
use crate::ws::CLIENT_CONTROL_FRAME_BYTES_MAX;

const GRANTED: MachineLimits = MachineLimits { descriptors: 1024, cores: 1 };

/// The dotted names and values of everything in `table`; arrays of tables lose their indices.
fn leaves(prefix: &str, table: &Table, found: &mut BTreeMap<String, Value>) {
    for (name, value) in table {
        let name = format!("{prefix}{name}");
        let items = value.as_array().map_or(&[][..], Vec::as_slice);
        let inner: Vec<&Table> =
            value.as_table().into_iter().chain(items.iter().filter_map(Value::as_table)).collect();
        if inner.is_empty() {
            found.insert(name.clone(), value.clone());
        }
        for table in inner {
            leaves(&format!("{name}."), table, found);
        }
    }
}

/// Everything that `--check` prints.
fn leaves_of(config: &Config) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    leaves("", &config.check_text(GRANTED).parse().unwrap(), &mut found);
    found
}

/// A room that asks for tokens, takes over contexts and has rates: the route with the most keys.
fn token_room() -> Route {
    let mut route = Route::new("/:name/:token", ServiceKind::Room);
    let RouteService::Room { websocket, room, .. } = &mut route.service else { unreachable!() };
    websocket.deflate_context_takeover = true;
    (websocket.messages_per_s, websocket.bytes_per_s) = (1, 1);
    room.name = NameKind::Token;
    route
}

fn redis() -> IdentityKind {
    let place = TokenPlace { place: PlaceKind::Query, ..TokenPlace::default() };
    IdentityKind::Redis(place, RedisOptions::default())
}

/// Without a proxy there is no header of one.
fn behind_proxies() -> ProcessOptions {
    let trusted_proxies = vec!["10.0.0.0/8".parse().unwrap()];
    ProcessOptions { trusted_proxies, ..ProcessOptions::default() }
}

/// Signed tokens whose keys are published, so that all keys mean something.
fn defaults_of_tokens() -> IdentityKind {
    let jwks_url = Some(ServerUrl::new("http://a/"));
    let options = JwtOptions { jwks_url, ..JwtOptions::default() };
    IdentityKind::Jwt(Box::new(options), BackendOptions::default(), Vec::new())
}

/// A signed token with every key, though not with all of them at once.
fn tokens_with_all_keys() -> IdentityKind {
    let text = || Some("a".to_owned());
    let options = JwtOptions {
        token_subprotocol: text(),
        token_cookie: text(),
        token_query: text(),
        rooms_claim: text(),
        rights_claim: text(),
        info_claim: text(),
        jwks_url: Some(ServerUrl::new("http://a/")),
        ..JwtOptions::default()
    };
    let file = FilePath::new(Path::new("a.pem"));
    let key = TokenKey {
        kid: text(),
        algorithm: Algorithm::EdDsa,
        file: Some(file.clone()),
        secret: Some(Secret::new("s3cret")),
    };
    IdentityKind::Jwt(Box::new(options), backend(file), vec![key])
}

fn callback() -> CallbackOptions {
    CallbackOptions {
        callback_url: ServerUrl::new("http://a/"),
        callback_headers: Vec::new(),
        callback_cookies: Vec::new(),
        callback_query: Vec::new(),
        callback_ms: 2000,
        connections_max: 64,
        failures_max: 5,
        refusal_ms: 1000,
    }
}

fn backend(authorities: FilePath) -> BackendOptions {
    BackendOptions { tls_ca: Some(authorities), ..BackendOptions::default() }
}

fn identity(name: &str, kind: IdentityKind) -> Identity {
    Identity { name: name.to_owned(), kind }
}

#[test]
fn the_table_holds_exactly_the_keys_that_are_printed() {
    let mut config = Config { process: behind_proxies(), ..Config::default() };
    config.limits.connections_max = Some(1000);
    config.limits.half_open_max = Some(10);
    config.addresses.entries_max = Some(2000);
    config.socket.send_buffer_bytes = Some(65_536);
    let address = "127.0.0.1:1".parse().unwrap();
    let path = || FilePath::new(Path::new("a.pem"));
    config.listeners = vec![
        Listener::line(address, "/"),
        Listener {
            hosts: Hosts::Any,
            tls: true,
            client_certificates: ClientCertificates::Required,
            client_ca: Some(path()),
            ..Listener::http(address)
        },
        Listener {
            redirect: Redirect::Https,
            redirect_port: Some(8443),
            ..Listener::http(address)
        },
    ];
    config.certificates = vec![CertificateFiles::new(path(), path())];
    config.acme = AcmeOptions {
        domains: vec!["a.example".to_owned()],
        contact: Some("admin@a.example".to_owned()),
        directory_ca: Some(path()),
        cache_dir: Some(path()),
        ..AcmeOptions::default()
    };
    config.tls.ticket_keys_file = Some(path());
    config.tls.key_log_file = Some(path());
    config.admin.address = Some(AdminAddress::Off);
    let token = || Some(Secrets::new(["s3cret".to_owned()]));
    (config.admin.token, config.admin.metrics_token) = (token(), token());
    config.api.keys = token();
    config.webhooks.tls_ca = Some(path());
    say_all_of_channels(&mut config);
    let mut route = token_room();
    route.aliases = vec!["/alias".to_owned()];
    let RouteService::Room { websocket, room, .. } = &mut route.service else { unreachable!() };
    websocket.webhook = Some(ServerUrl::new("http://a/"));
    (websocket.origins, websocket.subprotocols) = (Origins::Any, Some(vec![]));
    websocket.message_bytes_max = Some(1000);
    websocket.backlog_messages_max = Some(10);
    (websocket.messages_burst, websocket.bytes_burst) = (Some(10), Some(1000));
    (websocket.user_messages_burst, websocket.user_bytes_burst) = (Some(10), Some(1000));
    let members = || Some(vec!["members".to_owned()]);
    websocket.identity = members();
    (room.read, room.write, room.see_members) = (members(), members(), members());
    config.routes = vec![route, rewriting_relay(), signed_events(), signed_chat(), channels()];
    let health_host = Some("a".to_owned());
    config.upstreams =
        vec![UpstreamOptions { health: HealthChoice::Get, health_host, ..tls_upstream(path()) }];
    let token = Token { name: "bob".to_owned(), token: Secret::new("s3cret") };
    config.identities = vec![
        identity("members", IdentityKind::Tokens(TokenPlace::default(), vec![token])),
        identity("logins", redis()),
        identity("devices", IdentityKind::Certificate(CertificateOptions::default())),
        identity("pages", IdentityKind::Cookie(CookieOptions { cookie: "user".to_owned() })),
        identity("proxy", IdentityKind::Header(HeaderOptions { header: "X-User".to_owned() })),
        identity("trials", IdentityKind::Query(QueryOptions::default())),
        identity("users", tokens_with_all_keys()),
        identity("app", IdentityKind::Callback(Box::new(callback()), backend(path()))),
    ];
    let mut written: BTreeSet<String> = leaves_of(&config).into_keys().collect();
    written.extend(engine_keys(path()));
    let listed: BTreeSet<String> = keys().map(|key| key.name.to_owned()).collect();
    assert_eq!(listed, written);
}

/// Engines that, together, take every key. The last of those with Redis is deployed as by default.
fn engines() -> [EngineOptions; 3] {
    let kinds = [
        (EngineKind::Redis, RedisDeployment::Sentinel),
        (EngineKind::Redis, RedisDeployment::Single),
        (EngineKind::Nats, RedisDeployment::Single),
    ];
    kinds.map(|(kind, deployment)| EngineOptions { kind, deployment, ..EngineOptions::default() })
}

/// The keys of engines that say all that they can.
fn engine_keys(file: FilePath) -> impl Iterator<Item = String> {
    engines().into_iter().flat_map(move |engine| {
        let engine = EngineOptions {
            urls: vec!["a".to_owned()],
            user: Some("a".to_owned()),
            password: Some(Secret::new("s3cret")),
            credentials: Some(file.clone()),
            tls_ca: Some(file.clone()),
            ..engine
        };
        leaves_of(&Config { engine, ..Config::default() }).into_keys()
    })
}

fn say_all_of_channels(config: &mut Config) {
    config.channels.tokens = Some("users".to_owned());
    config.channels.subscription_tokens = Some("users".to_owned());
    config.channels.snapshot = Some(FilePath::new(Path::new("x")));
    let proxy = || Some("app".to_owned());
    (config.channels.connect_proxy, config.channels.refresh_proxy) = (proxy(), proxy());
    config.namespaces = vec![NamespaceOptions {
        name: "chat".to_owned(),
        subscribe_proxy: proxy(),
        publish_proxy: proxy(),
        sub_refresh_proxy: proxy(),
        ..NamespaceOptions::default()
    }];
    config.proxies = vec![ProxyOptions { host: Some("a".to_owned()), ..channel_proxy() }];
    config.rpcs = vec![RpcOptions { method: "*".to_owned(), proxy: "app".to_owned() }];
}

fn channel_proxy() -> ProxyOptions {
    let text = "name = \"app\"\nupstream = \"app\"\npath = \"/channels/*\"\n";
    let upstream = "[[upstream]]\nname = \"app\"\nservers = [\"app:1\"]\n";
    let config = Config::from_toml(&format!("{upstream}[[channels.proxy]]\n{text}"), "test.toml");
    config.unwrap().proxies.remove(0)
}

fn relay() -> Route {
    let mut route = Route::new("/app/*", ServiceKind::Relay);
    let RouteService::Relay { forward, relay, .. } = &mut route.service else { unreachable!() };
    forward.upstream = "app".to_owned();
    relay.http = true;
    route
}

fn rewriting_relay() -> Route {
    let mut relay = relay();
    let RouteService::Relay { forward: options, .. } = &mut relay.service else { unreachable!() };
    (options.host, options.rewrite) = (Some("a".to_owned()), Some("/b".to_owned()));
    relay
}

/// Of WebSockets alone, as by default.
fn websocket_relay() -> Route {
    let mut route = relay();
    let RouteService::Relay { relay, .. } = &mut route.service else { unreachable!() };
    relay.http = false;
    route
}

fn events() -> Route {
    let mut route = Route::new("/events", ServiceKind::Events);
    let RouteService::Events { forward, .. } = &mut route.service else { unreachable!() };
    forward.upstream = "app".to_owned();
    route
}

fn signed_events() -> Route {
    let mut route = events();
    let RouteService::Events { events, .. } = &mut route.service else { unreachable!() };
    events.grip_key = Some(Secret::new("s3cret"));
    route
}

fn chat() -> Route {
    Route::new("/", ServiceKind::Chat)
}

fn signed_chat() -> Route {
    let mut route = chat();
    let RouteService::Chat { chat } = &mut route.service else { unreachable!() };
    chat.session_key = Some(Secret::new("s3cret"));
    route
}

fn channels() -> Route {
    Route::new("/connection/websocket", ServiceKind::Channels)
}

fn upstream(balance: Balance) -> UpstreamOptions {
    let text = "[[upstream]]\nname = \"app\"\nservers = [\"a:1\"]\n\
                [[route]]\npath = \"/\"\nservice = \"relay\"\nupstream = \"app\"\n";
    let upstreams = Config::from_toml(text, "upstream.toml").unwrap().upstreams;
    UpstreamOptions { balance, ..upstreams[0].clone() }
}

/// With everything that can be said of TLS.
fn tls_upstream(file: FilePath) -> UpstreamOptions {
    UpstreamOptions {
        tls: true,
        tls_ca: Some(file.clone()),
        tls_name: Some("a.example".to_owned()),
        tls_certificate: Some(file.clone()),
        tls_key: Some(file),
        ..upstream(Balance::Hash)
    }
}

#[test]
fn no_key_is_declared_twice() {
    let names: BTreeSet<&str> = keys().map(|key| key.name).collect();
    assert_eq!(names.len(), keys().count());
}

#[test]
fn the_defaults_of_the_table_are_the_defaults_of_the_types() {
    let with_route = |route| {
        let identities = vec![
            identity("a", redis()),
            identity("b", IdentityKind::Certificate(CertificateOptions::default())),
            identity("c", IdentityKind::Query(QueryOptions::default())),
            identity("d", defaults_of_tokens()),
            identity("e", IdentityKind::Callback(Box::new(callback()), BackendOptions::default())),
            // Last, so that its place, the default one, is what is found.
            identity("d", IdentityKind::Tokens(TokenPlace::default(), Vec::new())),
        ];
        Config { routes: vec![route], identities, ..Config::default() }
    };
    // Only a listener with TLS may ask clients for certificates.
    let listeners = vec![Listener { tls: true, ..Listener::default() }];
    let acme = AcmeOptions { domains: vec!["a.example".to_owned()], ..AcmeOptions::default() };
    let config = Config { listeners, acme, routes: vec![], ..Config::default() };
    let mut written = leaves_of(&config);
    // Only a plain listener may redirect.
    written.extend(leaves_of(&Config { routes: vec![], ..Config::default() }));
    // A key that depends on another is written where that is given.
    let mut guarded = Route::new("/", ServiceKind::Echo);
    let RouteService::Echo { websocket } = &mut guarded.service else { unreachable!() };
    websocket.identity = Some(vec!["a".to_owned()]);
    written.extend(leaves_of(&with_route(guarded)));
    written.remove("route.identity");
    // A room takes most keys; one that asks for tokens and takes over contexts takes them all.
    let forwarded = leaves_of(&Config { process: behind_proxies(), ..Config::default() });
    written.extend(forwarded.into_iter().filter(|(name, _)| name == "forwarded_header"));
    written.extend(leaves_of(&with_route(token_room())));
    written.extend(leaves_of(&with_route(Route::new("/", ServiceKind::Room))));
    // The second has the balance that leaves out what clients are told apart by.
    let checks = [HealthChoice::Get, HealthChoice::default()];
    for (balance, health) in [Balance::Hash, Balance::default()].into_iter().zip(checks) {
        let tls = health == HealthChoice::Get;
        let upstreams = vec![UpstreamOptions { health, tls, ..upstream(balance) }];
        let routes = vec![relay(), websocket_relay(), events(), channels(), chat()];
        written.extend(leaves_of(&Config { routes, upstreams, ..Config::default() }));
    }
    for engine in engines() {
        written.extend(leaves_of(&Config { engine, routes: vec![], ..Config::default() }));
    }
    written.extend(leaves_of(&Config { routes: vec![], ..Config::default() }));
    let namespaces = vec![NamespaceOptions::default()];
    let proxies = vec![channel_proxy()];
    written.extend(leaves_of(&Config { namespaces, proxies, routes: vec![], ..Config::default() }));
    // The empty names are shown as none.
    written.remove("channels.namespace.name");
    written.remove("channels.personal_channel_namespace");
    // Given only so that the keys that depend on it mean something.
    written.remove("identity.jwks_url");
    for key in keys().filter(|key| !key.is_required) {
        match written.get(key.name) {
            Some(Value::String(text)) => assert_eq!(*text, key.default(), "{}", key.name),
            Some(value) => assert_eq!(value.to_string(), key.default(), "{}", key.name),
            None => assert!(
                DERIVED.contains(&key.default().as_str()),
                "{} has a default the types do not know",
                key.name
            ),
        }
    }
}

/// The defaults that no value can express.
const DERIVED: &[&str] = &[
    "by address",
    "by bytes",
    "by service",
    "derived",
    "kernel",
    "limits.message_bytes_max",
    "none",
    "one that is made at start",
    "same host",
    "the client's",
    "the server's address",
    "the server's own",
    "the upstream's name",
    "those of the system",
    "those of a second",
    "everyone",
    "none; where `route.name` is `token`, the first of kind `tokens`",
];

#[test]
fn a_required_key_says_so_in_place_of_its_default() {
    for key in keys() {
        assert_eq!(key.is_required, key.default() == "required", "{}", key.name);
    }
}

#[test]
fn every_key_stands_in_its_section() {
    for section in SECTIONS {
        assert!(section.keys().count() > 0);
        for key in section.keys() {
            assert_eq!(key.section(), section.name, "{}", key.name);
        }
    }
}

/// What a service or kind takes is said twice: by the type, and by the groups of its section.
#[test]
fn each_word_takes_the_groups_of_its_type() {
    let taken = |section: &str, word: &str| -> BTreeSet<&str> {
        let groups = find_section(section).unwrap().groups.iter();
        groups
            .filter(|group| group.takers.is_empty() || group.takers.contains(&word))
            .flat_map(|group| group.keys)
            .map(|key| key.name)
            .collect()
    };
    for (word, kind) in ServiceKind::WORDS {
        let entries = Route::new("/", *kind).entries();
        let own: BTreeSet<&str> = entries.iter().map(|entry| entry.key.name).collect();
        assert_eq!(own, taken("route", word), "{word}");
    }
    for (word, kind) in IdentityWord::WORDS {
        let mut own: BTreeSet<&str> = IdentityKeys::KEYS.iter().map(|key| key.name).collect();
        let inner: Vec<&str> = inner_sections("identity")
            .filter(|inner| inner.takers.contains(word))
            .map(|inner| inner.name)
            .collect();
        let groups: &[&[Key]] = match kind {
            IdentityWord::Callback => &[CallbackOptions::KEYS, BackendOptions::KEYS],
            IdentityWord::Certificate => &[CertificateOptions::KEYS],
            IdentityWord::Cookie => &[CookieOptions::KEYS],
            IdentityWord::Header => &[HeaderOptions::KEYS],
            IdentityWord::Jwt => &[JwtOptions::KEYS, BackendOptions::KEYS],
            IdentityWord::Query => &[QueryOptions::KEYS],
            IdentityWord::Redis => &[TokenPlace::KEYS, RedisOptions::KEYS],
            IdentityWord::Tokens => &[TokenPlace::KEYS],
        };
        own.extend(groups.iter().copied().flatten().map(|key| key.name));
        let expected: &[&str] = match kind {
            IdentityWord::Jwt => &["identity.keys"],
            IdentityWord::Tokens => &["identity.tokens"],
            IdentityWord::Callback
            | IdentityWord::Certificate
            | IdentityWord::Cookie
            | IdentityWord::Header
            | IdentityWord::Query
            | IdentityWord::Redis => &[],
        };
        assert_eq!(inner, expected);
        assert_eq!(own, taken("identity", word), "{word}");
    }
}

#[test]
fn a_renamed_key_is_no_key() {
    for (old, _) in RENAMED {
        assert!(find(old).is_none() && find_section(old).is_none(), "{old}");
    }
}

#[test]
fn the_words_of_the_table_are_the_words_of_the_types() {
    for key in keys() {
        if let Rule::OneOf(words) = key.rule {
            for word in words {
                let (head, given) = match (key.name, *word) {
                    ("listener.kind", "line") => {
                        (LISTENER, "kind = \"line\"\nroute = \"/ws\"".to_owned())
                    }
                    ("listener.kind", _) => (LISTENER, format!("kind = \"{word}\"")),
                    ("listener.redirect", _) => (PLAIN_LISTENER, format!("redirect = \"{word}\"")),
                    ("listener.client_certificates", "off") => {
                        (TLS_LISTENER, format!("client_certificates = \"{word}\""))
                    }
                    ("listener.client_certificates", _) => (
                        TLS_LISTENER,
                        format!("client_ca = \"ca.pem\"\nclient_certificates = \"{word}\""),
                    ),
                    ("listener.proxy_protocol", _) => {
                        (PROXIES, format!("{}\nproxy_protocol = \"{word}\"", LISTENER))
                    }
                    ("forwarded_header", _) => (PROXIES, format!("forwarded_header = \"{word}\"")),
                    (name, _) if name.starts_with("tls.") => {
                        ("[tls]", format!("{} = \"{word}\"", key.leaf()))
                    }
                    (name, _) if name.starts_with("log.") => {
                        ("[log]", format!("{} = \"{word}\"", key.leaf()))
                    }
                    ("route.service", "relay") => (RELAY, String::new()),
                    ("route.service", "chat") => (CHAT, String::new()),
                    ("route.service", "events") => (EVENTS, String::new()),
                    ("route.dialect" | "route.pings", _) => {
                        (EVENTS, format!("{} = \"{word}\"", key.leaf()))
                    }
                    ("route.mode", _) => (RELAY_LAST, format!("mode = \"{word}\"")),
                    (name, _) if name.starts_with("upstream.") => {
                        (RELAY, format!("{} = \"{word}\"", key.leaf()))
                    }
                    ("route.service", _) => {
                        ("[[route]]\npath = \"/\"", format!("service = \"{word}\""))
                    }
                    ("route.name", "identity") => (IDENTITY_ROOM, String::new()),
                    ("route.name", "path") => (PATH_ROOM, "name = \"path\"".to_owned()),
                    ("route.name", "token") => (TOKEN_ROOM, String::new()),
                    (name, _) if name.starts_with("identity.") => {
                        (IDENTITY, identity_with(name, word))
                    }
                    ("engine.kind", "memory") => ("[engine]", "kind = \"memory\"".to_owned()),
                    (name, _) if name.starts_with("engine.") => {
                        ("[engine]", engine_with(key.leaf(), word))
                    }
                    (name, _) if name.starts_with("channels.namespace.") => {
                        ("[[channels.namespace]]", format!("{} = \"{word}\"", key.leaf()))
                    }
                    _ => (ROOM, format!("{} = \"{word}\"", key.leaf())),
                };
                Config::from_toml(&format!("{head}\n{given}\n"), "words.toml").unwrap();
            }
        }
    }
}

/// An engine whose key has this word.
fn engine_with(leaf: &str, word: &str) -> String {
    let kind = match (leaf, word) {
        ("kind", kind) => kind,
        ("storage", _) => "nats",
        _ => "redis",
    };
    let given = if leaf == "kind" { String::new() } else { format!("{leaf} = \"{word}\"") };
    format!("kind = \"{kind}\"\nurls = [\"{kind}://a\"]\n{given}")
}

/// The rest of an identity whose key has this word.
fn identity_with(name: &str, word: &str) -> String {
    match (name, word) {
        ("identity.kind", "callback") => {
            "kind = \"callback\"\ncallback_url = \"http://a/\"".to_owned()
        }
        ("identity.kind", "jwt") => "kind = \"jwt\"\njwks_url = \"http://a/\"".to_owned(),
        ("identity.kind", "cookie") => "kind = \"cookie\"\ncookie = \"user\"".to_owned(),
        ("identity.kind", "header") => "kind = \"header\"\nheader = \"X-User\"".to_owned(),
        ("identity.keys.algorithm", _) => {
            let key = match word.starts_with("HS") {
                true => format!("secret = \"{}\"", "s".repeat(64)),
                false => "file = \"a.pem\"".to_owned(),
            };
            format!("kind = \"jwt\"\nkeys = [{{ algorithm = \"{word}\", {key} }}]")
        }
        ("identity.place", _) => format!("kind = \"tokens\"\nplace = \"{word}\""),
        ("identity.certificate_user", _) => {
            format!("kind = \"certificate\"\ncertificate_user = \"{word}\"")
        }
        _ => format!("kind = \"{word}\""),
    }
}

const PROXIES: &str = "trusted_proxies = [\"10.0.0.0/8\"]";
const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:1\"";
const TLS_LISTENER: &str = "[[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n\
                            [[listener]]\naddress = \"127.0.0.1:1\"\ntls = true";
const PLAIN_LISTENER: &str = "[[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n\
                              [[listener]]\naddress = \"127.0.0.1:1\"\ntls = true\n\
                              [[listener]]\naddress = \"127.0.0.1:2\"";
const RELAY: &str = "[[route]]\npath = \"/\"\nservice = \"relay\"\nmode = \"bytes\"\nupstream = \"a\"\n\
                     [[upstream]]\nname = \"a\"\nservers = [\"a:1\"]";
const RELAY_LAST: &str = "[[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\n\
                          [[route]]\npath = \"/\"\nservice = \"relay\"\nupstream = \"a\"";
const EVENTS: &str = "[[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\n\
                      [[route]]\npath = \"/\"\nservice = \"events\"\nupstream = \"a\"";
const CHAT: &str = "[[route]]\npath = \"/\"\nservice = \"chat\"\n\
                    [[route]]\npath = \"/connection/websocket\"\nservice = \"channels\"";
const ROOM: &str = "[[route]]\npath = \"/\"\nservice = \"room\"";
const IDENTITY: &str = "[[identity]]\nname = \"a\"";
const IDENTITY_ROOM: &str = "[[identity]]\nname = \"a\"\nkind = \"query\"\n\
                             [[route]]\npath = \"/\"\nservice = \"room\"\n\
                             name = \"identity\"\nidentity = [\"a\"]";
const PATH_ROOM: &str = "[[route]]\npath = \"/:name\"\nservice = \"room\"";
const TOKEN_ROOM: &str =
    "[[route]]\npath = \"/:name/:token\"\nservice = \"room\"\nname = \"token\"";

#[test]
fn the_largest_backlog_fits_the_counter_of_a_connection() {
    let max = |name: &str| {
        let key = keys().find(|key| key.name == name).unwrap();
        let Rule::Integer { max, .. } = key.rule else { panic!("{name} is a number") };
        usize::try_from(max).unwrap()
    };
    let mut config = Config::default();
    config.limits.message_bytes_max = max("limits.message_bytes_max");
    config.limits.backlog_high_bytes = max("limits.backlog_high_bytes");
    config.limits.backlog_hard_bytes = max("limits.backlog_hard_bytes");
    let limits = config.resolve(GRANTED).limits;
    // Replies until reading stops: nearly the high mark waits, and then all of a read buffer may be
    // sent back.
    let buffer = limits.message_bytes_largest + CLIENT_CONTROL_FRAME_BYTES_MAX;
    let buffer = buffer.max(max("turn.receive_buffer_bytes").next_power_of_two());
    let replies = 2 * limits.backlog_high_bytes + buffer;
    // JSON writes a control character as six.
    let pushed = 6 * limits.message_bytes_largest + FRAME_AROUND_TEXT_BYTES;
    for waiting in [
        // Pushed up to the hard mark, or one message to an empty queue.
        limits.backlog_hard_bytes.max(pushed),
        // The one that is partly written, and the latest.
        2 * pushed,
    ] {
        assert!(u32::try_from(waiting + replies).is_ok(), "{waiting} + {replies}");
    }
}

/// More than a name, a header and the rest of an event need.
const FRAME_AROUND_TEXT_BYTES: usize = 1024;
