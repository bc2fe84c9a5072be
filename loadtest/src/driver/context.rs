//! The state that the connections of a driver share.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::backlog::BufferPool;
use super::source_addresses::SourceAddresses;
use crate::random::Random;
use crate::target::Target;
use crate::tls::TlsTally;
use crate::websocket::{Inflater, Outgoing};

/// How connections are made, and how long their server may take for each answer.
#[derive(Clone, Debug)]
pub(crate) struct DriverOptions {
    pub(crate) target: Target,
    pub(crate) sources: SourceAddresses,
    pub(crate) answer_max: Duration,
    pub(crate) seed: u64,
}

/// How much of a TLS handshake a connection sends that never goes on with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsStall {
    /// Half of the ClientHello.
    HalfHello,
    /// The whole ClientHello, so that the server has its whole answer to keep.
    WholeHello,
}

/// The shared state. The driver serves one connection at a time.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) options: DriverOptions,
    pub(super) random: Random,
    /// When the bytes that are being handled arrived.
    pub(super) now: Instant,
    /// The output of the connection that is being served. Empty between two of them.
    pub(super) output: Vec<u8>,
    /// What a connection with TLS received, opened, behind the rest of what came before. Empty between
    /// two of them.
    pub(super) opened: Vec<u8>,
    /// The output of a connection with TLS, sealed. Empty between two of them.
    pub(super) sealed: Vec<u8>,
    pub(super) tls_tally: TlsTally,
    /// Where connections stop their TLS handshake, if they do.
    pub(super) tls_stall: Option<TlsStall>,
    pub(super) buffer_pool: BufferPool,
    pub(super) inflater: Inflater,
    /// Compressed messages are handed on as they arrive.
    pub(super) leaves_compressed: bool,
    /// How much of its request a connection sends by itself; all of it if this is absent.
    pub(super) request_bytes_first: Option<usize>,
    /// The rest of each request that was not sent whole, by the connection's serial number.
    pub(super) held_requests: HashMap<u64, Vec<u8>>,
}

impl Context {
    pub(super) fn new(options: DriverOptions, now: Instant) -> Self {
        Self {
            random: Random::new(options.seed),
            options,
            now,
            output: Vec::new(),
            opened: Vec::new(),
            sealed: Vec::new(),
            tls_tally: TlsTally::default(),
            tls_stall: None,
            buffer_pool: BufferPool::default(),
            inflater: Inflater::default(),
            leaves_compressed: false,
            request_bytes_first: None,
            held_requests: HashMap::new(),
        }
    }

    pub(super) fn outgoing(&mut self) -> Outgoing<'_> {
        let deadline = self.now + self.options.answer_max;
        Outgoing { bytes: &mut self.output, random: &mut self.random, deadline }
    }
}
