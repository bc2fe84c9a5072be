//! The built-in services that a configuration mounts, and on which paths.

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::{
    NameKind, Origins, ResolvedConfig, ResolvedRoute, RoomOptions, ServiceKind, TokenSource,
};
use crate::http::{OriginRule, Subprotocol};
use crate::services::room::{LineFormat, NameSource, Room, RoomSettings, Tokens};
use crate::services::{
    Broadcast, BuiltInPage, Echo, Handler, LoopSite, Route, RouteOptions, Service, TokenLookup,
};

/// The routes of a configuration. Rooms that have tokens looked up in Redis ask `lookup`; without
/// one they know no token.
#[must_use]
pub fn built_in_routes(
    settings: &ResolvedConfig,
    lookup: Option<&Arc<dyn TokenLookup>>,
) -> Vec<Route> {
    let pairs = settings.tokens.iter();
    let pairs = pairs.map(|token| (token.name.clone(), token.token.expose().to_owned()));
    let configured = Tokens::Configured(Arc::new(pairs.collect::<HashMap<_, _>>()));
    let tokens_of = |route: &ResolvedRoute| match (route.room.tokens, lookup) {
        (TokenSource::Redis, Some(lookup)) => Tokens::Looked(Arc::clone(lookup)),
        (TokenSource::Redis, None) => Tokens::Configured(Arc::default()),
        (TokenSource::Config, _) => configured.clone(),
    };
    settings.routes.iter().map(|route| built_in_route(route, tokens_of(route))).collect()
}

fn built_in_route(route: &ResolvedRoute, tokens: Tokens) -> Route {
    let order = route.order;
    let handler = match route.service {
        ServiceKind::Broadcast => {
            Handler::Socket(Arc::new(move |_| Box::new(Broadcast::new(order))), options(route))
        }
        ServiceKind::Echo => Handler::Socket(Arc::new(|_| Box::new(Echo)), options(route)),
        ServiceKind::Hall => Handler::Page(Arc::new(|| Box::new(BuiltInPage::hall()))),
        ServiceKind::Page => Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat()))),
        ServiceKind::Room => {
            let settings = Arc::new(room_settings(route, tokens));
            let make = move |site: LoopSite| -> Box<dyn Service> {
                Box::new(Room::new(Arc::clone(&settings), site))
            };
            Handler::Socket(Arc::new(make), options(route))
        }
    };
    Route { paths: route.paths.clone(), handler }
}

fn options(route: &ResolvedRoute) -> RouteOptions {
    RouteOptions {
        origins: match &route.origins {
            Origins::Any => OriginRule::Any,
            Origins::List(origins) => OriginRule::List(origins.clone()),
            Origins::SameHost => OriginRule::SameHost,
        },
        // Loading has refused what is not a subprotocol.
        subprotocols: route
            .subprotocols
            .iter()
            .filter_map(|name| Subprotocol::new(name.as_str()).ok())
            .collect(),
        message_bytes_max: route.message_bytes_max,
        backlog_messages_max: route.backlog_messages_max,
        slow_policy: route.slow_policy,
        deflate: route.deflate,
    }
}

/// How the room of this route works, if members log in with these tokens.
#[must_use]
pub(super) fn room_settings(route: &ResolvedRoute, tokens: Tokens) -> RoomSettings {
    let RoomOptions { name, room, line, hears_itself, newlines, logins, join_lines, tokens: _ } =
        &route.room;
    // Loading has refused paths without the segments that are needed.
    let needed = |parameter| place(route, parameter).unwrap_or_default();
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
        room_segment: place(route, ":room"),
        // Loading has refused what is not a format.
        line: LineFormat::parse(line).unwrap_or_default(),
        hears_itself: *hears_itself,
        newlines: *newlines,
        logins: *logins,
        order: route.order,
        joins_lines: *join_lines,
    }
}

/// Which segment of the route's paths is this parameter. Loading has refused paths that disagree.
fn place(route: &ResolvedRoute, parameter: &str) -> Option<usize> {
    let mut paths = route.paths.iter();
    paths.find_map(|path| path.split('/').skip(1).position(|segment| segment == parameter))
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

    fn no_tokens() -> Tokens {
        Tokens::Configured(Arc::default())
    }

    #[test]
    fn segments_are_counted_from_the_first_slash() {
        let route = only_route(
            "path = \"/rooms\"\nservice = \"room\"\naliases = [\"/rooms/:room\"]\nlogins = \"one\"",
        );
        let settings = room_settings(&route, no_tokens());
        assert_eq!(settings.room_segment, Some(1));
        assert_eq!(settings.default_room, "lobby");
        assert!(matches!(settings.name, NameSource::Query));

        let route = only_route("path = \"/a/:token/:name\"\nservice = \"room\"\nname = \"token\"");
        let settings = room_settings(&route, no_tokens());
        assert_eq!(settings.room_segment, None);
        let NameSource::Token { name_segment, token_segment, .. } = settings.name else {
            panic!("{settings:?}")
        };
        assert_eq!((name_segment, token_segment), (2, 1));
    }

    #[test]
    fn a_room_of_nothing_but_defaults_is_the_default_room() {
        let route = only_route("path = \"/\"\nservice = \"room\"");
        let settings = format!("{:?}", room_settings(&route, no_tokens()));
        assert_eq!(settings, format!("{:?}", RoomSettings::default()));
    }

    #[test]
    fn every_route_is_mounted_at_all_its_paths() {
        let settings = Config::default().resolve(MachineLimits { descriptors: 1024, cores: 1 });
        let routes = built_in_routes(&settings, None);
        let paths: Vec<_> = routes.iter().flat_map(|route| &route.paths).collect();
        assert_eq!(
            paths,
            settings.routes.iter().flat_map(|route| &route.paths).collect::<Vec<_>>()
        );
    }
}
