//! tidegate: an epoll-driven WebSocket edge gateway.

pub mod config;
pub mod http;
