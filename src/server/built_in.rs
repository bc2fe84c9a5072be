//! The built-in services that a configuration mounts, and on which paths.

use std::collections::HashMap;
use std::sync::Arc;

use crate::centrifugo::Disconnect;
use crate::channels::Namespaces;
use crate::config::{
    self, ChatOptions, EventsOptions, ForwardOptions, Identity, IdentityKind, NameKind,
    NamespaceOptions, Origins, PingChoice, PlaceKind, ResolvedConfig, ResolvedRoute,
    ResolvedWebSocket, RoomOptions, RouteService, ServiceKind, TokenPlace, UpstreamOptions,
};
use crate::http::{ForwardRules, HeaderValue, OriginRule, SetHeader, Subprotocol};
use crate::services::channels::{
    self, Channels, ChannelsSettings, NamespaceProxies, OccupancySettings,
};
use crate::services::chat::{ChatIdentity, ChatPage, ChatSessions, SessionKey, chat_namespaces};
use crate::services::identity::{
    CertificateIdentity, NoIdentity, StatedIdentity, StatedIn, TokenIdentity, TokenIn, Tokens,
};
use crate::services::room::{IdentityRights, LineFormat, NameSource, Room, RoomSettings};
use crate::services::{
    BalanceBy, Broadcast, BuiltInPage, Echo, Events, EventsSettings, Handler, Identities,
    IdentityCheck, LoopSite, NoEventBackend, Order, Page, Relay, RelayMode, RelaySettings, Route,
    RouteId, RouteOptions, Service, SharedChannelProxy, SharedEngineLink, SharedEventBackend,
    SharedRouteObserver,
};
use crate::upstream::{ServerSet, Upstream};
use crate::ws::CloseCode;

/// What checks identities that need other servers, by the name of the identity.
pub type IdentityChecks = HashMap<String, Arc<dyn IdentityCheck>>;

/// What tells backends of events, by the route.
pub type EventBackends = HashMap<RouteId, SharedEventBackend>;

/// What is told of the connections of each route that is observed.
pub type RouteObservers = HashMap<RouteId, SharedRouteObserver>;

/// What asks backends about connections of channels, by its name.
pub type ChannelProxies = HashMap<String, SharedChannelProxy>;

/// What is asked about connections of channels, and the engine that several gateways share if there is one.
pub type ForChannels<'r> = (&'r ChannelProxies, Option<&'r SharedEngineLink>);

/// The upstreams of relays, by their names.
pub type Upstreams = HashMap<String, Arc<Upstream>>;

/// The routes of a configuration. A relay leads to the upstream under its name in `upstreams`; without
/// one it has no server. A route with events is told by its backend in `event_backends`; without one it lets
/// no client in. An identity that needs another server is asked by its name in `checks`; without
/// a check there it lets no client in.
#[must_use]
pub fn built_in_routes(
    settings: &ResolvedConfig,
    checks: &IdentityChecks,
    upstreams: &Upstreams,
    (event_backends, observers): (&EventBackends, &RouteObservers),
    for_channels: ForChannels<'_>,
) -> Vec<Route> {
    let all: IdentityChecks = settings
        .identities
        .iter()
        .map(|identity| (identity.name.clone(), check_of(identity, checks)))
        .collect();
    let chat = settings.routes.iter().find_map(|route| Chat::new(route.service.chat()?));
    let route = |route: &ResolvedRoute| match &route.service {
        RouteService::Relay { websocket, forward, relay } => {
            let own = settings.upstreams.iter().find(|own| own.name == forward.upstream);
            let options = options(websocket, identities_of(route, &all));
            let options = RouteOptions { http: relay.http_options(), ..options };
            relay_route(route, options, (forward, relay.mode), own, upstreams)
        }
        RouteService::Events { websocket, forward, events } => {
            let options = options(websocket, identities_of(route, &all));
            events_route(route, options, (forward, events), event_backends.get(&route.id))
        }
        RouteService::Channels { websocket } => {
            let slow_code = Disconnect::Slow.close_code();
            let drain_code = Disconnect::Shutdown.close_code();
            let identities = channels_identities(route, settings, &all, chat.as_ref());
            // What they miss meanwhile they get where they come back to.
            let is_told_first = true;
            let options = options(websocket, identities);
            let options = RouteOptions { slow_code, drain_code, is_told_first, ..options };
            let observer = observers.get(&route.id);
            channels_route(route, options, settings, (&all, observer, for_channels))
        }
        RouteService::Chat { .. } => chat_route(route, settings, chat.as_ref()),
        RouteService::Broadcast { .. }
        | RouteService::Echo { .. }
        | RouteService::Hall
        | RouteService::Page
        | RouteService::Room { .. } => built_in_route(route, &all, for_channels.1),
    };
    let observed = |own: &ResolvedRoute| {
        let mut route = route(own);
        if let Handler::Socket(_, options) = &mut route.handler {
            options.observer = observers.get(&own.id).cloned();
        }
        route
    };
    settings.routes.iter().map(observed).collect()
}

