//! The control thread with a real Redis, without one, and with one that does not answer.
//!
//! Every test starts a Redis of its own on a free port and ends it. No test waits for a fixed time:
//! answers are awaited with a timeout that only a fault reaches.
//!
//! | module | what it tests |
//! |---|---|
//! | `tokens` | right, wrong, missing, expired and one-time tokens |
//! | `outages` | a Redis that is absent, hangs, stops and restarts |
//! | `restarts` | a control thread that fails and is started again |
//! | `progress` | a Redis that is slow, and look-ups that wait for the connection |
//! | `survey` | the thread of an engine that fails while all gateways are asked |
//! | `events` | the thread that fails while backends are told of connections |
//! | `limits` | the limit on look-ups, cancelled look-ups, the end of the thread |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

mod admin;
#[path = "../support/certificates.rs"]
mod certificates;
mod log_lines;
mod lookup_client;
#[path = "../support/port.rs"]
mod port;
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../gateway/wait.rs"]
#[allow(dead_code, reason = "shared with others")]
mod wait;

mod events;
mod limits;
mod outages;
mod progress;
mod restarts;
mod survey;
mod tokens;
