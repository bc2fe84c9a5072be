//! What members may see, held against what was published: pure, so that it is tested itself.
//!
//! A member's time in a channel is cut into segments. One begins where the member was told a position without
//! getting what it had missed, and goes on through recoveries. In a segment everything that was acknowledged
//! comes, in order and once. Between two segments things may be missing: there the member was told.

use std::collections::{BTreeMap, HashMap, HashSet};

/// Where something stands in a channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    pub(crate) epoch: String,
    pub(crate) offset: u64,
}

/// What a member has seen of one channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It has subscribed, and has got these with their offsets. The position is where it was if it has
    /// recovered, else where the stream is.
    Joined { is_recovered: bool, position: Position, missed: Vec<(u64, u64)> },
    /// A publication, with its offset.
    Heard(u64, u64),
    /// The subscription or the connection has ended.
    Ended,
}

/// What an engine promises under a fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Promise {
    /// Nothing that was acknowledged is lost, and members always recover.
    Everything,
    /// What is lost is of another epoch than what is there afterwards, and members are told.
    LossIsTold,
}

/// What one round has come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) acknowledged: usize,
    pub(crate) unanswered: usize,
    /// Of those that were acknowledged, how many are not there at the end.
    pub(crate) lost: usize,
    /// How often a member was told that it may have missed something.
    pub(crate) told: usize,
}

/// All channels and members.
#[derive(Debug)]
pub(crate) struct Model {
    promise: Promise,
    /// Publications that each channel keeps.
    kept_max: usize,
    channels: Vec<Channel>,
    /// For each member and channel.
    members: Vec<Vec<Membership>>,
    told: usize,
    faults: Vec<String>,
}

#[derive(Debug, Default)]
struct Channel {
    attempted: HashSet<u64>,
    /// What stands at a position, for all who have seen it.
    at: HashMap<Position, u64>,
    /// Where a publication stands, in each epoch.
    place: HashMap<(String, u64), u64>,
    acknowledged: Vec<(Position, u64)>,
    /// Of this round.
    round: HashSet<u64>,
    tried: HashSet<u64>,
    first_epoch: Option<String>,
}

#[derive(Debug, Default)]
struct Membership {
    is_on: bool,
    /// The last is the one that goes on.
    segments: Vec<Segment>,
}

#[derive(Debug)]
struct Segment {
    epoch: String,
    from: u64,
    to: u64,
    heard: BTreeMap<u64, u64>,
}

impl Model {
    pub(crate) fn new(promise: Promise, kept_max: usize, channels: usize, members: usize) -> Self {
        let memberships = || (0..channels).map(|_| Membership::default()).collect();
        Self {
            promise,
            kept_max,
            channels: (0..channels).map(|_| Channel::default()).collect(),
            members: (0..members).map(|_| memberships()).collect(),
            told: 0,
            faults: Vec::new(),
        }
    }

    /// This was to be published, and may have been.
    pub(crate) fn attempted(&mut self, channel: usize, id: u64) {
        self.channels[channel].attempted.insert(id);
        self.channels[channel].tried.insert(id);
    }

    /// This was acknowledged.
    pub(crate) fn acknowledged(&mut self, channel: usize, id: u64, position: Position) {
        self.place(channel, &position, id, "an acknowledgement");
        self.channels[channel].round.insert(id);
        self.channels[channel].acknowledged.push((position, id));
    }

    /// A member has seen this next.
    pub(crate) fn seen(&mut self, member: usize, channel: usize, seen: Seen) {
        let who = format!("member {member} in channel {channel}");
        match seen {
            Seen::Ended => self.members[member][channel].is_on = false,
            Seen::Heard(offset, id) => self.heard((member, channel), (offset, id), &who),
            Seen::Joined { is_recovered, position, missed } => {
                let own = &mut self.members[member][channel];
                let is_first = own.segments.is_empty();
                if own.is_on {
                    self.faults.push(format!("{who} subscribes twice"));
                }
                let own = &mut self.members[member][channel];
                own.is_on = true;
                if is_recovered {
                    return self.recovered((member, channel), &position, missed, &who);
                }
                let Position { epoch, offset } = position;
                let segment = Segment { epoch, from: offset, to: offset, heard: BTreeMap::new() };
                own.segments.push(segment);
                if !is_first {
                    self.told += 1;
                    if self.promise == Promise::Everything {
                        self.faults.push(format!("{who} has not recovered"));
                    }
                }
                if !missed.is_empty() {
                    self.faults.push(format!("{who} has not recovered, and gets {missed:?}"));
                }
            }
        }
    }

