//! The rules of the engine of channels.

use toml::Value;

use super::super::refusal::Refusal;
use super::super::{Config, EngineKind, EngineOptions, RedisDeployment};
use crate::config::word::Word as _;

/// Checks that the engine can be reached as it is configured.
pub(super) fn check_all(config: &Config) -> Result<(), Refusal> {
    let EngineOptions { kind, urls, user, password, prefix, deployment, credentials, .. } =
        &config.engine;
    let refused = |key: &str, value: Value, rule: &str| {
        Err(Refusal::new(format!("engine.{key}"), &value, rule))
    };
    let (schemes, is_built): (&[&str], bool) = match kind {
        EngineKind::Memory => return Ok(()),
        EngineKind::Redis => (&["redis", "rediss", "unix"], cfg!(feature = "redis")),
        EngineKind::Nats => (&["nats", "tls"], cfg!(feature = "nats")),
    };
    if !is_built {
        let rule = "must be another: this program was built without it";
        return refused("kind", kind.name().into(), rule);
    }
    let is_part = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if prefix.len() > PREFIX_BYTES_MAX || !prefix.bytes().all(is_part) {
        let rule = "must be up to 64 letters, digits, \"-\" and \"_\"";
        return refused("prefix", Value::from(&**prefix), rule);
    }
    if urls.is_empty() {
        let rule = "must name one server at least where kind is not \"memory\"";
        return refused("urls", Value::Array(Vec::new()), rule);
    }
    let scheme = |url: &str| url.split(':').next().unwrap_or_default().to_owned();
    for (index, url) in urls.iter().enumerate() {
        if !schemes.contains(&&*scheme(url)) {
            let rule = format!("must begin with {}://", schemes.join(":// or "));
            return refused(&format!("urls[{index}]"), Value::from(&**url), &rule);
        }
        if scheme(url) != scheme(&urls[0]) {
            let rule = "must have the scheme of the first";
            return refused(&format!("urls[{index}]"), Value::from(&**url), rule);
        }
    }
    let is_one = *kind == EngineKind::Redis && *deployment == RedisDeployment::Single;
    if is_one && urls.len() > 1 {
        let rule = "must be one URL where deployment is \"single\"";
        return refused("urls[1]", Value::from(&*urls[1]), rule);
    }
    if let (Some(user), None) = (user, password) {
        return refused("user", Value::from(&**user), "must be left out where password is");
    }
    if let (Some(file), true) = (credentials, password.is_some()) {
        let path = file.path().display().to_string();
        return refused("credentials", path.into(), "must be left out where password is given");
    }
    Ok(())
}

/// Of a prefix, which is a part of each name.
const PREFIX_BYTES_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> String {
        let config = Config::from_toml(&format!("[engine]\n{text}"), "test.toml");
        config.map(drop).unwrap_err().to_string()
    }

    #[test]
    fn an_engine_elsewhere_needs_urls_of_its_kind() {
        Config::from_toml("[engine]\nkind = \"memory\"\n", "test.toml").unwrap();
        let redis = "kind = \"redis\"\nurls = [\"redis://a:1\", \"redis://b\"]\n";
        let nats = "kind = \"nats\"\nurls = [\"tls://a:1\", \"tls://b\"]\nreplicas = 3\n";
        for (text, wanted) in [
            ("kind = \"redis\"\n", "engine.urls = []: must name one"),
            ("urls = [\"redis://a\"]\n", "engine.urls = [\"redis://a\"]: must be left out"),
            ("kind = \"nats\"\nurls = [\"redis://a\"]\n", "urls[0] = \"redis://a\": must begin"),
            ("kind = \"redis\"\nurls = [\"redis://u:p@a\"]\n", "must be a URL such as"),
            (redis, "urls[1] = \"redis://b\": must be one URL"),
            (&format!("{nats}user = \"u\"\n"), "engine.user = \"u\": must be left out"),
            (&format!("{nats}deployment = \"cluster\"\n"), "must be left out where kind is not"),
            ("kind = \"nats\"\nurls = [\"nats://a\", \"tls://b\"]\n", "must have the scheme"),
        ] {
            let found = refusal(text);
            assert!(found.contains(wanted), "{text}: {found}");
        }
        let cluster = format!("[engine]\n{redis}deployment = \"cluster\"\npassword = \"x\"\n");
        for text in [cluster, format!("[engine]\n{nats}")] {
            Config::from_toml(&text, "test.toml").unwrap();
        }
    }
}
