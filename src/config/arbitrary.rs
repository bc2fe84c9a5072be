//! Random valid configurations, for the properties that must hold for all of them. The values of
//! keys come from their declarations; here they are made to agree with each other.

use std::sync::LazyLock;

use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::BoxedStrategy;
use toml::Value;

use super::declare::Keys;
use super::route::PublishOptions;
use super::setting::Setting;
use super::surroundings::Surroundings;
use super::{
    AcmeOptions, AddressOptions, AdminAddress, AdminOptions, ApiOptions, CertificateFiles,
    ChannelsOptions, ChatOptions, ClientCertificates, Config, CookieOptions, EngineKind,
    EngineOptions, EventsOptions, ForwardOptions, ForwardedHeader, HeaderOptions, HeaderPolicy,
    HealthChoice, Hosts, Identity, IdentityKind, Limits, Listener, ListenerKind, LogOptions,
    NameKind, NamespaceOptions, OverloadOptions, PlaceKind, ProcessOptions, ProxyOptions,
    QueryOptions, Redirect, RedisDeployment, RedisOptions, RelayOptions, RoomOptions, Route,
    RouteService, RpcOptions, Rule, Secret, ServerUrl, ServiceKind, SlowPolicy, SocketOptions,
    Timeouts, TlsOptions, Token, TokenPlace, Turn, UpstreamOptions, WebSocketOptions,
    WebhookOptions,
};
use crate::upstream::Balance;

/// Every token and every password, so that a test can put them back where they were not printed.
pub(super) const SECRET: &str = "s3cret-of-18-bytes";

/// Where secrets come from for a file with this name: `${SECRET}` and `${URL}` are set.
pub(super) fn surroundings(file_name: &str) -> Surroundings {
    Surroundings::new(file_name, |name| match name {
        "SECRET" => Some(SECRET.to_owned()),
        "URL" => Some(format!("redis://user:{SECRET}@host")),
        _ => None,
    })
}

/// Any configuration that [`Config::validate`] accepts.
pub(super) fn config() -> impl Strategy<Value = Config> {
    let backends = (ApiOptions::arbitrary(), WebhookOptions::arbitrary());
    let logging = (AdminOptions::arbitrary(), backends, LogOptions::arbitrary());
    let process = (ProcessOptions::arbitrary(), logging, listeners(), tls());
    let limits = (Limits::arbitrary(), AddressOptions::arbitrary());
    let numbers = (limits, Timeouts::arbitrary(), Turn::arbitrary());
    let routes = (routes(), vec(UpstreamOptions::arbitrary(), 3));
    let rest = (SocketOptions::arbitrary(), routes, identities(), any::<prop::sample::Index>());
    let process = (process, AcmeOptions::arbitrary(), OverloadOptions::arbitrary());
    let proxies = (vec(ProxyOptions::arbitrary(), 2), vec(RpcOptions::arbitrary(), 0..3));
    let namespaces = vec(NamespaceOptions::arbitrary(), 0..3);
    let channels = (ChannelsOptions::arbitrary(), namespaces, proxies, EngineOptions::arbitrary());
    (process, numbers, rest, channels).prop_map(
        |(
            (
                (process, (admin, (api, webhooks), log), listeners, (certificates, tls)),
                acme,
                overload,
            ),
            ((limits, addresses), timeouts, turn),
            (socket, (routes, upstreams), identities, index),
            (channels, namespaces, (proxies, rpcs), engine),
        )| {
            let mut config = Config {
                process,
                listeners,
                certificates,
                acme,
                tls,
                admin,
                api,
                webhooks,
                log,
                limits,
                addresses,
                overload,
                timeouts,
                turn,
                socket,
                routes,
                identities,
                upstreams: Vec::new(),
                channels,
                namespaces,
                proxies,
                rpcs,
                engine,
            };
            agree_on_proxies(&mut config);
            agree_on_upstreams(&mut config, &upstreams);
            agree_on_tls(&mut config);
            agree_on_admin(&mut config);
            agree_on_routes(&mut config, index);
            agree_on_redirects(&mut config);
            agree_on_acme(&mut config);
            agree_on_limits(&mut config);
            agree_on_channels(&mut config);
            agree_on_engine(&mut config.engine);
            agree_on_channel_proxies(&mut config);
            config
        },
    )
}

