//! Backends that are asked about connections of channels: who a client is, and whether it may do what it
//! asks for, in JSON over HTTP as backends of Centrifugo's proxies are asked.
//!
//! Each question is a request of its own and a task; requests about one connection are in the order that its
//! loop keeps. Whatever the backend does, a question is answered within `timeout_ms`, if with nothing. A
//! request that has reached no server is sent to up to two others; none is sent again after that, as a
//! publication or a call may have been done.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | how the backend is asked |
//! | `request` | a question as it is sent |
//! | `waiting` | questions that wait for an answer |
//! | `exchange` | a request, and what its reply comes to |
//! | `state` | what goes on from one run of the thread to the next |
//! | `backend` | all of it together |

mod backend;
mod exchange;
mod request;
mod settings;
mod state;
mod waiting;

pub use backend::HttpProxy;
pub use settings::ProxySettings;
