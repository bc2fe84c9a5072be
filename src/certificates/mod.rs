//! The certificates of TLS: which one a client gets, what is asked of clients, and the tickets by which
//! they come again. All of it as functions of bytes: other modules read the files and know the time.
//!
//! [`CertificateStore`] makes a [`ListenerConfig`] for each listener, which lives as long as the process.
//! Certificates, authorities and keys of tickets are replaced inside it, each by one atomic store, so
//! that no handshake waits and no connection is dropped.
//!
//! | file | what it is |
//! |---|---|
//! | `options` | what a listener asks for |
//! | `pair` | a certificate with its key, from PEM, and its names |
//! | `by_name`, `resolver` | the choice by SNI and by signature schemes |
//! | `challenge` | answers to challenges by HTTP, by which a certificate is got |
//! | `clients`, `subject` | certificates of clients: whether they verify, and whom they name |
//! | `servers` | whose certificates are taken from servers, and which one is shown to them |
//! | `ticket_roots`, `tickets` | the secrets of session tickets, and the tickets |
//! | `settings` | what the store is made from |
//! | `listener` | what the handshakes of a listener go by |
//! | `store` | all of it together |

mod by_name;
mod challenge;
mod clients;
mod error;
mod listener;
mod options;
mod pair;
mod resolver;
mod servers;
mod settings;
mod store;
mod subject;
mod ticket_roots;
mod tickets;

pub use challenge::HttpChallenges;
pub use error::CertificateError;
pub use listener::ListenerConfig;
pub use options::{ClientCertificates, TlsVersion, UnknownSni};
pub use pair::{Names, ServerCertificate, expiry_of};
#[cfg(feature = "client")]
pub(crate) use servers::AnyCertificate;
pub use servers::{ServerAuthorities, servers_config};
pub use settings::{ClientAuthorities, ListenerSettings, StoreSettings};
pub use store::{CertificateStore, CertificateView, provider};
pub use subject::{
    AlternativeName, SUBJECT_BYTES_MAX, common_name_of, names_of, subject_in, subject_of,
};
pub use ticket_roots::{ROTATION_MS, TicketRoots};
