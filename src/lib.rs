//! tidegate: an epoll-driven WebSocket edge gateway.

pub mod config;
pub mod conn;
pub mod http;
pub mod key;
pub mod metrics;
pub mod pool;
pub mod reactor;
pub mod services;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
pub mod timer;
pub mod ws;