    fn recovered(
        &mut self,
        (member, channel): (usize, usize),
        position: &Position,
        missed: Vec<(u64, u64)>,
        who: &str,
    ) {
        let Some(segment) = self.members[member][channel].segments.last() else {
            return self.faults.push(format!("{who} has recovered from nothing"));
        };
        let (epoch, to) = (segment.epoch.clone(), segment.to);
        if epoch != position.epoch || position.offset != to {
            let text = format!("{who} was at {epoch}:{to} and has recovered from {position:?}");
            return self.faults.push(text);
        }
        for own in missed {
            self.heard((member, channel), own, who);
        }
    }

    fn heard(&mut self, (member, channel): (usize, usize), (offset, id): (u64, u64), who: &str) {
        let own = &mut self.members[member][channel];
        let Some(segment) = own.segments.last_mut().filter(|_| own.is_on) else {
            return self.faults.push(format!("{who} hears {id} at {offset}, unsubscribed"));
        };
        if offset <= segment.to {
            let to = segment.to;
            self.faults.push(format!("{who} hears {id} at {offset}, and was at {to}"));
        }
        segment.to = segment.to.max(offset);
        segment.heard.insert(offset, id);
        let position = Position { epoch: segment.epoch.clone(), offset };
        self.place(channel, &position, id, who);
    }

    /// Something was seen at this position, where nothing else may be.
    fn place(&mut self, channel: usize, position: &Position, id: u64, who: &str) {
        let own = &mut self.channels[channel];
        if !own.attempted.contains(&id) {
            self.faults.push(format!("{who}: {id} at {position:?} was never published"));
        }
        let there = *own.at.entry(position.clone()).or_insert(id);
        if there != id {
            self.faults.push(format!("{who}: {id} stands at {position:?}, and so does {there}"));
        }
        let key = (position.epoch.clone(), id);
        let offset = *own.place.entry(key).or_insert(position.offset);
        if offset != position.offset {
            self.faults.push(format!("{who}: {id} stands at {position:?}, and at {offset}"));
        }
        let first = own.first_epoch.get_or_insert_with(|| position.epoch.clone());
        if self.promise == Promise::Everything && *first != position.epoch {
            self.faults.push(format!("{who}: {id} at {position:?}, and {first} was the epoch"));
        }
    }

    /// What a channel has at the end of a round, when nothing is published any more.
    pub(crate) fn kept(&mut self, channel: usize, end: &Position, entries: &[(u64, u64)]) {
        let who = format!("the history of channel {channel}");
        if !entries.is_sorted_by(|one, next| one.0 < next.0) {
            self.faults.push(format!("{who} is not in order: {entries:?}"));
        }
        for (offset, id) in entries {
            let position = Position { epoch: end.epoch.clone(), offset: *offset };
            self.place(channel, &position, *id, &who);
        }
        let own = &self.channels[channel];
        // What is older than the oldest was pushed out by younger ones, if it is full.
        let oldest = entries.first().filter(|_| entries.len() >= self.kept_max);
        let oldest = oldest.map_or(0, |(offset, _)| *offset);
        let offsets: HashMap<u64, u64> = entries.iter().copied().collect();
        for (position, id) in &own.acknowledged {
            let is_due = position.epoch == end.epoch && position.offset >= oldest;
            if is_due && offsets.get(&position.offset) != Some(id) {
                self.faults.push(format!("{who} has lost {id}, acknowledged at {position:?}"));
            }
        }
    }

