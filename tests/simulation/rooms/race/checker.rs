//! What must hold once everything has arrived: who is a member, and which messages each participant
//! received in which order.

use std::collections::BTreeMap;

use tidegate::services::Order;
use tidegate::services::room::{Logins, RoomSettings};

use super::super::ClientFormat;
use super::super::events::MemberView;
use super::participant::{Leave, Participant};
use super::{ROOMS, Race};

impl Race {
    /// The other participants that logged in to the same room with the same name.
    fn rivals(&self, index: usize) -> impl Iterator<Item = (usize, &Participant)> {
        let own = &self.participants[index];
        self.participants.iter().enumerate().filter(move |(other, rival)| {
            *other != index && rival.is_named && (rival.room, &rival.name) == (own.room, &own.name)
        })
    }

    /// A login is closed only with 4001, and only if another one may have replaced it. A name has one
    /// holder, and no login of that name that came after a later settled moment has lost to it.
    pub(super) fn check_logins(&self) -> Result<(), String> {
        for (index, participant) in self.participants.iter().enumerate() {
            let code = participant.closed.filter(|_| participant.means_to_stay());
            if code.is_some_and(|code| code != 4001) {
                return Err(format!("participant {index} was closed with {code:?}"));
            }
            let has_replacer = self.settings.logins == Logins::One
                && self.rivals(index).any(|(_, rival)| may_replace(rival, participant));
            if code.is_some() && !has_replacer {
                return Err(format!("participant {index} was closed without a successor"));
            }
            if self.settings.logins == Logins::One
                && participant.is_named
                && participant.is_member()
            {
                let was_member =
                    |rival: &Participant| matches!(rival.leave, Leave::Stays | Leave::Orderly);
                let outlived = |rival: &Participant| {
                    rival.connected_at > participant.connected_at && was_member(rival)
                };
                if let Some((other, _)) =
                    self.rivals(index).find(|(_, rival)| rival.is_member() || outlived(rival))
                {
                    return Err(format!(
                        "participants {index} and {other} are both {}",
                        participant.name
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every participant that receives events has derived the true list of members from them.
    pub(super) fn check_views(&self) -> Result<(), String> {
        for room in ROOMS {
            let members = || {
                self.participants
                    .iter()
                    .filter(|participant| participant.room == room && participant.is_member())
            };
            let count = members().count();
            let mut names: Vec<&str> = members()
                .filter(|participant| participant.is_named)
                .map(|participant| &*participant.name)
                .collect();
            names.sort_unstable();
            for participant in
                members().filter(|participant| participant.format == Some(ClientFormat::Events))
            {
                let MemberView { count: own, names: own_names, name, .. } = &participant.view;
                let own_name = participant.is_named.then_some(&participant.name);
                if usize::try_from(*own).ok() != Some(count)
                    || *own_names != names
                    || name.as_ref() != own_name
                {
                    return Err(format!(
                        "{} in {room} believes in {:?} and not in {count}: {names:?}",
                        participant.name, participant.view
                    ));
                }
            }
        }
        Ok(())
    }

    /// Every participant received a gapless range of the room's messages, in the room's order.
    pub(super) fn check_received(&self) -> Result<(), String> {
        for (index, participant) in self.participants.iter().enumerate() {
            let rooms_watcher =
                self.participants.iter().find(|watcher| watcher.room == participant.room).unwrap();
            let all = &rooms_watcher.received;
            let is_one_order = self.settings.order == Order::Topic;
            if is_one_order {
                check_range(participant, all, &|_| true, &self.settings)
                    .map_err(|error| format!("participant {index}: {error}"))?;
            }
            for (sender_index, sender) in self.participants.iter().enumerate() {
                let is_from_sender = |text: &String| sender.sent.contains(text);
                check_range(participant, all, &is_from_sender, &self.settings)
                    .map_err(|error| format!("participant {index}, by {sender_index}: {error}"))?;
            }
        }
        Ok(())
    }

    /// What a participant sent was delivered once and in order: all of it if it stayed or left in
    /// order, otherwise a prefix.
    pub(super) fn check_sent(&self) -> Result<(), String> {
        for (index, participant) in self.participants.iter().enumerate() {
            let all = &self
                .participants
                .iter()
                .find(|watcher| watcher.room == participant.room)
                .unwrap()
                .received;
            let received: Vec<&String> =
                all.iter().filter(|text| participant.sent.contains(text)).collect();
            let is_prefix =
                received.iter().zip(&participant.sent).all(|(received, sent)| *received == sent);
            // It may have sent its close frame before it learned that it was replaced.
            let may_be_replaced =
                self.rivals(index).any(|(_, rival)| may_replace(rival, participant));
            let must_be_whole = match participant.leave {
                Leave::Reset | Leave::BeforeAccept => false,
                Leave::Orderly => self.settings.logins == Logins::Many || !may_be_replaced,
                Leave::Stays => participant.closed.is_none(),
            };
            let is_whole = received.len() == participant.sent.len();
            if !is_prefix || (must_be_whole && !is_whole) {
                return Err(format!(
                    "participant {index} sent {:?}, received: {received:?}",
                    participant.sent
                ));
            }
        }
        Ok(())
    }

    /// No message of a replaced login is delivered after the first one of its successor.
    pub(super) fn check_replaced_are_silent(&self) -> Result<(), String> {
        if self.settings.logins == Logins::Many || self.settings.order == Order::Sender {
            return Ok(());
        }
        for watcher in &self.participants[..self.watchers] {
            let mut speakers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for text in &watcher.received {
                let speaker = self
                    .participants
                    .iter()
                    .position(|participant| participant.sent.contains(text));
                let speaker =
                    speaker.ok_or_else(|| format!("{text} was sent by no participant"))?;
                let turns = speakers.entry(&*self.participants[speaker].name).or_default();
                if turns.last() != Some(&speaker) {
                    if turns.contains(&speaker) {
                        return Err(format!(
                            "participant {speaker} sent {text} after its successor"
                        ));
                    }
                    turns.push(speaker);
                }
            }
        }
        Ok(())
    }
}

/// Whether `rival` can have logged in after `participant`. It cannot if a settled moment lies between
/// the two and `rival` came first.
fn may_replace(rival: &Participant, participant: &Participant) -> bool {
    rival.connected_at >= participant.connected_at
}

/// Checks that the messages a participant received, of those that `concerns` selects, are a gapless
/// range of the room's: it begins no later than the participant's first settled moment and, if the
/// participant is still a member, reaches to the end.
fn check_range(
    participant: &Participant,
    all: &[String],
    concerns: &dyn Fn(&String) -> bool,
    settings: &RoomSettings,
) -> Result<(), String> {
    let counts = |text: &&String| {
        concerns(text) && (settings.hears_itself || !participant.sent.contains(text))
    };
    let received: Vec<&String> = participant.received.iter().filter(counts).collect();
    let all_counted: Vec<&String> = all.iter().filter(counts).collect();
    let start = match received.first() {
        Some(first) => all_counted.iter().position(|text| text == first).ok_or("from nowhere")?,
        None => all_counted.len(),
    };
    let room_received = &all_counted[start..];
    let is_range = room_received.starts_with(&received);
    let is_up_to_the_end = room_received.len() == received.len() || !participant.is_member();
    let latest =
        participant.settled_at.map_or(usize::MAX, |at| all[..at].iter().filter(counts).count());
    let is_from_settled = start <= latest || !participant.is_member();
    match is_range && is_up_to_the_end && is_from_settled {
        true => Ok(()),
        false => Err(format!("{received:?} of {all_counted:?}, settled at {latest}")),
    }
}
