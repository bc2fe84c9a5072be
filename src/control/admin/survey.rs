//! One answer of all gateways that share an engine: a list or an order goes to each, and what comes back in time
//! becomes one, with those that are missing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::error::ApiError;
use super::gateway::Gateway;
use super::node_call::{NodeCall, NodePart, OPERATOR, number_text, part};
use super::parts::{RoomRow, largest};
use super::slices::Cursor;
use crate::channels::remote::{Asked, NodeAnswers, NodeId};

/// What all gateways have said.
#[derive(Debug)]
pub(super) struct Survey {
    parts: Vec<(NodeId, NodePart)>,
    /// Those without a part, and why.
    missing: Vec<(NodeId, String)>,
    /// Whether the engine was reached, without which there may be gateways that nothing is known of.
    is_reached: bool,
}

/// Has all gateways do their part, this one too, and waits a bounded time for it.
pub(super) async fn survey(gateway: &Arc<dyn Gateway>, call: NodeCall) -> Result<Survey, ApiError> {
    let Some(nodes) = gateway.nodes() else {
        let message = "engine.kind = \"memory\" has no other gateways that could be asked";
        return Err(ApiError::new(StatusCode::CONFLICT, message));
    };
    let text = json!({ "method": OPERATOR, "body": &call }).to_string();
    let own = nodes.own();
    // A task of its own: an order is carried out to its end, also when that takes longer than the answer.
    let (asked, number, its_call) = (Arc::clone(gateway), own.number, call.clone());
    let here = tokio::spawn(async move { part(&*asked, number, its_call).await });
    // Asked before anything is waited for, so both have the same time.
    let (there, deadline) = (nodes.ask_nodes(text, Asked::Others), Instant::now() + PATIENCE);
    let (here, there) = (timeout_at(deadline, here).await, timeout_at(deadline, there).await);
    let there = there.unwrap_or_else(|_| NodeAnswers {
        is_reached: false,
        answers: Vec::new(),
        missing: nodes.others(),
    });
    let here = match here {
        Ok(Ok(part)) => part,
        Ok(Err(_)) => NodePart::Error("it has failed".to_owned()),
        Err(_) => NodePart::Error(LATE.to_owned()),
    };
    let mut survey = Survey {
        parts: Vec::new(),
        missing: there.missing.into_iter().map(|node| (node, LATE.to_owned())).collect(),
        is_reached: there.is_reached,
    };
    survey.add(own, here);
    for (node, text) in there.answers {
        survey.add_answer(node, &text, &call);
    }
    survey.parts.sort_unstable_by_key(|(node, _)| node.number);
    survey.missing.sort_unstable_by_key(|(node, _)| node.number);
    Ok(survey)
}

impl Survey {
    fn add_answer(&mut self, node: NodeId, text: &str, call: &NodeCall) {
        let part = serde_json::from_str(text).ok().filter(|part| call.takes(part));
        let unreadable = || NodePart::Error("its answer is not understood".to_owned());
        self.add(node, part.unwrap_or_else(unreadable));
    }

    fn add(&mut self, node: NodeId, part: NodePart) {
        match part {
            NodePart::Error(why) => self.missing.push((node, why)),
            NodePart::Connections { .. } | NodePart::Rooms { .. } | NodePart::Count(_) => {
                self.parts.push((node, part));
            }
        }
    }

    /// The connections of all, and where the next page begins.
    pub(super) fn connections(self) -> Value {
        let (mut all, mut next) = (Vec::new(), BTreeMap::new());
        let end = self.end(true);
        for (node, part) in self.parts {
            let NodePart::Connections { connections, next: own } = part else { continue };
            let number = number_text(node.number);
            all.extend(connections.into_iter().map(|mut row| {
                row.insert("node".to_owned(), Value::from(&*number));
                Value::Object(row)
            }));
            if let Some(own) = own.filter(|own| Cursor::parse(own).is_some()) {
                next.insert(number, own);
            }
        }
        let next = (!next.is_empty()).then(|| NodeCursors(next).to_string());
        with(json!({ "connections": all, "next": next }), end)
    }

    /// The rooms of all, each with its members at all.
    pub(super) fn rooms(self) -> Value {
        let is_cut = |part: &NodePart| matches!(part, NodePart::Rooms { is_whole: false, .. });
        let is_whole = !self.parts.iter().any(|(_, part)| is_cut(part));
        let rows = self.parts.iter().flat_map(|(_, part)| match part {
            NodePart::Rooms { rooms, .. } => rooms.clone(),
            NodePart::Connections { .. } | NodePart::Count(_) | NodePart::Error(_) => Vec::new(),
        });
        let (rooms, is_all): (Vec<RoomRow>, bool) = largest(rows);
        with(json!({ "rooms": rooms }), self.end(is_whole && is_all))
    }

    /// To how many connections of all something was done, under this name.
    pub(super) fn count(self, name: &str) -> Value {
        let counts = self.parts.iter().map(|(_, part)| match part {
            NodePart::Count(count) => *count,
            NodePart::Connections { .. } | NodePart::Rooms { .. } | NodePart::Error(_) => 0,
        });
        let count = counts.fold(0_usize, usize::saturating_add);
        with(json!({ name: count }), self.end(true))
    }

    /// Who has answered and who has not.
    fn end(&self, is_whole: bool) -> Value {
        let id = |node: &NodeId| json!({ "node": number_text(node.number), "name": &*node.name });
        let missing = |(node, why): &(NodeId, String)| with(id(node), json!({ "error": why }));
        json!({
            "nodes": self.parts.iter().map(|(node, _)| id(node)).collect::<Vec<_>>(),
            "missing": self.missing.iter().map(missing).collect::<Vec<_>>(),
            "engine": if self.is_reached { "up" } else { "away" },
            "is_whole": is_whole && self.is_reached && self.missing.is_empty(),
        })
    }
}

