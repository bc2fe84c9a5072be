//! Channels that several gateways share, with real brokers.
//!
//! Every test starts brokers of its own on free ports and ends them. No test waits for a fixed time: what is to
//! happen is awaited with a timeout that only a fault reaches.
//!
//! | module | what it tests |
//! |---|---|
//! | `nats_commands` | each command and each event, with one NATS |
//! | `nats_cluster` | three NATS, of which some end |
//! | `nats_figures` | what it costs, when asked for |
//! | `nats_history` | what is read, against a model |
//! | `nats_logins` | who the gateway is, and TLS |
//! | `nats_outages` | a NATS that ends, hangs, or is too old |
//! | `redis_commands` | each command and each event, with one Redis |
//! | `redis_figures` | nothing: it measures |
//! | `redis_history` | what is read, against the history in the process |
//! | `redis_outages` | a Redis that ends, hangs, or loses a connection |
//! | `redis_servers` | Redis with TLS, Sentinel and Cluster |

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panic")]

#[allow(dead_code, reason = "the tests of each broker use a part")]
mod broker;
#[path = "../support/certificates.rs"]
mod certificates;
#[allow(dead_code, reason = "shared with others")]
#[path = "../support/nats_server.rs"]
mod nats_server;
#[path = "../support/port.rs"]
mod port;
mod proxy;
#[path = "../support/redis_server.rs"]
mod redis_server;
#[path = "../support/skip.rs"]
mod skip;
#[path = "../gateway/wait.rs"]
#[allow(dead_code, reason = "shared with others")]
mod wait;

mod nats_cluster;
mod nats_commands;
mod nats_figures;
mod nats_history;
mod nats_logins;
mod nats_outages;
mod redis_commands;
mod redis_figures;
mod redis_history;
mod redis_outages;
mod redis_servers;
