//! The rules of TLS: certificates for the listeners that need them, and authorities for those that
//! ask clients for certificates.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::word::Word as _;
use super::super::{Config, Listener, Rule};

/// Checks the certificates, and the listeners that need them.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let Config { listeners, certificates, acme, .. } = config;
    for (index, listener) in listeners.iter().enumerate() {
        check(index, listener, certificates.is_empty() && !acme.is_on())?;
    }
    let refuse = |index: usize, rule: String| {
        let written = certificates.get(index).map(|own| own.certificate.to_string());
        let value = Value::from(written.unwrap_or_default());
        Err(Refusal::new(format!("certificate[{index}].certificate"), &value, rule))
    };
    if !certificates.is_empty() && !listeners.iter().any(|listener| listener.tls) {
        return refuse(0, "must be left out where no listener has tls = true".to_owned());
    }
    if certificates.len() > CERTIFICATES_MAX {
        let rule = format!("must not be one more of {CERTIFICATES_MAX} certificates");
        return refuse(CERTIFICATES_MAX, rule);
    }
    Ok(())
}

fn check(index: usize, listener: &Listener, is_without_certificates: bool) -> Result<(), Refusal> {
    if listener.tls && is_without_certificates {
        let key = format!("listener[{index}].tls");
        let rule = "must be false where there is no [[certificate]] and no [acme]";
        return Err(Refusal::new(key, &Value::from(true), rule));
    }
    if listener.asks_for_certificates() && listener.client_ca.is_none() {
        let word = listener.client_certificates.name();
        let rule =
            format!("is required where client_certificates is \"{word}\", and {}", Rule::File);
        return Err(Refusal::missing(format!("listener[{index}].client_ca"), rule));
    }
    Ok(())
}

/// All are loaded before the first connection, and every reload builds the table of names anew.
const CERTIFICATES_MAX: usize = 1024;
