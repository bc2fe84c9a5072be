//! The routes of a configuration that names none.

use super::{NameKind, RoomOptions, Route, RouteService, ServiceKind, WebSocketOptions};
use crate::services::Order;
use crate::services::room::{Logins, Newlines};

/// Echo, broadcast, three rooms that behave like chats which are in use elsewhere, channels, and pages.
pub(in crate::config) fn built_in() -> Vec<Route> {
    let chat = RoomOptions {
        line: "from".to_owned(),
        hears_itself: false,
        logins: Logins::One,
        ..RoomOptions::default()
    };
    let first_text = RoomOptions {
        name: NameKind::First,
        newlines: Newlines::Space,
        join_lines: true,
        ..RoomOptions::default()
    };
    let short_messages = WebSocketOptions {
        message_bytes_max: Some(512),
        backlog_messages_max: Some(256),
        ..WebSocketOptions::default()
    };
    // Those of the chat: a page sends more only when it scrolls through a history, or comes back.
    let channels = WebSocketOptions {
        message_bytes_max: Some(16 * 1024),
        user_messages_per_s: 20,
        user_messages_burst: Some(400),
        ..WebSocketOptions::default()
    };
    let channels_route = Route::new("/connection/websocket", ServiceKind::Channels);
    let hall =
        RoomOptions { name: NameKind::Token, line: "bare".to_owned(), ..RoomOptions::default() };
    vec![
        Route::new("/echo", ServiceKind::Echo),
        Route::new("/broadcast", ServiceKind::Broadcast),
        Route { aliases: vec!["/".to_owned()], ..room("/chat", WebSocketOptions::default(), chat) },
        room("/ws", short_messages, first_text),
        room("/chatroom/ws/:name/:token", WebSocketOptions::default(), hall),
        Route { service: RouteService::Channels { websocket: channels }, ..channels_route },
        Route::new("/", ServiceKind::Chat),
        Route::new("/rooms", ServiceKind::Page),
        Route::new("/chatroom", ServiceKind::Hall),
    ]
}

fn room(path: &str, websocket: WebSocketOptions, room: RoomOptions) -> Route {
    let service = RouteService::Room { websocket, order: Order::default(), room };
    Route { path: path.to_owned(), hosts: Vec::new(), aliases: Vec::new(), service }
}
