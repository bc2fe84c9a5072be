//! Which options of Centrifugo become what: by their names in version 6, and in version 5 where they differ.
//!
//! What is taken here is taken out of the source; the rest is named, so that nothing is passed over in silence.
//! No secret is copied: it is named as a file that is to be written.

use super::engine;
use super::namespace::lines;
use super::proxies::Proxies;
use super::source::{Found, Source, tables};
use super::written::{toml_list, toml_text};

/// What a file became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Imported {
    /// The configuration of this gateway.
    pub(super) toml: String,
    /// What is to be done by hand, and what has no counterpart, one line each.
    pub(super) remarks: Vec<String>,
}

/// What an import has come to so far.
#[derive(Debug, Default)]
struct Import {
    source: Source,
    lines: Vec<String>,
    remarks: Vec<String>,
}

/// The configuration that does what the source asks for.
pub(super) fn imported(source: Source) -> Imported {
    let mut own = Import { source, ..Import::default() };
    own.listener();
    own.route();
    own.api();
    let has_own_tokens = own.identities();
    let proxies = Proxies::take(&mut own.source, &mut own.remarks);
    own.channels(has_own_tokens, &proxies);
    own.lines.extend(proxies.lines.iter().cloned());
    own.namespaces(&proxies);
    let engine = engine::lines(&mut own.source, &mut own.remarks);
    own.lines.extend(engine);
    for name in own.source.names() {
        own.remarks.push(format!("{name}: has no counterpart here, and was left out"));
    }
    Imported { toml: format!("{}\n", own.lines.join("\n")), remarks: own.remarks }
}

impl Import {
    fn line(&mut self, line: impl Into<String>) {
        self.lines.push(line.into());
    }

    fn remark(&mut self, remark: impl Into<String>) {
        self.remarks.push(remark.into());
    }

    /// Takes an option out and writes it as this key.
    fn put(
        &mut self,
        names: &[&str],
        key: &str,
        read: impl FnOnce(&Found) -> Result<String, String>,
    ) {
        let Some(found) = self.source.take(names) else { return };
        match read(&found) {
            Ok(value) => self.line(format!("{key} = {value}")),
            Err(remark) => self.remark(remark),
        }
    }

    fn listener(&mut self) {
        let address = self.source.take(&["http_server.address", "address"]);
        let port = self.source.take(&["http_server.port", "port"]);
        let host = match address.as_ref().map(Found::text) {
            None | Some(Ok("")) => "0.0.0.0",
            Some(Ok(address)) => address,
            Some(Err(remark)) => {
                self.remarks.push(remark);
                "0.0.0.0"
            }
        };
        let port = match port.as_ref().map(Found::number) {
            None => 8000,
            Some(Ok(port)) => port,
            Some(Err(remark)) => {
                self.remarks.push(remark);
                8000
            }
        };
        let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
        self.lines.push("[[listener]]".to_owned());
        self.lines.push(format!("address = {}", toml_text(&format!("{host}:{port}"))));
    }

    fn route(&mut self) {
        self.line("");
        self.line("[[route]]");
        let path = self.source.take(&["websocket.handler_prefix", "websocket_handler_prefix"]);
        let path = path.and_then(|own| own.text().ok().map(str::to_owned));
        let path = path.unwrap_or_else(|| "/connection/websocket".to_owned());
        self.line(format!("path = {}", toml_text(&path)));
        self.line("service = \"channels\"");
        let names = ["client.allowed_origins", "allowed_origins"];
        self.put(&names, "origins", |found| {
            let origins = found.list()?;
            let is_pattern = |own: &String| own.contains('*') && own != "*";
            if let Some(pattern) = origins.iter().find(|own| is_pattern(own)) {
                return Err(format!(
                    "{}: {pattern:?} is a pattern, and route.origins takes none: write the origins out",
                    found.name
                ));
            }
            match origins.iter().any(|own| own == "*") {
                true => Ok("\"*\"".to_owned()),
                false => Ok(toml_list(&origins)),
            }
        });
        let names = ["websocket.message_size_limit", "websocket_message_size_limit"];
        let size = self.source.take(&names).map_or(Ok(65_536), |own| own.number());
        match size {
            Ok(bytes) => self.line(format!("message_bytes_max = {}", bytes.max(125))),
            Err(remark) => self.remark(remark),
        }
    }