/// One route serves channels, and namespaces have names of their own.
/// An engine elsewhere is reached somewhere, and has no options of another.
fn agree_on_engine(engine: &mut EngineOptions) {
    let none = EngineOptions::default();
    if !cfg!(all(feature = "redis", feature = "nats")) {
        engine.kind = EngineKind::Memory;
    }
    let (is_redis, is_nats) = match engine.kind {
        EngineKind::Memory => return *engine = none,
        EngineKind::Redis => (true, false),
        EngineKind::Nats => (false, true),
    };
    engine.prefix = "edge".to_owned();
    engine.urls = vec![if is_redis { "redis://a:1" } else { "nats://a:1" }.to_owned()];
    if !is_redis {
        engine.deployment = none.deployment;
    }
    if engine.deployment != RedisDeployment::Sentinel {
        engine.sentinel_master = none.sentinel_master;
    }
    if !is_nats {
        (engine.replicas, engine.storage) = (none.replicas, none.storage);
        engine.partitions = none.partitions;
    }
    if !is_nats || engine.password.is_some() {
        engine.credentials = None;
    }
    if engine.password.is_none() {
        engine.user = None;
    }
}

fn agree_on_channels(config: &mut Config) {
    let mut is_first = true;
    for route in &mut config.routes {
        let RouteService::Channels { websocket } = &mut route.service else { continue };
        websocket.slow_policy = SlowPolicy::Disconnect;
        if !std::mem::take(&mut is_first) {
            route.service = RouteService::Echo { websocket: websocket.clone() };
        }
    }
    // A chat needs channels, and there is one.
    let mut has_no_chat = !is_first;
    for route in &mut config.routes {
        if route.service.chat().is_some() && !std::mem::take(&mut has_no_chat) {
            route.service = RouteService::Page;
        }
    }
    for (number, namespace) in config.namespaces.iter_mut().enumerate() {
        namespace.name = if number == 0 { String::new() } else { format!("n-{number}") };
    }
    let channels = &mut config.channels;
    // Identities of kind jwt have many rules of their own.
    (channels.tokens, channels.subscription_tokens) = (None, None);
    if channels.ping_ms > 0 {
        channels.pong_ms = channels.pong_ms.min(channels.ping_ms - 1);
    }
}

/// Proxies lead to upstreams that are there, and what names a proxy names one that is there.
fn agree_on_channel_proxies(config: &mut Config) {
    let upstream = config.upstreams.first().map(|own| own.name.clone());
    match upstream.filter(|_| cfg!(feature = "http-backends")) {
        Some(upstream) => {
            for (number, proxy) in config.proxies.iter_mut().enumerate() {
                (proxy.name, proxy.upstream) = (format!("p-{number}"), upstream.clone());
                (proxy.headers, proxy.emulated_headers) = (vec!["Cookie".to_owned()], Vec::new());
                proxy.statuses = vec!["404 error 404 not found".to_owned()];
            }
        }
        None => (config.proxies, config.rpcs) = (Vec::new(), Vec::new()),
    }
    let names: Vec<String> = config.proxies.iter().map(|own| own.name.clone()).collect();
    let agree = |name: &mut Option<String>, number: usize| {
        let known = names.get(number % names.len().max(1));
        *name = name.take().and_then(|_| known.cloned());
    };
    agree(&mut config.channels.connect_proxy, 0);
    agree(&mut config.channels.refresh_proxy, 1);
    for (number, own) in config.namespaces.iter_mut().enumerate() {
        agree(&mut own.subscribe_proxy, number);
        agree(&mut own.publish_proxy, number + 1);
        agree(&mut own.sub_refresh_proxy, number);
    }
    for (number, own) in config.rpcs.iter_mut().enumerate() {
        own.method = format!("m-{number}:*");
        own.proxy = names.first().cloned().unwrap_or_default();
    }
}

