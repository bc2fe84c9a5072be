//! tidegate: an epoll-driven WebSocket edge gateway, as a library and as the program on top of it.
//!
//! A few identical threads each run an [event loop](reactor::EventLoop) that owns its listener,
//! its connections, its buffers, its timers and its instances of the services. A connection at
//! rest costs one slot of 64 bytes: no thread, no task, no buffer.
//!
//! Each module may use only those below it (`tests/tidy.rs` holds them to it):
//!
//! | module | what happens there |
//! |---|---|
//! | [`cli`] | the command line, and the gateway as a process |
//! | [`server`] | listeners and loops from settings; the running server |
//! | [`client`] | the other side: `tidegate client` |
//! | [`config`] | a configuration file becomes settings |
//! | [`control`] | what waits on others, such as a look-up in Redis |
//! | [`reactor`] | one turn of a loop: wait, read, run on, mail, timers, flush, accept, reap |
//! | [`conn`] | a connection's life: receive, decode, answer, send, close |
//! | [`services`] | what is done with a message |
//! | [`mail`] | what loops and the control thread say to each other |
//! | [`effects`] | what services say: replies, publications, closes |
//! | [`output`] | frames gathered for one write, and their compression |
//! | [`hub`] | who gets a publication, inside one loop |
//! | [`pool`] | memory lent to connections while bytes are in flight |
//! | [`http`], [`ws`] | request heads and frames as functions of bytes |
//! | [`line`](mod@line), [`transport`], [`os`] | lines of text; the seam to the kernel; the operating system |
//! | [`timer`] | deadlines |
//! | [`key`], [`metrics`], `shrink` | names of slots, counters, and capacity that is given back |
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

pub mod cli;

#[cfg(feature = "client")]
pub mod client;
pub mod server;

pub mod config;
#[cfg(feature = "redis")]
pub mod control;

pub mod reactor;
pub mod transport;

pub mod conn;
pub mod services;
pub mod stream;

pub mod mail;

pub mod effects;
pub mod output;

pub mod hub;
pub mod pool;

pub mod http;
pub mod ws;

pub mod line;
pub mod os;

pub mod timer;

pub mod key;
pub mod metrics;
mod shrink;
mod visible;
pub mod work;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
