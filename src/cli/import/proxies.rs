//! The backends that are asked about connections: each endpoint becomes a `[[channels.proxy]]`, and each server an
//! `[[upstream]]`.

use std::collections::BTreeMap;

use serde_json::Value;

use super::source::{Found, Source, tables};
use super::written::{toml_list, toml_text};
use crate::config::ProxyOptions;

/// What a backend is asked, as endpoints are named after it.
const OF_CONNECTIONS: [&str; 2] = ["connect", "refresh"];
pub(super) const OF_CHANNELS: [&str; 3] = ["subscribe", "publish", "sub_refresh"];
const RPC: &str = "rpc";

/// The backends of a file, and what leads to each.
#[derive(Debug, Default)]
pub(super) struct Proxies {
    /// The tables, which are to stand before those of the namespaces.
    pub(super) lines: Vec<String>,
    /// The names of upstreams by their servers.
    upstreams: BTreeMap<String, String>,
    /// Those that have a name in the file.
    named: BTreeMap<String, String>,
    /// Those that stand for all that name none, by what they are asked.
    defaults: BTreeMap<&'static str, String>,
    /// Whether namespaces name theirs, and the defaults are for none (version 5).
    is_granular: bool,
    /// Whether calls go to a backend without being switched on (version 5).
    is_asked_all_calls: bool,
}

impl Proxies {
    /// Takes the backends out of a file.
    pub(super) fn take(source: &mut Source, remarks: &mut Vec<String>) -> Self {
        let mut own = Self::default();
        let granular = source.take(&["granular_proxy_mode"]);
        own.is_granular = granular.is_some_and(|found| found.bool() == Ok(true));
        own.is_asked_all_calls = source.get("proxy_rpc_endpoint").is_some();
        for kind in OF_CONNECTIONS {
            own.take_default(source, &format!("client.proxy.{kind}"), kind, remarks);
        }
        for kind in OF_CHANNELS {
            own.take_default(source, &format!("channel.proxy.{kind}"), kind, remarks);
        }
        own.take_default(source, "rpc.proxy", RPC, remarks);
        // They were taken for each of these.
        let _ = source.take(&[HEADERS_OF_ALL]);
        let _ = source.take_below(STATIC_HEADERS_OF_ALL);
        let _ = source.take(&["proxy_include_connection_meta"]);
        if let Some(found) = source.take(&["proxies"]) {
            own.take_named(found, source, remarks);
        }
        own.rpc(source, remarks);
        own
    }

    /// The backend that is asked this about connections, by the line that is to stand in `[channels]`.
    pub(super) fn connection_lines(
        &self,
        source: &mut Source,
        remarks: &mut Vec<String>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for kind in OF_CONNECTIONS {
            let names = [format!("{kind}_proxy_name"), format!("client.{kind}_proxy_name")];
            let proxy = match source.take(&[&names[0], &names[1]]) {
                Some(found) => self.by_name(kind, &found, remarks),
                None => self.defaults.get(kind).cloned(),
            };
            lines.extend(proxy.map(|own| format!("{kind}_proxy = {}", toml_text(&own))));
        }
        lines
    }

    /// The lines of a namespace that has these options.
    pub(super) fn namespace_lines(
        &self,
        options: &mut Source,
        remarks: &mut Vec<String>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for kind in OF_CHANNELS {
            let name = options.take(&[&format!("{kind}_proxy_name")]);
            let names = [format!("{kind}_proxy_enabled"), format!("proxy_{kind}")];
            let is_on = options.take(&[&names[0], &names[1]]);
            let is_on = is_on.map_or(self.is_granular, |found| found.bool() == Ok(true));
            if !is_on {
                continue;
            }
            let proxy = match name {
                Some(found) => self.by_name(kind, &found, remarks),
                None if self.is_granular => None,
                None => {
                    let proxy = self.defaults.get(kind).cloned();
                    if proxy.is_none() {
                        remarks.push(format!("{}: there is no backend for it", names[0]));
                    }
                    proxy
                }
            };
            lines.extend(proxy.map(|own| format!("{kind}_proxy = {}", toml_text(&own))));
        }
        lines
    }

    fn by_name(&self, kind: &str, found: &Found, remarks: &mut Vec<String>) -> Option<String> {
        let name = found.text().unwrap_or_default();
        let proxy = match name {
            "" => return None,
            "default" => self.defaults.get(kind),
            name => self.named.get(name),
        };
        if proxy.is_none() {
            remarks
                .push(format!("{}: there is no backend {name:?} that could be taken", found.name));
        }
        proxy.cloned()
    }

