//! Calls that are about all gateways which share an engine: each does its part, and the parts become one result.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use crate::centrifugo::{ApiCall, ErrorCode, parse_presence};
use crate::channels::remote::Asked;
use crate::control::node_calls::AskNodes;

/// Whether each gateway has a part of the answer, or of the work.
pub(super) fn is_about_all(call: &ApiCall) -> bool {
    match call {
        ApiCall::Presence(_)
        | ApiCall::PresenceStats(_)
        | ApiCall::Channels(_)
        | ApiCall::Info
        | ApiCall::Subscribe(_)
        | ApiCall::Refresh(_)
        | ApiCall::Unsubscribe(_)
        | ApiCall::Disconnect(_) => true,
        ApiCall::Publish(..)
        | ApiCall::History(_)
        | ApiCall::HistoryRemove(_)
        | ApiCall::Rpc(_) => false,
    }
}

/// Has all gateways do this, and makes one result of theirs.
pub(super) async fn result_of_all(
    nodes: &dyn AskNodes,
    call: &ApiCall,
    (method, body): (&str, &[u8]),
) -> Result<String, ErrorCode> {
    // Users who are on several gateways count once, so all must be known.
    let method = if matches!(call, ApiCall::PresenceStats(_)) { "presence" } else { method };
    let body = str::from_utf8(body).map_err(|_| ErrorCode::BadRequest)?;
    let text = format!("{{\"method\":{},\"body\":{body}}}", Value::from(method));
    let answers = nodes.ask_nodes(text, Asked::All).await.whole().ok_or(ErrorCode::Internal)?;
    if matches!(call, ApiCall::PresenceStats(_)) {
        return stats(&answers);
    }
    let mut results = Vec::with_capacity(answers.len());
    for answer in &answers {
        let mut answer: Value = serde_json::from_str(answer).map_err(|_| ErrorCode::Internal)?;
        if let Some(code) = answer["error"]["code"].as_u64() {
            return Err(error_of(code));
        }
        results.push(answer[method].take());
    }
    Ok(match call {
        ApiCall::Presence(_) => {
            let members = results.iter_mut().filter_map(|own| {
                let members = own["presence"].as_object_mut()?;
                Some(std::mem::take(members))
            });
            json!({ "presence": members.flatten().collect::<Map<String, Value>>() })
        }
        ApiCall::Channels(_) => channels(&results),
        ApiCall::Info => {
            let nodes = results.iter().filter_map(|own| own["nodes"].as_array());
            json!({ "nodes": nodes.flatten().collect::<Vec<_>>() })
        }
        ApiCall::PresenceStats(_)
        | ApiCall::Publish(..)
        | ApiCall::History(_)
        | ApiCall::HistoryRemove(_)
        | ApiCall::Rpc(_)
        | ApiCall::Subscribe(_)
        | ApiCall::Refresh(_)
        | ApiCall::Unsubscribe(_)
        | ApiCall::Disconnect(_) => json!({}),
    }
    .to_string())
}

fn stats(answers: &[String]) -> Result<String, ErrorCode> {
    let members: Option<Vec<_>> = answers.iter().map(|own| parse_presence(own)).collect();
    let members = members.ok_or(ErrorCode::Internal)?.concat();
    let users: HashSet<&str> = members.iter().map(|own| &*own.user).collect();
    Ok(json!({ "num_clients": members.len(), "num_users": users.len() }).to_string())
}

fn channels(results: &[Value]) -> Value {
    let mut all: Map<String, Value> = Map::new();
    for (name, own) in results.iter().filter_map(|own| own["channels"].as_object()).flatten() {
        let known = all.get(name).and_then(|own| own["num_clients"].as_u64()).unwrap_or(0);
        let count = known + own["num_clients"].as_u64().unwrap_or(0);
        all.insert(name.clone(), json!({ "num_clients": count }));
    }
    let mut result = json!({ "channels": all });
    if results.iter().any(|own| own["truncated"] == true) {
        result["truncated"] = true.into();
    }
    result
}

