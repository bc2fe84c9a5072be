//! What this gateway answers others that share an engine with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::channels::local_reply;
use super::everywhere::is_about_all;
use crate::centrifugo::{ErrorCode, parse_call};
use crate::control::admin::Gateway;
use crate::control::admin::node_call::{OPERATOR, answer_node_call};
use crate::control::node_calls::NodeAnswerer;

/// Answers other gateways for this one.
#[derive(Debug)]
pub struct GatewayAnswerer {
    gateway: Arc<dyn Gateway>,
}

impl GatewayAnswerer {
    /// Answers what this gateway knows.
    #[must_use]
    pub fn new(gateway: Arc<dyn Gateway>) -> Self {
        Self { gateway }
    }
}

impl NodeAnswerer for GatewayAnswerer {
    fn answer(&self, text: String) -> Pin<Box<dyn Future<Output = String> + Send>> {
        let gateway = Arc::clone(&self.gateway);
        Box::pin(async move {
            let Ok(Call { method, body }) = serde_json::from_str(&text) else {
                return json!({ "error": { "code": ErrorCode::BadRequest.code() } }).to_string();
            };
            if method == OPERATOR {
                let own = gateway.nodes().map_or(0, |nodes| nodes.own().number);
                return answer_node_call(&*gateway, own, body.get()).await;
            }
            let call = parse_call(&method, body.get().as_bytes());
            let call = call.ok().filter(is_about_all);
            local_reply(&*gateway, &method, call).await
        })
    }
}

/// A call on its way to another gateway.
#[derive(Deserialize)]
struct Call<'a> {
    method: String,
    #[serde(borrow)]
    body: &'a RawValue,
}
