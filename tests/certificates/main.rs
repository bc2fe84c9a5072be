//! Certificates, client certificates and tickets, with handshakes of rustls in memory.
//!
//! | module | what it tests |
//! |---|---|
//! | `choice` | which certificate a client gets, by its name and its signature schemes |
//! | `clients` | clients with and without certificates |
//! | `resumption` | which tickets are accepted where, and for how long |
//! | `files` | what is wrong with PEM files |

#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

#[path = "../support/certificates.rs"]
mod certificates;
mod handshake;
mod store;

mod choice;
mod clients;
mod files;
mod resumption;
