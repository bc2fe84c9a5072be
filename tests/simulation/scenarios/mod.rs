//! Scenarios in virtual time: each test shows one behaviour of the gateway.

mod access;
mod add;
mod addresses;
mod admission;
mod age;
mod backend;
mod backend_tls;
mod backpressure;
mod closing;
mod compression;
mod control;
mod drain;
mod events;
mod eviction;
mod exchange;
mod frame_batch;
mod frame_relay;
mod handshakes;
mod identity;
mod idle;
mod limits;
mod lines;
mod mail;
mod memory;
mod observer;
mod order;
mod overload;
mod proxied;
mod publish;
mod push;
mod queries;
mod rates;
mod reading;
mod redirect;
mod relay;
mod reload;
mod route_counters;
mod service_messages;
mod stall;
mod takeover;
mod time;
mod tls;
mod traces;
mod unfinished;

use tidegate::sim::ServerSettings;

use crate::world::Setup;

/// Deadlines are kept in ticks of 64 ms and may come late by two of them, never early.
const LATE_MS: u64 = 2 * 64;

/// The default setup with other server settings.
fn server(change: impl FnOnce(&mut ServerSettings)) -> Setup {
    let mut setup = Setup::default();
    change(&mut setup.server);
    setup
}
