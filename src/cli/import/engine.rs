//! Where Centrifugo's gateways share their channels: a Redis, or a NATS server.

use super::source::{Found, Source};
use super::written::{toml_list, toml_text};

/// The table `[engine]` that does what a source asks for; nothing for an engine in the process.
pub(super) fn lines(source: &mut Source, remarks: &mut Vec<String>) -> Vec<String> {
    let engine = source.take(&["engine.type", "engine"]);
    let broker = broker(source);
    let kind =
        |found: &Option<Found>| found.as_ref().and_then(|own| own.text().ok().map(str::to_owned));
    // A broker is in the engine's stead for all that is taken over here.
    let chosen = if broker.is_some() { &broker } else { &engine };
    let lines = match kind(chosen).as_deref() {
        None | Some("memory") => return Vec::new(),
        Some("redis") => redis(source, remarks),
        Some("nats") => nats(source, remarks),
        Some(other) => Err(format!("{other:?} is no engine here")),
    };
    let name = chosen.as_ref().map_or("engine.type", |own| &own.name);
    match lines {
        Ok(lines) => {
            remarks.push(format!(
                "{name}: histories and positions are those of this gateway, none is taken over"
            ));
            [String::new(), "[engine]".to_owned()].into_iter().chain(lines).collect()
        }
        Err(why) => {
            remarks.push(format!("{name}: not taken over: {why}"));
            Vec::new()
        }
    }
}

/// The broker, if one is switched on.
fn broker(source: &mut Source) -> Option<Found> {
    if let Some(old) = source.take(&["broker"]) {
        return Some(old);
    }
    let is_on = source.take(&["broker.enabled"]).is_some_and(|own| own.bool() == Ok(true));
    if is_on { source.take(&["broker.type"]) } else { None }
}

fn redis(source: &mut Source, remarks: &mut Vec<String>) -> Result<Vec<String>, String> {
    let mut own = Server::take(source, "engine.redis", "redis_");
    let sentinels = own.addresses("sentinel_address")?;
    let cluster = own.addresses("cluster_address")?;
    let single = own.addresses("address")?;
    let (deployment, mut addresses) = match (&sentinels[..], &cluster[..]) {
        ([], []) => ("single", single),
        ([], _) => ("cluster", cluster),
        _ => ("sentinel", sentinels),
    };
    if addresses.is_empty() {
        addresses.push("127.0.0.1:6379".to_owned());
    }
    if deployment == "single" && addresses.len() > 1 {
        return Err("several servers have a part of the channels each: use a cluster".to_owned());
    }
    let is_tls = own.is_tls();
    let database = own.number("db").filter(|own| *own > 0);
    let mut urls = Vec::new();
    for address in addresses {
        let scheme = if is_tls { "rediss" } else { "redis" };
        let url = own.url(&address, scheme, &["redis", "rediss", "unix"])?;
        let has_database = url.matches('/').count() > 2;
        urls.push(match database {
            Some(number) if !has_database => format!("{url}/{number}"),
            Some(_) | None => url,
        });
    }
    let mut lines = vec!["kind = \"redis\"".to_owned(), format!("urls = {}", toml_list(&urls))];
    if deployment != "single" {
        lines.push(format!("deployment = \"{deployment}\""));
    }
    if let Some(master) = own.text("sentinel_master_name") {
        lines.push(format!("sentinel_master = {}", toml_text(&master)));
    }
    own.finish(&mut lines, source, remarks);
    Ok(lines)
}

fn nats(source: &mut Source, remarks: &mut Vec<String>) -> Result<Vec<String>, String> {
    let mut own = Server::take(source, "broker.nats", "nats_");
    let mut addresses = own.addresses("url")?;
    if addresses.is_empty() {
        addresses.push("127.0.0.1:4222".to_owned());
    }
    let scheme = if own.is_tls() { "tls" } else { "nats" };
    let urls = addresses.iter().map(|address| own.url(address, scheme, &["nats", "tls"]));
    let urls = urls.collect::<Result<Vec<_>, _>>()?;
    let mut lines = vec!["kind = \"nats\"".to_owned(), format!("urls = {}", toml_list(&urls))];
    own.finish(&mut lines, source, remarks);
    Ok(lines)
}

