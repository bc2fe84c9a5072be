//! The built-in services that a configuration mounts, and on which paths.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{
    Identity, IdentityKind, NameKind, Origins, ResolvedConfig, ResolvedRoute, ResolvedWebSocket,
    RoomOptions, RouteService,
};
use crate::http::{OriginRule, Subprotocol};
use crate::services::room::{LineFormat, NameSource, Room, RoomSettings, Tokens};
use crate::services::{
    Broadcast, BuiltInPage, Echo, Handler, Identities, LoopSite, Order, Route, RouteOptions, Service,
    TokenLookup,
};

/// What looks tokens up for identities of kind `redis`, by the name of the identity.
pub type TokenLookups = HashMap<String, Arc<dyn TokenLookup>>;

/// The routes of a configuration. A room whose identity is of kind `redis` asks the look-up under
/// that name in `lookups`; without one it knows no token.
#[must_use]
pub fn built_in_routes(settings: &ResolvedConfig, lookups: &TokenLookups) -> Vec<Route> {
    let tokens: HashMap<&str, Tokens> = settings
        .identities
        .iter()
        .map(|identity| (identity.name.as_str(), tokens_of(identity, lookups)))
        .collect();
    let route = |route: &ResolvedRoute| {
        let tokens = route.identity().and_then(|name| tokens.get(name)).cloned();
        built_in_route(route, tokens.unwrap_or_else(no_tokens))
    };
    settings.routes.iter().map(route).collect()
}

fn tokens_of(identity: &Identity, lookups: &TokenLookups) -> Tokens {
    match &identity.kind {
        IdentityKind::Redis(_) => match lookups.get(&identity.name) {
            Some(lookup) => Tokens::Looked(Arc::clone(lookup)),
            None => no_tokens(),
        },
        IdentityKind::Tokens(tokens) => {
            let pairs = tokens.iter();
            let pairs = pairs.map(|own| (own.name.clone(), own.token.expose().to_owned()));
            Tokens::Configured(Arc::new(pairs.collect()))
        }
    }
}

/// No client is let in.
fn no_tokens() -> Tokens {
    Tokens::Configured(Arc::default())
}

fn built_in_route(route: &ResolvedRoute, tokens: Tokens) -> Route {
    let handler = match &route.service {
        RouteService::Broadcast { websocket, order } => {
            let order = *order;
            Handler::Socket(Arc::new(move |_| Box::new(Broadcast::new(order))), options(websocket))
        }
        RouteService::Echo { websocket } => {
            Handler::Socket(Arc::new(|_| Box::new(Echo)), options(websocket))
        }
        RouteService::Hall => Handler::Page(Arc::new(|| Box::new(BuiltInPage::hall()))),
        RouteService::Page => Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat()))),
        RouteService::Room { websocket, order, room } => {
            let settings = Arc::new(room_settings(&route.paths, *order, room, tokens));
            let make = move |site: LoopSite| -> Box<dyn Service> {
                Box::new(Room::new(Arc::clone(&settings), site))
            };
            Handler::Socket(Arc::new(make), options(websocket))
        }
    };
    Route { id: route.id.clone(), paths: route.paths.clone(), handler }
}

fn options(websocket: &ResolvedWebSocket) -> RouteOptions {
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
        backlog_messages_max: websocket.backlog_messages_max,
        slow_policy: websocket.slow_policy,
        deflate: websocket.deflate,
        identities: Identities::default(),
    }
}

/// How the room at these paths works, if members prove their names by these tokens.
fn room_settings(
    paths: &[String],
    order: Order,
    options: &RoomOptions,
    tokens: Tokens,
) -> RoomSettings {
    let RoomOptions { name, room, line, hears_itself, newlines, logins, join_lines, identity: _ } =
        options;
    // Loading has refused paths without the segments that are needed.
    let needed = |parameter| segment_of(paths, parameter).unwrap_or_default();
    RoomSettings {
        name: match name {
            NameKind::Address => NameSource::Address,
            NameKind::First => NameSource::FirstText,
            NameKind::Path => NameSource::Path { segment: needed(":name") },
            NameKind::Query => NameSource::Query,
            NameKind::Token => NameSource::Token {
                name_segment: needed(":name"),
                token_segment: needed(":token"),
                tokens,
            },
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
        room_settings(&route.paths, *order, room, no_tokens())
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
        let NameSource::Token { name_segment, token_segment, .. } = settings.name else {
            panic!("{settings:?}")
        };
        assert_eq!((name_segment, token_segment), (2, 1));
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
        let routes = built_in_routes(&settings, &TokenLookups::new());
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
        assert_eq!(settings.routes[0].identity(), Some("b"), "the first of kind tokens");
        assert_eq!(settings.redis_identities().count(), 0);
        let settings = resolve(&format!("{text}identity = [\"a\"]\n"));
        assert_eq!(settings.routes[0].identity(), Some("a"));
        let asked: Vec<&str> = settings.redis_identities().map(|(name, _)| name).collect();
        assert_eq!(asked, ["a"]);

        let tokens = tokens_of(settings.identity("b").unwrap(), &TokenLookups::new());
        let Tokens::Configured(tokens) = tokens else { panic!("{tokens:?}") };
        assert_eq!(tokens.get("bob").map(String::as_str), Some("s3cret"));
    }
}
