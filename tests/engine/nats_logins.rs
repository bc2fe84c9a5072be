//! Who the gateway is for a NATS, and TLS.

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;
use tidegate::control::engine::nats::{NatsEngineSettings, NatsError, NatsLogin, NatsUrl};

use crate::certificates::CertificateFolder;
use crate::nats_commands::{broker, settings};
use crate::nats_outages::check;
use crate::nats_server::{JETSTREAM, NatsServer};

/// Publishes and hears.
fn assert_served(settings: NatsEngineSettings) {
    let broker = broker(settings);
    broker.subscribe(&["open"]);
    broker.publish_later("open", None, b"1", None);
    assert_eq!(broker.live(), ("open".to_owned(), None, b"1".to_vec()));
}

fn assert_not_reached(settings: &NatsEngineSettings) {
    let error = check(settings).unwrap_err();
    assert!(matches!(&error, NatsError::NotReached { .. }), "{error}");
    let text = error.to_string();
    assert!(!text.contains("hidden") && !text.contains('\n'), "{text}");
}

#[test]
fn a_token_is_asked_for() {
    let options = format!("{JETSTREAM}authorization {{ token: \"hidden\" }}\n");
    let Some(server) = NatsServer::start_with(&options) else { return };
    let mut settings = settings(&server.url(), 1);
    assert_not_reached(&settings);
    settings.login = NatsLogin::Token("hidden-not".to_owned());
    assert_not_reached(&settings);
    settings.login = NatsLogin::Token("hidden".to_owned());
    assert_served(settings);
}

#[test]
fn a_user_has_a_password() {
    let user = "user: \"alice\", password: \"hidden\"";
    let options = format!("{JETSTREAM}authorization {{ {user} }}\n");
    let Some(server) = NatsServer::start_with(&options) else { return };
    let mut settings = settings(&server.url(), 1);
    let login = |password: &str| NatsLogin::Password {
        user: "alice".to_owned(),
        password: password.to_owned(),
    };
    settings.login = login("hidden-not");
    assert_not_reached(&settings);
    settings.login = login("hidden");
    assert_served(settings);
}

#[test]
fn a_user_has_a_file_of_credentials() {
    let [operator, account, user] =
        [KeyPair::new_operator(), KeyPair::new_account(), KeyPair::new_user()];
    let signed = |issuer: &KeyPair, subject: &KeyPair, claims: Value| {
        let head = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
        let claims = json!({
            "jti": "1", "iat": 1, "iss": issuer.public_key(), "sub": subject.public_key(), "name": "test",
            "nats": claims,
        });
        let parts = [head, claims].map(|part| URL_SAFE_NO_PAD.encode(part.to_string()));
        let text = parts.join(".");
        let signature = URL_SAFE_NO_PAD.encode(issuer.sign(text.as_bytes()).unwrap());
        format!("{text}.{signature}")
    };
    let limits = json!({
        "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1,
        "wildcards": true,
    });
    let of_operator = signed(&operator, &operator, json!({ "type": "operator", "version": 2 }));
    let of_account = json!({ "type": "account", "version": 2, "limits": limits });
    let of_account = signed(&operator, &account, of_account);
    let of_user = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    let of_user = signed(&account, &user, of_user);
    let options = format!(
        "operator: \"{of_operator}\"\nresolver: MEMORY\nresolver_preload {{ {}: \"{of_account}\" }}\n",
        account.public_key()
    );
    let Some(server) = NatsServer::start_with(&options) else { return };
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("user.creds");
    let mut settings = settings(&server.url(), 1);
    settings.namespaces.clear();
    settings.login = NatsLogin::CredentialsFile(file.clone());
    let error = check(&settings).unwrap_err();
    assert!(matches!(&error, NatsError::Credentials { .. }), "{error}");
    let stranger = KeyPair::new_user();
    for (own, is_right) in [(&stranger, false), (&user, true)] {
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{of_user}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            own.seed().unwrap()
        );
        fs::write(&file, text).unwrap();
        if is_right {
            assert_served(settings.clone());
        } else {
            assert_not_reached(&settings);
        }
    }
}

#[test]
fn tls_takes_servers_of_the_named_authority_only() {
    let [own, foreign] = [(); 2].map(|()| CertificateFolder::new());
    let file = |name: &str| own.path().join(name).display().to_string();
    let options = format!(
        "{JETSTREAM}tls {{ cert_file: \"{}\", key_file: \"{}\" }}\n",
        file("server.pem"),
        file("server.key")
    );
    let Some(server) = NatsServer::start_with(&options) else { return };
    let mut settings = settings(&server.url().replace("nats://", "tls://"), 1);
    settings.ca_file = Some(foreign.path().join("ca.pem"));
    assert_not_reached(&settings);
    settings.ca_file = Some(own.path().join("none.pem"));
    assert_not_reached(&settings);
    settings.ca_file = Some(own.path().join("ca.pem"));
    assert_served(settings.clone());
    // Who asks for TLS gets no connection without.
    let Some(plain) = NatsServer::start() else { return };
    settings.servers = vec![NatsUrl::parse(&plain.url().replace("nats://", "tls://")).unwrap()];
    assert_not_reached(&settings);
}