    fn api(&mut self) {
        if self.source.take(&["http_api.key", "api_key"]).is_none() {
            return;
        }
        self.line("");
        self.line("[api]");
        self.line("address = \"127.0.0.1:9000\"");
        self.line(format!("keys_file = {}", toml_text(API_KEY_FILE)));
        self.remark(format!("http_api.key: write it into {API_KEY_FILE}; it was not copied"));
        self.remark(
            "http_api: it listens apart from clients here, at api.address, which is to be chosen",
        );
    }

    /// Whether subscriptions have tokens of their own; `None` without tokens.
    fn identities(&mut self) -> Option<bool> {
        let own = self.source.take_below("client.token");
        let mut connection = self.of_version_5("token_", own);
        let mut subscription = self.source.take_below("client.subscription_token");
        let is_on = subscription.take(&["enabled"]).is_some_and(|own| own.bool() == Ok(true));
        let separate = self.source.take(&["separate_subscription_token_config"]);
        let is_on = is_on || separate.is_some_and(|own| own.bool() == Ok(true));
        subscription = self.of_version_5("subscription_token_", subscription);
        if !is_on && !subscription.is_empty() {
            self.remark("client.subscription_token: it is not enabled, and was left out");
            subscription = Source::default();
        }
        if connection.is_empty() && !is_on {
            return None;
        }
        self.identity("users", "client.token", &mut connection);
        self.source.put_back("client.token", connection);
        if is_on {
            self.identity("subscriptions", "client.subscription_token", &mut subscription);
            self.source.put_back("client.subscription_token", subscription);
        }
        Some(is_on)
    }

    /// Adds options to a table that stand beside all others in version 5, with a prefix.
    fn of_version_5(&mut self, prefix: &str, mut table: Source) -> Source {
        for name in TOKEN_OPTIONS {
            if let Some(found) = self.source.take(&[&format!("{prefix}{name}")]) {
                table.insert(name, found.value);
            }
        }
        table
    }

    fn identity(&mut self, name: &str, path: &str, options: &mut Source) {
        self.line("");
        self.line("[[identity]]");
        self.line(format!("name = \"{name}\""));
        self.line("kind = \"jwt\"");
        self.line("exp_required = false");
        self.line("leeway_ms = 0");
        for (theirs, ours, is_list) in [
            ("audience", "audiences", true),
            ("issuer", "issuers", true),
            ("user_id_claim", "user_claim", false),
        ] {
            let found = options.take(&[theirs]);
            match found.as_ref().map(|own| own.text().map(toml_text)) {
                None => {}
                Some(Ok(text)) if text == "\"\"" => {}
                Some(Ok(text)) if is_list => self.line(format!("{ours} = [{text}]")),
                Some(Ok(text)) => self.line(format!("{ours} = {text}")),
                Some(Err(remark)) => self.remark(format!("{path}.{remark}")),
            }
        }
        let jwks = options.take(&["jwks_public_endpoint", "jwks.public_endpoint"]);
        match jwks.as_ref().map(|own| own.text().map(toml_text)) {
            None => {}
            Some(Ok(url)) => self.line(format!("jwks_url = {url}")),
            Some(Err(remark)) => self.remark(format!("{path}.{remark}")),
        }
        self.keys(name, path, options);
    }

