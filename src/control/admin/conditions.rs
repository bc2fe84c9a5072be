//! Which connections are meant, and of which gateways, as requests say it.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequestParts, Query as UrlQuery};
use axum::http::request::Parts;
use serde::{Deserialize, Serialize};

use super::error::ApiError;
use crate::effects::Peer;
use crate::inspect::{ConnectionFilter, ConnectionPhase};

/// The conditions of a list or a trace, as parameters of a URL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FilterQuery {
    connection: Option<String>,
    user: Option<String>,
    address: Option<String>,
    route: Option<String>,
    room: Option<String>,
    phase: Option<String>,
    pub(super) limit: Option<usize>,
    pub(super) cursor: Option<String>,
    payload: Option<String>,
    nodes: Option<String>,
}

/// Which gateways are meant, as a parameter of a URL.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NodesQuery {
    nodes: Option<String>,
}

/// Which connections are meant: all conditions that are given hold.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Conditions {
    connection: Option<String>,
    user: Option<String>,
    address: Option<String>,
    route: Option<String>,
    room: Option<String>,
    phase: Option<String>,
}

impl FilterQuery {
    /// The conditions.
    pub(super) fn conditions(&self) -> Conditions {
        let Self { connection, user, address, route, room, phase, .. } = self.clone();
        Conditions { connection, user, address, route, room, phase }
    }

    /// The conditions as loops understand them.
    pub(super) fn filter(&self) -> Result<ConnectionFilter, ApiError> {
        self.conditions().filter()
    }

    /// Whether all gateways that share an engine are meant.
    pub(super) fn is_about_all(&self) -> Result<bool, ApiError> {
        is_about_all(self.nodes.as_deref())
    }

    /// Whether payloads are wanted.
    pub(super) fn payload(&self) -> bool {
        self.payload.as_deref().is_some_and(|payload| payload != "0")
    }
}

impl<S: Send + Sync> FromRequestParts<S> for FilterQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<UrlQuery<Self>, QueryRejection> =
            UrlQuery::from_request_parts(parts, state).await;
        Ok(query?.0)
    }
}

impl NodesQuery {
    /// Whether all gateways that share an engine are meant.
    pub(super) fn is_about_all(&self) -> Result<bool, ApiError> {
        is_about_all(self.nodes.as_deref())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for NodesQuery {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let query: Result<UrlQuery<Self>, QueryRejection> =
            UrlQuery::from_request_parts(parts, state).await;
        Ok(query?.0)
    }
}

impl Conditions {
    /// What loops understand.
    pub(super) fn filter(&self) -> Result<ConnectionFilter, ApiError> {
        let Self { connection, user, address, route, room, phase } = self;
        let peer = connection.as_deref().map(parse_id).transpose()?;
        let address = match address.as_deref().map(str::parse::<IpAddr>) {
            None => None,
            Some(Ok(address)) => Some(address.to_canonical()),
            Some(Err(_)) => return Err(ApiError::bad_request("address must be an IP address")),
        };
        let phase = match phase.as_deref() {
            None => None,
            Some("handshake") => Some(ConnectionPhase::Handshake),
            Some("open") => Some(ConnectionPhase::Open),
            Some("closing") => Some(ConnectionPhase::Closing),
            Some(_) => {
                let message = "phase must be handshake, open or closing";
                return Err(ApiError::bad_request(message));
            }
        };
        let (user, route, room) = (user.clone(), route.clone(), room.clone());
        Ok(ConnectionFilter { peer, user, address, route, room, phase })
    }

    /// As [`Conditions::filter`], for what must not be done to all by an oversight.
    pub(super) fn needed_filter(&self, is_all: bool) -> Result<Arc<ConnectionFilter>, ApiError> {
        let filter = self.filter()?;
        if filter.is_empty() && !is_all {
            let message = "give a condition, or \"all\": true";
            return Err(ApiError::bad_request(message));
        }
        Ok(Arc::new(filter))
    }

    /// Refuses a condition that means something else at each gateway.
    pub(super) fn check_for_all(&self) -> Result<(), ApiError> {
        if self.connection.is_some() {
            let message = "the id of a connection is of one gateway: ask that gateway";
            return Err(ApiError::bad_request(message));
        }
        Ok(())
    }
}

/// The connection that an id names.
pub(super) fn parse_id(id: &str) -> Result<Peer, ApiError> {
    id.parse().map_err(|_| ApiError::bad_request("an id of a connection has the form 0.12.345"))
}

fn is_about_all(nodes: Option<&str>) -> Result<bool, ApiError> {
    match nodes {
        None => Ok(false),
        Some("all") => Ok(true),
        Some(_) => Err(ApiError::bad_request("nodes must be all")),
    }
}
