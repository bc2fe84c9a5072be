//! The listener for backends: what applications ask of the gateway, such as to publish.
//!
//! It is apart from the admin listener and runs on a thread of its own, so that what backends do costs
//! operators nothing. What it does it asks of the loops through
//! [`Gateway`](crate::control::admin::Gateway).
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | where it is, and who may |
//! | `listener` | the listener itself |
//! | `router` | which path is served by what |
//! | `access` | what a request proves |
//! | `publish` | `POST /publish` |
//! | `publisher` | publications of all listeners, in order |
//! | `management` | `/@connections/{id}`, as behind API Gateway |
//! | `signature` | requests that are signed as Amazon signs them |
//! | `channels` | `POST /api/METHOD`, of libraries for the Centrifugo server API |
//! | `replies` | what replies to these may hold |
//! | `everywhere` | those of them that are about all gateways which share an engine |
//! | `answerer` | what this gateway answers others |
//! | `connections` | `GET /connections/{id}` |

mod access;
mod answerer;
mod channels;
mod connections;
mod everywhere;
mod listener;
mod management;
pub(super) mod publish;
mod publisher;
mod replies;
mod router;
mod settings;
mod shared;
mod signature;

pub use answerer::GatewayAnswerer;
pub use listener::ApiListener;
pub use publisher::Publisher;
pub use settings::ApiSettings;
