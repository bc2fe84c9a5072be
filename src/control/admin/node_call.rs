//! Lists and orders of an operator that are about all gateways: what each is asked, and what it answers.
//!
//! A call goes through [`AskNodes`](crate::control::node_calls::AskNodes), which knows who is there and how they are
//! reached. Here one gateway does its part, and says it in a bounded number of bytes; `survey` makes one answer of
//! the parts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::conditions::Conditions;
use super::error::ApiError;
use super::gateway::Gateway;
use super::parts::{RoomRow, close_request, closed, rooms, sent, summary};
use super::slices::{Cursor, page};
use crate::inspect::ConnectionSummary;

/// The method of these calls, beside those of the API for backends.
pub(in crate::control) const OPERATOR: &str = "operator";

/// What each gateway is asked.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "call", rename_all = "snake_case")]
pub(super) enum NodeCall {
    /// A page of connections.
    Connections {
        conditions: Conditions,
        limit: usize,
        /// Where the page begins at each gateway; those that are not named have listed all. `None` begins everywhere.
        from: Option<BTreeMap<String, String>>,
    },
    Rooms,
    Close {
        conditions: Conditions,
        code: u16,
        reason: String,
    },
    Send {
        conditions: Conditions,
        text: String,
    },
}

/// What one gateway has listed or done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum NodePart {
    Connections {
        connections: Vec<serde_json::Map<String, Value>>,
        next: Option<String>,
    },
    Rooms {
        rooms: Vec<RoomRow>,
        is_whole: bool,
    },
    /// The number of connections to which something was done.
    Count(usize),
    /// Why nothing, or only a part, was done.
    Error(String),
}

impl NodeCall {
    /// Whether a part answers this.
    pub(super) fn takes(&self, part: &NodePart) -> bool {
        match part {
            NodePart::Connections { .. } => matches!(self, Self::Connections { .. }),
            NodePart::Rooms { .. } => matches!(self, Self::Rooms),
            NodePart::Count(_) => matches!(self, Self::Close { .. } | Self::Send { .. }),
            NodePart::Error(_) => true,
        }
    }
}

/// The number of a gateway, as operators see it.
pub(super) fn number_text(number: u64) -> String {
    format!("{number:016x}")
}

/// Answers the call of another gateway; `own` is the number of this one.
pub(in crate::control) async fn answer_node_call(
    gateway: &dyn Gateway,
    own: u64,
    body: &str,
) -> String {
    let part = match serde_json::from_str(body) {
        Ok(call) => part(gateway, own, call).await,
        Err(error) => NodePart::Error(format!("this gateway does not know the call: {error}")),
    };
    // Of numbers and texts, which can be written.
    serde_json::to_string(&part).unwrap_or_default()
}

/// The part of this gateway.
pub(super) async fn part(gateway: &dyn Gateway, own: u64, call: NodeCall) -> NodePart {
    match try_part(gateway, own, call).await {
        Ok(part) => part,
        Err(error) => NodePart::Error(error.message().to_owned()),
    }
}

async fn try_part(gateway: &dyn Gateway, own: u64, call: NodeCall) -> Result<NodePart, ApiError> {
    match call {
        NodeCall::Connections { conditions, limit, from } => {
            let from = match &from {
                None => Some(Cursor::default()),
                Some(all) => match all.get(&number_text(own)) {
                    None => None,
                    Some(text) => {
                        let cursor = Cursor::parse(text);
                        Some(cursor.ok_or_else(|| ApiError::bad_request("the cursor is none"))?)
                    }
                },
            };
            let Some(from) = from else {
                return Ok(NodePart::Connections { connections: Vec::new(), next: None });
            };
            let filter = Arc::new(conditions.filter()?);
            let (found, next) = page(gateway, &filter, from, (limit, PART_TIME_MAX)).await?;
            let (connections, cut) = within_bytes(&found);
            let next = cut.or(next).map(|next| next.to_string());
            Ok(NodePart::Connections { connections, next })
        }
        NodeCall::Rooms => {
            let (mut rooms, is_whole) = rooms(gateway).await?;
            let count = rooms.len();
            let mut left = PART_BYTES_MAX;
            rooms.retain(|row| take(&mut left, row));
            Ok(NodePart::Rooms { is_whole: is_whole && rooms.len() == count, rooms })
        }
        NodeCall::Close { conditions, code, reason } => {
            let (filter, request) = (Arc::new(conditions.filter()?), close_request(code, reason)?);
            Ok(NodePart::Count(closed(gateway, &filter, &request).await?))
        }
        NodeCall::Send { conditions, text } => {
            let filter = Arc::new(conditions.filter()?);
            Ok(NodePart::Count(sent(gateway, &filter, text.into()).await?))
        }
    }
}

