//! Messages to an instance of a service, from a sibling or from another thread.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// A message to an instance of a service. Sender and receiver agree on the type inside.
pub type ServiceMessage = Box<dyn Any + Send>;

/// Sends messages to one instance of a service, from any thread. They arrive in
/// [`Service::on_service_message`](crate::services::Service::on_service_message), as if the instance had sent
/// them to itself.
#[derive(Clone)]
pub struct ServiceSender {
    post: Arc<dyn Fn(ServiceMessage) -> bool + Send + Sync>,
}

impl ServiceSender {
    /// A sender that passes messages to `post`, which returns whether there was room.
    #[must_use]
    pub fn new(post: Arc<dyn Fn(ServiceMessage) -> bool + Send + Sync>) -> Self {
        Self { post }
    }

    /// Sends a message without waiting. Returns `false` if the mailbox of the loop is full; the message
    /// is lost then, so the caller must be able to do without it or send it again.
    pub fn post(&self, message: ServiceMessage) -> bool {
        (self.post)(message)
    }
}

impl fmt::Debug for ServiceSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceSender")
    }
}
