//! Certificates, client certificates and tickets, with handshakes of rustls in memory.

#![expect(clippy::unwrap_used, reason = "tests fail by panic")]

#[path = "../support/certificates.rs"]
mod certificates;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use certificates::CertificateFolder;

#[test]
fn the_folder_holds_pairs_and_authorities() {
    let folder = CertificateFolder::new();
    for name in ["ca.pem", "server.pem", "client-ca.pem", "client.pem"] {
        CertificateDer::from_pem_file(folder.file(name)).unwrap();
    }
    for name in ["server.key", "client.key"] {
        PrivateKeyDer::from_pem_file(folder.file(name)).unwrap();
    }
    assert!(folder.table("server").contains("server.key"));
}
