//! Certificates that the gateway gets and renews itself, by ACME (RFC 8555) with challenges by HTTP.
//!
//! | file | what it is |
//! |---|---|
//! | `settings` | for which names, from whom, and where they are kept |
//! | `schedule` | when the next one is due, and when to try again |
//! | `cache` | the folder of account and certificate |
//! | `client` | requests to the authority |
//! | `order` | an account, and an order from its names to a certificate |
//! | `renewal` | the task that does all of it in time |
//!
//! It changes nothing but files: what watches the file of the certificate serves the new one.

mod cache;
mod client;
mod error;
mod order;
mod renewal;
mod schedule;
mod settings;

pub use renewal::AcmeRenewal;
pub use settings::AcmeSettings;