/// Routes that listeners and identities are named by exist.
fn agree_on_routes(config: &mut Config, index: prop::sample::Index) {
    let joined = config.routes.iter().find(|route| takes_lines(route));
    let joined = joined.and_then(|route| route.paths().last()).map(str::to_owned);
    for listener in &mut config.listeners {
        listener.route = joined.clone().filter(|_| listener.kind == ListenerKind::Line);
        if listener.route.is_none() {
            listener.kind = ListenerKind::Http;
        } else {
            listener.hosts = Hosts::ByAddress;
        }
    }
    let names: Vec<String> = config.identities.iter().map(|own| own.name.clone()).collect();
    let in_path: Vec<bool> = config.identities.iter().map(|own| own.kind.is_in_path()).collect();
    for route in &mut config.routes {
        let asks_for_tokens = route.service.room().is_some_and(RoomOptions::asks_for_tokens);
        // A path has the segments of a token where it is the room's name.
        let fitting = names.iter().zip(&in_path).filter(|(_, is_in)| **is_in == asks_for_tokens);
        let fitting: Vec<String> = fitting.map(|(name, _)| name.clone()).collect();
        let Some(websocket) = route.service.websocket_mut() else { continue };
        let is_given = websocket.identity.is_some() && !fitting.is_empty();
        let taken = is_given.then(|| vec![index.get(&fitting).clone()]);
        websocket.identity.clone_from(&taken);
        websocket.identity_optional &= taken.is_some();
        if let RouteService::Room { room, .. } = &mut route.service {
            for names in [&mut room.read, &mut room.write, &mut room.see_members] {
                *names = names.as_ref().and_then(|_| taken.clone());
            }
            if room.name == NameKind::Identity && taken.is_none() {
                room.name = NameKind::Query;
            }
        }
    }
}

/// A header that may be left out is one that only trusted proxies may send.
fn agree_on_proxies(config: &mut Config) {
    if config.process.trusted_proxies.is_empty() {
        config.process.forwarded_header = ForwardedHeader::default();
        for listener in &mut config.listeners {
            if listener.proxy_protocol == HeaderPolicy::Optional {
                listener.proxy_protocol = HeaderPolicy::Required;
            }
        }
    }
}

/// Each relay has an upstream of its own, as far as there are any; others become echoes.
fn agree_on_upstreams(config: &mut Config, upstreams: &[UpstreamOptions]) {
    // Events and webhooks need HTTP.
    let events = |own: &mut Route| {
        if let RouteService::Events { websocket, .. } = &own.service {
            own.service = RouteService::Echo { websocket: websocket.clone() };
        }
        if let Some(websocket) = own.service.websocket_mut() {
            websocket.webhook = None;
        }
    };
    if !cfg!(feature = "http-backends") {
        config.routes.iter_mut().for_each(events);
    }
    let mut left = upstreams.iter().cloned().enumerate();
    for route in &mut config.routes {
        if let RouteService::Events { events, .. } = &mut route.service {
            events.route_selection = EventsOptions::default().route_selection;
        }
        let is_relay = route.service.relay().is_some();
        let (RouteService::Relay { websocket, forward, .. }
        | RouteService::Events { websocket, forward, .. }) = &mut route.service
        else {
            continue;
        };
        match left.next() {
            Some((number, mut upstream)) => {
                upstream.name = format!("{number}-{}", upstream.name);
                upstream.servers.push(format!("[::1]:{}", number + 1));
                // Its route has no identity.
                if upstream.balance != Balance::Hash || upstream.hash_by == "user" {
                    upstream.hash_by = "address".to_owned();
                }
                if upstream.health == HealthChoice::Off {
                    leave_checks_out(&mut upstream);
                }
                agree_on_upstream_tls(&mut upstream);
                forward.upstream.clone_from(&upstream.name);
                // A path of the route may end in *.
                forward.rewrite = forward.rewrite.take().filter(|path| !path.ends_with("/*"));
                if is_relay {
                    let origins = websocket.origins.clone();
                    *websocket = WebSocketOptions { origins, ..WebSocketOptions::default() };
                }
                config.upstreams.push(upstream);
            }
            None => {
                let websocket = websocket.clone();
                route.service = RouteService::Echo { websocket };
            }
        }
    }
}

