//! Calls among the gateways that share an engine, as JSON to JSON.

use std::future::Future;
use std::pin::Pin;

use crate::channels::remote::{Asked, NodeAnswers, NodeId};

/// Answers what other gateways ask of this one.
pub trait NodeAnswerer: Send + Sync {
    /// Answers. What takes longer than [`ANSWERS_MS`](crate::channels::remote::ANSWERS_MS) is not waited for.
    fn answer(&self, text: String) -> Pin<Box<dyn Future<Output = String> + Send>>;
}

/// Asks the gateways that share an engine.
pub trait AskNodes: Send + Sync {
    /// This gateway.
    fn own(&self) -> NodeId;

    /// The others, as far as they are known.
    fn others(&self) -> Vec<NodeId>;

    /// Asks these, and waits for their answers. It may take as long as the thread of the engine needs to be started
    /// again after a failure.
    fn ask_nodes(
        &self,
        text: String,
        asked: Asked,
    ) -> Pin<Box<dyn Future<Output = NodeAnswers> + Send + '_>>;
}
