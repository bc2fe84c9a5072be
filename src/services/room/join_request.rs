//! What a connection asks for: its room, its name and its format.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::event::CHAT_SUBPROTOCOL;

use super::room_ref::ClientFormat;
use super::settings::{NameSource, RoomSettings};
use crate::http::{Path, UpgradeRequest};
use crate::services::ConnectRequest;
use crate::services::name::check_name;

/// What a connection asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JoinRequest {
    /// `None` for the default room.
    pub(super) room: Option<Arc<str>>,
    pub(super) name: RequestedName,
    pub(super) format: ClientFormat,
}

/// The name that a connection asks for.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RequestedName {
    /// The client's first text will be its name.
    Later,
    Now(Arc<str>),
    /// None, and no text will be one: nothing is known of the client.
    Unnamed,
}

/// Why a request is refused, in words for the author of the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Clients with events are accepted and closed with the reason, because a script in a browser
    /// sees neither the status nor the body of a refused upgrade.
    pub(super) format: ClientFormat,
}

/// Reads what a connection asks for from its upgrade request, or from its address alone if it is a
/// line client.
pub(super) fn read_join_request(
    settings: &RoomSettings,
    connect: &ConnectRequest<'_>,
) -> Result<JoinRequest, Refusal> {
    let Some(request) = connect.request() else {
        let name = name_of_line_client(&settings.name, connect);
        let format = ClientFormat::Lines;
        return match name {
            Ok(name) => Ok(JoinRequest { room: None, name, format }),
            Err(reason) => Err(Refusal { reason, format }),
        };
    };
    let speaks_events =
        request.subprotocol().is_some_and(|chosen| chosen.as_str() == CHAT_SUBPROTOCOL);
    let format = if speaks_events { ClientFormat::Events } else { ClientFormat::Lines };
    let read = || {
        let name = name_in_request(&settings.name, request, connect)?;
        Ok(JoinRequest { room: room_in_request(settings.room_segment, request)?, name, format })
    };
    read().map_err(|reason| Refusal { reason, format })
}

fn name_of_line_client(
    source: &NameSource,
    connect: &ConnectRequest<'_>,
) -> Result<RequestedName, String> {
    match source {
        NameSource::Address => name_of_address(connect.address()),
        // A line client has no path and no query; its first line names it.
        NameSource::FirstText | NameSource::Path { .. } | NameSource::Query => {
            Ok(RequestedName::Later)
        }
        NameSource::Identity { segment: Some(_) } => {
            Err("a token is needed here, and a line has none".to_owned())
        }
        NameSource::Identity { segment: None } => name_of_identity(connect),
    }
}

fn name_in_request(
    source: &NameSource,
    request: &UpgradeRequest<'_, '_>,
    connect: &ConnectRequest<'_>,
) -> Result<RequestedName, String> {
    match source {
        NameSource::Address => name_of_address(connect.address()),
        NameSource::FirstText => Ok(RequestedName::Later),
        NameSource::Path { segment } => {
            name_in_path(request.path(), *segment).map(RequestedName::Now)
        }
        NameSource::Query => {
            let value = request.query().value("user").map_err(refused_name)?;
            let Some(value) = value else {
                return Err("name refused: give one with ?user=NAME".to_owned());
            };
            check_name(&value).map(RequestedName::Now).map_err(refused_name)
        }
        NameSource::Identity { segment } => {
            if let Some(segment) = segment {
                name_in_path(request.path(), *segment)?;
            }
            name_of_identity(connect)
        }
    }
}

fn room_in_request(
    index: Option<usize>,
    request: &UpgradeRequest<'_, '_>,
) -> Result<Option<Arc<str>>, String> {
    let refused = |error: &dyn fmt::Display| format!("room refused: {error}");
    let in_path = index.and_then(|index| segment(request.path(), index));
    let room = match in_path {
        Some(decoded) => Some(decoded.map_err(|error| refused(&error))?),
        None => request.query().value("room").map_err(|error| refused(&error))?,
    };
    room.map(|room| check_name(&room).map_err(|error| refused(&error))).transpose()
}

fn name_in_path(path: Path<'_>, index: usize) -> Result<Arc<str>, String> {
    let Some(decoded) = segment(path, index) else {
        return Err("name refused: there is none in the path".to_owned());
    };
    check_name(&decoded.map_err(refused_name)?).map_err(refused_name)
}

fn segment(path: Path<'_>, index: usize) -> Option<Result<Cow<'_, str>, impl fmt::Display>> {
    path.segments().nth(index).map(|segment| segment.decode())
}

/// The name of a member who has proven who it is.
fn name_of_identity(connect: &ConnectRequest<'_>) -> Result<RequestedName, String> {
    let Some(identity) = connect.identity() else { return Ok(RequestedName::Unnamed) };
    check_name(identity.user()).map(RequestedName::Now).map_err(refused_name)
}

/// An IPv4-mapped IPv6 address, which a dual-stack socket reports, becomes the IPv4 address.
fn name_of_address(address: Option<SocketAddr>) -> Result<RequestedName, String> {
    let Some(address) = address else {
        return Err("name refused: your address is not known".to_owned());
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    Ok(RequestedName::Now(address.to_string().into()))
}

pub(super) fn refused_name(error: impl fmt::Display) -> String {
    format!("name refused: {error}")
}

#[cfg(test)]
mod tests;
