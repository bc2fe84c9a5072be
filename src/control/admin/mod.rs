//! The admin listener: health, readiness, metrics, the API and the dashboard, for operators.
//!
//! It runs on a control thread of its own. What it shows and changes it asks for through [`Gateway`]:
//! it knows neither loops nor connections, and no loop waits for it.
//!
//! | who | may |
//! |---|---|
//! | anybody | `/healthz`, `/readyz`, the pages of the dashboard, which hold no data |
//! | who is on this machine | read, if the listener is for this machine only |
//! | who has a metrics token | read `/metrics` |
//! | who has a token | read and change everything |

pub(super) mod access;
mod api;
mod conditions;
mod dashboard;
pub(super) mod error;
mod gateway;
mod health;
mod listener;
mod login;
mod metrics;
mod metrics_body;
pub(super) mod node_call;
mod parts;
mod pokes;
mod publish;
mod router;
mod sessions;
pub(super) mod settings;
mod shared;
pub(super) mod slices;
mod survey;
mod trace;
mod trace_permits;

pub use gateway::{DrainOrder, DrainStatus, Gateway, Readiness, ReloadReport, VersionInfo};
pub use listener::AdminListener;
pub use settings::AdminSettings;
#[cfg(feature = "sim")]
pub use survey::gather_answers;