/// Without checks nothing can be said of them.
fn leave_checks_out(upstream: &mut UpstreamOptions) {
    upstream.health_path = "/".to_owned();
    upstream.health_host = None;
    (upstream.health_every_ms, upstream.health_timeout_ms) = (5000, 2000);
    (upstream.health_fall, upstream.health_rise) = (3, 2);
}

/// Without TLS nothing can be said of it; a certificate comes with its key, and a Unix socket has no name.
fn agree_on_upstream_tls(upstream: &mut UpstreamOptions) {
    let is_nameless = upstream.servers.iter().any(|own| own.starts_with("unix:"));
    upstream.tls &= upstream.tls_name.is_some() || !is_nameless;
    if !upstream.tls {
        (upstream.tls_verify, upstream.tls_name) = (true, None);
    }
    if !upstream.tls || !upstream.tls_verify {
        upstream.tls_ca = None;
    }
    if !upstream.tls || upstream.tls_certificate.is_none() || upstream.tls_key.is_none() {
        (upstream.tls_certificate, upstream.tls_key) = (None, None);
    }
}

/// Certificates are for listeners with TLS, and such listeners have certificates.
fn agree_on_tls(config: &mut Config) {
    for listener in &mut config.listeners {
        listener.tls &= !config.certificates.is_empty();
        if !listener.tls || listener.client_ca.is_none() {
            listener.client_certificates = ClientCertificates::Off;
        }
        if !listener.asks_for_certificates() {
            listener.client_ca = None;
        }
    }
    if !config.listeners.iter().any(|listener| listener.tls) {
        config.certificates.clear();
    }
}

/// Listeners redirect to others, which speak TLS.
fn agree_on_redirects(config: &mut Config) {
    let has_https = config.listeners.iter().any(Listener::is_https);
    for listener in &mut config.listeners {
        if !has_https || listener.tls || listener.kind == ListenerKind::Line {
            listener.redirect = Redirect::Off;
        }
        if !listener.redirects() {
            listener.redirect_port = None;
        }
    }
}

/// Challenges are answered by a listener that redirects.
fn agree_on_acme(config: &mut Config) {
    let answers = cfg!(feature = "acme") && config.listeners.iter().any(Listener::redirects);
    if !answers || config.acme.cache_dir.is_none() || !config.acme.is_on() {
        config.acme = AcmeOptions::default();
    }
}

/// Readiness needs only what is there.
fn agree_on_admin(config: &mut Config) {
    let redis = config.identities.iter().find(|own| matches!(own.kind, IdentityKind::Redis(..)));
    let name = redis.map(|own| own.name.clone());
    let needs = !config.admin.ready_needs.is_empty();
    config.admin.ready_needs = name.filter(|_| needs).into_iter().collect();
    let is_taken = config.admin.address.as_ref() == Some(&config.api.address);
    if is_taken || !config.api.address.is_local() && config.api.keys.is_none() {
        config.api.address = AdminAddress::Off;
    }
    if !cfg!(feature = "admin") {
        config.admin.address = Some(AdminAddress::Off);
        config.api.address = AdminAddress::Off;
    }
}

fn agree_on_limits(config: &mut Config) {
    let handshake_ms = config.timeouts.handshake_ms.max(11);
    config.timeouts.handshake_ms = handshake_ms;
    for identity in &mut config.identities {
        if let IdentityKind::Redis(_, redis) = &mut identity.kind {
            redis.lookup_ms = redis.lookup_ms.min(handshake_ms - 1);
        }
    }
    let limits = &mut config.limits;
    if let (Some(half_open), Some(connections)) =
        (&mut limits.half_open_max, limits.connections_max)
    {
        *half_open = connections.min(*half_open);
    }
    let least = config.pool_bytes_least();
    config.limits.pool_bytes_max = config.limits.pool_bytes_max.max(least);
}

