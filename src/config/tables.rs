//! A configuration as the tables of a file, for everything that walks all keys: `--check`, the
//! rules, the tests.

use std::fmt;

use super::declare::{Entry, Keys};
use super::identity::IdentityKind;
use super::secret::MASK;
use super::{Config, NamespaceOptions, ProxyOptions, RpcOptions};

/// One table with its keys.
#[derive(Debug, Default)]
pub(super) struct FileTable {
    /// As a file holds it: nothing, `[limits]`, `[[route]]`.
    header: String,
    /// What stands before the name of a key in messages: nothing, `limits.`, `route[1].`.
    path: String,
    /// What it is from one configuration to the next, among the tables of its kind; `None` where
    /// there is one of the kind.
    id: Option<String>,
    pub(super) entries: Vec<Entry>,
}

impl FileTable {
    fn section(name: &str, keys: &impl Keys) -> Self {
        let (header, path) = (format!("[{name}]"), format!("{name}."));
        Self { header, path, id: None, entries: keys.entries() }
    }

    fn item(name: &str, path: &str, index: usize, id: &str, entries: Vec<Entry>) -> Self {
        let (header, path) = (format!("[[{name}]]"), format!("{path}[{index}]."));
        Self { header, path, id: Some(id.to_owned()), entries }
    }

    /// What it is from one configuration to the next; `None` where there is one of its kind.
    pub(super) fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Its name in messages: nothing, `limits`, `route[1]`.
    pub(super) fn name(&self) -> &str {
        self.path.strip_suffix('.').unwrap_or_default()
    }

    /// The name of the list that it is in, or its own: `route`, `identity[0].tokens`.
    pub(super) fn list(&self) -> &str {
        let name = self.name();
        name.strip_suffix(']').and_then(|own| own.rsplit_once('[')).map_or(name, |own| own.0)
    }

    /// The name of an entry in messages.
    pub(super) fn key(&self, entry: &Entry) -> String {
        format!("{}{}", self.path, entry.leaf())
    }
}

impl Config {
    /// Every table with every key, in the order of the file.
    pub(super) fn tables(&self) -> Vec<FileTable> {
        let Self {
            process,
            listeners,
            certificates,
            acme,
            tls,
            admin,
            api,
            webhooks,
            log,
            limits,
            addresses,
            overload,
            timeouts,
            turn,
            socket,
            routes,
            identities,
            upstreams,
            channels,
            namespaces,
            proxies,
            rpcs,
            engine,
        } = self;
        let top = FileTable { entries: process.entries(), ..FileTable::default() };
        let mut tables = vec![top];
        for (index, listener) in listeners.iter().enumerate() {
            let (id, entries) = (listener.address.to_string(), listener.entries());
            tables.push(FileTable::item("listener", "listener", index, &id, entries));
        }
        for (index, pair) in certificates.iter().enumerate() {
            // By its place: the first is the default one.
            let (id, entries) = (index.to_string(), pair.entries());
            tables.push(FileTable::item("certificate", "certificate", index, &id, entries));
        }
        tables.push(FileTable::section("acme", acme));
        tables.push(FileTable::section("tls", tls));
        tables.push(FileTable::section("admin", admin));
        tables.push(FileTable::section("api", api));
        tables.push(FileTable::section("webhooks", webhooks));
        tables.push(FileTable::section("log", log));
        tables.push(FileTable::section("limits", limits));
        tables.push(FileTable::section("addresses", addresses));
        tables.push(FileTable::section("overload", overload));
        tables.push(FileTable::section("timeouts", timeouts));
        tables.push(FileTable::section("turn", turn));
        tables.push(FileTable::section("socket", socket));
        for (index, route) in routes.iter().enumerate() {
            let (id, entries) = (route.id().to_string(), route.entries());
            tables.push(FileTable::item("route", "route", index, &id, entries));
        }
        for (index, identity) in identities.iter().enumerate() {
            tables.extend(identity_tables(index, identity));
        }
        for (index, upstream) in upstreams.iter().enumerate() {
            let (id, entries) = (&upstream.name, upstream.entries());
            tables.push(FileTable::item("upstream", "upstream", index, id, entries));
        }
        tables.push(FileTable::section("channels", channels));
        tables.extend(channel_tables(namespaces, proxies, rpcs));
        tables.push(FileTable::section("engine", engine));
        tables
    }

    /// Whether `--check` prints `***` in place of a secret.
    pub(super) fn holds_masked(&self) -> bool {
        let is_masked = |entry: &Entry| {
            let text = entry.value.as_ref().map(ToString::to_string);
            entry.key.rule.is_secret() && text.is_some_and(|text| text.contains(MASK))
        };
        self.tables().iter().any(|table| table.entries.iter().any(is_masked))
    }
}

/// The tables inside that of channels.
fn channel_tables(
    namespaces: &[NamespaceOptions],
    proxies: &[ProxyOptions],
    rpcs: &[RpcOptions],
) -> Vec<FileTable> {
    let mut tables = Vec::new();
    for (index, namespace) in namespaces.iter().enumerate() {
        let (id, entries) = (&namespace.name, namespace.entries());
        let name = "channels.namespace";
        tables.push(FileTable::item(name, name, index, id, entries));
    }
    for (index, proxy) in proxies.iter().enumerate() {
        let (name, id) = ("channels.proxy", &proxy.name);
        tables.push(FileTable::item(name, name, index, id, proxy.entries()));
    }
    for (index, rpc) in rpcs.iter().enumerate() {
        let (name, id) = ("channels.rpc", &rpc.method);
        tables.push(FileTable::item(name, name, index, id, rpc.entries()));
    }
    tables
}

/// The table of an identity, and those inside it.
fn identity_tables(index: usize, identity: &super::Identity) -> Vec<FileTable> {
    let (id, mut entries) = (&identity.name, identity.keys().entries());
    entries.extend(identity.kind.entries());
    let mut tables = vec![FileTable::item("identity", "identity", index, id, entries)];
    if let IdentityKind::Tokens(_, tokens) = &identity.kind {
        let path = format!("identity[{index}].tokens");
        let token = |(index, token): (usize, &super::Token)| {
            let (id, entries) = (&token.name, token.entries());
            FileTable::item("identity.tokens", &path, index, id, entries)
        };
        tables.extend(tokens.iter().enumerate().map(token));
    }
    if let IdentityKind::Jwt(_, _, keys) = &identity.kind {
        let path = format!("identity[{index}].keys");
        let key = |(index, key): (usize, &super::TokenKey)| {
            let id = key.kid.clone().unwrap_or_else(|| index.to_string());
            FileTable::item("identity.keys", &path, index, &id, key.entries())
        };
        tables.extend(keys.iter().enumerate().map(key));
    }
    tables
}

impl fmt::Display for FileTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.header.is_empty() {
            writeln!(f, "\n{}", self.header)?;
        }
        for entry in &self.entries {
            if let Some(value) = &entry.value {
                writeln!(f, "{} = {value}", entry.leaf())?;
            }
        }
        Ok(())
    }
}
