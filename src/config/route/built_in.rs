//! The routes of a configuration that names none.

use super::{NameKind, RoomOptions, Route, ServiceKind};
use crate::services::room::{Logins, Newlines};

/// Echo, broadcast, three rooms with the manners of chats that are in use elsewhere, and pages.
pub(in crate::config) fn built_in() -> Vec<Route> {
    vec![
        Route::new("/echo", ServiceKind::Echo),
        Route::new("/broadcast", ServiceKind::Broadcast),
        Route {
            aliases: vec!["/".to_owned()],
            room: RoomOptions {
                line: "from".to_owned(),
                hears_itself: false,
                logins: Logins::One,
                ..RoomOptions::default()
            },
            ..Route::new("/chat", ServiceKind::Room)
        },
        Route {
            message_bytes_max: Some(512),
            backlog_messages_max: Some(256),
            room: RoomOptions {
                name: NameKind::First,
                newlines: Newlines::Space,
                join_lines: true,
                ..RoomOptions::default()
            },
            ..Route::new("/ws", ServiceKind::Room)
        },
        Route {
            room: RoomOptions {
                name: NameKind::Token,
                line: "bare".to_owned(),
                ..RoomOptions::default()
            },
            ..Route::new("/chatroom/ws/:name/:token", ServiceKind::Room)
        },
        Route::new("/", ServiceKind::Page),
        Route::new("/chatroom", ServiceKind::Hall),
    ]
}
