//! What somebody at the door says of itself: room, name, token, and how it wants to be spoken to.

use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use super::event::CHAT_SUBPROTOCOL;
use super::name::check_name;
use super::room_ref::ClientFormat;
use super::settings::{NameSource, RoomSettings};
use crate::http::{Path, UpgradeRequest};
use crate::services::ConnectRequest;

/// What somebody says of itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct JoinRequest {
    /// `None` for the default room.
    pub(super) room: Option<Arc<str>>,
    pub(super) name: NameGiven,
    pub(super) format: ClientFormat,
}

/// What somebody calls itself.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NameGiven {
    /// It will say so in its first text.
    Later,
    Now(Arc<str>),
    /// A name that needs this token; a text that is none is nobody's token.
    WithToken(Arc<str>, Option<String>),
}

/// Why an introduction will not do, for the eyes of whoever wrote the client.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// A page sees no HTTP status. If this is events, it is better let in and told so.
    pub(super) format: ClientFormat,
}

/// Reads the introduction of an arrival.
pub(super) fn read_join_request(
    settings: &RoomSettings,
    connect: &ConnectRequest<'_>,
) -> Result<JoinRequest, Refusal> {
    let address = || connect.address();
    let Some(request) = connect.request() else {
        let name = name_of_line_client(&settings.name, address);
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
        let name = name_in_request(&settings.name, request, address)?;
        Ok(JoinRequest { room: room_in_request(settings.room_segment, request)?, name, format })
    };
    read().map_err(|reason| Refusal { reason, format })
}

fn name_of_line_client(
    source: &NameSource,
    address: impl Fn() -> Option<SocketAddr>,
) -> Result<NameGiven, String> {
    match source {
        NameSource::Address => name_of_address(address()),
        // It has no path and no query, but it can always say a line.
        NameSource::FirstText | NameSource::Path { .. } | NameSource::Query => Ok(NameGiven::Later),
        NameSource::Token { .. } => Err("a token is needed here, and a line has none".to_owned()),
    }
}

fn name_in_request(
    source: &NameSource,
    request: &UpgradeRequest<'_, '_>,
    address: impl Fn() -> Option<SocketAddr>,
) -> Result<NameGiven, String> {
    match source {
        NameSource::Address => name_of_address(address()),
        NameSource::FirstText => Ok(NameGiven::Later),
        NameSource::Path { segment } => name_in_path(request.path(), *segment).map(NameGiven::Now),
        NameSource::Query => {
            let value = request.query().value("user").map_err(refused_name)?;
            let Some(value) = value else {
                return Err("name refused: give one with ?user=NAME".to_owned());
            };
            check_name(&value).map(NameGiven::Now).map_err(refused_name)
        }
        NameSource::Token { name_segment, token_segment, tokens: _ } => {
            let name = name_in_path(request.path(), *name_segment)?;
            let token = segment(request.path(), *token_segment).and_then(Result::ok);
            Ok(NameGiven::WithToken(name, token.map(Cow::into_owned)))
        }
    }
}

fn room_in_request(
    place: Option<usize>,
    request: &UpgradeRequest<'_, '_>,
) -> Result<Option<Arc<str>>, String> {
    let refused = |error: &dyn fmt::Display| format!("room refused: {error}");
    let in_path = place.and_then(|place| segment(request.path(), place));
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

/// An IPv4 address is shown as one, whichever kind of socket it came in by.
fn name_of_address(address: Option<SocketAddr>) -> Result<NameGiven, String> {
    let Some(address) = address else {
        return Err("name refused: your address is not known".to_owned());
    };
    let address = SocketAddr::new(address.ip().to_canonical(), address.port());
    Ok(NameGiven::Now(address.to_string().into()))
}

pub(super) fn refused_name(error: impl fmt::Display) -> String {
    format!("name refused: {error}")
}

#[cfg(test)]
mod tests;