/// Whether line clients may join.
fn takes_lines(route: &Route) -> bool {
    route.service.is_websocket()
        && route.service.forward().is_none()
        && !route.service.room().is_some_and(RoomOptions::asks_for_tokens)
}

fn listeners() -> impl Strategy<Value = Vec<Listener>> {
    vec(Listener::arbitrary(), 1..4).prop_map(|mut listeners| {
        let mut seen = std::collections::HashSet::new();
        listeners.retain(|listener| seen.insert(listener.address));
        listeners
    })
}

fn tls() -> impl Strategy<Value = (Vec<CertificateFiles>, TlsOptions)> {
    (vec(CertificateFiles::arbitrary(), 0..3), TlsOptions::arbitrary())
}

fn routes() -> impl Strategy<Value = Vec<Route>> {
    let routes = btree_set(PATH, 1..5)
        .prop_flat_map(|paths| paths.into_iter().map(route).collect::<Vec<_>>());
    (routes, vec(0_usize..3, 4), any::<bool>()).prop_map(
        |(mut routes, alias_counts, shares_a_path)| {
            for (index, route) in routes.iter_mut().enumerate() {
                route.aliases = aliases(index, alias_counts[index], &route.path);
            }
            let echo = |route: &&Route| route.service.kind() == ServiceKind::Echo;
            let shared = routes.iter().find(echo).map(|route| route.path.clone());
            routes.extend(
                shared.filter(|_| shares_a_path).map(|path| Route::new(path, ServiceKind::Hall)),
            );
            routes
        },
    )
}

/// Paths that no other route has: the first segment is longer than that of any, and the others,
/// with their parameters, stay where they are.
fn aliases(route: usize, count: usize, path: &str) -> Vec<String> {
    let rest = path[1..].find('/').map_or("", |slash| &path[1 + slash..]);
    // A parameter cannot give way to a word.
    let count = if path.starts_with("/:") { 0 } else { count };
    (0..count).map(|alias| format!("/alias-{route}-{alias}{rest}")).collect()
}

fn route(path: String) -> impl Strategy<Value = Route> {
    let options = (
        WebSocketOptions::arbitrary().prop_map(without_idle),
        PublishOptions::arbitrary(),
        (RelayOptions::arbitrary(), ForwardOptions::arbitrary(), EventsOptions::arbitrary()),
        (RoomOptions::arbitrary(), ChatOptions::arbitrary()),
    );
    let hosts = <Vec<String> as Setting>::arbitrary(Rule::RouteHosts);
    (ServiceKind::arbitrary(Rule::Boolean), options, any::<bool>(), hosts).prop_map(
        move |(
            kind,
            (websocket, publish, (relay, forward, events), (room, chat)),
            names_room,
            hosts,
        )| {
            let order = publish.order;
            let mut path = path.clone();
            let service = match kind {
                ServiceKind::Broadcast => RouteService::Broadcast { websocket, order },
                ServiceKind::Channels => RouteService::Channels { websocket },
                ServiceKind::Chat => RouteService::Chat { chat },
                ServiceKind::Echo => RouteService::Echo { websocket },
                ServiceKind::Events => {
                    RouteService::Events { websocket, forward, events: Box::new(events) }
                }
                ServiceKind::Hall => RouteService::Hall,
                ServiceKind::Page => RouteService::Page,
                ServiceKind::Relay => {
                    let relay = without_idle_http(relay);
                    RouteService::Relay { websocket, forward, relay }
                }
                ServiceKind::Room => {
                    path += if names_room { "/:room" } else { "" };
                    path += match room.name {
                        NameKind::Address
                        | NameKind::First
                        | NameKind::Identity
                        | NameKind::Query => "",
                        NameKind::Path => "/:name",
                        NameKind::Token => "/:name/:token",
                    };
                    RouteService::Room { websocket, order, room }
                }
            };
            Route { path, hosts, aliases: Vec::new(), service }
        },
    )
}

