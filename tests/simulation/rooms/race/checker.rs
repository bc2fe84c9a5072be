//! What must hold when everything has arrived: who is in, who heard what, and in which order.

use std::collections::BTreeMap;

use tidegate::services::Order;
use tidegate::services::room::{Logins, RoomSettings};

use super::super::Form;
use super::super::events::Belief;
use super::guest::{Guest, Leave};
use super::{ROOMS, Race};

impl Race {
    /// The others who said that they have the name of this one.
    fn rivals(&self, index: usize) -> impl Iterator<Item = (usize, &Guest)> {
        let own = &self.guests[index];
        self.guests.iter().enumerate().filter(move |(other, rival)| {
            *other != index && rival.is_named && (rival.room, &rival.name) == (own.room, &own.name)
        })
    }

    /// Exactly one of those who want a name has it: one of those who came after all the others of
    /// an earlier settled moment.
    pub(super) fn check_logins(&self) -> Result<(), String> {
        for (index, guest) in self.guests.iter().enumerate() {
            let code = guest.closed.filter(|_| guest.wants_to_be_here());
            if code.is_some_and(|code| code != 4001) {
                return Err(format!("guest {index} was closed with {code:?}"));
            }
            let has_replacer = self.settings.logins == Logins::One
                && self.rivals(index).any(|(_, rival)| may_replace(rival, guest));
            if code.is_some() && !has_replacer {
                return Err(format!("guest {index} was replaced by nobody"));
            }
            if self.settings.logins == Logins::One && guest.is_named && guest.is_here() {
                let was_here = |rival: &Guest| matches!(rival.leave, Leave::Stays | Leave::Orderly);
                let outlived = |rival: &Guest| rival.came_at > guest.came_at && was_here(rival);
                if let Some((other, _)) =
                    self.rivals(index).find(|(_, rival)| rival.is_here() || outlived(rival))
                {
                    return Err(format!("guests {index} and {other} are both {}", guest.name));
                }
            }
        }
        Ok(())
    }

    /// Everybody who is told who is there knows who is there.
    pub(super) fn check_beliefs(&self) -> Result<(), String> {
        for room in ROOMS {
            let here = || self.guests.iter().filter(|guest| guest.room == room && guest.is_here());
            let count = here().count();
            let mut names: Vec<&str> =
                here().filter(|guest| guest.is_named).map(|guest| &*guest.name).collect();
            names.sort_unstable();
            for guest in here().filter(|guest| guest.form == Some(Form::Events)) {
                let Belief { count: own, names: own_names, name, .. } = &guest.belief;
                let own_name = guest.is_named.then_some(&guest.name);
                if usize::try_from(*own).ok() != Some(count)
                    || *own_names != names
                    || name.as_ref() != own_name
                {
                    return Err(format!(
                        "{} in {room} believes in {:?} and not in {count}: {names:?}",
                        guest.name, guest.belief
                    ));
                }
            }
        }
        Ok(())
    }

    /// Everybody heard a stretch of what its room heard, in the room's order.
    pub(super) fn check_hearing(&self) -> Result<(), String> {
        for (index, guest) in self.guests.iter().enumerate() {
            let rooms_watcher =
                self.guests.iter().find(|watcher| watcher.room == guest.room).unwrap();
            let all = &rooms_watcher.heard;
            let is_one_order = self.settings.order == Order::Topic;
            if is_one_order {
                check_stretch(guest, all, &|_| true, &self.settings)
                    .map_err(|error| format!("guest {index}: {error}"))?;
            }
            for (sender_index, sender) in self.guests.iter().enumerate() {
                let is_from_sender = |text: &String| sender.said.contains(text);
                check_stretch(guest, all, &is_from_sender, &self.settings)
                    .map_err(|error| format!("guest {index}, by {sender_index}: {error}"))?;
            }
        }
        Ok(())
    }

    /// What was said was heard, once and in order, up to the moment from which it no longer counts.
    pub(super) fn check_speaking(&self) -> Result<(), String> {
        for (index, guest) in self.guests.iter().enumerate() {
            let all = &self.guests.iter().find(|watcher| watcher.room == guest.room).unwrap().heard;
            let heard: Vec<&String> = all.iter().filter(|text| guest.said.contains(text)).collect();
            let is_prefix = heard.iter().zip(&guest.said).all(|(heard, said)| *heard == said);
            // Its own goodbye may come before the news that somebody took its place.
            let may_be_replaced = self.rivals(index).any(|(_, rival)| may_replace(rival, guest));
            let must_be_whole = match guest.leave {
                Leave::Reset | Leave::AtTheDoor => false,
                Leave::Orderly => self.settings.logins == Logins::Many || !may_be_replaced,
                Leave::Stays => guest.closed.is_none(),
            };
            let is_whole = heard.len() == guest.said.len();
            if !is_prefix || (must_be_whole && !is_whole) {
                return Err(format!("guest {index} said {:?}, heard: {heard:?}", guest.said));
            }
        }
        Ok(())
    }

    /// Whoever was replaced is silent from the first word of its successor on.
    pub(super) fn check_turns(&self) -> Result<(), String> {
        if self.settings.logins == Logins::Many || self.settings.order == Order::Sender {
            return Ok(());
        }
        for watcher in &self.guests[..self.watchers] {
            let mut speakers: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
            for text in &watcher.heard {
                let speaker = self.guests.iter().position(|guest| guest.said.contains(text));
                let speaker = speaker.ok_or_else(|| format!("nobody said {text}"))?;
                let turns = speakers.entry(&*self.guests[speaker].name).or_default();
                if turns.last() != Some(&speaker) {
                    if turns.contains(&speaker) {
                        return Err(format!("guest {speaker} said {text} after its successor"));
                    }
                    turns.push(speaker);
                }
            }
        }
        Ok(())
    }
}

/// Whether one can have come after the other: not if the other came at a later settled moment.
fn may_replace(rival: &Guest, guest: &Guest) -> bool {
    rival.came_at >= guest.came_at
}

/// Whether what a guest heard, of what `concerns` us, is a stretch of what its room heard: without
/// a gap, at most from its first settled moment on, and if it is still there up to the end.
fn check_stretch(
    guest: &Guest,
    all: &[String],
    concerns: &dyn Fn(&String) -> bool,
    settings: &RoomSettings,
) -> Result<(), String> {
    let counts =
        |text: &&String| concerns(text) && (settings.hears_itself || !guest.said.contains(text));
    let heard: Vec<&String> = guest.heard.iter().filter(counts).collect();
    let all_counted: Vec<&String> = all.iter().filter(counts).collect();
    let start = match heard.first() {
        Some(first) => all_counted.iter().position(|text| text == first).ok_or("from nowhere")?,
        None => all_counted.len(),
    };
    let room_heard = &all_counted[start..];
    let is_stretch = room_heard.starts_with(&heard);
    let is_up_to_the_end = room_heard.len() == heard.len() || !guest.is_here();
    let latest = guest.settled_at.map_or(usize::MAX, |at| all[..at].iter().filter(counts).count());
    let is_from_settled = start <= latest || !guest.is_here();
    match is_stretch && is_up_to_the_end && is_from_settled {
        true => Ok(()),
        false => Err(format!("{heard:?} of {all_counted:?}, settled at {latest}")),
    }
}
