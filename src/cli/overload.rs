//! Watches what the process has and may have, once a second, and marks what there is too little of.

use std::sync::Arc;

use super::reload::Reloader;
use crate::config::OverloadOptions;
use crate::os::{GroupMemory, ProcessUse};
use crate::reactor::{LoopCommand, OverloadMarks, Shortage};
use crate::server::Handle;

/// What is watched.
#[derive(Debug)]
pub(super) struct OverloadWatch {
    server: Arc<Handle>,
    reloader: Arc<Reloader>,
    marks: OverloadMarks,
    state: State,
    /// Looks so far.
    looks: u64,
    /// Descriptors that are no connections, where they can only be listed.
    other_descriptors: u64,
}

/// What there is of something: what is used, and what may be.
type Share = (u64, u64);

/// What the process has and may have at a moment; `None` where nothing limits it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sample {
    group: Option<Share>,
    resident: Option<Share>,
    pool: Option<Share>,
    descriptors: Option<Share>,
}

/// What was found at the last look.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct State {
    shortages: Vec<Shortage>,
    /// Memory is so short that connections are to end.
    is_critical: bool,
}

impl OverloadWatch {
    /// Watches for this server.
    pub(super) fn new(server: &Arc<Handle>, reloader: &Arc<Reloader>) -> Self {
        let (server, reloader) = (Arc::clone(server), Arc::clone(reloader));
        let (marks, state) = (server.overload_marks(), State::default());
        Self { server, reloader, marks, state, looks: 0, other_descriptors: 0 }
    }

    /// Looks, marks what there is too little of, says what has changed, and has loops end connections
    /// where memory is nearly used up.
    pub(super) fn look(&mut self) {
        let running = self.reloader.running();
        let options = &running.settings.overload;
        let sample = self.sample(options, self.reloader.granted().descriptors);
        let next = self.state.next(&sample, options);
        for shortage in Shortage::ALL {
            let (before, now) =
                (self.state.shortages.contains(&shortage), next.shortages.contains(&shortage));
            match (before, now) {
                (false, true) => {
                    log::warn!("overload: {}; newcomers get 503", describe(shortage, &sample));
                }
                (true, false) => log::info!("overload is over: {}", describe(shortage, &sample)),
                (false, false) | (true, true) => {}
            }
        }
        if next.is_critical && !self.state.is_critical {
            log::warn!("overload: the connections that hold most memory are closed");
        }
        self.marks.set(next.shortages.iter().copied());
        if next.is_critical {
            for loop_index in 0..running.settings.loops {
                // One that has too much mail waiting is told in a second again.
                let _ = self.server.command(loop_index, LoopCommand::Relieve { count: CUTS });
            }
        }
        self.state = next;
    }

    fn sample(&mut self, options: &OverloadOptions, descriptors_max: u64) -> Sample {
        let mut sample = Sample::default();
        if options.memory_percent > 0 {
            let group = GroupMemory::of_this_process(options.cgroup_root.path());
            sample.group = group.map(|own| (own.used, own.limit));
            sample.pool = Some(self.server.pool_use());
            if options.memory_bytes_max > 0 {
                sample.resident =
                    Some((ProcessUse::resident_bytes_now(), options.memory_bytes_max));
            }
        }
        if options.descriptors_left_min > 0 {
            sample.descriptors = Some((self.open_descriptors(), descriptors_max));
        }
        sample
    }

    /// Descriptors that are open. To list them takes milliseconds where they are many, so most looks take
    /// those that are no connections for as many as before.
    fn open_descriptors(&mut self) -> u64 {
        if let Some(open) = ProcessUse::descriptors_now() {
            return open;
        }
        let connections = self.server.metrics().map(|own| own.counters.connections_now.value());
        let connections: u64 = connections.sum();
        if self.looks.is_multiple_of(LOOKS_PER_LIST) {
            let listed = ProcessUse::descriptors_listed();
            self.other_descriptors = listed.saturating_sub(connections);
        }
        self.looks += 1;
        connections + self.other_descriptors
    }
}