/// Where no plain requests are passed on, nothing can be said of them.
fn without_idle_http(relay: RelayOptions) -> RelayOptions {
    let RelayOptions { mode, http, .. } = relay;
    if http { relay } else { RelayOptions { mode, http, ..RelayOptions::default() } }
}

/// The options without those that mean nothing beside the others.
fn without_idle(mut options: WebSocketOptions) -> WebSocketOptions {
    let default = WebSocketOptions::default();
    options.deflate_context_takeover &= options.deflate;
    if !options.deflate_context_takeover {
        options.deflate_window_bits_max = default.deflate_window_bits_max;
    }
    if options.messages_per_s == 0 {
        options.messages_burst = None;
    }
    if options.bytes_per_s == 0 {
        options.bytes_burst = None;
    }
    if options.user_messages_per_s == 0 {
        options.user_messages_burst = None;
    }
    if options.user_bytes_per_s == 0 {
        options.user_bytes_burst = None;
    }
    options
}

fn identities() -> impl Strategy<Value = Vec<Identity>> {
    let kind = prop_oneof![
        (token_place(), RedisOptions::arbitrary())
            .prop_map(|(place, redis)| IdentityKind::Redis(place, redis)),
        (token_place(), vec(Token::arbitrary(), 0..3)).prop_map(|(place, mut tokens)| {
            let mut seen = std::collections::HashSet::new();
            tokens.retain(|token| seen.insert(token.name.clone()));
            IdentityKind::Tokens(place, tokens)
        }),
        CookieOptions::arbitrary().prop_map(IdentityKind::Cookie),
        HeaderOptions::arbitrary().prop_map(IdentityKind::Header),
        QueryOptions::arbitrary().prop_map(IdentityKind::Query),
    ];
    let names = btree_set(text(Rule::Name), 0..3);
    (names, vec(kind, 3)).prop_map(|(names, kinds)| {
        let pairs = names.into_iter().zip(kinds);
        pairs.map(|(name, kind)| Identity { name, kind }).collect()
    })
}

/// A place without keys that mean nothing beside it.
fn token_place() -> impl Strategy<Value = TokenPlace> {
    TokenPlace::arbitrary().prop_map(|own| match own.place {
        PlaceKind::Path => TokenPlace::default(),
        PlaceKind::Cookie | PlaceKind::Query => own,
    })
}

/// A text that the rule accepts, or one item of a list. None that looks as a secret does where it is printed.
pub(super) fn text(rule: Rule) -> BoxedStrategy<String> {
    any_text(rule).prop_filter("no hidden secret", |text| !text.contains("***")).boxed()
}