    /// The backend of those that name none.
    fn take_default(
        &mut self,
        source: &mut Source,
        path: &str,
        kind: &'static str,
        remarks: &mut Vec<String>,
    ) {
        let mut options = source.take_below(path);
        for name in ["endpoint", "timeout"] {
            if let Some(found) = source.take(&[&format!("proxy_{kind}_{name}")]) {
                options.insert(name, found.value);
            }
        }
        let enabled = options.take(&["enabled"]);
        let Some(endpoint) = options.take(&["endpoint"]) else {
            source.put_back(path, options);
            return;
        };
        if enabled.is_some_and(|found| found.bool() != Ok(true)) {
            remarks.push(format!("{path}: it is not enabled, and was left out"));
            return;
        }
        if let Some(value) = source.get(HEADERS_OF_ALL) {
            options.insert("http_headers", value.clone());
        }
        options.put_back("http.static_headers", source.copy_below(STATIC_HEADERS_OF_ALL));
        if let Some(name) = self.add(path, kind, &endpoint, &mut options, remarks) {
            self.defaults.insert(kind, name);
        }
        source.put_back(path, options);
    }

    fn take_named(&mut self, found: Found, source: &mut Source, remarks: &mut Vec<String>) {
        let path = found.name.clone();
        for table in tables(found) {
            let mut options = Source::of(table);
            let (name, endpoint) = (options.take(&["name"]), options.take(&["endpoint"]));
            let name = name.as_ref().and_then(|own| own.text().ok()).map(str::to_owned);
            let (Some(name), Some(endpoint)) = (name, endpoint) else {
                remarks.push(format!("{path}: one has no name or no endpoint, and was left out"));
                continue;
            };
            // As version 5 has them.
            let headers = options.take_below("static_http_headers");
            options.put_back("http.static_headers", headers);
            let path = format!("{path}.{name}");
            if let Some(own) = self.add(&path, &name, &endpoint, &mut options, remarks) {
                self.named.insert(name, own);
            }
            source.put_back(&path, options);
        }
    }

    /// Adds a backend; the name that it has here.
    fn add(
        &mut self,
        path: &str,
        name: &str,
        endpoint: &Found,
        options: &mut Source,
        remarks: &mut Vec<String>,
    ) -> Option<String> {
        let text = endpoint.text().ok().filter(|own| !own.is_empty())?;
        let Some(Endpoint { is_tls, authority, path: of_request }) = Endpoint::parse(text) else {
            remarks.push(format!(
                "{path}.endpoint: {text:?} is no http:// or https:// with a host and a plain path, so it was left out"
            ));
            return None;
        };
        let is_taken = |own: &str| self.lines.contains(&format!("name = {}", toml_text(own)));
        let mut own = name.to_owned();
        while is_taken(&own) {
            own.push('_');
        }
        let upstream = self.upstream(is_tls, authority);
        self.lines.extend([
            String::new(),
            "[[channels.proxy]]".to_owned(),
            format!("name = {}", toml_text(&own)),
            format!("upstream = {}", toml_text(&upstream)),
            format!("path = {}", toml_text(of_request)),
            format!("host = {}", toml_text(authority)),
        ]);
        self.settings(path, options, remarks);
        Some(own)
    }