/// What is said of a server.
struct Server {
    /// Where it stands in version 6.
    path: &'static str,
    options: Source,
}

impl Server {
    /// Takes the options below a path, or those with a prefix, as version 5 has them.
    fn take(source: &mut Source, path: &'static str, prefix: &str) -> Self {
        let mut options = source.take_below(path);
        for name in OPTIONS {
            if let Some(found) = source.take(&[&format!("{prefix}{name}")]) {
                options.insert(name, found.value);
            }
        }
        Self { path, options }
    }

    fn text(&mut self, name: &str) -> Option<String> {
        let found = self.options.take(&[name])?;
        found.text().ok().filter(|own| !own.is_empty()).map(str::to_owned)
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.options.take(&[name]).and_then(|own| own.number().ok())
    }

    /// One or several addresses, in a list or with commas between them.
    fn addresses(&mut self, name: &str) -> Result<Vec<String>, String> {
        let Some(found) = self.options.take(&[name]) else { return Ok(Vec::new()) };
        let all = found.list()?;
        let all = all.iter().flat_map(|own| own.split(',')).map(|own| own.trim().to_owned());
        Ok(all.filter(|own| !own.is_empty()).collect())
    }

    fn is_tls(&mut self) -> bool {
        let found = self.options.take(&["tls.enabled", "tls"]);
        found.is_some_and(|own| own.bool() == Ok(true))
    }

    /// An address as a URL here. A user in it becomes an option of its own.
    fn url(&mut self, address: &str, scheme: &str, known: &[&str]) -> Result<String, String> {
        let (found, rest) = address.split_once("://").unwrap_or((scheme, address));
        let found = if found == "tcp" { scheme } else { found };
        if !known.contains(&found) {
            // It may hold a password, so it is not shown.
            return Err(format!("an address is not understood: it begins with {found:?}"));
        }
        let found = if found == "redis" && scheme == "rediss" { scheme } else { found };
        let Some((who, server)) = rest.rsplit_once('@') else {
            return Ok(format!("{found}://{rest}"));
        };
        let (user, password) = who.split_once(':').unwrap_or((who, ""));
        if !user.is_empty() {
            self.options.insert("user", user.into());
        }
        if !password.is_empty() {
            self.options.insert("password", password.into());
        }
        Ok(format!("{found}://{server}"))
    }

    /// Adds who the gateway is there, and gives back what was not taken.
    fn finish(mut self, lines: &mut Vec<String>, source: &mut Source, remarks: &mut Vec<String>) {
        let password = self.text("password");
        if let Some(user) = self.text("user") {
            match password {
                Some(_) => lines.push(format!("user = {}", toml_text(&user))),
                // A NATS URL has a token where others have a user.
                None => {
                    remarks.push(format!("{}: a user without a password was left out", self.path))
                }
            }
        }
        if password.is_some() {
            lines.push(format!("password_file = {}", toml_text(PASSWORD_FILE)));
            remarks.push(format!(
                "{}.password: write it into {PASSWORD_FILE}; it was not copied",
                self.path
            ));
        }
        source.put_back(self.path, self.options);
    }
}

