//! The rules of backends that are asked about connections of channels, and of the keys that name them.

use toml::Value;

use super::super::channel_proxies::status_reply;
use super::super::refusal::Refusal;
use super::super::{Config, ProxyOptions};
use super::repeated::first_repeated;

/// Checks all proxies, and that each that is named is there.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let names = config.proxies.iter().map(|own| own.name.as_str()).enumerate();
    if let Some((index, name)) = first_repeated(names) {
        let key = format!("channels.proxy[{index}].name");
        return Err(Refusal::new(key, &Value::from(name), "must not be the name of two proxies"));
    }
    for (index, proxy) in config.proxies.iter().enumerate() {
        check_proxy(config, index, proxy)?;
    }
    let methods = config.rpcs.iter().map(|own| own.method.as_str()).enumerate();
    if let Some((index, method)) = first_repeated(methods) {
        let key = format!("channels.rpc[{index}].method");
        return Err(Refusal::new(key, &Value::from(method), "must not be that of two tables"));
    }
    for (index, rpc) in config.rpcs.iter().enumerate() {
        let stem = rpc.method.strip_suffix('*').unwrap_or(&rpc.method);
        let is_method = !stem.contains('*')
            && (stem.is_empty() || !rpc.method.ends_with('*') || stem.ends_with(':'));
        if !is_method {
            let key = format!("channels.rpc[{index}].method");
            return Err(Refusal::new(key, &Value::from(rpc.method.as_str()), METHOD));
        }
        check_named(config, &format!("channels.rpc[{index}].proxy"), Some(&rpc.proxy))?;
    }
    let channels = &config.channels;
    check_named(config, "channels.connect_proxy", channels.connect_proxy.as_ref())?;
    check_named(config, "channels.refresh_proxy", channels.refresh_proxy.as_ref())?;
    for (index, own) in config.namespaces.iter().enumerate() {
        for (leaf, name) in [
            ("subscribe_proxy", &own.subscribe_proxy),
            ("publish_proxy", &own.publish_proxy),
            ("sub_refresh_proxy", &own.sub_refresh_proxy),
        ] {
            check_named(config, &format!("channels.namespace[{index}].{leaf}"), name.as_ref())?;
        }
    }
    Ok(())
}

fn check_proxy(config: &Config, index: usize, proxy: &ProxyOptions) -> Result<(), Refusal> {
    let key = |leaf: &str| format!("channels.proxy[{index}].{leaf}");
    if !cfg!(feature = "http-backends") {
        return Err(Refusal::new(key("name"), &Value::from(proxy.name.as_str()), WITHOUT_HTTP));
    }
    if !config.upstreams.iter().any(|own| own.name == proxy.upstream) {
        let value = Value::from(proxy.upstream.as_str());
        return Err(Refusal::new(key("upstream"), &value, "must be the name of an [[upstream]]"));
    }
    if let Some((leaf, position, name)) = proxy.header_of_the_gateway() {
        let key = key(&format!("{leaf}[{position}]"));
        return Err(Refusal::new(key, &Value::from(name.as_str()), OF_THE_GATEWAY));
    }
    let wrong = proxy.statuses.iter().position(|text| status_reply(text).is_none());
    if let Some((position, text)) =
        wrong.and_then(|position| proxy.statuses.get(position).map(|text| (position, text)))
    {
        let key = key(&format!("statuses[{position}]"));
        return Err(Refusal::new(key, &Value::from(text.as_str()), STATUS));
    }
    Ok(())
}

fn check_named(config: &Config, key: &str, name: Option<&String>) -> Result<(), Refusal> {
    match name {
        Some(name) if !config.proxies.iter().any(|own| own.name == *name) => {
            let rule = "must be the name of a [[channels.proxy]]";
            Err(Refusal::new(key, &Value::from(name.as_str()), rule))
        }
        Some(_) | None => Ok(()),
    }
}

const WITHOUT_HTTP: &str =
    "must be left out: this program was built without the feature `http-backends`";
const OF_THE_GATEWAY: &str =
    "must not be passed on: it is of the connection, or the gateway knows it better";
const STATUS: &str = "must be a status and what it says, such as \"404 error 404 not found\", \
                      \"503 temporary 503 try again\" or \"403 disconnect 4503 forbidden\"";
const METHOD: &str = "must be a call, all that begin alike such as \"news:*\", or \"*\"";

#[cfg(test)]
mod tests {
    use super::*;

    const UPSTREAM: &str = "[[upstream]]\nname = \"app\"\nservers = [\"app:1\"]\n";
    const PROXY: &str =
        "[[channels.proxy]]\nname = \"app\"\nupstream = \"app\"\npath = \"/channels/*\"\n";

    fn load(text: &str) -> Result<Config, String> {
        Config::from_toml(text, "test.toml").map_err(|error| error.to_string())
    }

    #[cfg(feature = "http-backends")]
    #[test]
    fn proxies_are_named_and_lead_to_upstreams() {
        let used = "[channels]\nconnect_proxy = \"app\"\n";
        load(&format!("{used}{PROXY}{UPSTREAM}")).unwrap();
        let refusal = |text: &str| load(text).unwrap_err();
        let error = refusal(&format!("{used}{UPSTREAM}"));
        assert!(error.contains("must be the upstream of a route"), "{error}");
        let error = refusal(used);
        assert!(
            error.contains("channels.connect_proxy = \"app\": must be the name of a"),
            "{error}"
        );
        let error = refusal(PROXY);
        assert!(
            error.contains("channels.proxy[0].upstream = \"app\": must be the name"),
            "{error}"
        );
        let error = refusal(&format!("{PROXY}{PROXY}{UPSTREAM}"));
        assert!(error.contains("channels.proxy[1].name = \"app\": must not be"), "{error}");
        let namespace = "[[channels.namespace]]\npublish_proxy = \"x\"\n";
        let error = refusal(&format!("{namespace}{PROXY}{UPSTREAM}"));
        assert!(error.contains("channels.namespace[0].publish_proxy = \"x\": must be"), "{error}");
    }

    #[cfg(feature = "http-backends")]
    #[test]
    fn what_is_passed_on_is_the_clients_to_say() {
        for (line, is_taken) in [
            ("headers = [\"Cookie\", \"Authorization\", \"X-Forwarded-For\"]", true),
            ("headers = [\"Host\"]", false),
            ("headers = [\"Content-Length\"]", false),
            ("emulated_headers = [\"Authorization\"]", true),
            ("emulated_headers = [\"X-Real_IP\"]", false),
            ("emulated_headers = [\"X-Forwarded-For\"]", false),
            ("statuses = [\"404 error 404 not found\"]", true),
            ("statuses = [\"404\"]", false),
        ] {
            let loaded = load(&format!("{PROXY}{line}\n{UPSTREAM}"));
            assert_eq!(loaded.is_ok(), is_taken, "{line}: {loaded:?}");
        }
    }

    #[cfg(feature = "http-backends")]
    #[test]
    fn calls_are_named_whole_or_by_their_beginning() {
        for (methods, is_taken) in [
            (&["*", "news:*", "news:get"][..], true),
            (&["a", "a"], false),
            (&["a*"], false),
            (&["*a"], false),
            (&["a:*b"], false),
        ] {
            let table =
                |own: &&str| format!("[[channels.rpc]]\nmethod = \"{own}\"\nproxy = \"app\"\n");
            let tables: String = methods.iter().map(table).collect();
            let loaded = load(&format!("{PROXY}{tables}{UPSTREAM}"));
            assert_eq!(loaded.is_ok(), is_taken, "{methods:?}: {loaded:?}");
        }
    }
}