/// What checks an identity.
fn check_of(identity: &Identity, checks: &IdentityChecks) -> Arc<dyn IdentityCheck> {
    let name = identity.name.as_str();
    match &identity.kind {
        IdentityKind::Certificate(own) => {
            Arc::new(CertificateIdentity::new(name, own.certificate_user))
        }
        IdentityKind::Cookie(own) => {
            Arc::new(StatedIdentity::new(name, StatedIn::Cookie(own.cookie.clone())))
        }
        IdentityKind::Header(own) => {
            Arc::new(StatedIdentity::new(name, StatedIn::Header(own.header.clone())))
        }
        IdentityKind::Query(own) => {
            Arc::new(StatedIdentity::new(name, StatedIn::Query(own.parameter.clone())))
        }
        IdentityKind::Callback(..) | IdentityKind::Jwt(..) | IdentityKind::Redis(..) => {
            match checks.get(name) {
                Some(check) => Arc::clone(check),
                None => Arc::new(NoIdentity),
            }
        }
        IdentityKind::Tokens(place, tokens) => {
            let pairs = tokens.iter();
            let pairs = pairs.map(|own| (own.name.clone(), own.token.expose().to_owned()));
            let tokens = Tokens::Configured(Arc::new(pairs.collect()));
            Arc::new(TokenIdentity::new(name, token_in(place), tokens))
        }
    }
}

/// Where clients state their name and show their token.
pub(crate) fn token_in(options: &TokenPlace) -> TokenIn {
    let (name, token) = (options.name_key.clone(), options.token_key.clone());
    match options.place {
        PlaceKind::Cookie => TokenIn::Cookie { name, token },
        PlaceKind::Path => TokenIn::Path,
        PlaceKind::Query => TokenIn::Query { name, token },
    }
}

/// What clients of a route must show.
fn identities_of(route: &ResolvedRoute, all: &IdentityChecks) -> Identities {
    let named = route.identities().iter().filter_map(|name| all.get(name)).map(Arc::clone);
    let mut checks: Vec<Arc<dyn IdentityCheck>> = named.collect();
    let asks_for_tokens = route.service.room().is_some_and(RoomOptions::asks_for_tokens);
    if checks.is_empty() && asks_for_tokens {
        // There is no token that could be right.
        let none = Tokens::Configured(Arc::default());
        checks.push(Arc::new(TokenIdentity::new("tokens", TokenIn::Path, none)));
    }
    let websocket = route.service.websocket();
    Identities::new(checks, websocket.is_some_and(|own| own.identity_optional))
}

fn built_in_route(
    route: &ResolvedRoute,
    all: &IdentityChecks,
    engine: Option<&SharedEngineLink>,
) -> Route {
    let options = |websocket| options(websocket, identities_of(route, all));
    let handler = match &route.service {
        RouteService::Broadcast { websocket, order } => {
            let (order, id, engine) = (*order, route.id.clone(), engine.cloned());
            let make = move |site| -> Box<dyn Service> {
                Box::new(match &engine {
                    Some(link) => Broadcast::shared(order, &id, link, site),
                    None => Broadcast::new(order),
                })
            };
            Handler::Socket(Arc::new(make), options(websocket))
        }
        RouteService::Echo { websocket } => {
            Handler::Socket(Arc::new(|_| Box::new(Echo)), options(websocket))
        }
        RouteService::Hall => Handler::Page(Arc::new(|| Box::new(BuiltInPage::hall()))),
        // Those that pass requests on are made of more than their own tables.
        RouteService::Channels { .. }
        | RouteService::Chat { .. }
        | RouteService::Events { .. }
        | RouteService::Page
        | RouteService::Relay { .. } => Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat()))),
        RouteService::Room { websocket, order, room } => {
            let settings = Arc::new(room_settings(route, *order, room));
            let (id, engine) = (route.id.clone(), engine.cloned());
            let make = move |site: LoopSite| -> Box<dyn Service> {
                let settings = Arc::clone(&settings);
                Box::new(match &engine {
                    Some(link) => Room::shared(settings, site, &id, link),
                    None => Room::new(settings, site),
                })
            };
            Handler::Socket(Arc::new(make), options(websocket))
        }
    };
    Route { id: route.id.clone(), hosts: route.hosts.clone(), paths: route.paths.clone(), handler }
}

