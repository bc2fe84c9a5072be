//! What a reply of a backend leads to, and the parts in which a loop is to do that.

use std::vec::IntoIter;

use super::client_event::ClientEvent;
use super::filter::Filter;
use super::grip::{Control, Timed};
use crate::work::prices;
use crate::ws::CloseCode;

/// What a reply leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The client is let in. Always the first.
    Open,
    /// The client is sent a message, a ping or a pong.
    Send(ClientEvent, Vec<u8>),
    /// The connection is closed with this code and reason, or with neither. Always the last.
    Close(Option<(CloseCode, String)>),
    /// What a backend with GRIP wants of the gateway.
    Control(Control),
    /// The backend is no longer told anything. Always the last.
    Detach,
    /// The client is dropped. Always the last.
    Drop,
}

impl Action {
    /// Bytes of memory that it takes.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        size_of::<Self>() + self.content_bytes()
    }

    /// Bytes that it holds beside its own size.
    fn content_bytes(&self) -> usize {
        let of_timed = |own: &Timed| own.content.len();
        match self {
            Self::Send(_, content) => content.len(),
            Self::Close(close) => close.as_ref().map_or(0, |(_, reason)| reason.len()),
            Self::Control(control) => match control {
                Control::Subscribe(channel, filters) => {
                    channel.len() + filters.len() * size_of::<Filter>()
                }
                Control::Unsubscribe(channel) => channel.len(),
                Control::SetMeta(name, value) => name.len() + value.as_ref().map_or(0, String::len),
                Control::KeepAlive(message, _) => message.as_ref().map_or(0, of_timed),
                Control::SendDelayed(message) => of_timed(message),
                Control::Session(id) => id.as_ref().map_or(0, String::len),
                Control::Detach | Control::FlushDelayed => 0,
            },
            Self::Open | Self::Detach | Self::Drop => 0,
        }
    }

    /// About what it takes a loop to do it, in units of [`crate::work`].
    fn work(&self) -> u64 {
        ACTION_WORK + COPIES * prices::bytes(self.content_bytes())
    }

    /// Whether nothing comes behind it.
    #[must_use]
    pub fn is_last(&self) -> bool {
        match self {
            Self::Close(_) | Self::Detach | Self::Drop => true,
            Self::Open | Self::Send(..) | Self::Control(_) => false,
        }
    }
}

/// What a reply leads to, in parts that each take a loop about half a millisecond. A reply of a megabyte may hold
/// a hundred thousand events, with which a loop would be busy for a tenth of a second.
#[derive(Debug, Default)]
pub struct ActionParts {
    rest: IntoIter<Action>,
    /// Bytes of the list itself, which are held until it is used up.
    list_bytes: usize,
    /// Bytes that hold those which are left.
    content_bytes: usize,
}

impl From<Vec<Action>> for ActionParts {
    fn from(actions: Vec<Action>) -> Self {
        Self {
            list_bytes: actions.capacity() * size_of::<Action>(),
            content_bytes: actions.iter().map(Action::content_bytes).sum(),
            rest: actions.into_iter(),
        }
    }
}

impl ActionParts {
    /// The next part; empty if nothing is left.
    pub fn next_part(&mut self) -> Vec<Action> {
        let (mut part, mut work) = (Vec::new(), 0);
        while work < PART_WORK
            && let Some(action) = self.rest.next()
        {
            work += action.work();
            self.content_bytes -= action.content_bytes();
            part.push(action);
        }
        if self.is_empty() {
            *self = Self::default();
        }
        part
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.as_slice().is_empty()
    }

    /// What is left comes to an end of the conversation.
    pub(super) fn ends(&self) -> bool {
        self.rest.as_slice().last().is_some_and(Action::is_last)
    }

    /// Bytes of memory that is held for what is left.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.list_bytes + self.content_bytes
    }

    /// All that is left.
    #[must_use]
    pub fn into_actions(self) -> Vec<Action> {
        self.rest.collect()
    }
}

/// An eighth of a turn, as a turn is by default.
const PART_WORK: u64 = 500_000;
/// A frame is made, noted, carried out and written, or what is kept about the connection changes.
const ACTION_WORK: u64 = 2_500;
/// How often the bytes of a message are copied or written on their way.
const COPIES: u64 = 3;

#[cfg(test)]
mod tests {
    use super::*;

    fn sends(count: usize, bytes: usize) -> Vec<Action> {
        vec![Action::Send(ClientEvent::Text, vec![b'x'; bytes]); count]
    }

    #[test]
    fn parts_keep_the_order_and_take_about_the_same() {
        let mut actions: Vec<Action> = (0..1000_u32)
            .map(|own| Action::Send(ClientEvent::Binary, own.to_be_bytes().to_vec()))
            .collect();
        actions.push(Action::Drop);
        let mut parts = ActionParts::from(actions.clone());
        assert!(parts.ends());
        let (mut told, mut sizes) = (Vec::new(), Vec::new());
        while !parts.is_empty() {
            let part = parts.next_part();
            sizes.push(part.len());
            told.extend(part);
        }
        assert_eq!(told, actions);
        assert_eq!(sizes, [200, 200, 200, 200, 200, 1]);
        assert!(parts.next_part().is_empty() && parts.held_bytes() == 0);
    }

    #[test]
    fn large_messages_count_for_more_and_one_at_least_is_told() {
        let mut parts = ActionParts::from(sends(20, 250_000));
        assert_eq!(parts.next_part().len(), 6);
        let mut parts = ActionParts::from(sends(2, 8 << 20));
        assert_eq!(parts.next_part().len(), 1);
        assert!(parts.held_bytes() > 8 << 20 && parts.held_bytes() < 9 << 20);
    }

    #[test]
    fn what_controls_hold_is_counted() {
        let held = |control| Action::Control(control).held_bytes() - size_of::<Action>();
        assert_eq!(held(Control::Subscribe("abc".to_owned(), vec![Filter::SkipSelf])), 3 + 1);
        assert_eq!(held(Control::SetMeta("ab".to_owned(), Some("cde".to_owned()))), 5);
        assert_eq!(held(Control::FlushDelayed), 0);
    }
}