/// As many rows as one answer has room for, and where the next one begins if those are not all.
fn within_bytes(
    found: &[ConnectionSummary],
) -> (Vec<serde_json::Map<String, Value>>, Option<Cursor>) {
    let mut rows = Vec::with_capacity(found.len());
    let mut left = PART_BYTES_MAX;
    for connection in found {
        let Value::Object(row) = summary(connection) else { continue };
        // One goes in any case, or a list would stay where it is.
        if !take(&mut left, &row) && !rows.is_empty() {
            let (loop_index, slot) =
                (usize::from(connection.peer.loop_index), connection.peer.key.index);
            return (rows, Some(Cursor { loop_index, slot }));
        }
        rows.push(row);
    }
    (rows, None)
}

/// Takes the bytes of a row from what is left; whether they fit. Nothing does after one that does not.
fn take(left: &mut usize, row: &impl Serialize) -> bool {
    let bytes = serde_json::to_vec(row).map_or(usize::MAX, |row| row.len());
    let fits = bytes <= *left;
    *left = if fits { *left - bytes } else { 0 };
    fits
}

/// The largest part: in quotes it is to fit into a message of a broker, which is at most 1 MB with NATS by default.
const PART_BYTES_MAX: usize = 256 << 10;
/// After which a page ends where it is, in time for the answer.
const PART_TIME_MAX: Duration = Duration::from_millis(500);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effects::Peer;
    use crate::inspect::{ConnectionPhase, ConnectionProtocol};
    use crate::key::ConnKey;

    fn connection(index: u32, user: &str) -> ConnectionSummary {
        ConnectionSummary {
            peer: Peer { loop_index: 1, key: ConnKey { index, generation: 1 } },
            address: None,
            phase: ConnectionPhase::Open,
            protocol: ConnectionProtocol::WebSocket,
            is_tls: false,
            route: None,
            user: Some(user.to_owned()),
            room: None,
            silent_ms: 0,
            backlog_bytes: 0,
        }
    }

    #[test]
    fn a_page_ends_where_an_answer_has_no_more_room() {
        let long = "u".repeat(PART_BYTES_MAX / 3);
        let found: Vec<_> = (0..4).map(|index| connection(index, &long)).collect();
        let (rows, next) = within_bytes(&found);
        assert_eq!((rows.len(), next), (2, Some(Cursor { loop_index: 1, slot: 2 })));
        let (rows, next) = within_bytes(&found[2..]);
        assert_eq!((rows.len(), next), (2, None));
        let longer = "u".repeat(PART_BYTES_MAX);
        let (rows, next) = within_bytes(&[connection(5, &longer), connection(6, "")]);
        assert_eq!((rows.len(), next), (1, Some(Cursor { loop_index: 1, slot: 6 })));
    }

    #[test]
    fn a_call_is_read_as_it_was_written() {
        let conditions = Conditions::default();
        let from = BTreeMap::from([(number_text(1), "0.7".to_owned())]);
        for call in [
            NodeCall::Rooms,
            NodeCall::Connections { conditions: conditions.clone(), limit: 7, from: Some(from) },
            NodeCall::Close { conditions: conditions.clone(), code: 4000, reason: "a".to_owned() },
            NodeCall::Send { conditions, text: "hi".to_owned() },
        ] {
            let text = serde_json::to_string(&call).unwrap();
            let read: NodeCall = serde_json::from_str(&text).unwrap();
            assert_eq!(format!("{read:?}"), format!("{call:?}"), "{text}");
        }
    }
}