/// Who is logged in to the chat.
struct Chat {
    sessions: Arc<ChatSessions>,
    identity: Arc<dyn IdentityCheck>,
}

impl Chat {
    /// `None` where the system has no random bytes, without which no client is let in.
    fn new(options: &ChatOptions) -> Option<Self> {
        let key = match &options.session_key {
            Some(secret) => SessionKey::from_secret(secret.expose()),
            None => SessionKey::of_process()?,
        };
        let sessions = ChatSessions::new(&key, options.session_ttl_s)?;
        let identity = Arc::new(ChatIdentity::new(&sessions, options.connects()));
        Some(Self { sessions: Arc::new(sessions), identity })
    }
}

/// What clients of channels must show: what their route asks for, or that they are logged in to the chat.
/// Those who say in their first command who they are show neither.
fn channels_identities(
    route: &ResolvedRoute,
    settings: &ResolvedConfig,
    all: &IdentityChecks,
    chat: Option<&Chat>,
) -> Identities {
    let Some(chat) = chat else { return identities_of(route, all) };
    let named = route.identities().iter().filter_map(|name| all.get(name)).map(Arc::clone);
    let mut checks: Vec<Arc<dyn IdentityCheck>> = named.collect();
    let channels = &settings.channels;
    let says_who_it_is =
        channels.allow_anonymous || channels.tokens.is_some() || channels.connect_proxy.is_some();
    let may_come_without = checks.is_empty() && says_who_it_is;
    let websocket = route.service.websocket();
    let is_optional = websocket.is_some_and(|own| own.identity_optional);
    checks.push(Arc::clone(&chat.identity));
    Identities::new(checks, is_optional || may_come_without)
}

fn chat_route(route: &ResolvedRoute, settings: &ResolvedConfig, chat: Option<&Chat>) -> Route {
    let channels = settings.routes.iter().find(|own| own.service.kind() == ServiceKind::Channels);
    let socket = channels.and_then(|own| own.paths.first()).cloned().unwrap_or_default();
    let make: Arc<dyn Fn() -> Box<dyn Page> + Send + Sync> = match chat {
        Some(Chat { sessions, .. }) => {
            let sessions = Arc::clone(sessions);
            Arc::new(move || Box::new(ChatPage::new(&socket, Arc::clone(&sessions))))
        }
        None => Arc::new(|| Box::new(BuiltInPage::chat())),
    };
    let handler = Handler::Page(make);
    Route { id: route.id.clone(), hosts: route.hosts.clone(), paths: route.paths.clone(), handler }
}

/// What channels allow. A namespace of the configuration comes before that of the chat with its name.
pub fn channel_namespaces(settings: &ResolvedConfig) -> Namespaces {
    let has_chat = settings.routes.iter().any(|own| own.service.chat().is_some());
    let of_chat = if has_chat { chat_namespaces() } else { Vec::new() };
    let configured = settings.namespaces.iter().map(NamespaceOptions::namespace);
    // Of several with one name the last holds.
    Namespaces::new(of_chat.into_iter().chain(configured))
}