    fn upstream(&mut self, is_tls: bool, authority: &str) -> String {
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| !port.contains(']'));
        let server = match (has_port, is_tls) {
            (true, _) => authority.to_owned(),
            (false, true) => format!("{authority}:443"),
            (false, false) => format!("{authority}:80"),
        };
        let key = format!("{is_tls} {server}");
        if let Some(name) = self.upstreams.get(&key) {
            return name.clone();
        }
        let name = format!("backend-{}", self.upstreams.len() + 1);
        self.lines.extend([
            String::new(),
            "[[upstream]]".to_owned(),
            format!("name = {}", toml_text(&name)),
            format!("servers = {}", toml_list(&[server])),
        ]);
        if is_tls {
            self.lines.push("tls = true".to_owned());
        }
        self.upstreams.insert(key, name.clone());
        name
    }

    /// What stands beside an endpoint.
    fn settings(&mut self, path: &str, options: &mut Source, remarks: &mut Vec<String>) {
        if let Some(found) = options.take(&["timeout"]) {
            match found.milliseconds() {
                Ok(ms) => self.lines.push(format!("timeout_ms = {}", ms.clamp(10, 86_400_000))),
                Err(remark) => remarks.push(format!("{path}.{remark}")),
            }
        }
        for (theirs, ours, is_emulated) in
            [("http_headers", "headers", false), ("emulated_headers", "emulated_headers", true)]
        {
            let Some(found) = options.take(&[theirs]) else { continue };
            let names = match found.list() {
                Ok(names) => names,
                Err(remark) => {
                    remarks.push(format!("{path}.{remark}"));
                    continue;
                }
            };
            let (refused, names): (Vec<String>, Vec<String>) =
                names.into_iter().partition(|own| ProxyOptions::refuses(own, is_emulated));
            if !names.is_empty() {
                self.lines.push(format!("{ours} = {}", toml_list(&names)));
            }
            for name in refused {
                remarks.push(format!("{path}.{theirs}: {name} is not a client's to say here"));
            }
        }
        let headers = options.take_below("http.static_headers");
        for name in headers.names() {
            remarks.push(format!(
                "{path}.http.static_headers: {name} may be a secret, so it was not copied: write it into set_headers"
            ));
        }
        // Backends are always told what they have said of a connection.
        let _ = options.take(&["include_connection_meta"]);
        let statuses = options.take(&["http.status_to_code_transforms"]);
        if let Some(found) = statuses {
            let what = format!("{path}.{}", found.name);
            let (read, all): (Vec<_>, _) = {
                let all = tables(found);
                (all.iter().filter_map(status).collect(), all.len())
            };
            if read.len() < all {
                remarks.push(format!("{what}: some have no counterpart, and were left out"));
            }
            if !read.is_empty() {
                self.lines.push(format!("statuses = {}", toml_list(&read)));
            }
        }
    }

    /// Which calls of clients go to which backend.
    fn rpc(&mut self, source: &mut Source, remarks: &mut Vec<String>) {
        let mut rows = Vec::new();
        let is_on = source.take(&["rpc.without_namespace.proxy_enabled"]);
        let found = source.take(&["rpc.without_namespace.proxy_name", "rpc_proxy_name"]);
        let is_on = is_on.map_or_else(|| found.is_some(), |own| own.bool() == Ok(true));
        if is_on || (self.is_asked_all_calls && !self.is_granular) {
            rows.push(("*".to_owned(), found));
        }
        let found = source.take(&["rpc.namespaces", "rpc_namespaces"]);
        for table in found.map(tables).unwrap_or_default() {
            let mut options = Source::of(table);
            let name = options.take(&["name"]);
            let Some(name) = name.as_ref().and_then(|own| own.text().ok()) else { continue };
            let is_on = options.take(&["proxy_enabled"]);
            let found = options.take(&["proxy_name", "rpc_proxy_name"]);
            let is_on = is_on.map_or_else(|| found.is_some(), |own| own.bool() == Ok(true));
            if is_on {
                rows.push((format!("{name}:*"), found));
            }
            source.put_back(&format!("rpc.namespaces.{name}"), options);
        }
        for (method, found) in rows {
            let proxy = match found {
                Some(found) => self.by_name(RPC, &found, remarks),
                None => self.defaults.get(RPC).cloned(),
            };
            let Some(proxy) = proxy else { continue };
            self.lines.extend([
                String::new(),
                "[[channels.rpc]]".to_owned(),
                format!("method = {}", toml_text(&method)),
                format!("proxy = {}", toml_text(&proxy)),
            ]);
        }
    }
}

/// Where requests go.
#[derive(Debug, PartialEq, Eq)]
struct Endpoint<'e> {
    is_tls: bool,
    authority: &'e str,
    path: &'e str,
}

impl<'e> Endpoint<'e> {
    fn parse(text: &'e str) -> Option<Self> {
        let plain = text.strip_prefix("http://").map(|rest| (false, rest));
        let (is_tls, rest) = plain.or_else(|| Some((true, text.strip_prefix("https://")?)))?;
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        // The path of a request would be another than that of the configuration, and a password would be in it.
        let is_plain = |own: &str| {
            own.bytes().all(|byte| byte.is_ascii_graphic() && !b"?#@*:%".contains(&byte))
        };
        let is_host =
            authority.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._:[]".contains(&byte));
        (!authority.is_empty() && is_host && is_plain(path)).then_some(Self {
            is_tls,
            authority,
            path,
        })
    }
}

