//! The chat on channels: its page, the login by a name, and what its channels allow.
//!
//! A login is a signed token in a cookie, so nothing is kept of who is logged in, and any loop, or another
//! gateway with the same key, can tell. Who logs in gets an ID that no other login has; the name is what
//! others are shown. So two people may have one name, and neither can read what is private to the other.
//!
//! | file | what it is |
//! |---|---|
//! | `sessions` | the tokens: who signs them, and what they say |
//! | `identity` | who a connection is by such a token, and how often it may come back |
//! | `page` | the page, and the requests by which it logs in and out |
//! | `namespaces` | the options of the channels that it uses |

mod identity;
mod namespaces;
mod page;
mod sessions;

pub use identity::ChatIdentity;
pub use namespaces::chat_namespaces;
pub use page::ChatPage;
pub use sessions::{ChatSessions, SessionKey};