fn channels_route(
    route: &ResolvedRoute,
    options: RouteOptions,
    settings: &ResolvedConfig,
    (all, observer, (proxies, engine)): (
        &IdentityChecks,
        Option<&SharedRouteObserver>,
        ForChannels<'_>,
    ),
) -> Route {
    let own = &settings.channels;
    let vacated_ms = settings.webhooks.vacated_ms;
    let occupancy = observer.cloned().map(|observer| OccupancySettings { observer, vacated_ms });
    let check = |name: &Option<String>| name.as_ref().and_then(|name| all.get(name)).cloned();
    let settings = Arc::new(ChannelsSettings {
        namespaces: channel_namespaces(settings),
        tokens: check(&own.tokens),
        subscription_tokens: check(&own.subscription_tokens),
        proxies: channel_proxies(settings, proxies),
        allow_anonymous: own.allow_anonymous,
        disallow_anonymous_tokens: own.disallow_anonymous_tokens,
        personal_namespace: own.personal_channel.then(|| own.personal_channel_namespace.clone()),
        limits: own.limits(),
        times: own.times(),
        engine: engine.cloned(),
        occupancy,
    });
    let make = move |site: LoopSite| -> Box<dyn Service> {
        Box::new(Channels::new(Arc::clone(&settings), site))
    };
    let handler = Handler::Socket(Arc::new(make), options);
    Route { id: route.id.clone(), hosts: route.hosts.clone(), paths: route.paths.clone(), handler }
}

/// Which backends are asked about connections of channels. Loading has refused names that are not there.
fn channel_proxies(settings: &ResolvedConfig, all: &ChannelProxies) -> channels::ChannelProxies {
    let named = |name: &Option<String>| name.as_ref().and_then(|name| all.get(name)).cloned();
    let mut namespaces = HashMap::new();
    for own in &settings.namespaces {
        let proxies = NamespaceProxies {
            subscribe: named(&own.subscribe_proxy),
            publish: named(&own.publish_proxy),
            sub_refresh: named(&own.sub_refresh_proxy),
        };
        if proxies.subscribe.is_some() || proxies.publish.is_some() || proxies.sub_refresh.is_some()
        {
            namespaces.insert(own.name.clone(), proxies);
        }
    }
    let calls = settings.rpcs.iter();
    let calls = calls.filter_map(|own| Some((own.method.clone(), all.get(&own.proxy)?.clone())));
    let lower = |names: &mut dyn Iterator<Item = &String>| -> Vec<String> {
        let mut names: Vec<String> = names.map(|name| name.to_ascii_lowercase()).collect();
        names.sort();
        names.dedup();
        names
    };
    let of_all = &settings.proxies;
    channels::ChannelProxies {
        connect: named(&settings.channels.connect_proxy),
        refresh: named(&settings.channels.refresh_proxy),
        namespaces,
        calls: calls.collect(),
        headers: lower(&mut of_all.iter().flat_map(|own| &own.headers)),
        emulated_headers: lower(&mut of_all.iter().flat_map(|own| &own.emulated_headers)),
    }
}

fn relay_route(
    route: &ResolvedRoute,
    options: RouteOptions,
    (forward, mode): (&ForwardOptions, config::RelayMode),
    upstream: Option<&UpstreamOptions>,
    upstreams: &Upstreams,
) -> Route {
    let known = upstreams.get(&forward.upstream).cloned();
    let mode = match mode {
        config::RelayMode::Bytes => RelayMode::Bytes,
        config::RelayMode::Frames => RelayMode::Frames,
    };
    let settings = Arc::new(RelaySettings {
        upstream: known.unwrap_or_else(|| Upstream::new(&forward.upstream, ServerSet::default())),
        mode,
        rules: ForwardRules {
            has_own_extensions: mode == RelayMode::Frames,
            ..forward_rules(forward)
        },
        rewrite: forward.rewrite.clone(),
        paths: route.paths.clone(),
        balance_by: upstream.map(|own| balance_by(&own.hash_by)).unwrap_or_default(),
    });
    let make = move |_| -> Box<dyn Service> { Box::new(Relay::new(Arc::clone(&settings))) };
    let handler = Handler::Socket(Arc::new(make), options);
    Route { id: route.id.clone(), hosts: route.hosts.clone(), paths: route.paths.clone(), handler }
}