    fn keys(&mut self, name: &str, path: &str, options: &mut Source) {
        if let Some(found) = options.take(&["hmac_secret_key"]) {
            let length = found.text().map_or(0, str::len);
            let file = format!("/etc/tidegate/{name}_hmac_secret");
            let mut has_key = false;
            for (algorithm, bytes_min) in [("HS256", 32), ("HS384", 48), ("HS512", 64)] {
                if length >= bytes_min {
                    self.key(algorithm, "secret_file", &file);
                    has_key = true;
                }
            }
            let what = format!("{path}.hmac_secret_key");
            match has_key {
                true => self.remark(format!("{what}: write it into {file}; it was not copied")),
                false => self.remark(format!(
                    "{what}: it is shorter than 32 bytes, which is not enough: choose another, and add it as a key"
                )),
            }
        }
        for (option, algorithms) in [
            ("rsa_public_key", ["RS256", "RS384", "RS512"].as_slice()),
            ("ecdsa_public_key", &["ES256", "ES384"]),
        ] {
            if options.take(&[option]).is_none() {
                continue;
            }
            let file = format!("/etc/tidegate/{name}_{option}.pem");
            for algorithm in algorithms {
                self.key(algorithm, "file", &file);
            }
            self.remark(format!(
                "{path}.{option}: write it into {file}, and leave only the algorithms that fit the key"
            ));
        }
    }

    fn key(&mut self, algorithm: &str, place: &str, file: &str) {
        self.line("[[identity.keys]]");
        self.line(format!("algorithm = \"{algorithm}\""));
        self.line(format!("{place} = {}", toml_text(file)));
    }

    fn channels(&mut self, has_own_tokens: Option<bool>, proxies: &Proxies) {
        self.line("");
        self.line("[channels]");
        match has_own_tokens {
            None => {}
            Some(is_on) => {
                let name = if is_on { "subscriptions" } else { "users" };
                self.line("tokens = \"users\"");
                self.line(format!("subscription_tokens = \"{name}\""));
            }
        }
        let switch = |found: &Found| found.bool().map(|own| own.to_string());
        let ms = |found: &Found| found.milliseconds().map(|own| own.to_string());
        let names = [
            "client.allow_anonymous_connect_without_token",
            "allow_anonymous_connect_without_token",
        ];
        self.put(&names, "allow_anonymous", switch);
        let names =
            ["client.disallow_anonymous_connection_tokens", "disallow_anonymous_connection_tokens"];
        self.put(&names, "disallow_anonymous_tokens", switch);
        let names =
            ["client.subscribe_to_user_personal_channel.enabled", "user_subscribe_to_personal"];
        self.put(&names, "personal_channel", switch);
        let names = [
            "client.subscribe_to_user_personal_channel.personal_channel_namespace",
            "user_personal_channel_namespace",
        ];
        self.put(&names, "personal_channel_namespace", |found| found.text().map(toml_text));
        self.put(&["client.ping_interval", "ping_interval"], "ping_ms", ms);
        self.put(&["client.pong_timeout", "pong_timeout"], "pong_ms", ms);
        let names = ["client.stale_close_delay", "client_stale_close_delay"];
        self.put(&names, "stale_ms", ms);
        let names = ["client.expired_close_delay", "client_expired_close_delay"];
        self.put(&names, "expired_close_ms", ms);
        let names = ["client.channel_limit", "client_channel_limit"];
        self.put(&names, "connection_channels_max", |found| {
            found.number().map(|own| own.to_string())
        });
        self.lines.extend(proxies.connection_lines(&mut self.source, &mut self.remarks));
    }

    fn namespaces(&mut self, proxies: &Proxies) {
        let meta = self.source.take(&["channel.history_meta_ttl", "global_history_meta_ttl"]);
        let meta_ttl_ms = match meta.as_ref().map(Found::milliseconds) {
            None => None,
            Some(Ok(ms)) => Some(ms),
            Some(Err(remark)) => {
                self.remarks.push(remark);
                None
            }
        };
        // In version 5 they stand beside all others.
        let mut root = self.source.take_below("channel.without_namespace");
        let is_version_6 = !root.is_empty();
        if is_version_6 {
            self.lines.extend(lines(&mut root, None, meta_ttl_ms, proxies, &mut self.remarks));
            self.source.put_back("channel.without_namespace", root);
        } else {
            let added = lines(&mut self.source, None, meta_ttl_ms, proxies, &mut self.remarks);
            self.lines.extend(added);
        }
        let Some(found) = self.source.take(&["channel.namespaces", "namespaces"]) else { return };
        let path = found.name.clone();
        for table in tables(found) {
            let mut options = Source::of(table);
            let name = options.take(&["name"]);
            let Some(name) = name.as_ref().and_then(|own| own.text().ok()) else {
                self.remark(format!("{path}: one has no name, and was left out"));
                continue;
            };
            let remarks = &mut self.remarks;
            self.lines.extend(lines(&mut options, Some(name), meta_ttl_ms, proxies, remarks));
            self.source.put_back(&format!("{path}.{name}"), options);
        }
    }
}

