//! The rules of the listener for backends.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{AdminAddress, Config};

/// Checks that what others can reach asks for a key, and that its address is free.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let address = &config.api.address;
    let refuse =
        |rule: &str| Err(Refusal::new("api.address", &Value::from(address.to_string()), rule));
    if !cfg!(feature = "admin") && *address != AdminAddress::Off {
        return refuse(WITHOUT_ADMIN);
    }
    if !address.is_local() && config.api.keys.is_none() {
        return refuse(NEEDS_KEYS);
    }
    if Some(address) == config.admin.address.as_ref() && address.is_fixed() {
        return refuse("must not be admin.address");
    }
    if let AdminAddress::Tcp(address) = address
        && address.port() != 0
        && config.listeners.iter().any(|listener| listener.address == *address)
    {
        return refuse("must not be the address of a [[listener]]");
    }
    Ok(())
}

const WITHOUT_ADMIN: &str = "must be \"off\": this program was built without the feature `admin`";
const NEEDS_KEYS: &str =
    "must be of this machine only where there are no api.keys: others could publish to clients";

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn refusal(toml: &str) -> Option<String> {
        Config::from_toml(toml, "a.toml").err().map(|error| error.to_string())
    }

    #[test]
    fn only_an_address_of_this_machine_does_without_keys() {
        for address in ["0.0.0.0:8000", "[::]:8000", "192.0.2.1:8000"] {
            let api = format!("[api]\naddress = \"{address}\"\n");
            let refused = refusal(&api).unwrap();
            assert!(refused.contains("api.keys"), "{refused}");
            assert_eq!(refusal(&format!("{api}keys = [\"0123456789\", \"changeme\"]\n")), None);
        }
        for address in ["127.0.0.1:8000", "off", "/run/api.sock"] {
            assert_eq!(refusal(&format!("[api]\naddress = \"{address}\"\n")), None);
        }
        assert!(refusal("[api]\nkeys = [\"short\"]\n").unwrap().contains("8 to 256 bytes"));
    }

    #[test]
    fn each_listener_has_an_address_of_its_own() {
        let api = "[api]\naddress = \"127.0.0.1:8000\"\n";
        let admin = "[admin]\naddress = \"127.0.0.1:8000\"\n";
        assert!(refusal(&format!("{api}{admin}")).unwrap().contains("admin.address"));
        let listener = "[[listener]]\naddress = \"127.0.0.1:8000\"\n";
        assert!(refusal(&format!("{api}{listener}")).unwrap().contains("[[listener]]"));
        assert_eq!(refusal("[api]\naddress = \"off\"\n[admin]\naddress = \"off\"\n"), None);
    }
}
