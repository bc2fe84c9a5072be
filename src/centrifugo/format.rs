//! The two forms in which clients speak the protocol.

use crate::ws::{EncodedFrame, MessageKind};

/// What commands, replies and pushes are written in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Format {
    /// Objects with line breaks between them, in text frames.
    #[default]
    Json,
    /// Messages with their lengths in front of them, in binary frames.
    Protobuf,
}

/// The subprotocol of clients that speak JSON. Most offer none.
pub const JSON_SUBPROTOCOL: &str = "centrifuge-json";
/// The subprotocol of clients that speak Protobuf.
pub const PROTOBUF_SUBPROTOCOL: &str = "centrifuge-protobuf";

impl Format {
    /// The format that a client asks for which opens its WebSocket with this subprotocol of the two and this
    /// query, as it was sent: `format=protobuf` or `cf_protocol=protobuf` count with the other subprotocol
    /// too.
    #[must_use]
    pub fn asked_for(subprotocol: Option<&str>, mut query: impl FnMut(&str) -> bool) -> Self {
        let is_protobuf =
            subprotocol == Some(PROTOBUF_SUBPROTOCOL) || QUERY_NAMES.iter().any(|name| query(name));
        if is_protobuf { Self::Protobuf } else { Self::Json }
    }

    /// A ping of the server, and the answer to it: a message without any field.
    #[must_use]
    pub fn ping(self) -> Encoded<'static> {
        match self {
            Self::Json => Encoded { format: self, bytes: b"{}" },
            Self::Protobuf => Encoded { format: self, bytes: &[0] },
        }
    }

    /// The kind of the frames.
    #[must_use]
    pub fn kind(self) -> MessageKind {
        match self {
            Self::Json => MessageKind::Text,
            Self::Protobuf => MessageKind::Binary,
        }
    }
}

/// A reply or a push as it goes into a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Encoded<'e> {
    /// What it is written in.
    pub format: Format,
    /// The payload of the frame.
    pub bytes: &'e [u8],
}

impl Encoded<'_> {
    /// A frame with this alone in it.
    #[must_use]
    pub fn frame(self) -> EncodedFrame {
        EncodedFrame::new(self.format.kind(), self.bytes)
    }
}

/// Keys of the query whose value `protobuf` asks for it.
const QUERY_NAMES: [&str; 2] = ["format", "cf_protocol"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_subprotocol_or_the_query_asks_for_protobuf() {
        let none = |_: &str| false;
        assert_eq!(Format::asked_for(None, none), Format::Json);
        assert_eq!(Format::asked_for(Some(JSON_SUBPROTOCOL), none), Format::Json);
        assert_eq!(Format::asked_for(Some(PROTOBUF_SUBPROTOCOL), none), Format::Protobuf);
        for name in QUERY_NAMES {
            let query = |own: &str| own == name;
            assert_eq!(Format::asked_for(None, query), Format::Protobuf);
            assert_eq!(Format::asked_for(Some(JSON_SUBPROTOCOL), query), Format::Protobuf);
        }
    }
}
