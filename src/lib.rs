//! tidegate: an epoll-driven WebSocket edge gateway.

pub mod config;
pub mod http;
pub mod key;
pub mod pool;
pub mod timer;
pub mod ws;