impl State {
    /// What this sample comes to. What is short stays so until a twentieth more is free again, so that it
    /// does not come and go.
    fn next(&self, sample: &Sample, options: &OverloadOptions) -> Self {
        let percent = options.memory_percent;
        let is_over = |share: Option<Share>, percent: u64| {
            share.is_some_and(|(used, limit)| {
                percent > 0 && u128::from(used) * 100 >= u128::from(limit) * u128::from(percent)
            })
        };
        let held = |shortage| if self.shortages.contains(&shortage) { BACK_PERCENT } else { 0 };
        let memory = percent.saturating_sub(held(Shortage::Memory));
        let pool = percent.saturating_sub(held(Shortage::Pool));
        let is_out_of = |(open, limit): Share| {
            // Where there are few, connections_max leaves less than that.
            let left_min = options.descriptors_left_min.min(limit / FEW_DESCRIPTORS_PART);
            let more = if held(Shortage::Descriptors) > 0 { left_min / 2 } else { 0 };
            limit.saturating_sub(open) < left_min + more
        };
        let is_short = |shortage: &Shortage| match shortage {
            Shortage::Descriptors => sample.descriptors.is_some_and(is_out_of),
            Shortage::Memory => is_over(sample.group, memory) || is_over(sample.resident, memory),
            Shortage::Pool => is_over(sample.pool, pool),
        };
        let critical = percent + (100 - percent.min(100)) / 2;
        let is_critical =
            percent > 0 && (is_over(sample.group, critical) || is_over(sample.resident, critical));
        Self { shortages: Shortage::ALL.into_iter().filter(is_short).collect(), is_critical }
    }
}

/// What there is of it, for a line of the log.
fn describe(shortage: Shortage, sample: &Sample) -> String {
    let of = |share: Option<Share>| share.unwrap_or_default();
    match shortage {
        Shortage::Descriptors => {
            let (open, limit) = of(sample.descriptors);
            format!("{open} of {limit} descriptors are open")
        }
        Shortage::Memory => {
            let shares =
                [("the group of processes", sample.group), ("the process", sample.resident)];
            let texts = shares.iter().filter_map(|(what, share)| {
                let (used, limit) = (*share)?;
                Some(format!("{what} has {} of {} MiB of memory", used >> 20, limit >> 20))
            });
            texts.collect::<Vec<_>>().join(", ")
        }
        Shortage::Pool => {
            let (used, limit) = of(sample.pool);
            format!("{} of {} KiB of limits.pool_bytes_max are in use", used >> 10, limit >> 10)
        }
    }
}

const LOOKS_PER_LIST: u64 = 30;
/// At most this part of all descriptors must be left.
const FEW_DESCRIPTORS_PART: u64 = 64;
/// Connections that each loop ends in a second while memory is nearly used up.
const CUTS: usize = 16;
/// By this much of the limit there must be more again before it is over.
const BACK_PERCENT: u64 = 5;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of_group(used: u64) -> Sample {
        Sample { group: Some((used, 100)), ..Sample::default() }
    }

    #[test]
    fn memory_is_short_from_the_mark_on_until_there_is_clearly_more() {
        let options = OverloadOptions::default();
        let mut state = State::default();
        let mut seen = Vec::new();
        for used in [0, 89, 90, 86, 85, 84, 89, 95, 94, 84] {
            state = state.next(&of_group(used), &options);
            seen.push((!state.shortages.is_empty(), state.is_critical));
        }
        let (free, short, critical) = ((false, false), (true, false), (true, true));
        assert_eq!(seen, [free, free, short, short, short, free, free, critical, short, free]);
    }

    #[test]
    fn each_kind_is_found_and_can_be_switched_off() {
        let sample = Sample {
            group: Some((99, 100)),
            resident: Some((1, 100)),
            pool: Some((90, 100)),
            descriptors: Some((1010, 1024)),
        };
        let found = |options: &OverloadOptions| State::default().next(&sample, options);
        let all = found(&OverloadOptions::default());
        assert_eq!(all.shortages, Shortage::ALL);
        let off = OverloadOptions {
            memory_percent: 0,
            descriptors_left_min: 0,
            ..OverloadOptions::default()
        };
        assert_eq!(found(&off), State::default());
    }

    proptest! {
        /// However it came, it is over where there is enough.
        #[test]
        fn everything_is_back_where_there_is_enough(uses in prop::collection::vec(0..200u64, 0..20)) {
            let options = OverloadOptions::default();
            let mut state = State::default();
            for used in uses {
                state = state.next(&of_group(used), &options);
                prop_assert!(!state.is_critical || state.shortages == [Shortage::Memory]);
            }
            prop_assert_eq!(state.next(&of_group(84), &options), State::default());
        }
    }
}
