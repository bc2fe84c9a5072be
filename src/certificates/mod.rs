//! Certificates of TLS.

mod options;

pub use options::{ClientCertificates, TlsVersion, UnknownSni};
