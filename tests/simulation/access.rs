//! An access log that keeps its entries.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use tidegate::access::{AccessEntry, AccessSink, Traffic};
use tidegate::services::CloseReason;

/// The entries of all connections that have ended. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct AccessJournal {
    told: Arc<Mutex<Vec<Told>>>,
}

/// An entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) peer: String,
    pub(crate) address: SocketAddr,
    pub(crate) path: Option<String>,
    pub(crate) duration_ms: u64,
    pub(crate) received: Traffic,
    pub(crate) sent: Traffic,
    pub(crate) status: Option<u16>,
    pub(crate) reason: CloseReason,
    pub(crate) was_open: bool,
}

impl AccessJournal {
    pub(crate) fn sink(&self) -> AccessSink {
        let own = self.clone();
        AccessSink::new(move |entry: &AccessEntry<'_>| {
            own.told.lock().unwrap_or_else(PoisonError::into_inner).push(Told {
                peer: entry.peer.to_string(),
                address: entry.address,
                path: entry.path.map(str::to_owned),
                duration_ms: entry.duration_ms,
                received: entry.received,
                sent: entry.sent,
                status: entry.status.map(|status| status.code()),
                reason: entry.reason,
                was_open: entry.was_open,
            });
        })
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The only entry.
    pub(crate) fn only(&self) -> Told {
        let told = self.told();
        assert_eq!(told.len(), 1, "{told:?}");
        told[0].clone()
    }

    /// That no connection is told twice, and the messages received of all.
    pub(crate) fn check(&self) -> Result<u64, String> {
        let told = self.told();
        let peers: BTreeSet<&String> = told.iter().map(|own| &own.peer).collect();
        if peers.len() < told.len() {
            return Err("a connection has two lines in the access log".into());
        }
        Ok(told.iter().map(|own| own.received.messages).sum())
    }
}
