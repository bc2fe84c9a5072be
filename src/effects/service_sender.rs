//! The way back for whoever works for a service on another thread.

use std::any::Any;
use std::fmt;
use std::sync::Arc;

/// Something that an instance of a service tells a sibling on another loop.
pub type ServiceMessage = Box<dyn Any + Send>;

/// Takes letters for one instance of a service, from any thread. They come in by
/// [`Service::on_service_message`](super::Service::on_service_message), as if the instance had sent them itself.
#[derive(Clone)]
pub struct ServiceSender {
    post: Arc<dyn Fn(ServiceMessage) -> bool + Send + Sync>,
}

impl ServiceSender {
    /// A letterbox whose letters go to `post`, which says whether it had room.
    #[must_use]
    pub fn new(post: Arc<dyn Fn(ServiceMessage) -> bool + Send + Sync>) -> Self {
        Self { post }
    }

    /// Posts a letter. Gives `false` if the loop is so far behind that its mailbox is full; the
    /// letter is lost then.
    pub fn post(&self, message: ServiceMessage) -> bool {
        (self.post)(message)
    }
}

impl fmt::Debug for ServiceSender {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceSender")
    }
}
