//! The rules of certificates that the gateway gets itself.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{Config, Listener, Rule};

/// Checks that a certificate which is to be got can be, and is served.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let acme = &config.acme;
    let Some(first) = acme.domains.first() else { return Ok(()) };
    let refuse =
        |rule: String| Err(Refusal::new("acme.domains[0]", &Value::from(first.as_str()), rule));
    if !cfg!(feature = "acme") {
        return refuse(WITHOUT_ACME.to_owned());
    }
    // Which has been held to there being a listener with TLS.
    if !config.listeners.iter().any(Listener::redirects) {
        return refuse(NEEDS_REDIRECT.to_owned());
    }
    if let Some(domain) = acme.domains.get(DOMAINS_MAX) {
        let rule = format!("must not be one more of {DOMAINS_MAX} names");
        let key = format!("acme.domains[{DOMAINS_MAX}]");
        return Err(Refusal::new(key, &Value::from(domain.as_str()), rule));
    }
    if acme.cache_dir.is_none() {
        let rule = format!("is required where acme.domains is given, and {}", Rule::Folder);
        return Err(Refusal::missing("acme.cache_dir", rule));
    }
    Ok(())
}

/// As many as Let's Encrypt puts into one certificate.
const DOMAINS_MAX: usize = 100;
const WITHOUT_ACME: &str = "must be left out: this program was built without the feature `acme`";
const NEEDS_REDIRECT: &str = "must be left out where no [[listener]] has redirect = \"https\", which \
                              answers the challenges";

#[cfg(all(test, feature = "acme"))]
mod tests {
    use crate::config::Config;

    fn refusal(listeners: &str, acme: &str) -> Option<String> {
        let toml = format!("{listeners}[acme]\n{acme}");
        Config::from_toml(&toml, "a.toml").err().map(|error| error.to_string())
    }

    #[test]
    fn a_certificate_needs_a_folder_and_a_listener_that_answers_challenges() {
        let tls = "[[listener]]\naddress = \"0.0.0.0:443\"\ntls = true\n";
        let both = format!("{tls}[[listener]]\naddress = \"0.0.0.0:80\"\nredirect = \"https\"\n");
        let domains = "domains = [\"a.example\", \"192.0.2.1\"]\n";
        let whole = format!("{domains}cache_dir = \"acme\"\n");
        assert_eq!(refusal(&both, &whole), None);
        assert_eq!(refusal("", ""), None);
        let refused = |listeners: &str, acme: &str| refusal(listeners, acme).unwrap();
        assert!(refused(tls, &whole).contains("redirect = \"https\""));
        assert!(refused(&both, domains).contains("acme.cache_dir"));
        assert!(refused(&both, "").contains("listener[0].tls"));
        assert!(refused("", "contact = \"a@b\"\n").contains("where acme.domains is empty"));
        assert!(refused(&both, "domains = [\"*.example\"]\n").contains("no wildcard"));
        assert!(refused(&both, "domains = [\"a.example\", \"a.example\"]\n").contains("twice"));
    }
}
