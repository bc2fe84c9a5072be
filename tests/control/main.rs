//! The control thread against a real Redis, against none, and against one that says nothing.
//!
//! Every test starts a Redis of its own on a free port and ends it. Nothing here waits for a fixed
//! time: answers are awaited with a deadline so generous that only a fault reaches it.
//!
//! | module | what it holds the control thread to |
//! |---|---|
//! | `tokens` | right, wrong, missing and expired tokens; those that let in once |
//! | `outages` | a Redis that is not there, hangs, goes and comes back |
//! | `restarts` | a thread that fails and is started again |
//! | `limits` | how many look-ups there may be; those that nobody waits for any more; the end |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

mod asking;
mod log_lines;
#[path = "../gateway/patience.rs"]
mod patience;
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/skip.rs"]
mod skip;

mod limits;
mod outages;
mod restarts;
mod tokens;
