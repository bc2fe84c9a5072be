//! A WebSocket server for tens of thousands of mostly idle connections, to build services on.
//!
//! A few identical threads each run an event loop that owns its listeners, its connections, its
//! buffers, its timers and its instances of the services. A connection at rest costs one slot of 64
//! bytes: no thread, no task, no buffer. The program `tidegate` is this library with services for
//! chat and broadcast. Linux on 64-bit machines only.
//!
//! # A service
//!
//! A [`Service`](services::Service) gets whole messages and answers with
//! [effects](services::Effects): replies, publications to topics, closes. Each loop makes its own
//! instance on its own thread, so it needs no locks and must not block.
//!
//! ```no_run
//! use std::process::ExitCode;
//! use std::sync::Arc;
//!
//! use tidegate::config::{Config, MachineLimits};
//! use tidegate::server::{Handle, Signals};
//! use tidegate::services::{Effects, Handler, Message, Peer, Route, RouteOptions, Service};
//!
//! struct Shout;
//!
//! impl Service for Shout {
//!     fn on_message(&mut self, _: Peer, mut message: Message<'_>, effects: &mut Effects<'_>) {
//!         message.payload_mut().make_ascii_uppercase();
//!         effects.reply_in_place(message);
//!     }
//! }
//!
//! fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
//!     let signals = Signals::listen()?;
//!     let settings = Config::default().resolve(MachineLimits::of_this_process());
//!     let handler = Handler::Socket(Arc::new(|_| Box::new(Shout)), RouteOptions::default());
//!     let server = Handle::start(&settings, vec![Route::new("/shout", handler)])?;
//!     // Until SIGTERM or Ctrl-C; then clients are closed at a steady pace.
//!     Ok(server.serve_until_signal(signals, settings.drain_terms())?)
//! }
//! ```
//!
//! `examples/add_service.rs` is longer: JSON, a deadline for silent clients, options of the route.
//!
//! # What a program needs
//!
//! | | |
//! |---|---|
//! | [`services`] | the trait [`Service`](services::Service), its effects, routes, and the built-in services |
//! | [`server`] | [`Handle`](server::Handle): start, addresses, counters, commands, drain |
//! | [`config`] | [`Config`](config::Config): limits and timeouts, by default or from a file |
//! | [`http`] | request heads, [`Rejection`](http::Rejection) to refuse one, response headers |
//! | [`ws`] | close codes and opcodes; the protocol as functions of bytes |
//! | [`metrics`] | what each loop counts |
//! | [`timer`] | the units of time |
//!
//! The library logs through the crate `log`; install any logger to see it. A loop that fails ends
//! with its connections: see [`Handle`](server::Handle).
//!
//! # What else is here
//!
//! The other modules are the parts that a server is made of. They are public for tests, benchmarks
//! and tools, and change without notice. `docs/architecture.md` describes them; each uses only those
//! below it.
//!
//! | module | what happens there |
//! |---|---|
//! | [`cli`], [`client`] | the program: its command line, and `tidegate client` |
//! | [`control`] | what waits for others, such as a look-up in Redis |
//! | [`logging`] | which lines the log takes, and their way to standard error |
//! | [`reactor`] | one turn of a loop: wait, read, run on, mail, timers, flush, accept, reap |
//! | [`conn`] | a connection's life: receive, decode, answer, send, close |
//! | [`access`], [`inspect`] | what is told of connections that have ended; what operators ask of loops, and what these answer |
//! | [`mail`] | what loops and the control thread say to each other |
//! | [`effects`], [`output`] | what services ask for; frames gathered for one write |
//! | [`hub`], [`pool`], [`stream`] | members of topics; memory lent while bytes are in flight; bytes from and to sockets |
//! | [`channels`], [`centrifugo`] | channels with history and presence; the protocol in which clients speak of them |
//! | [`admission`] | who may connect, by their addresses |
//! | [`jwt`](mod@jwt) | tokens that prove an identity |
//! | [`certificates`], [`tls`] | the certificates of TLS, those of clients, and session tickets; its records |
//! | [`proxy_protocol`] | the header with which a proxy says for whom it connects |
//! | [`foreign`], [`line`](mod@line), [`transport`], [`os`] | clients that came to the wrong port; lines of text; the traits to the kernel; the operating system |
//! | [`key`] | keys of slots |

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
#[cfg(feature = "control")]
pub mod control;

pub mod logging;

pub mod reactor;
pub mod transport;

pub mod conn;
pub mod services;
pub mod stream;

pub mod access;
pub mod inspect;

pub mod mail;

pub mod centrifugo;
pub mod channels;
pub mod effects;
pub mod events;
pub mod output;

pub mod hub;
pub mod pool;
pub mod rate;

pub mod admission;
pub mod certificates;
pub mod http;
pub mod jwt;
pub mod proxy_protocol;
pub mod tls;
pub mod upstream;
pub mod ws;

pub mod foreign;
pub mod line;
pub mod os;

pub mod timer;

mod display;
pub mod key;
pub mod metrics;
mod shrink;
mod visible;
pub mod work;

#[cfg(any(test, feature = "sim"))]
pub mod sim;
