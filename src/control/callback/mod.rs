//! Identities of kind `callback`: a backend of the operator's own is asked over HTTP who a client is.
//!
//! The loop only makes the request and looks whether an equal one is under way, or was refused just now;
//! the rest is a task of the control thread. Whatever the backend does, a client waits no longer than
//! `callback_ms`, no more than `waiting_max` clients wait, and only those of this identity do.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | how the backend is asked |
//! | `request` | what it is asked |
//! | `reply` | what its reply says |
//! | `flights` | requests under way, and who waits for them |
//! | `refusals` | refusals that hold for a moment |
//! | `backend` | all of it together |

mod backend;
mod flights;
mod refusals;
mod reply;
mod request;
mod settings;

pub use backend::CallbackIdentity;
pub use settings::CallbackSettings;