    /// The end of a round: all members have got to these positions, one for each channel, and this is what the
    /// channels have. What was wrong is the error.
    pub(crate) fn end_round(
        &mut self,
        ends: &[(Position, Vec<(u64, u64)>)],
    ) -> Result<Summary, String> {
        let mut summary = Summary { told: std::mem::take(&mut self.told), ..Summary::default() };
        for (channel, (end, entries)) in ends.iter().enumerate() {
            self.kept(channel, end, entries);
            self.check_members(channel, end);
            let there: HashSet<u64> = entries.iter().map(|(_, id)| *id).collect();
            let own = &mut self.channels[channel];
            let (round, tried) = (std::mem::take(&mut own.round), std::mem::take(&mut own.tried));
            summary.acknowledged += round.len();
            summary.unanswered += tried.difference(&round).count();
            summary.lost += round.difference(&there).count();
        }
        if self.faults.is_empty() { Ok(summary) } else { Err(self.faults.join("\n")) }
    }

    /// Nothing that was acknowledged is missing in any segment.
    fn check_members(&mut self, channel: usize, end: &Position) {
        let acknowledged = &self.channels[channel].acknowledged;
        for (number, member) in self.members.iter_mut().enumerate() {
            let own = &mut member[channel];
            for segment in &own.segments {
                for (position, id) in acknowledged {
                    let Position { epoch, offset } = position;
                    let is_due =
                        *epoch == segment.epoch && (segment.from + 1..=segment.to).contains(offset);
                    if is_due && segment.heard.get(offset) != Some(id) {
                        let text = format!(
                            "member {number} in channel {channel} was at {} to {} of {epoch} and has \
                             missed {id} at {offset}",
                            segment.from, segment.to
                        );
                        self.faults.push(text);
                    }
                }
            }
            match own.segments.last_mut() {
                Some(last) if last.epoch == end.epoch && last.to == end.offset => {
                    // What was checked is not checked again.
                    (last.from, last.heard) = (last.to, BTreeMap::new());
                }
                last => self.faults.push(format!(
                    "member {number} in channel {channel} is at {last:?}, and not at {end:?}"
                )),
            }
            let obsolete = own.segments.len().saturating_sub(1);
            own.segments.drain(..obsolete);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(epoch: &str, offset: u64) -> Position {
        Position { epoch: epoch.to_owned(), offset }
    }

    fn joined(epoch: &str, offset: u64, is_recovered: bool, missed: &[(u64, u64)]) -> Seen {
        let (position, missed) = (at(epoch, offset), missed.to_vec());
        Seen::Joined { is_recovered, position, missed }
    }

    /// One member in one channel with the publications 11, 12, 13 at the offsets 1, 2, 3 of the epoch `a`, which
    /// have been acknowledged; then this is seen, and those are there at the end.
    fn verdict(
        promise: Promise,
        seen: &[Seen],
        (end, entries): (Position, &[(u64, u64)]),
    ) -> Result<Summary, String> {
        let mut model = Model::new(promise, 100, 1, 1);
        for offset in 1..=3 {
            model.attempted(0, offset + 10);
            model.acknowledged(0, offset + 10, at("a", offset));
        }
        for own in seen {
            model.seen(0, 0, own.clone());
        }
        model.end_round(&[(end, entries.to_vec())])
    }

    const KEPT: [(u64, u64); 3] = [(1, 11), (2, 12), (3, 13)];

    fn faults(seen: &[Seen]) -> String {
        verdict(Promise::Everything, seen, (at("a", 3), &KEPT)).unwrap_err()
    }

    #[test]
    fn everything_in_order_is_right() {
        let start = joined("a", 0, false, &[]);
        let heard = [(1, 11), (2, 12), (3, 13)].map(|(offset, id)| Seen::Heard(offset, id));
        let [first, second, third] = heard;
        let seen = [start.clone(), first.clone(), second, third.clone()];
        let summary = Summary { acknowledged: 3, ..Summary::default() };
        assert_eq!(verdict(Promise::Everything, &seen, (at("a", 3), &KEPT)), Ok(summary));
        // What was missed comes with the answer.
        let again = joined("a", 1, true, &[(2, 12)]);
        let seen = [start, first, Seen::Ended, again, third];
        assert_eq!(verdict(Promise::Everything, &seen, (at("a", 3), &KEPT)), Ok(summary));
    }

    #[test]
    fn a_loss_is_detected() {
        let start = joined("a", 0, false, &[]);
        let text = faults(&[start.clone(), Seen::Heard(1, 11), Seen::Heard(3, 13)]);
        assert!(text.contains("has missed 12 at 2"), "{text}");
        let again = joined("a", 1, true, &[(3, 13)]);
        let text = faults(&[start.clone(), Seen::Heard(1, 11), Seen::Ended, again]);
        assert!(text.contains("has missed 12 at 2"), "{text}");
        // The end counts too.
        let text = faults(&[start, Seen::Heard(1, 11), Seen::Heard(2, 12)]);
        assert!(text.contains("and not at"), "{text}");
    }

    #[test]
    fn a_repeat_is_detected() {
        let start = joined("a", 0, false, &[]);
        let heard = KEPT.map(|(offset, id)| Seen::Heard(offset, id));
        let seen = [vec![start], heard.to_vec(), vec![heard[2].clone()]].concat();
        assert!(faults(&seen).contains("and was at 3"));
        // At another offset too.
        let start = joined("a", 1, false, &[]);
        let seen = [start, Seen::Heard(2, 12), Seen::Heard(3, 12)];
        assert!(faults(&seen).contains("12 stands at"));
    }

    #[test]
    fn a_wrong_order_is_detected() {
        let start = joined("a", 0, false, &[]);
        let seen = [start.clone(), Seen::Heard(2, 12), Seen::Heard(1, 11), Seen::Heard(3, 13)];
        assert!(faults(&seen).contains("and was at 2"));
        let seen = [start, joined("a", 0, true, &[(1, 12), (2, 11), (3, 13)])];
        assert!(faults(&seen).contains("and so does"));
    }

    #[test]
    fn what_was_never_published_is_detected() {
        let seen = [joined("a", 2, false, &[]), Seen::Heard(3, 99)];
        assert!(faults(&seen).contains("99 at"));
    }

    #[test]
    fn a_recovery_from_elsewhere_is_detected() {
        let start = joined("a", 3, false, &[]);
        for again in [joined("b", 3, true, &[]), joined("a", 2, true, &[])] {
            assert!(
                faults(&[start.clone(), Seen::Ended, again]).contains("and has recovered from")
            );
        }
    }

    #[test]
    fn what_comes_without_a_subscription_is_detected() {
        let seen = [joined("a", 2, false, &[]), Seen::Ended, Seen::Heard(3, 13)];
        assert!(faults(&seen).contains("unsubscribed"));
    }

    #[test]
    fn a_loss_in_the_engine_is_detected_unless_it_is_told() {
        let seen = [joined("a", 3, false, &[])];
        let text = verdict(Promise::LossIsTold, &seen, (at("a", 3), &KEPT[..2])).unwrap_err();
        assert!(text.contains("has lost 13"), "{text}");
        // With another epoch members know, and it is counted.
        let seen = [joined("a", 3, false, &[]), Seen::Ended, joined("b", 2, false, &[])];
        let ended = (at("b", 2), &KEPT[..2]);
        let summary = Summary { acknowledged: 3, lost: 1, told: 1, ..Summary::default() };
        assert_eq!(verdict(Promise::LossIsTold, &seen, ended.clone()), Ok(summary));
        let text = verdict(Promise::Everything, &seen, ended).unwrap_err();
        assert!(text.contains("has not recovered") && text.contains("was the epoch"), "{text}");
    }

    #[test]
    fn what_was_not_acknowledged_may_be_there_or_not() {
        for is_there in [false, true] {
            let mut model = Model::new(Promise::Everything, 100, 1, 1);
            model.attempted(0, 11);
            model.seen(0, 0, joined("a", 0, false, &[]));
            if is_there {
                model.seen(0, 0, Seen::Heard(1, 11));
            }
            let entries = if is_there { vec![(1, 11)] } else { Vec::new() };
            let end = at("a", u64::from(is_there));
            let summary = Summary { unanswered: 1, ..Summary::default() };
            assert_eq!(model.end_round(&[(end, entries)]), Ok(summary));
        }
    }

    #[test]
    fn what_was_pushed_out_of_a_history_is_not_lost() {
        let mut model = Model::new(Promise::Everything, 2, 1, 0);
        for offset in 1..=3 {
            model.attempted(0, offset);
            model.acknowledged(0, offset, at("a", offset));
        }
        assert!(model.end_round(&[(at("a", 3), vec![(2, 2), (3, 3)])]).is_ok());
    }
}
