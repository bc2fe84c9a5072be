//! Gateways that share an engine, while gateways, engines and proxies fail, held to a model of what members may see.
//!
//! Each test makes five rounds with one kind of fault, with processes of its own on free ports.
//! `scripts/kill-rounds` makes more. Nothing is waited for by time: what happens next depends on what has
//! happened, and on a seed, which is printed.
//!
//! | module | what it is |
//! |---|---|
//! | `model` | what members may see |
//! | `members`, `publishers` | clients that come back, and calls of the HTTP API |
//! | `endpoints` | where the gateways are |
//! | `proxy` | a link that can be cut |
//! | `network` | networks with links that can be cut, and hosts that can be parted |
//! | `rig` | all of them, and a round |
//! | `faults` | what befalls gateways and their links |
//! | `redis`, `nats` | rounds with each engine |

#![expect(clippy::unwrap_used, clippy::panic, reason = "tests fail by panic")]

mod endpoints;
mod faults;
#[allow(dead_code, reason = "shared with others")]
#[path = "../gateway/gateway.rs"]
mod gateway;
mod members;
mod model;
#[cfg(feature = "nats")]
#[allow(dead_code, reason = "shared with others")]
#[path = "../support/nats_server.rs"]
mod nats_server;
mod network;
#[path = "../support/port.rs"]
mod port;
mod proxy;
mod publishers;
mod random;
#[path = "../support/redis_server.rs"]
mod redis_server;
mod rig;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../gateway/unhurried.rs"]
mod unhurried;
#[allow(dead_code, reason = "shared with others")]
#[path = "../gateway/wait.rs"]
mod wait;

#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "redis")]
mod redis;
