//! The control thread: work that waits for other servers, away from the event loops.
//!
//! An event loop never waits. Work that needs an answer from elsewhere runs as a task on one
//! thread, named `control`, and its result returns as a service message to the service that asked.
//! Only this module is asynchronous, and it touches no client's socket. A thread that fails is
//! started again, and the look-ups under way are answered as unavailable; the loops notice nothing
//! else. The thread is started only if a route needs it:
//!
//! ```no_run
//! use std::sync::Arc;
//! use tidegate::control::{ControlThread, RedisSettings, RedisUrl};
//! use tidegate::services::TokenLookup;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let url = RedisUrl::parse("redis://127.0.0.1:6379/")?;
//! let control = ControlThread::start()?;
//! let tokens: Arc<dyn TokenLookup> = Arc::new(control.redis_tokens(RedisSettings::new(url)));
//! // … rooms are given `tokens`, the server serves, drains, and its loops end …
//! control.stop();
//! # Ok(())
//! # }
//! ```

pub mod panics;
mod redis_url;
mod tasks;
mod thread;
pub mod tokens;

pub use redis_url::{RedisUrl, RedisUrlError};
pub use thread::ControlThread;
pub use tokens::{RedisSettings, RedisTokens};
