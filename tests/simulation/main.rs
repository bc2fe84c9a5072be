//! Whole event loops on the fake kernel: named scenarios in virtual time, and a sweep over seeds
//! in which random clients connect, send, read and leave.
//!
//! `TIDEGATE_SIM_SEED=7 cargo test --test simulation sweep` replays one seed with a log of its
//! steps; `TIDEGATE_SIM_SEEDS=5000` changes how many are swept.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test fails by panicking; helpers of tests as well"
)]

use std::alloc::System;

use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

/// Counts, for the test that holds it against what is charged.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// The example service, whose half minute of silence passes at once in virtual time.
#[path = "../../examples/add_service.rs"]
#[expect(dead_code, reason = "its main starts a real server")]
mod add_service;

mod access;
mod actor;
mod attacks;
mod channels;
mod checker;
mod client;
mod identity;
mod intruder;
mod operator;
mod operator_script;
mod plan;
mod rooms;
mod scenarios;
mod script;
mod services;
mod sweep;
mod tls_end;
mod wire;
mod world;
