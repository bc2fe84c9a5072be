//! What a member says becomes frames for the others.

use std::borrow::Cow;

use super::event::ServerEvent;
use super::room_ref::{ClientFormat, RoomRef};
use super::settings::{Newlines, RoomSettings};
use crate::services::{Effects, Order, Peer};
use crate::ws::EncodedFrame;

/// A message as it is passed on; `None` if nothing is left of it.
pub(super) fn tidy(text: &str, newlines: Newlines, drops_blank: bool) -> Option<Cow<'_, str>> {
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

/// Gives a message to the members of a place, in each form of `forms`. Whoever calls this for all
/// members of a place decides the order in which they see its messages.
pub(super) fn publish(
    settings: &RoomSettings,
    place: &RoomRef,
    formats: impl Iterator<Item = ClientFormat>,
    (sender, name): (Peer, &str),
    text: &str,
    effects: &mut Effects<'_>,
) {
    for format in formats {
        let frame = match format {
            ClientFormat::Lines if settings.joins_lines => {
                EncodedFrame::joinable_text(&settings.line.line(name, text))
            }
            ClientFormat::Lines => EncodedFrame::text(&settings.line.line(name, text)),
            ClientFormat::Events => ServerEvent::Message { from: name, text }.to_frame(),
        };
        let topic = place.topic(format);
        if settings.hears_itself {
            effects.publish(topic, frame, Order::Sender);
        } else {
            effects.publish_except(sender, topic, frame, Order::Sender);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_breaks_become_spaces() {
        let tidied = |text: &'static str| tidy(text, Newlines::Space, false);
        assert_eq!(tidied(" a\r\nb\nc\rd \n").as_deref(), Some("a b c d"));
        assert_eq!(tidied("a\n\nb").as_deref(), Some("a  b"));
        assert!(matches!(tidied("ab "), Some(Cow::Borrowed("ab"))));
        assert_eq!(tidied(" \r\n "), None);
        assert_eq!(tidied(""), None);
    }

    #[test]
    fn or_stay() {
        assert_eq!(tidy(" a\nb ", Newlines::Keep, true).as_deref(), Some(" a\nb "));
        assert_eq!(tidy(" \n", Newlines::Keep, false).as_deref(), Some(" \n"));
        assert_eq!(tidy(" \n", Newlines::Keep, true), None);
    }
}
