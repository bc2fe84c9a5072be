//! What a seed decides before a run: the settings of the server, its faults, and the clients.

use tidegate::config::SlowPolicy;
use tidegate::conn::ConnSettings;
use tidegate::rate::Rate;
use tidegate::services::{DeflateOptions, Identities, MessageLimits};
use tidegate::sim::{Faults, Random, ServerSettings};
use tidegate::work::WorkLimits;

use crate::checker::Disturbances;
use crate::identity::Anyone;
use crate::script::Bounds;
use crate::tls_end::TlsSetup;
use crate::world::Setup;

/// The settings of one run.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) bounds: Bounds,
    pub(crate) send_buffer_bytes: usize,
    pub(crate) clients_max: usize,
    pub(crate) steps: usize,
    pub(crate) runs_out_of_descriptors: bool,
    pub(crate) end: RunEnd,
    /// Whether the configuration is reloaded now and then.
    pub(crate) reloads: bool,
    /// Whether an operator asks and orders meanwhile.
    pub(crate) has_operator: bool,
    pub(crate) disturbances: Disturbances,
}

/// How the run ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RunEnd {
    /// All clients leave, then the server drains and ends at once.
    Empty,
    /// The server drains once all scripts are sent.
    Drained,
    /// The server drains while clients are still sending.
    CutShort,
}

/// Turns and shares in which hardly anything gets done, and usual ones.
pub(crate) fn work_limits(random: &mut Random) -> WorkLimits {
    let turn = [1, 10_000, 100_000, 4_000_000][random.below(4)];
    let share = [1, 300, 20_000, 500_000][random.below(4)];
    WorkLimits { turn, share }
}

/// Rates that clients meet and that lose nothing.
fn message_limits(random: &mut Random) -> MessageLimits {
    let mut rate = |per_s: [u32; 4]| {
        let per_s = per_s[random.below(4)];
        (per_s > 0).then_some(Rate { per_s, burst: 2 + per_s / 4 })
    };
    MessageLimits {
        messages: rate([0, 0, 100, 1_000]),
        bytes: rate([0, 0, 200_000, 2_000_000]),
        control_frames: rate([0, 20, 100, 100]),
        ..MessageLimits::default()
    }
}

/// What the kernel does wrong, in percent.
fn faults(random: &mut Random, slots_scarce: bool) -> Faults {
    let mut percent = |of: &[u32]| of[random.below(of.len())];
    Faults {
        interrupted: percent(&[0, 10, 40]),
        spurious: percent(&[0, 50]),
        partial_waits: percent(&[0, 50, 90]),
        short_writes: percent(&[0, 20, 60]),
        stale: percent(&[0, 50]),
        failed_registrations: if slots_scarce { 5 } else { 0 },
    }
}

/// In half of the runs all have an identity.
fn identities(seed: u64) -> Identities {
    match seed % 4 {
        1 | 2 => Anyone::list(),
        _ => Identities::default(),
    }
}

impl Plan {
    /// The plan for `seed`, drawn from `random`, which the run then goes on using.
    pub(crate) fn new(seed: u64, random: &mut Random) -> Self {
        let pick = |random: &mut Random, of: &[usize]| of[random.below(of.len())];
        let (slots_scarce, memory_scarce) = (random.percent(25), random.percent(15));
        let message_bytes_max = pick(random, &[1_000, 70_000, 300_000]);
        let high = pick(random, &[1 << 10, 16 << 10, 64 << 10]);
        let defaults = ConnSettings::default();
        let timeout = |random: &mut Random, of: [u64; 2]| of[random.below(2)];
        let connections = ConnSettings {
            half_open_max: if slots_scarce { 1 + random.below(4) } else { 250 },
            receive_buffer_bytes: pick(random, &[256, 5_000, 512 << 10]),
            reads_per_turn: 1 + random.below(4),
            work: work_limits(random),
            backlog_high_bytes: high,
            backlog_hard_bytes: high + message_bytes_max + 14,
            handshake_ms: timeout(random, [5_000, 30_000]),
            ping_idle_ms: timeout(random, [25_000, 3_000]),
            pong_ms: timeout(random, [8_000, 30_000]),
            message_grace_ms: timeout(random, [0, 30_000]),
            ..defaults
        };
        let server = ServerSettings {
            loops: 1 + random.below(3),
            connections_max: if slots_scarce { 2 + random.below(12) } else { 1_000 },
            refusals_max: 1 + random.below(8),
            pool_bytes_max: if memory_scarce { 4_096 << random.below(9) } else { 64 << 20 },
            items_max: pick(random, &[1, 8, 64]),
            mail_bytes_max: pick(random, &[200, 20_000, 1 << 20]),
            mail_per_turn: pick(random, &[16, 256]),
            connections,
            ..ServerSettings::default()
        };
        let faults = faults(random, slots_scarce);
        let policies = [SlowPolicy::Disconnect, SlowPolicy::DropNewest, SlowPolicy::KeepLatest];
        let slow_policy = policies[random.below(3)];
        let send_buffer_bytes = pick(random, &[100, 3_000, 64 << 10, 1 << 20]);
        let payload_bytes_max = send_buffer_bytes * 50;
        let window = u8::try_from(9 + random.below(7)).unwrap();
        let context_bits = random.percent(60).then_some(window);
        let limits = message_limits(random);
        Self {
            setup: Setup {
                seed,
                server,
                faults,
                message_bytes_max: Some(message_bytes_max),
                limits,
                slow_policy,
                deflate: DeflateOptions {
                    bytes_min: pick(random, &[1, 100, 1024]),
                    context_bits,
                    ..DeflateOptions::default()
                },
                identities: identities(seed),
                is_observed: seed % 5 == 2,
                ..Setup::default()
            },
            bounds: Bounds { message_bytes_max, payload_bytes_max, context_bits },
            send_buffer_bytes,
            clients_max: 2 + random.below(12),
            steps: 40 + random.below(120),
            runs_out_of_descriptors: slots_scarce && random.percent(50),
            end: [RunEnd::Empty, RunEnd::Drained, RunEnd::CutShort][random.below(3)],
            reloads: seed.is_multiple_of(3),
            has_operator: seed % 2 == 1,
            disturbances: Disturbances {
                slots_scarce,
                memory_scarce,
                has_operator: seed % 2 == 1,
                ..Disturbances::default()
            },
        }
    }

    /// Has all bytes go in records, which need some room at once.
    pub(crate) fn run_over_cipher(&mut self) {
        self.setup.server.has_fake_cipher = true;
        let room = &mut self.setup.server.connections.receive_buffer_bytes;
        *room = (*room).max(5_000);
    }

    /// Has all connections speak TLS.
    pub(crate) fn run_over_tls(&mut self, random: &mut Random) {
        let fragment_bytes = [None, Some(40), Some(1_000), None][random.below(4)];
        let dripped_bytes = [0, 0, 100, 250][random.below(4)];
        let is_cut = random.percent(30);
        self.setup.tls =
            Some(TlsSetup { is_13: random.percent(60), fragment_bytes, dripped_bytes, is_cut });
        // A handshake of several messages through a small buffer, sent in small pieces, takes a while.
        if self.send_buffer_bytes < 3_000 || dripped_bytes > 0 {
            self.setup.server.connections.handshake_ms = 60_000;
        }
    }
}