fn events_route(
    route: &ResolvedRoute,
    options: RouteOptions,
    (forward, events): (&ForwardOptions, &EventsOptions),
    backend: Option<&SharedEventBackend>,
) -> Route {
    let none = || Arc::new(NoEventBackend) as SharedEventBackend;
    let passes_pings = events.pings == PingChoice::Pass;
    let settings = Arc::new(EventsSettings {
        backend: backend.cloned().unwrap_or_else(none),
        rules: forward_rules(forward),
        rewrite: forward.rewrite.clone(),
        paths: route.paths.clone(),
        passes_pings,
    });
    let options = RouteOptions { passes_pings, ..options };
    let make = move |_| -> Box<dyn Service> { Box::new(Events::new(Arc::clone(&settings))) };
    let handler = Handler::Socket(Arc::new(make), options);
    Route { id: route.id.clone(), hosts: route.hosts.clone(), paths: route.paths.clone(), handler }
}

fn forward_rules(forward: &ForwardOptions) -> ForwardRules {
    ForwardRules {
        // Loading has refused what is no header.
        host: forward.host.clone().and_then(|host| HeaderValue::new(host).ok()),
        set: forward.set_headers.iter().filter_map(|line| header(line)).collect(),
        remove: forward.remove_headers.clone(),
        ..ForwardRules::default()
    }
}

fn header(line: &str) -> Option<SetHeader> {
    let (name, value) = line.split_once(':')?;
    SetHeader::new(name, value.trim_ascii().to_owned()).ok()
}

fn balance_by(text: &str) -> BalanceBy {
    match text.split_once(':') {
        None if text == "user" => BalanceBy::User,
        Some(("cookie", name)) => BalanceBy::Cookie(name.to_owned()),
        Some(("header", name)) => BalanceBy::Header(name.to_owned()),
        Some(_) | None => BalanceBy::Address,
    }
}

fn options(websocket: &ResolvedWebSocket, identities: Identities) -> RouteOptions {
    RouteOptions {
        origins: match &websocket.origins {
            Origins::Any => OriginRule::Any,
            Origins::List(origins) => OriginRule::List(origins.clone()),
            Origins::SameHost => OriginRule::SameHost,
        },
        // Loading has refused what is not a subprotocol.
        subprotocols: websocket
            .subprotocols
            .iter()
            .filter_map(|name| Subprotocol::new(name.as_str()).ok())
            .collect(),
        message_bytes_max: websocket.message_bytes_max,
        limits: websocket.limits,
        backlog_messages_max: websocket.backlog_messages_max,
        slow_policy: websocket.slow_policy,
        slow_code: CloseCode::TOO_SLOW,
        drain_code: CloseCode::GOING_AWAY,
        is_told_first: false,
        deflate: websocket.deflate,
        identities,
        passes_pings: false,
        http: None,
        observer: None,
    }
}

/// How the room of a route works.
fn room_settings(route: &ResolvedRoute, order: Order, options: &RoomOptions) -> RoomSettings {
    let RoomOptions { name, room, line, hears_itself, newlines, logins, join_lines, .. } = options;
    let paths = &route.paths;
    // Loading has refused paths without the segments that are needed.
    let needed = |parameter| segment_of(paths, parameter).unwrap_or_default();
    RoomSettings {
        name: match name {
            NameKind::Address => NameSource::Address,
            NameKind::First => NameSource::FirstText,
            NameKind::Path => NameSource::Path { segment: needed(":name") },
            NameKind::Query => NameSource::Query,
            NameKind::Identity => NameSource::Identity { segment: None },
            NameKind::Token => NameSource::Identity { segment: Some(needed(":name")) },
        },
        default_room: room.clone(),
        room_segment: segment_of(paths, ":room"),
        // Loading has refused what is not a format.
        line: LineFormat::parse(line).unwrap_or_default(),
        hears_itself: *hears_itself,
        newlines: *newlines,
        logins: *logins,
        order,
        joins_lines: *join_lines,
        rights: IdentityRights {
            read: options.read.clone(),
            write: options.write.clone(),
            see_members: options.see_members.clone(),
            // What an identity grants may leave it out.
            may_hide_members: options.see_members.is_some() || !route.identities().is_empty(),
        },
    }
}

