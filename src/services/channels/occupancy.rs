//! Which channels have members, as an observer is told: a channel is occupied at once, and vacated when it has
//! had no member for a while. A member that comes back before that says nothing.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use crate::effects::SharedRouteObserver;
use crate::shrink::Shrink as _;
use crate::timer::{Millis, WallTime};

/// What an observer is told of the channels whose home is a loop.
#[derive(Debug, Default)]
pub(super) struct Occupancy {
    settings: Option<OccupancySettings>,
    /// Channels that were left, and since when. No entry has come behind one that was left later.
    left: VecDeque<(Arc<str>, Millis)>,
    /// The same by their names; without those that have members again.
    since: HashMap<Arc<str>, Millis>,
}

/// Who is told that channels are occupied and vacated, and when.
#[derive(Clone, Debug)]
pub struct OccupancySettings {
    /// Who is told.
    pub observer: SharedRouteObserver,
    /// How long a channel is without members before that is told, in milliseconds.
    pub vacated_ms: u64,
}

impl Occupancy {
    /// Who is told from now on. Without an observer nothing is.
    pub(super) fn set(&mut self, settings: Option<OccupancySettings>) {
        self.settings = settings;
        if self.settings.is_none() {
            *self = Self::default();
        }
    }

    /// A channel has a member, and had none. Gives what it costs to tell that.
    pub(super) fn occupied(&mut self, channel: &str, at: WallTime) -> u64 {
        let Some(settings) = &self.settings else { return 0 };
        // Nothing was told of its end, so nothing is of its beginning.
        if self.since.remove(channel).is_some() {
            return LOOK_WORK;
        }
        settings.observer.occupied(channel, at);
        TOLD_WORK
    }

    /// A channel has no member any more. Gives what it costs to note or tell that.
    pub(super) fn left(&mut self, channel: &Arc<str>, (now, at): (Millis, WallTime)) -> u64 {
        let Some(settings) = &self.settings else { return 0 };
        if self.left.len() >= LEFT_MAX {
            settings.observer.vacated(channel, at);
            return TOLD_WORK;
        }
        self.since.insert(Arc::clone(channel), now);
        self.left.push_back((Arc::clone(channel), now));
        LOOK_WORK
    }

    /// Whether something is told only when some time has passed.
    pub(super) fn waits(&self) -> bool {
        !self.left.is_empty()
    }

    /// Tells what has been left for long enough, as much as a turn has time for. Gives what it costs, and whether
    /// there is more to be told.
    pub(super) fn on_tick(&mut self, (now, at): (Millis, WallTime)) -> (u64, bool) {
        let (mut work, mut has_more) = (0, false);
        let Some(settings) = &self.settings else { return (work, has_more) };
        while let Some((channel, since)) = self.left.front()
            && now.since(*since) >= settings.vacated_ms
        {
            if work >= PART_WORK {
                has_more = true;
                break;
            }
            work += LOOK_WORK;
            // One that has members again, or was left once more, is another entry or none.
            if self.since.get(channel) == Some(since) {
                self.since.remove(channel);
                settings.observer.vacated(channel, at);
                work += TOLD_WORK;
            }
            self.left.pop_front();
        }
        self.left.shrink_if_sparse(0);
        self.since.shrink_if_sparse(0);
        (work, has_more)
    }
}

