//! What differs between the configuration of a running process and that of its file, key by key, and
//! what the process keeps until it is started again.
//!
//! Tables of a list are matched by what they are and not by their place: listeners by address, routes
//! by service and path, identities and tokens by name. Certificates are matched by place, because the
//! first is the default one.

use std::collections::HashMap;
use std::fmt;

use toml::Value;

use super::Config;
use super::declare::{Entry, Keys as _};
use super::tables::FileTable;

/// What a reload changes, and what it cannot change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// What holds after the reload.
    pub applied: Vec<KeyChange>,
    /// What holds only after a restart; until then the old values do.
    pub needs_restart: Vec<KeyChange>,
}

/// One key, or one table of a list, that differs. Displays as one line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChange {
    /// The key with its array positions, such as `route[1].origins`, or the table, such as `route[1]`.
    /// The positions are those of the new configuration, or of the old one where the new one has no
    /// such table.
    pub key: String,
    /// The value before, as TOML, a secret as `***`; of a table, what it is. `None` where there was
    /// none.
    pub old: Option<String>,
    /// The value now. `None` where there is none any more.
    pub new: Option<String>,
}

impl Changes {
    /// Whether the configurations are the same.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.applied.is_empty() && self.needs_restart.is_empty()
    }

    fn push(&mut self, is_reloadable: bool, change: KeyChange) {
        match is_reloadable {
            true => self.applied.push(change),
            false => self.needs_restart.push(change),
        }
    }

    /// Compares two states of one table.
    fn compare(&mut self, old: &FileTable, new: &FileTable) {
        let value = |table: &FileTable, entry: &Entry| {
            let value = entry.value.as_ref().map(Value::to_string);
            (table.key(entry), value)
        };
        for own in &new.entries {
            let before = old.entries.iter().find(|entry| entry.key.name == own.key.name);
            if before.is_none_or(|before| !before.is_same(own)) {
                let (key, now) = value(new, own);
                let before = before.and_then(|before| value(old, before).1);
                self.push(own.key.reloadable, KeyChange { key, old: before, new: now });
            }
        }
        for gone in &old.entries {
            // As the options of another kind of identity.
            if new.entries.iter().all(|entry| entry.key.name != gone.key.name) {
                let (key, before) = value(old, gone);
                self.push(gone.key.reloadable, KeyChange { key, old: before, new: None });
            }
        }
    }

    /// Names the lists whose tables are in another order. Of routes the first that matches a request
    /// serves it.
    fn compare_order(&mut self, old: &Tables, new: &Tables) {
        let mut lists: Vec<(String, &str)> =
            new.by_id().into_iter().map(|(id, table)| (id.0, table.list())).collect();
        lists.dedup();
        for (list, name) in lists {
            let (before, now) = (old.common(&list, new), new.common(&list, old));
            if before != now {
                let (old, new) = (Some(before.join(", ")), Some(now.join(", ")));
                self.push(true, KeyChange { key: name.to_owned(), old, new });
            }
        }
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, old, new } = self;
        match (old, new) {
            (Some(old), Some(new)) if old == new => write!(f, "{key} has changed"),
            (Some(old), Some(new)) => write!(f, "{key} changes from {old} to {new}"),
            (None, Some(new)) => write!(f, "{key} is added: {new}"),
            (Some(old), None) => write!(f, "{key} is removed: {old}"),
            (None, None) => write!(f, "{key} has changed"),
        }
    }
}

impl Config {
    /// What differs in `next` from this one.
    #[must_use]
    pub fn changes_to(&self, next: &Self) -> Changes {
        let (old, new) = (Tables::of(self), Tables::of(next));
        let mut changes = Changes::default();
        for (id, table) in new.by_id() {
            let key = || table.name().to_owned();
            match old.get(&id) {
                Some(before) => changes.compare(before, table),
                None => {
                    let new = table.id().map(str::to_owned);
                    changes.push(true, KeyChange { key: key(), old: None, new });
                }
            }
        }
        for (id, table) in old.by_id() {
            if new.get(&id).is_none() {
                let (key, old) = (table.name().to_owned(), table.id().map(str::to_owned));
                changes.push(true, KeyChange { key, old, new: None });
            }
        }
        changes.compare_order(&old, &new);
        changes
    }

    /// This configuration, but with what a process that runs with `running` keeps until it is started
    /// again. The result may break a rule where kept keys and others do not agree.
    #[must_use]
    pub fn kept_from(mut self, running: &Self) -> Self {
        let Self {
            process,
            // The keys of tables in lists can all be changed.
            listeners: _,
            certificates: _,
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
            routes: _,
            identities: _,
            upstreams: _,
            channels,
            namespaces: _,
            proxies: _,
            rpcs: _,
            engine,
        } = &mut self;
        process.keep(&running.process);
        acme.keep(&running.acme);
        tls.keep(&running.tls);
        admin.keep(&running.admin);
        api.keep(&running.api);
        webhooks.keep(&running.webhooks);
        log.keep(&running.log);
        limits.keep(&running.limits);
        addresses.keep(&running.addresses);
        overload.keep(&running.overload);
        timeouts.keep(&running.timeouts);
        turn.keep(&running.turn);
        socket.keep(&running.socket);
        channels.keep(&running.channels);
        engine.keep(&running.engine);
        self
    }
}

/// The tables of a configuration, to be found by what they are.
struct Tables {
    all: Vec<FileTable>,
    by_id: HashMap<Id, usize>,
}

/// The list that a table is in, what it is there, and which of several that are the same: listeners
/// may both have port 0.
type Id = (String, Option<String>, usize);

impl Tables {
    fn of(config: &Config) -> Self {
        let all = config.tables();
        let mut by_id = HashMap::new();
        let mut names: HashMap<String, String> = HashMap::new();
        for (position, table) in all.iter().enumerate() {
            // The tables inside another go by that and not by its place.
            let list = match table.list().split_once("].") {
                Some((around, list)) => {
                    let around = names.get(&format!("{around}]")).cloned().unwrap_or_default();
                    format!("{around}.{list}")
                }
                None => table.list().to_owned(),
            };
            let id = table.id().map(str::to_owned);
            if let Some(own) = &id {
                names.insert(table.name().to_owned(), format!("{list} {own}"));
            }
            let mut id = (list, id, 0);
            while by_id.contains_key(&id) {
                id.2 += 1;
            }
            by_id.insert(id, position);
        }
        Self { all, by_id }
    }

    /// Every table with its id, in the order of the file.
    fn by_id(&self) -> Vec<(Id, &FileTable)> {
        let mut ids: Vec<(&Id, usize)> = self.by_id.iter().map(|(id, at)| (id, *at)).collect();
        ids.sort_by_key(|(_, at)| *at);
        ids.into_iter().filter_map(|(id, at)| Some((id.clone(), self.all.get(at)?))).collect()
    }

    fn get(&self, id: &Id) -> Option<&FileTable> {
        self.by_id.get(id).and_then(|at| self.all.get(*at))
    }

    /// What the tables of a list are that `other` has as well, in the order of the file.
    fn common(&self, list: &str, other: &Self) -> Vec<String> {
        let own = self.by_id().into_iter();
        let own = own.filter(|(id, _)| id.0 == list && other.get(id).is_some());
        own.filter_map(|(_, table)| table.id().map(str::to_owned)).collect()
    }
}

#[cfg(test)]
mod tests;
