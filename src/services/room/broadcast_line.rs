//! A message of a member becomes frames for the room.

use std::borrow::Cow;
use std::sync::Arc;

use super::event::ServerEvent;
use super::room_ref::{ClientFormat, RoomRef};
use super::settings::{Newlines, RoomSettings};
use crate::services::{Effects, Order, Peer};
use crate::ws::EncodedFrame;

/// Applies the route's rule for line breaks to a message; `None` if it is dropped as empty.
/// `drops_blank` drops white space alone even where line breaks stay.
pub(super) fn normalize(text: &str, newlines: Newlines, drops_blank: bool) -> Option<Cow<'_, str>> {
    let text = match newlines {
        Newlines::Keep if drops_blank && text.trim().is_empty() => return None,
        Newlines::Keep => return Some(Cow::Borrowed(text)),
        Newlines::Space => text.trim(),
    };
    if text.is_empty() {
        return None;
    }
    if !text.contains(['\r', '\n']) {
        return Some(Cow::Borrowed(text));
    }
    Some(Cow::Owned(text.replace("\r\n", " ").replace(['\r', '\n'], " ")))
}

/// Publishes a message of the gateway itself to the members of a room, encoded once for each of
/// `formats`. A line of it is the text alone.
pub(super) fn announce(
    settings: &RoomSettings,
    room: &RoomRef,
    formats: impl Iterator<Item = ClientFormat>,
    text: &str,
    effects: &mut Effects<'_>,
) {
    let parts = formats.map(|format| {
        let frame = match format {
            ClientFormat::Lines => line_frame(settings, text),
            ClientFormat::Events | ClientFormat::Messages => {
                ServerEvent::Notice { text }.to_frame()
            }
        };
        (room.topic(format), frame)
    });
    publish_parts(parts, None, effects);
}

/// Tells a member that other gateways did not get its message, or may not have.
pub(super) fn tell_unsent(
    settings: &RoomSettings,
    (peer, format): (Peer, ClientFormat),
    effects: &mut Effects<'_>,
) {
    let text = match settings.order {
        Order::Topic => "not delivered: the gateways do not reach each other now",
        Order::Sender => "delivered here only: the gateways do not reach each other now",
    };
    let frame = match format {
        ClientFormat::Lines => line_frame(settings, text),
        ClientFormat::Events | ClientFormat::Messages => ServerEvent::Error { text }.to_frame(),
    };
    effects.send(peer, frame);
}

/// Publishes a message to the members of a room, encoded once for each of `formats`; of a member of this gateway it
/// is told which. The
/// publication goes out in sender order: the one loop that calls this for a room decides the order
/// of its messages for all members.
pub(super) fn publish(
    settings: &RoomSettings,
    room: &RoomRef,
    formats: impl Iterator<Item = ClientFormat>,
    (sender, name): (Option<Peer>, &str),
    text: &str,
    effects: &mut Effects<'_>,
) {
    let except = sender.filter(|_| !settings.hears_itself);
    let parts = formats.map(|format| {
        let frame = match format {
            ClientFormat::Lines => line_frame(settings, &settings.line.line(name, text)),
            ClientFormat::Events | ClientFormat::Messages => {
                ServerEvent::Message { from: name, text }.to_frame()
            }
        };
        (room.topic(format), frame)
    });
    publish_parts(parts, except, effects);
}

fn line_frame(settings: &RoomSettings, line: &str) -> EncodedFrame {
    match settings.joins_lines {
        true => EncodedFrame::joinable_text(line),
        false => EncodedFrame::text(line),
    }
}

fn publish_parts<'r>(
    mut parts: impl Iterator<Item = (&'r Arc<str>, EncodedFrame)>,
    except: Option<Peer>,
    effects: &mut Effects<'_>,
) {
    match (parts.next(), parts.next(), parts.next(), except) {
        // A member has one format, so it is in one of the topics.
        (Some(first), Some(second), Some(third), _) => {
            effects.publish_each([first, second, third], except, Order::Sender);
        }
        (Some(first), Some(second), None, _) => {
            effects.publish_each([first, second], except, Order::Sender);
        }
        (Some((topic, frame)), None, _, None) => effects.publish(topic, frame, Order::Sender),
        (Some((topic, frame)), None, _, Some(except)) => {
            effects.publish_except(except, topic, frame, Order::Sender);
        }
        (None, ..) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_become_spaces() {
        let normalized = |text: &'static str| normalize(text, Newlines::Space, false);
        assert_eq!(normalized(" a\r\nb\nc\rd \n").as_deref(), Some("a b c d"));
        assert_eq!(normalized("a\n\nb").as_deref(), Some("a  b"));
        assert!(matches!(normalized("ab "), Some(Cow::Borrowed("ab"))));
        assert_eq!(normalized(" \r\n "), None);
        assert_eq!(normalized(""), None);
    }

    #[test]
    fn line_breaks_stay_where_they_are_kept() {
        assert_eq!(normalize(" a\nb ", Newlines::Keep, true).as_deref(), Some(" a\nb "));
        assert_eq!(normalize(" \n", Newlines::Keep, false).as_deref(), Some(" \n"));
        assert_eq!(normalize(" \n", Newlines::Keep, true), None);
    }
}