fn with(mut whole: Value, more: Value) -> Value {
    if let (Value::Object(whole), Value::Object(more)) = (&mut whole, more) {
        whole.extend(more);
    }
    whole
}

/// Where the next page begins at each gateway that has more, by its number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeCursors(pub(super) BTreeMap<String, String>);

impl NodeCursors {
    /// From the text that a page ended with.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let one = |own: &str| {
            let (number, cursor) = own.split_once(':')?;
            let number = u64::from_str_radix(number, 16).ok()?;
            Some((number_text(number), Cursor::parse(cursor)?.to_string()))
        };
        text.split(',').map(one).collect::<Option<_>>().map(Self)
    }
}

impl std::fmt::Display for NodeCursors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (index, (number, cursor)) in self.0.iter().enumerate() {
            let comma = if index == 0 { "" } else { "," };
            write!(f, "{comma}{number}:{cursor}")?;
        }
        Ok(())
    }
}

/// What becomes of these answers, whatever they are: `None` if the text is no call, else the call as it is written
/// again, and the one answer that is made of all.
#[cfg(feature = "sim")]
#[must_use]
pub fn gather_answers(call: &str, answers: &[&str]) -> Option<(String, Value)> {
    let call: NodeCall = serde_json::from_str(call).ok()?;
    let mut survey = Survey { parts: Vec::new(), missing: Vec::new(), is_reached: true };
    for (number, text) in (1..).zip(answers) {
        survey.add_answer(NodeId { number, name: "".into() }, text, &call);
    }
    let written = serde_json::to_string(&call).ok()?;
    Some(match call {
        NodeCall::Connections { .. } => (written, survey.connections()),
        NodeCall::Rooms => (written, survey.rooms()),
        NodeCall::Close { .. } | NodeCall::Send { .. } => (written, survey.count("count")),
    })
}

const LATE: &str = "it has not answered in time";
/// Longer than the question may be open: only where the thread of the engine has failed it is needed.
const PATIENCE: Duration = Duration::from_secs(4);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn id(number: u64) -> NodeId {
        NodeId { number, name: format!("gw-{number}:1").into() }
    }

    /// What these have answered, as texts.
    fn survey_of(call: &NodeCall, answers: &[&str]) -> Survey {
        let mut survey = Survey { parts: Vec::new(), missing: Vec::new(), is_reached: true };
        for (number, text) in (1..).zip(answers) {
            survey.add_answer(id(number), text, call);
        }
        survey
    }

    #[test]
    fn rooms_count_the_members_at_all_gateways() {
        let answers = [
            r#"{"rooms":{"rooms":[{"route":"room /a","room":"x","members":2}],"is_whole":true}}"#,
            r#"{"rooms":{"rooms":[{"route":"room /a","room":"y","members":1},
                {"route":"room /a","room":"x","members":1}],"is_whole":true}}"#,
        ];
        let all = survey_of(&NodeCall::Rooms, &answers).rooms();
        let rooms = json!([
            { "route": "room /a", "room": "x", "members": 3 },
            { "route": "room /a", "room": "y", "members": 1 },
        ]);
        assert_eq!((&all["rooms"], &all["is_whole"]), (&rooms, &json!(true)));
        assert_eq!(all["nodes"][1], json!({ "node": "0000000000000002", "name": "gw-2:1" }));
        let cut = answers[0].replace("true", "false");
        assert_eq!(survey_of(&NodeCall::Rooms, &[&cut, answers[1]]).rooms()["is_whole"], false);
    }

    #[test]
    fn what_is_no_answer_to_the_call_is_missing() {
        let answers =
            [r#"{"count":3}"#, r#"{"error":"busy"}"#, r#"{"count":"#, r#"{"count":-1}"#, "{}"];
        let call = NodeCall::Rooms;
        let all = survey_of(&call, &answers).rooms();
        assert_eq!(all["missing"].as_array().unwrap().len(), answers.len());
        assert_eq!((&all["rooms"], &all["is_whole"]), (&json!([]), &json!(false)));
        assert_eq!(all["missing"][1]["error"], "busy");
    }

    #[test]
    fn the_next_page_begins_where_each_gateway_ended() {
        let answers = [
            r#"{"connections":{"connections":[{"id":"0.1.1"}],"next":"0.2"}}"#,
            r#"{"connections":{"connections":[],"next":null}}"#,
            r#"{"connections":{"connections":[{"id":"0.1.1"}],"next":"1.7"}}"#,
            r#"{"connections":{"connections":[],"next":"none, of, them"}}"#,
        ];
        let call = NodeCall::Connections {
            conditions: crate::control::admin::conditions::Conditions::default(),
            limit: 1,
            from: None,
        };
        let all = survey_of(&call, &answers).connections();
        assert_eq!(all["next"], "0000000000000001:0.2,0000000000000003:1.7");
        assert_eq!(all["connections"][1], json!({ "id": "0.1.1", "node": "0000000000000003" }));
    }

    proptest! {
        #[test]
        fn cursors_are_read_back(
            all in proptest::collection::btree_map(any::<u64>(), any::<(u16, u32)>(), 1..4),
            other in "[0-9a-f:.,]{0,20}",
        ) {
            let text = |(number, (index, slot)): (u64, (u16, u32))| {
                (number_text(number), format!("{index}.{slot}"))
            };
            let cursors = NodeCursors(all.into_iter().map(text).collect());
            prop_assert_eq!(NodeCursors::parse(&cursors.to_string()), Some(cursors));
            if let Some(cursors) = NodeCursors::parse(&other) {
                prop_assert_eq!(NodeCursors::parse(&cursors.to_string()), Some(cursors));
            }
        }
    }
}