fn any_text(rule: Rule) -> BoxedStrategy<String> {
    match rule {
        Rule::Identities | Rule::Name | Rule::Upstream => "[!-~é张]{1,16}".boxed(),
        Rule::LocalAddresses => "10\\.0\\.0\\.[1-9]".boxed(),
        Rule::Domain | Rule::Domains => "[a-z]{1,8}(\\.[a-z]{2,5}){0,2}".boxed(),
        Rule::HttpsUrl => "https://[a-z]{1,8}(:[1-9][0-9]{3})?(/[a-z]{0,5})?".boxed(),
        Rule::Hosts => prop_oneof![
            "[a-z0-9-]{1,8}(\\.[a-z]{2,5}){0,2}",
            any::<std::net::Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        ]
        .boxed(),
        Rule::RouteHosts => "(\\*\\.)?[a-z]{1,8}(\\.[a-z]{2,5}){0,2}".boxed(),
        Rule::HashBy => prop_oneof!["address|user", "(cookie|header):[A-Za-z-]{1,8}",].boxed(),
        Rule::HeaderLines => "X-[a-z]{1,6}: [a-z]{1,6}".boxed(),
        Rule::HeaderNames => "[A-Za-z-]{1,8}".boxed(),
        Rule::HostHeader => "[a-z]{1,8}(:[1-9][0-9]{1,3})?".boxed(),
        Rule::EngineUrls => "(redis|nats)://[a-z]{1,8}(:[1-9][0-9]{3})?".boxed(),
        Rule::Servers => prop_oneof![
            "[a-z]{1,8}:[1-9][0-9]{1,3}( weight=[1-9][0-9]?)?",
            "10\\.0\\.0\\.[1-9]:[1-9][0-9]{1,3}",
            "unix:/[a-z/]{1,8}",
        ]
        .boxed(),
        Rule::Line => prop_oneof![
            select(vec!["bare", "console", "from", "named"]).prop_map(str::to_owned),
            "[a-z :]{0,8}(\\{name\\})?[a-z :]{0,8}\\{message\\}[a-z :]{0,8}",
        ]
        .boxed(),
        Rule::Origins => prop_oneof![
            Just("null".to_owned()),
            "https?://[a-z0-9-]{1,8}(\\.[a-z]{2,5})?(:[1-9][0-9]{3})?",
        ]
        .boxed(),
        Rule::Path | Rule::Paths | Rule::RoutePath => PATH.boxed(),
        Rule::Subprotocols | Rule::Token => "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,12}".boxed(),
        Rule::PublicAlgorithms => {
            select(vec!["RS256", "PS512", "ES384", "EdDSA"]).prop_map(str::to_owned).boxed()
        }
        Rule::Text { .. } | Rule::Texts => "[ -~]{3,16}".boxed(),
        Rule::Address
        | Rule::AdminAddress
        | Rule::Boolean
        | Rule::File
        | Rule::Folder
        | Rule::HttpUrl
        | Rule::Integer { .. }
        | Rule::LogFile
        | Rule::Networks
        | Rule::OneOf(_)
        | Rule::RedisUrl
        | Rule::Secret { .. } => panic!("{rule:?} is not for this type"),
    }
}

/// [`SECRET`], given in any on_connect.
pub(super) fn secret() -> BoxedStrategy<Secret> {
    prop_oneof![
        Just(Secret::new(SECRET)),
        Just(Secret::read(&Value::from("${SECRET}"), &surroundings("")).unwrap()),
        Just(Secret::read_file(&file("secret", SECRET), &surroundings("")).unwrap()),
    ]
    .boxed()
}

/// A URL, with or without a password, given in any on_connect.
pub(super) fn server_url(rule: Rule) -> BoxedStrategy<ServerUrl> {
    if matches!(rule, Rule::HttpUrl) {
        // Without a query, which would not be printed.
        return "http://[a-z]{1,8}(:[1-9][0-9]{3})?/[a-z]{0,4}".prop_map(ServerUrl::new).boxed();
    }
    let in_file = file("url", &format!("redis://user:{SECRET}@[::1]/"));
    prop_oneof![
        "redis://[a-z]{1,8}(:[1-9][0-9]{3})?(/[0-9])?".prop_map(ServerUrl::new),
        "unix:///[a-z/.]{1,12}".prop_map(ServerUrl::new),
        Just(ServerUrl::new(format!("redis://user:{SECRET}@[::1]/"))),
        Just(ServerUrl::read(&Value::from("${URL}"), &surroundings("")).unwrap()),
        Just(ServerUrl::read_file(&in_file, &surroundings("")).unwrap()),
    ]
    .boxed()
}

/// The path of a file with this text.
fn file(name: &str, text: &str) -> Value {
    static FOLDER: LazyLock<tempfile::TempDir> = LazyLock::new(|| tempfile::tempdir().unwrap());
    let path = FOLDER.path().join(name);
    if !path.exists() {
        std::fs::write(&path, format!("{text}\n")).unwrap();
    }
    Value::from(path.to_str().unwrap())
}

/// No segment begins with a colon, which would make a parameter of it.
const PATH: &str = "(/(([a-z0-9._~!$&'()*+,;=@-]|%[0-9a-fA-F]{2}):?){0,3}){1,4}";
