//! The rules of the admin listener.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{AdminAddress, Config, IdentityKind, NEEDS_CERTIFICATE, NEEDS_ENGINE};

/// Checks that what others can reach asks for a token, and that what readiness needs is there.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let admin = &config.admin;
    let Some(address) = &admin.address else { return check_needs(config) };
    let refuse =
        |rule: &str| Err(Refusal::new("admin.address", &Value::from(address.to_string()), rule));
    if !cfg!(feature = "admin") && *address != AdminAddress::Off {
        return refuse(WITHOUT_ADMIN);
    }
    if !address.is_local() && admin.token.is_none() {
        return refuse(NEEDS_TOKEN);
    }
    if let AdminAddress::Tcp(address) = address
        && address.port() != 0
        && config.listeners.iter().any(|listener| listener.address == *address)
    {
        return refuse("must not be the address of a [[listener]]");
    }
    check_needs(config)
}

fn check_needs(config: &Config) -> Result<(), Refusal> {
    for (position, name) in config.admin.ready_needs.iter().enumerate() {
        let identity = config.identity(name).map(|identity| &identity.kind);
        let is_certificate = name == NEEDS_CERTIFICATE && config.acme.is_on();
        let is_away_at_times = match identity {
            Some(IdentityKind::Callback(..) | IdentityKind::Redis(..)) => true,
            Some(IdentityKind::Jwt(own, ..)) => own.jwks_url.is_some(),
            Some(
                IdentityKind::Certificate(_)
                | IdentityKind::Cookie(_)
                | IdentityKind::Header(_)
                | IdentityKind::Query(_)
                | IdentityKind::Tokens(..),
            )
            | None => false,
        };
        let is_engine = name == NEEDS_ENGINE && config.engine.is_shared();
        if !is_certificate && !is_away_at_times && !is_engine {
            let rule = "must be the name of an [[identity]] of kind \"redis\" or \"callback\", or \
                        \"jwt\" with jwks_url, or \"engine\" where [engine] is shared";
            let key = format!("admin.ready_needs[{position}]");
            return Err(Refusal::new(key, &Value::from(name.as_str()), rule));
        }
    }
    Ok(())
}

const WITHOUT_ADMIN: &str = "must be \"off\": this program was built without the feature `admin`";
const NEEDS_TOKEN: &str =
    "must be of this machine only where there is no admin.token: others could steer the gateway";

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn refusal(toml: &str) -> Option<String> {
        Config::from_toml(toml, "a.toml").err().map(|error| error.to_string())
    }

    #[test]
    fn only_an_address_of_this_machine_does_without_a_token() {
        let token = "token = \"0123456789abcdef\"\n";
        for address in ["0.0.0.0:8090", "[::]:8090", "192.0.2.1:8090"] {
            let admin = format!("[admin]\naddress = \"{address}\"\n");
            let refused = refusal(&admin).unwrap();
            assert!(refused.contains("admin.token"), "{refused}");
            assert_eq!(refusal(&format!("{admin}{token}")), None);
        }
        for address in ["127.0.0.1:8090", "[::1]:8090", "off", "/run/a.sock", "unix:a.sock"] {
            assert_eq!(refusal(&format!("[admin]\naddress = \"{address}\"\n")), None);
        }
        assert!(refusal("[admin]\ntoken = \"short\"\n").unwrap().contains("16 to 256 bytes"));
    }

    #[test]
    fn readiness_needs_only_what_is_there() {
        let identity = "[[identity]]\nname = \"users\"\nkind = \"redis\"\n";
        let needs = "[admin]\nready_needs = [\"users\"]\n";
        assert!(refusal(needs).unwrap().contains("admin.ready_needs[0]"));
        assert_eq!(refusal(&format!("{identity}{needs}")), None);
    }

    #[test]
    fn the_address_of_a_listener_is_taken() {
        let text = "[[listener]]\naddress = \"127.0.0.1:8090\"\n\
                    [admin]\naddress = \"127.0.0.1:8090\"\n";
        assert!(refusal(text).unwrap().contains("[[listener]]"));
    }
}
