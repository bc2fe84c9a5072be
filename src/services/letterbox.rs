//! The way back for whoever works for a service on another thread.

use std::fmt;
use std::sync::Arc;

use super::Letter;

/// Takes letters for one instance of a service, from any thread. They come in by
/// [`Service::on_letter`](super::Service::on_letter), as if the instance had sent them itself.
#[derive(Clone)]
pub struct Letterbox {
    post: Arc<dyn Fn(Letter) -> bool + Send + Sync>,
}

impl Letterbox {
    /// A letterbox whose letters go to `post`, which says whether it had room.
    #[must_use]
    pub fn new(post: Arc<dyn Fn(Letter) -> bool + Send + Sync>) -> Self {
        Self { post }
    }

    /// Posts a letter. Gives `false` if the loop is so far behind that its mailbox is full; the
    /// letter is lost then.
    pub fn post(&self, letter: Letter) -> bool {
        (self.post)(letter)
    }
}

impl fmt::Debug for Letterbox {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Letterbox")
    }
}
