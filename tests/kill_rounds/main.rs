//! Gateways that share an engine, while gateways, engines and links fail, held to a model of what members may see.
//!
//! Each test makes five rounds with one kind of fault, with processes of its own on free ports.
//! `scripts/kill-rounds` makes more. Nothing is waited for by time: what happens next depends on what has
//! happened, and on a seed, which is printed.
//!
//! | module | what it is |
//! |---|---|
//! | `model` | what members may see |
//! | `members`, `publishers` | clients that come back, and calls of the HTTP API |
//! | `places` | where the gateways are |
//! | `link` | a link that can be cut |
//! | `rig` | all of them, and a round |
//! | `redis` | the faults, with Redis |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

#[allow(dead_code, reason = "shared with others")]
#[path = "../gateway/gateway.rs"]
mod gateway;
mod link;
mod members;
mod model;
mod places;
mod publishers;
mod random;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod rig;
#[path = "../support/skip.rs"]
mod skip;
#[allow(dead_code, reason = "shared with others")]
#[path = "../gateway/wait.rs"]
mod wait;

#[cfg(feature = "redis")]
mod redis;
