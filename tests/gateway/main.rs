//! The gateway as its users meet it: the real program, real sockets, real clients.
//!
//! Every test starts a program of its own on a free port and ends it. Nothing here waits for a
//! fixed time: conditions are awaited with a deadline so generous that only a fault reaches it
//! (see `patience`).
//!
//! | module | what it holds the gateway to |
//! |---|---|
//! | `start` | command line, configuration, limits, the lines it logs, exit codes |
//! | `http`, `handshake` | every reply of the specification; whatever is sent, a proper end |
//! | `client_command` | `tidegate client`: lines in, lines out, how it ends, exit codes |
//! | `echo`, `clients` | messages of every size, cut and kind, from clients of three languages |
//! | `compression` | permessage-deflate: what is agreed, both ways, bombs, one compression for all |
//! | `browser` | the pages as people meet them, in a real browser |
//! | `login_chat`, `hub_chat`, `add_service`, `broadcast_chat`, `line_chat` | the systems that it serves out of the box, on four loops |
//! | `limits` | descriptors and handshakes run out, and nobody inside notices |
//! | `drain` | signals, goodbyes, exit codes |
//! | `backpressure` | a client that does not read costs no memory and loses no byte |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

mod chat_client;
mod frames;
mod gateway;
mod messages;
mod patience;
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/skip.rs"]
mod skip;
mod socket;
mod webdriver;

mod start;
mod takeover;

mod handshake;
mod http;

mod browser;
mod client_command;
mod clients;
mod compression;
mod echo;

mod add_service;
mod broadcast_chat;
mod hub_chat;
mod independent_peer;
mod line_chat;
mod login_chat;

mod backpressure;
mod drain;
mod limits;