/// Which segment of a route's paths is this parameter. Loading has refused paths that disagree.
fn segment_of(paths: &[String], parameter: &str) -> Option<usize> {
    paths.iter().find_map(|path| path.split('/').skip(1).position(|segment| segment == parameter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, MachineLimits};

    /// What this file's only route comes to.
    fn only_route(text: &str) -> ResolvedRoute {
        let config = Config::from_toml(&format!("[[route]]\n{text}"), "test.toml").unwrap();
        config.resolve(MachineLimits { descriptors: 1024, cores: 1 }).routes.remove(0)
    }

    fn settings_of(route: &ResolvedRoute) -> RoomSettings {
        let RouteService::Room { order, room, .. } = &route.service else { panic!("{route:?}") };
        room_settings(route, *order, room)
    }

    #[test]
    fn segments_are_counted_from_the_first_slash() {
        let route = only_route(
            "path = \"/rooms\"\nservice = \"room\"\naliases = [\"/rooms/:room\"]\nlogins = \"one\"",
        );
        let settings = settings_of(&route);
        assert_eq!(settings.room_segment, Some(1));
        assert_eq!(settings.default_room, "lobby");
        assert!(matches!(settings.name, NameSource::Query));

        let route = only_route("path = \"/a/:token/:name\"\nservice = \"room\"\nname = \"token\"");
        let settings = settings_of(&route);
        assert_eq!(settings.room_segment, None);
        assert!(matches!(settings.name, NameSource::Identity { segment: Some(2) }));
    }

    #[test]
    fn a_room_of_nothing_but_defaults_is_the_default_room() {
        let route = only_route("path = \"/\"\nservice = \"room\"");
        let settings = format!("{:?}", settings_of(&route));
        assert_eq!(settings, format!("{:?}", RoomSettings::default()));
    }

    #[test]
    fn every_route_is_mounted_under_its_id_at_all_its_paths() {
        let settings = Config::default().resolve(MachineLimits { descriptors: 1024, cores: 1 });
        let routes = built_in_routes(
            &settings,
            &IdentityChecks::new(),
            &Upstreams::new(),
            (&EventBackends::new(), &RouteObservers::new()),
            (&ChannelProxies::new(), None),
        );
        assert!(routes.iter().map(|route| &route.id).eq(settings.routes.iter().map(|own| &own.id)));
        let paths: Vec<_> = routes.iter().flat_map(|route| &route.paths).collect();
        assert_eq!(
            paths,
            settings.routes.iter().flat_map(|route| &route.paths).collect::<Vec<_>>()
        );
    }

    #[test]
    fn a_room_asks_the_identity_that_its_route_names() {
        let text = "[[identity]]\nname = \"a\"\nkind = \"redis\"\n\
                    [[identity]]\nname = \"b\"\nkind = \"tokens\"\n\
                    tokens = [{ name = \"bob\", token = \"s3cret\" }]\n\
                    [[route]]\npath = \"/:name/:token\"\nservice = \"room\"\nname = \"token\"\n";
        let resolve = |text: &str| {
            let config = Config::from_toml(text, "test.toml").unwrap();
            config.resolve(MachineLimits { descriptors: 1024, cores: 1 })
        };
        let settings = resolve(text);
        assert_eq!(settings.routes[0].identities(), ["b"], "the first of kind tokens");
        assert_eq!(settings.redis_identities().count(), 0);
        let settings = resolve(&format!("{text}identity = [\"a\"]\n"));
        assert_eq!(settings.routes[0].identities(), ["a"]);
        let asked: Vec<&str> = settings.redis_identities().map(|(name, ..)| name).collect();
        assert_eq!(asked, ["a"]);
    }

    #[test]
    fn channels_beside_a_chat_ask_for_its_login_unless_clients_say_who_they_are() {
        let is_optional = |more: &str| {
            let chat = "[[route]]\npath = \"/\"\nservice = \"chat\"\n";
            let channels = "[[route]]\npath = \"/channels\"\nservice = \"channels\"\n";
            let config =
                Config::from_toml(&format!("{more}{chat}{channels}"), "test.toml").unwrap();
            let settings = config.resolve(MachineLimits { descriptors: 1024, cores: 1 });
            let routes = built_in_routes(
                &settings,
                &IdentityChecks::new(),
                &Upstreams::new(),
                (&EventBackends::new(), &RouteObservers::new()),
                (&ChannelProxies::new(), None),
            );
            let Handler::Socket(_, options) = &routes[1].handler else { panic!("{routes:?}") };
            assert!(!options.identities.is_empty());
            options.identities.is_optional()
        };
        assert!(!is_optional(""));
        assert!(is_optional("[channels]\nallow_anonymous = true\n"));
    }
}
