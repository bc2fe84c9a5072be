//! A route as it stands in a file: one flat table, a room's keys beside those of any route.

use serde::{Deserialize, Serialize};

use super::{
    NameKind, Origins, RoomOptions, Route, RouteDeflate, ServiceKind, SlowPolicy, TokenSource,
};
use crate::services::Order;
use crate::services::room::{Logins, Newlines};

/// Every key of a `[[route]]`, in the order in which they are written. A key without a value is
/// left out.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub(super) struct WrittenRoute {
    path: String,
    service: ServiceKind,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    aliases: Vec<String>,
    #[serde(default, skip_serializing_if = "Origins::is_same_host")]
    origins: Origins,
    #[serde(skip_serializing_if = "Option::is_none")]
    subprotocols: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message_bytes_max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    backlog_messages_max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    slow_policy: Option<SlowPolicy>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deflate: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deflate_level: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deflate_bytes_min: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deflate_context_takeover: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deflate_window_bits_max: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<NameKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    room: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    hears_itself: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newlines: Option<Newlines>,
    #[serde(skip_serializing_if = "Option::is_none")]
    logins: Option<Logins>,
    #[serde(skip_serializing_if = "Option::is_none")]
    join_lines: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<TokenSource>,
}

impl From<WrittenRoute> for Route {
    fn from(written: WrittenRoute) -> Self {
        let default = RoomOptions::default();
        let default_deflate = RouteDeflate::default();
        Self {
            path: written.path,
            service: written.service,
            aliases: written.aliases,
            origins: written.origins,
            subprotocols: written.subprotocols,
            message_bytes_max: written.message_bytes_max,
            backlog_messages_max: written.backlog_messages_max,
            slow_policy: written.slow_policy.unwrap_or_default(),
            deflate: RouteDeflate {
                deflate: written.deflate.unwrap_or(default_deflate.deflate),
                level: written.deflate_level.unwrap_or(default_deflate.level),
                bytes_min: written.deflate_bytes_min.unwrap_or(default_deflate.bytes_min),
                context_takeover: written
                    .deflate_context_takeover
                    .unwrap_or(default_deflate.context_takeover),
                window_bits_max: written
                    .deflate_window_bits_max
                    .unwrap_or(default_deflate.window_bits_max),
            },
            order: written.order.unwrap_or_default(),
            room: RoomOptions {
                name: written.name.unwrap_or(default.name),
                room: written.room.unwrap_or(default.room),
                line: written.line.unwrap_or(default.line),
                hears_itself: written.hears_itself.unwrap_or(default.hears_itself),
                newlines: written.newlines.unwrap_or(default.newlines),
                logins: written.logins.unwrap_or(default.logins),
                join_lines: written.join_lines.unwrap_or(default.join_lines),
                tokens: written.tokens.unwrap_or(default.tokens),
            },
        }
    }
}

impl From<Route> for WrittenRoute {
    fn from(route: Route) -> Self {
        let is_socket = route.service.is_websocket();
        let is_room = route.service == ServiceKind::Room;
        let is_published = is_room || route.service == ServiceKind::Broadcast;
        let asks_for_tokens = route.room.name == NameKind::Token;
        let (room, default) = (route.room, RoomOptions::default());
        let (deflate, default_deflate) = (route.deflate, RouteDeflate::default());
        Self {
            path: route.path,
            service: route.service,
            aliases: route.aliases,
            origins: route.origins,
            subprotocols: route.subprotocols,
            message_bytes_max: route.message_bytes_max,
            backlog_messages_max: route.backlog_messages_max,
            slow_policy: value_of(route.slow_policy, &SlowPolicy::default(), is_socket),
            deflate: value_of(deflate.deflate, &default_deflate.deflate, is_socket),
            deflate_level: value_of(deflate.level, &default_deflate.level, is_socket),
            deflate_bytes_min: value_of(deflate.bytes_min, &default_deflate.bytes_min, is_socket),
            deflate_context_takeover: value_of(
                deflate.context_takeover,
                &default_deflate.context_takeover,
                is_socket,
            ),
            deflate_window_bits_max: value_of(
                deflate.window_bits_max,
                &default_deflate.window_bits_max,
                is_socket && deflate.context_takeover,
            ),
            order: value_of(route.order, &Order::default(), is_published),
            name: value_of(room.name, &default.name, is_room),
            room: value_of(room.room, &default.room, is_room),
            line: value_of(room.line, &default.line, is_room),
            hears_itself: value_of(room.hears_itself, &default.hears_itself, is_room),
            newlines: value_of(room.newlines, &default.newlines, is_room),
            logins: value_of(room.logins, &default.logins, is_room),
            join_lines: value_of(room.join_lines, &default.join_lines, is_room),
            tokens: value_of(room.tokens, &default.tokens, is_room && asks_for_tokens),
        }
    }
}

/// A value that matters, or that would have to be refused and shown.
fn value_of<T: PartialEq>(value: T, default: &T, matters: bool) -> Option<T> {
    (matters || value != *default).then_some(value)
}