/// Channels that wait for the end of the time; what is left beyond them is told at once.
const LEFT_MAX: usize = 10_000;
/// What is told in a turn: an eighth of it, as a turn is by default.
const PART_WORK: u64 = 500_000;
/// An event is written down for an observer, which takes a lock.
const TOLD_WORK: u64 = 800;
/// A channel is noted, or looked up.
const LOOK_WORK: u64 = 100;

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use proptest::prelude::*;

    use super::*;
    use crate::effects::{CloseReason, ObservedClient, RouteObserver};

    #[derive(Debug, Default)]
    struct Recorder(Mutex<Vec<(String, bool)>>);

    impl RouteObserver for Recorder {
        fn connected(&self, _: &ObservedClient<'_>) {}

        fn disconnected(&self, _: &ObservedClient<'_>, _: CloseReason) {}

        fn occupied(&self, channel: &str, _: WallTime) {
            self.0.lock().unwrap().push((channel.to_owned(), true));
        }

        fn vacated(&self, channel: &str, _: WallTime) {
            self.0.lock().unwrap().push((channel.to_owned(), false));
        }
    }

    fn observed() -> (Arc<Recorder>, Occupancy) {
        let recorder = Arc::new(Recorder::default());
        let observer: SharedRouteObserver = recorder.clone();
        let mut own = Occupancy::default();
        own.set(Some(OccupancySettings { observer, vacated_ms: 1000 }));
        (recorder, own)
    }

    const AT: WallTime = WallTime(0);

    #[test]
    fn a_member_that_comes_back_in_time_says_nothing() {
        let (recorder, mut own) = observed();
        let told = || std::mem::take(&mut *recorder.0.lock().unwrap());
        let news: Arc<str> = "news".into();
        own.occupied(&news, AT);
        assert_eq!(told(), [("news".to_owned(), true)]);
        own.left(&news, (Millis(0), AT));
        own.on_tick((Millis(999), AT));
        own.occupied(&news, AT);
        own.left(&news, (Millis(999), AT));
        own.on_tick((Millis(1998), AT));
        assert_eq!(told(), []);
        own.on_tick((Millis(1999), AT));
        assert_eq!(told(), [("news".to_owned(), false)]);
        assert!(own.left.is_empty() && own.since.is_empty());
        own.occupied(&news, AT);
        assert_eq!(told(), [("news".to_owned(), true)]);
    }

    #[test]
    fn what_a_turn_has_no_time_for_is_told_in_the_next() {
        let (recorder, mut own) = observed();
        let told = || std::mem::take(&mut *recorder.0.lock().unwrap());
        let names: Vec<Arc<str>> = (0..2_000).map(|own| own.to_string().into()).collect();
        for name in &names {
            own.occupied(name, AT);
        }
        told();
        for name in &names {
            own.left(name, (Millis(0), AT));
        }
        let (work, has_more) = own.on_tick((Millis(1000), AT));
        assert!(has_more && work < PART_WORK + TOLD_WORK + LOOK_WORK, "{work}");
        let mut all = told();
        assert!((500..600).contains(&all.len()), "{}", all.len());
        // One that has a member again is told to have neither left nor come; one that is left once more waits.
        own.occupied("1990", AT);
        own.occupied("1991", AT);
        own.left(&names[1991], (Millis(1000), AT));
        let mut turns = 1;
        while own.on_tick((Millis(1000), AT)).1 {
            turns += 1;
        }
        all.extend(told());
        let expected = names.iter().filter(|own| ***own != *"1990" && ***own != *"1991");
        let expected: Vec<(String, bool)> = expected.map(|own| (own.to_string(), false)).collect();
        assert_eq!(all, expected);
        assert_eq!(turns, 3);
        assert!(!own.on_tick((Millis(2000), AT)).1);
        assert_eq!(told(), [("1991".to_owned(), false)]);
        assert_eq!((own.left.capacity(), own.since.capacity()), (0, 0));
    }

    proptest! {
        /// Of each channel beginnings and ends are told in turns, and in the end what is true.
        #[test]
        fn beginnings_and_ends_alternate(
            steps in prop::collection::vec((0..4_usize, any::<bool>(), 0..2000_u64), 0..100),
        ) {
            let (recorder, mut own) = observed();
            let names: Vec<Arc<str>> = ["a", "b", "c", "d"].map(Arc::from).to_vec();
            let (mut occupied, mut now) = (BTreeSet::new(), Millis(0));
            for (name, is_tick, ms) in steps {
                now = now.plus(ms);
                match (is_tick, occupied.contains(&name)) {
                    (true, _) => {
                        own.on_tick((now, AT));
                    }
                    (false, true) => {
                        own.left(&names[name], (now, AT));
                        occupied.remove(&name);
                    }
                    (false, false) => {
                        own.occupied(&names[name], AT);
                        occupied.insert(name);
                    }
                }
            }
            own.on_tick((now.plus(1000), AT));
            let mut told: BTreeSet<String> = BTreeSet::new();
            for (channel, is_occupied) in recorder.0.lock().unwrap().drain(..) {
                let has_changed = match is_occupied {
                    true => told.insert(channel),
                    false => told.remove(&channel),
                };
                prop_assert!(has_changed);
            }
            let expected: BTreeSet<String> =
                occupied.iter().map(|name| names[*name].to_string()).collect();
            prop_assert_eq!(told, expected);
            prop_assert!(own.since.is_empty() && own.left.is_empty());
        }
    }
}