/// Where the password of the engine is to be.
const PASSWORD_FILE: &str = "/etc/tidegate/engine_password";
/// What is taken over of a server.
const OPTIONS: [&str; 10] = [
    "address",
    "cluster_address",
    "db",
    "password",
    "sentinel_address",
    "sentinel_master_name",
    "tls",
    "tls.enabled",
    "url",
    "user",
];

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::config::Config;

    /// What a source becomes, without the remark that each has.
    fn engine(value: Value) -> (Vec<String>, Vec<String>, Vec<String>) {
        let (mut source, mut remarks) = (Source::of(value), Vec::new());
        let lines = lines(&mut source, &mut remarks);
        remarks.retain(|own| !own.contains("none is taken over"));
        (lines, remarks, source.names().cloned().collect())
    }

    fn engine_lines(value: Value) -> Vec<String> {
        engine(value).0.split_off(2)
    }

    #[test]
    fn an_engine_in_the_process_is_the_default() {
        for own in [json!({}), json!({"engine": {"type": "memory"}}), json!({"engine": "memory"})] {
            assert_eq!(engine(own), Default::default());
        }
        let off = json!({"broker": {"enabled": false, "type": "nats"}});
        assert_eq!(engine(off).0, Vec::<String>::new());
    }

    #[test]
    fn both_versions_become_the_same() {
        let new = json!({"engine": {"type": "redis", "redis": {
            "address": "redis://a:1", "user": "u", "password": "p", "db": 3, "tls": {"enabled": true},
        }}});
        let old = json!({"engine": "redis", "redis_address": "a:1", "redis_user": "u",
            "redis_password": "p", "redis_db": "3", "redis_tls": true});
        let wanted = [
            "kind = \"redis\"",
            "urls = [\"rediss://a:1/3\"]",
            "user = \"u\"",
            "password_file = \"/etc/tidegate/engine_password\"",
        ];
        for own in [new, old] {
            let (lines, remarks, rest) = engine(own);
            assert_eq!(lines[2..], wanted);
            assert_eq!((remarks.len(), rest.len()), (1, 0), "{remarks:?} {rest:?}");
        }
    }

    #[test]
    fn each_deployment_is_written() {
        let redis = |own: Value| engine_lines(json!({"engine": {"type": "redis", "redis": own}}));
        assert_eq!(redis(json!({}))[1], "urls = [\"redis://127.0.0.1:6379\"]");
        let cluster = redis(json!({"cluster_address": ["a:1", "redis://b:2"]}));
        let wanted = ["urls = [\"redis://a:1\", \"redis://b:2\"]", "deployment = \"cluster\""];
        assert_eq!(cluster[1..], wanted);
        let sentinel = redis(json!({"sentinel_address": "a:1,b:2", "sentinel_master_name": "m"}));
        let wanted = [
            "urls = [\"redis://a:1\", \"redis://b:2\"]",
            "deployment = \"sentinel\"",
            "sentinel_master = \"m\"",
        ];
        assert_eq!(sentinel[1..], wanted);
        let nats = json!({"engine": {"type": "redis"}, "broker": {"enabled": true, "type": "nats",
            "nats": {"url": "nats://u:p@a:1, nats://b:2"}}});
        assert_eq!(
            engine_lines(nats)[..2],
            ["kind = \"nats\"", "urls = [\"nats://a:1\", \"nats://b:2\"]"]
        );
    }

    #[test]
    fn what_is_not_taken_over_is_said() {
        let (lines, remarks, rest) = engine(json!({"engine": {"type": "redis", "redis": {
            "address": ["a:1", "b:2"], "prefix": "x",
        }}}));
        assert_eq!(lines, Vec::<String>::new());
        assert!(
            remarks[0].starts_with("engine.type: not taken over: several servers"),
            "{remarks:?}"
        );
        assert_eq!(rest, Vec::<String>::new());
        let (_, _, rest) = engine(json!({"engine": {"type": "redis", "redis": {"prefix": "x"}}}));
        assert_eq!(rest, ["engine.redis.prefix"]);
        let (_, remarks, _) = engine(json!({"broker": "tarantool"}));
        assert!(remarks[0].starts_with("broker: not taken over: \"tarantool\""), "{remarks:?}");
    }

    proptest! {
        /// Whatever is written is a configuration, and no password is in it.
        #[test]
        fn what_is_written_can_be_loaded(
            host in "[a-z]{1,9}(:[1-9][0-9]{0,3})?",
            who in "([a-z]{1,5}:SECRET[a-z]{0,5}@)?",
            scheme in prop::sample::select(vec!["", "redis://", "rediss://", "tcp://"]),
            database in 0..16_u32,
        ) {
            let redis = json!({"address": format!("{scheme}{who}{host}"), "db": database});
            let (lines, remarks, _) = engine(json!({"engine": {"type": "redis", "redis": redis}}));
            let text = lines.join("\n");
            prop_assert!(!text.contains("SECRET") && !remarks.concat().contains("SECRET"));
            // The file is not there.
            let text = text.replace("password_file = \"/etc/tidegate/engine_password\"", "password = \"x\"");
            prop_assert!(Config::from_toml(&text, "own.toml").is_ok(), "{}", text);
        }
    }
}