/// Where the key of the HTTP API is to be.
const API_KEY_FILE: &str = "/etc/tidegate/api_keys";
/// What is said of tokens.
const TOKEN_OPTIONS: [&str; 8] = [
    "hmac_secret_key",
    "rsa_public_key",
    "ecdsa_public_key",
    "jwks_public_endpoint",
    "audience",
    "audience_regex",
    "issuer",
    "user_id_claim",
];

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn import(value: serde_json::Value) -> Imported {
        imported(Source::of(value))
    }

    #[test]
    fn both_versions_become_the_same() {
        let new = import(json!({
            "http_server": { "port": 9000 },
            "client": {
                "allowed_origins": ["https://app.example"],
                "token": { "hmac_secret_key": "0123456789abcdef0123456789abcdef" },
                "ping_interval": "10s",
            },
            "http_api": { "key": "k" },
            "channel": {
                "without_namespace": { "presence": true },
                "namespaces": [{ "name": "chat", "history_size": 5, "history_ttl": "90s" }],
            },
        }));
        let old = import(json!({
            "port": "9000",
            "allowed_origins": ["https://app.example"],
            "token_hmac_secret_key": "0123456789abcdef0123456789abcdef",
            "ping_interval": "10s",
            "api_key": "k",
            "presence": true,
            "namespaces": [{ "name": "chat", "history_size": 5, "history_ttl": "90s" }],
        }));
        assert_eq!(new, old);
        for line in ["history_ttl_s = 90", "ping_ms = 10000", "algorithm = \"HS256\""] {
            assert!(new.toml.lines().any(|own| own == line), "{line} in {}", new.toml);
        }
        assert!(!new.toml.contains("0123456789abcdef") && !new.toml.contains("HS512"));
    }

    #[test]
    fn what_is_not_taken_is_named() {
        let found = import(json!({
            "admin": { "enabled": true },
            "client": { "proxy": { "connect": { "binary_encoding": true } }, "ping_interval": [1] },
            "channel": {
                "without_namespace": { "allowed_delta_types": ["fossil"] },
                "namespaces": [{ "name": "a", "subscribe_stream_proxy_enabled": true }, {}],
            },
            "engine": { "type": "redis" },
        }));
        let named = |name: &str| found.remarks.iter().any(|own| own.starts_with(name));
        for name in [
            "admin.enabled: ",
            "client.proxy.connect.binary_encoding: ",
            "client.ping_interval: ",
            "channel.without_namespace.allowed_delta_types: ",
            "channel.namespaces.a.subscribe_stream_proxy_enabled: ",
            "channel.namespaces: one has no name",
            "engine.type: ",
        ] {
            assert!(named(name), "{name} in {:?}", found.remarks);
        }
        assert!(import(json!({})).remarks.is_empty());
    }

    #[test]
    fn a_secret_that_is_too_short_is_no_key() {
        let found = import(json!({ "client": { "token": { "hmac_secret_key": "short" } } }));
        assert!(!found.toml.contains("identity.keys"));
        assert!(found.remarks.iter().any(|own| own.contains("shorter than 32 bytes")));
    }

    #[test]
    fn tokens_for_channels_may_have_keys_of_their_own() {
        let key = "0123456789abcdef0123456789abcdef";
        let found = import(json!({ "client": {
            "token": { "hmac_secret_key": key },
            "subscription_token": { "enabled": true, "jwks_public_endpoint": "https://keys" },
        } }));
        for line in ["subscription_tokens = \"subscriptions\"", "jwks_url = \"https://keys\""] {
            assert!(found.toml.lines().any(|own| own == line), "{line} in {}", found.toml);
        }
    }
}
