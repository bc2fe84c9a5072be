//! The control thread: work that waits on others, away from the loops.
//!
//! An event loop never waits. What needs an answer from elsewhere is handed to one thread, named
//! `control`, where waiting costs a task and not a thread; the answer comes back as a message to the
//! service that asked. Only this module is asynchronous, and nothing here touches a client's
//! socket. If the thread fails, it is started again, open look-ups are answered as unavailable, and
//! the loops notice nothing else of it. It is started only if something needs it:
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