/// What a reply with a status says, as `statuses` has it.
fn status(transform: &Value) -> Option<String> {
    let number = |own: &Value, name: &str| own.get(name).and_then(Value::as_u64);
    let status = number(transform, "status_code").filter(|own| (201..600).contains(own))?;
    let text = |own: &Value, name: &str| {
        own.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let error =
        transform.get("to_error").filter(|own| number(own, "code").is_some_and(|own| own > 0));
    let (kind, code, text) = if let Some(error) = error {
        let is_temporary = error.get("temporary").and_then(Value::as_bool).unwrap_or(false);
        let kind = if is_temporary { "temporary" } else { "error" };
        (kind, number(error, "code")?, text(error, "message"))
    } else {
        let end = transform.get("to_disconnect")?;
        ("disconnect", number(end, "code")?, text(end, "reason"))
    };
    let line = format!("{status} {kind} {code} {text}");
    ProxyOptions::is_status(&line).then_some(line)
}

/// What version 5 says once for all backends.
const HEADERS_OF_ALL: &str = "proxy_http_headers";
const STATIC_HEADERS_OF_ALL: &str = "proxy_static_http_headers";

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::centrifugo::imported;
    use super::*;
    use crate::config::Config;

    /// What a file becomes, which this gateway takes, and what was remarked.
    fn import(value: Value) -> (Config, Vec<String>) {
        let found = imported(Source::of(value));
        let config = Config::from_toml(&found.toml, "imported.toml");
        let config = config.unwrap_or_else(|why| panic!("{why} in {}", found.toml));
        (config, found.remarks)
    }

    fn version_6() -> Value {
        json!({
            "client": { "proxy": {
                "connect": {
                    "enabled": true,
                    "endpoint": "https://app.example/centrifugo/connect",
                    "timeout": "3s",
                    "http_headers": ["Cookie", "Host"],
                    "emulated_headers": ["Authorization"],
                    "http": {
                        "static_headers": { "X-Key": "s3cret" },
                        "status_to_code_transforms": [
                            { "status_code": 404, "to_error": { "code": 404, "message": "not found" } },
                            { "status_code": 403, "to_disconnect": { "code": 4503, "reason": "no" } },
                            { "status_code": 500 },
                        ],
                    },
                },
                "refresh": { "enabled": false, "endpoint": "https://app.example/x" },
            } },
            "channel": {
                "proxy": {
                    "subscribe": { "endpoint": "https://app.example/subscribe" },
                    "publish": { "endpoint": "http://127.0.0.1:3000/publish" },
                    "sub_refresh": { "endpoint": "grpc://127.0.0.1:3000" },
                },
                "without_namespace": { "subscribe_proxy_enabled": true },
                "namespaces": [
                    {
                        "name": "chat",
                        "publish_proxy_enabled": true,
                        "subscribe_proxy_enabled": true,
                        "subscribe_proxy_name": "other",
                        "sub_refresh_proxy_enabled": true,
                    },
                    { "name": "quiet", "subscribe_proxy_enabled": false },
                ],
            },
            "proxies": [{ "name": "other", "endpoint": "http://[::1]:3000/other" }],
            "rpc": {
                "proxy": { "endpoint": "http://127.0.0.1:3000" },
                "namespaces": [{ "name": "news", "proxy_enabled": true }, { "name": "off" }],
            },
        })
    }

    #[test]
    fn backends_of_version_6_are_asked_the_same() {
        let (config, remarks) = import(version_6());
        let connect = &config.proxies[0];
        assert_eq!((&*connect.path, connect.timeout_ms), ("/centrifugo/connect", 3000));
        assert_eq!(
            (&connect.headers, &connect.emulated_headers),
            (&vec!["Cookie".to_owned()], &vec!["Authorization".to_owned()])
        );
        assert_eq!(connect.statuses, ["404 error 404 not found", "403 disconnect 4503 no"]);
        assert_eq!(connect.host.as_deref(), Some("app.example"));
        let upstream = |name: &str| config.upstreams.iter().find(|own| own.name == name).unwrap();
        let own = upstream(&connect.upstream);
        assert_eq!((own.servers.clone(), own.tls), (vec!["app.example:443".to_owned()], true));
        assert_eq!(config.upstreams.len(), 3, "one for each server");
        assert_eq!(config.channels.connect_proxy.as_deref(), Some("connect"));
        assert_eq!(config.channels.refresh_proxy, None);
        let of = |number: usize| {
            let own = &config.namespaces[number];
            [&own.subscribe_proxy, &own.publish_proxy, &own.sub_refresh_proxy].map(Option::as_deref)
        };
        assert_eq!(of(0), [Some("subscribe"), None, None]);
        assert_eq!(of(1), [Some("other"), Some("publish"), None]);
        assert_eq!(of(2), [None, None, None]);
        let calls: Vec<_> = config.rpcs.iter().map(|own| (&*own.method, &*own.proxy)).collect();
        assert_eq!(calls, [("news:*", "rpc")]);
        for name in [
            "client.proxy.connect.http_headers: Host is",
            "client.proxy.connect.http.static_headers: X-Key may be a secret",
            "client.proxy.connect.http.status_to_code_transforms: some",
            "client.proxy.refresh: it is not enabled",
            "channel.proxy.sub_refresh.endpoint: \"grpc://127.0.0.1:3000\" is no http",
            "sub_refresh_proxy_enabled: there is no backend",
        ] {
            assert!(remarks.iter().any(|own| own.starts_with(name)), "{name} in {remarks:?}");
        }
        assert_eq!(remarks.len(), 6, "{remarks:?}");
    }

    #[test]
    fn backends_of_version_5_are_asked_the_same() {
        let (config, remarks) = import(json!({
            "proxy_connect_endpoint": "http://app:3000/connect",
            "proxy_connect_timeout": "2s",
            "proxy_refresh_endpoint": "http://app:3000/refresh",
            "proxy_publish_endpoint": "http://app:3000/publish",
            "proxy_rpc_endpoint": "http://app:3000/rpc",
            "proxy_http_headers": ["Cookie"],
            "proxy_publish": true,
            "namespaces": [{ "name": "chat", "proxy_publish": true }, { "name": "quiet" }],
        }));
        assert_eq!(remarks, Vec::<String>::new());
        assert_eq!((config.upstreams.len(), config.proxies.len()), (1, 4));
        assert!(config.proxies.iter().all(|own| own.headers == ["Cookie"]));
        assert_eq!(config.channels.refresh_proxy.as_deref(), Some("refresh"));
        let publish: Vec<_> =
            config.namespaces.iter().map(|own| own.publish_proxy.as_deref()).collect();
        assert_eq!(publish, [Some("publish"), Some("publish"), None]);
        assert_eq!((&*config.rpcs[0].method, &*config.rpcs[0].proxy), ("*", "rpc"));
    }

    #[test]
    fn backends_that_are_named_one_by_one_are_found() {
        let (config, remarks) = import(json!({
            "granular_proxy_mode": true,
            "proxies": [
                { "name": "a", "endpoint": "http://app/a", "timeout": "1s" },
                { "name": "b", "endpoint": "http://app/b" },
                { "endpoint": "http://app/c" },
            ],
            "connect_proxy_name": "a",
            "rpc_proxy_name": "b",
            "rpc_namespaces": [{ "name": "news", "rpc_proxy_name": "a" }],
            "namespaces": [
                { "name": "chat", "subscribe_proxy_name": "b", "publish_proxy_name": "lost" },
            ],
        }));
        assert_eq!(config.channels.connect_proxy.as_deref(), Some("a"));
        let chat = config.namespaces.iter().find(|own| own.name == "chat").unwrap();
        assert_eq!((chat.subscribe_proxy.as_deref(), &chat.publish_proxy), (Some("b"), &None));
        let calls: Vec<_> = config.rpcs.iter().map(|own| (&*own.method, &*own.proxy)).collect();
        assert_eq!(calls, [("*", "b"), ("news:*", "a")]);
        assert_eq!(remarks.len(), 2, "{remarks:?}");
    }

    #[test]
    fn endpoints_are_taken_apart() {
        let endpoint = |is_tls, authority, path| Some(Endpoint { is_tls, authority, path });
        for (text, wanted) in [
            ("http://app", endpoint(false, "app", "/")),
            ("https://app:8443/a/b", endpoint(true, "app:8443", "/a/b")),
            ("http://[::1]:80/", endpoint(false, "[::1]:80", "/")),
            ("http://user:pass@app/", None),
            ("http://app/a?key=1", None),
            ("http:///a", None),
            ("grpc://app", None),
            ("unix:///run/app", None),
            ("", None),
        ] {
            assert_eq!(Endpoint::parse(text), wanted, "{text}");
        }
    }
}
