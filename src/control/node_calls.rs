//! Calls among the gateways that share an engine, as JSON to JSON.

use std::future::Future;
use std::pin::Pin;

/// Answers what other gateways ask of this one.
pub trait NodeAnswerer: Send + Sync {
    /// Answers. What takes longer than [`ANSWERS_MS`](crate::channels::remote::ANSWERS_MS) is not waited for.
    fn answer(&self, text: String) -> Pin<Box<dyn Future<Output = String> + Send>>;
}

/// Asks all gateways.
pub trait AskNodes: Send + Sync {
    /// What each of them answers, this one included; `None` if one has not answered, or cannot be asked.
    fn ask_nodes(
        &self,
        text: String,
    ) -> Pin<Box<dyn Future<Output = Option<Vec<String>>> + Send + '_>>;
}
