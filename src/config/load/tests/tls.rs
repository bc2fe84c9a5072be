//! Listeners with TLS, their certificates, and what clients are asked for.

use std::path::Path;

use super::{refusal, refused};
use crate::config::{ClientCertificates, Config, TlsVersion, UnknownSni};

const PAIR: &str = "[[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
const LISTENER: &str = "[[listener]]\naddress = \"127.0.0.1:443\"\n";

#[test]
fn a_listener_with_tls_has_certificates_and_clients_may_be_asked_for_theirs() {
    let text = format!(
        "{LISTENER}tls = true\nclient_certificates = \"optional\"\nclient_ca = \"/ca.pem\"\n{PAIR}\
         [tls]\nversion_min = \"1.3\"\nunknown_sni = \"refuse\"\nticket_keys_file = \"t.key\"\n"
    );
    let config = Config::from_toml(&text, "/etc/tidegate/tidegate.toml").unwrap();
    let listener = &config.listeners[0];
    assert!(listener.tls);
    assert_eq!(listener.client_certificates, ClientCertificates::Optional);
    assert_eq!(listener.client_ca.as_ref().unwrap().path(), Path::new("/ca.pem"));
    assert_eq!(config.certificates[0].certificate.path(), Path::new("/etc/tidegate/a.pem"));
    assert_eq!(config.certificates[0].key.path(), Path::new("/etc/tidegate/a.key"));
    let tls = &config.tls;
    assert_eq!((tls.version_min, tls.unknown_sni), (TlsVersion::Tls13, UnknownSni::Refuse));
    let ticket_keys = tls.ticket_keys_file.as_ref().unwrap();
    assert_eq!(ticket_keys.path(), Path::new("/etc/tidegate/t.key"));
    assert_eq!(tls.key_log_file, None);
}

#[test]
fn keys_of_tls_are_refused_where_they_mean_nothing_or_lack_another() {
    let listener = |keys: &str| format!("{LISTENER}{keys}\n{PAIR}");
    refused(&[
        (
            &format!("{LISTENER}tls = true\n"),
            "listener[0].tls = true: must be false where there is no [[certificate]] and no [acme]",
        ),
        (
            PAIR,
            "certificate[0].certificate = \"a.pem\": \
             must be left out where no listener has tls = true",
        ),
        (
            &listener("client_certificates = \"required\""),
            "listener[0].client_certificates = \"required\": \
             must be left out where tls is false",
        ),
        (
            &listener("tls = true\nclient_ca = \"ca.pem\""),
            "listener[0].client_ca = \"ca.pem\": \
             must be left out where client_certificates is \"off\"",
        ),
        (
            &listener("tls = true\nclient_certificates = \"required\""),
            "listener[0].client_ca: is required where client_certificates is \"required\", \
             and must be the path of a file",
        ),
        (
            &listener("tls = true\nclient_certificates = \"maybe\""),
            "listener[0].client_certificates = \"maybe\": \
             must be one of \"off\", \"optional\", \"required\"",
        ),
        (
            &format!("{LISTENER}tls = true\n[[certificate]]\ncertificate = \"a.pem\"\n"),
            "certificate[0].key: is required, and must be the path of a file",
        ),
        ("[tls]\nversion_min = 1.2", "tls.version_min = 1.2: must be one of \"1.2\", \"1.3\""),
    ]);
}

#[test]
fn a_private_key_in_place_of_its_path_is_not_shown() {
    let key = "\"\"\"-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMG\n-----END PRIVATE KEY-----\"\"\"";
    let pair = format!("[[certificate]]\ncertificate = \"a.pem\"\nkey = {key}\n");
    assert_eq!(
        refusal(&format!("{LISTENER}tls = true\n{pair}")),
        "tidegate.toml: certificate[0].key = \"***\": must be the path of a file"
    );
}

#[test]
fn there_is_a_most_of_certificates() {
    let listener = format!("{LISTENER}tls = true\n");
    Config::from_toml(&format!("{listener}{}", PAIR.repeat(1024)), "tidegate.toml").unwrap();
    assert_eq!(
        refusal(&format!("{listener}{}", PAIR.repeat(1025))),
        "tidegate.toml: certificate[1024].certificate = \"a.pem\": \
         must not be one more of 1024 certificates"
    );
}
