//! Messages to an instance of a service, from a sibling or from another thread.

use std::fmt;
use std::sync::Arc;

use super::ServiceMessage;

/// Takes answers for one instance of a service, from any thread. They come in by
/// [`Service::on_service_message`](crate::services::Service::on_service_message), as if the instance
/// had sent them itself.
#[derive(Clone)]
pub struct ServiceSender {
    post: Arc<dyn Fn(ServiceMessage) + Send + Sync>,
}

impl ServiceSender {
    /// A sender whose answers go to `post`, which must not wait.
    #[must_use]
    pub fn new(post: Arc<dyn Fn(ServiceMessage) + Send + Sync>) -> Self {
        Self { post }
    }

    /// Posts an answer. It never waits and is never lost: room is reserved for it, whatever else
    /// waits for the loop. So it may be called only for what the service has asked for, once for each
    /// question, and the number of open questions must be bounded.
    pub fn post(&self, message: impl Into<ServiceMessage>) {
        (self.post)(message.into());
    }
}

impl fmt::Debug for ServiceSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceSender")
    }
}