/// The error with this code, as a gateway has said it.
fn error_of(code: u64) -> ErrorCode {
    let known = ErrorCode::ALL.iter().find(|own| u64::from(own.code()) == code);
    known.copied().unwrap_or(ErrorCode::Internal)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::Pin;

    use super::*;
    use crate::centrifugo::parse_call;
    use crate::channels::remote::{NodeAnswers, NodeId};

    /// Nodes that answer with these texts.
    struct Answers(Option<Vec<&'static str>>);

    impl AskNodes for Answers {
        fn own(&self) -> NodeId {
            NodeId { number: 0, name: "".into() }
        }

        fn others(&self) -> Vec<NodeId> {
            Vec::new()
        }

        fn ask_nodes(
            &self,
            _: String,
            asked: Asked,
        ) -> Pin<Box<dyn Future<Output = NodeAnswers> + Send + '_>> {
            assert_eq!(asked, Asked::All);
            let is_reached = self.0.is_some();
            let answers = self.0.iter().flatten().map(|text| (self.own(), (*text).to_owned()));
            let answers = answers.collect();
            Box::pin(async move { NodeAnswers { is_reached, answers, missing: Vec::new() } })
        }
    }

    fn result(method: &str, answers: Option<Vec<&'static str>>) -> Result<Value, ErrorCode> {
        let body: &[u8] = br#"{"channel":"a","user":"u"}"#;
        let call = parse_call(method, body).unwrap();
        assert!(is_about_all(&call));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers = Answers(answers);
        let result = runtime.block_on(result_of_all(&answers, &call, (method, body)));
        result.map(|text| serde_json::from_str(&text).unwrap())
    }

    #[test]
    fn the_parts_become_one_result() {
        let id = |digit: &str| format!("{0}-0000-4000-8000-000000000000", digit.repeat(8));
        let member = |digit: &str, user: &str| {
            let id = id(digit);
            let text =
                json!({ "presence": { "presence": { &id: { "user": user, "client": &id } } } });
            &*text.to_string().leak()
        };
        let members = vec![member("1", "bob"), member("2", "bob"), member("3", "ann")];
        let stats = json!({ "num_clients": 3, "num_users": 2 });
        assert_eq!(result("presence_stats", Some(members.clone())), Ok(stats));
        let presence = result("presence", Some(members)).unwrap();
        assert_eq!(presence["presence"].as_object().unwrap().len(), 3);
        let lists = vec![
            r#"{"channels":{"channels":{"a":{"num_clients":2},"b":{"num_clients":1}}}}"#,
            r#"{"channels":{"channels":{"a":{"num_clients":3}},"truncated":true}}"#,
        ];
        let channels = json!({ "a": { "num_clients": 5 }, "b": { "num_clients": 1 } });
        let wanted = json!({ "channels": channels, "truncated": true });
        assert_eq!(result("channels", Some(lists)), Ok(wanted));
        let nodes =
            vec![r#"{"info":{"nodes":[{"uid":"1"}]}}"#, r#"{"info":{"nodes":[{"uid":"2"}]}}"#];
        let wanted = json!({ "nodes": [{ "uid": "1" }, { "uid": "2" }] });
        assert_eq!(result("info", Some(nodes)), Ok(wanted));
        assert_eq!(result("disconnect", Some(vec![r#"{"disconnect":{}}"#])), Ok(json!({})));
    }

    #[test]
    fn an_error_of_one_is_that_of_all() {
        let denied = r#"{"error":{"code":103,"message":"permission denied"}}"#;
        let answers = vec![r#"{"disconnect":{}}"#, denied];
        assert_eq!(result("disconnect", Some(answers)), Err(ErrorCode::PermissionDenied));
        assert_eq!(result("info", None), Err(ErrorCode::Internal));
    }
}
