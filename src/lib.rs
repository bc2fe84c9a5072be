//! tidegate: an epoll-driven WebSocket edge gateway, as a library and as the program on top of it.
//!
//! A few identical threads each run an [event loop](reactor::EventLoop) that owns its listener,
//! its connections, its buffers, its timers and its instances of the services. A connection at
//! rest costs one slot of 64 bytes: no thread, no task, no buffer.
//!
//! The modules stand in the order in which a message passes them:
//!
//! | module | what happens there |
//! |---|---|
//! | [`config`], [`server`] | a configuration becomes listeners and loops |
//! | [`os`] | calls of the operating system |
//! | [`reactor`] | one turn of a loop: wait, read, run on, mail, timers, flush, accept, reap |
//! | [`conn`] | a connection's life: receive, decode, answer, send, close |
//! | [`http`] | a request head becomes an upgrade, a page or a refusal |
//! | [`line`](mod@line) | lines of plain TCP clients become messages |
//! | [`ws`] | client bytes become messages, replies become frames |
//! | [`services`] | messages become effects |
//! | [`hub`] | topics and their subscribers, inside one loop |
//! | [`control`] | work that waits for other servers, such as a look-up in Redis |
//! | [`pool`], [`timer`], [`key`], `shrink` | memory, deadlines and keys, which all of them use |
//! | [`metrics`] | counters and durations |
//! | [`client`] | the command `tidegate client`, which uses none of the loops |
//!
//! `http`, `line`, `ws`, `hub`, `timer`, `pool`, `key` and `shrink` are functions of bytes and
//! numbers: no sockets, no clock, no threads. `reactor` is generic over its poller and clock, so
//! whole loops run in tests on the fake kernel of the `sim` module.

/// The examples of the README, compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(not(target_pointer_width = "64"))]
compile_error!("poll tokens hold an index and a generation: tidegate needs 64-bit words");

pub mod config;
pub mod server;

pub mod os;
pub mod reactor;

pub mod conn;
pub mod http;
pub mod line;
pub mod ws;

pub mod hub;
pub mod services;

pub mod control;

pub mod key;
pub mod pool;
mod shrink;
pub mod timer;

pub mod metrics;

pub mod client;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
