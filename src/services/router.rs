//! Which service a path belongs to.

use std::fmt;
use std::sync::Arc;

use super::{LoopSite, Page, Service};
use crate::config::SlowPolicy;
use crate::http::{OriginRule, Path, Subprotocol};
use crate::hub::Hub;

/// A path and what serves it; the same path may have a socket route and a page.
#[derive(Clone, Debug)]
pub struct Route {
    /// The path, beginning with `/`, as decoded segments joined by `/`.
    pub path: String,
    /// Who serves it.
    pub handler: Handler,
}

/// Makes the instances that serve a route, one on each loop's own thread.
#[derive(Clone)]
pub enum Handler {
    /// Serves plain GET and HEAD requests.
    Page(Arc<dyn Fn() -> Box<dyn Page> + Send + Sync>),
    /// Serves WebSocket connections.
    Socket(Arc<dyn Fn(LoopSite) -> Box<dyn Service> + Send + Sync>, RouteOptions),
}

impl fmt::Debug for Handler {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Page(_) => formatter.write_str("Page"),
            Self::Socket(_, options) => formatter.debug_tuple("Socket").field(options).finish(),
        }
    }
}

/// What the gateway checks for a socket route before and besides its service.
#[derive(Clone, Debug)]
pub struct RouteOptions {
    /// Whose pages may connect.
    pub origins: OriginRule,
    /// Subprotocols in order of preference.
    pub subprotocols: Vec<Subprotocol>,
    /// Largest message, in bytes of payload.
    pub message_bytes_max: usize,
    /// What becomes of pushed messages when a connection's backlog is full.
    pub slow_policy: SlowPolicy,
}

impl Default for RouteOptions {
    fn default() -> Self {
        Self {
            origins: OriginRule::SameHost,
            subprotocols: Vec::new(),
            message_bytes_max: 1 << 20,
            slow_policy: SlowPolicy::Disconnect,
        }
    }
}

/// One loop's services.
pub struct Router {
    sockets: Vec<SocketRoute>,
    pages: Vec<(String, Box<dyn Page>)>,
}

/// A socket route with this loop's instance of its service.
pub(crate) struct SocketRoute {
    path: String,
    pub(crate) service: Box<dyn Service>,
    pub(crate) hub: Hub,
    pub(crate) options: RouteOptions,
}

/// What a request path leads to.
pub(crate) enum Found<'r> {
    Nothing,
    Page(&'r mut dyn Page),
    /// The number of the socket route.
    Socket(u8),
}

impl Router {
    /// Makes this loop's instances. At most 256 socket routes are served.
    #[must_use]
    pub fn new(routes: &[Route], site: LoopSite) -> Self {
        let mut router = Self { sockets: Vec::new(), pages: Vec::new() };
        for Route { path, handler } in routes {
            let path = path.clone();
            match handler {
                Handler::Page(make) => router.pages.push((path, make())),
                Handler::Socket(make, options) => router.sockets.push(SocketRoute {
                    path,
                    service: make(site),
                    hub: Hub::default(),
                    options: options.clone(),
                }),
            }
        }
        router
    }

    /// Finds who serves `path`. A request that wants no upgrade prefers a page.
    pub(crate) fn find(&mut self, path: Path<'_>, wants_upgrade: bool) -> Found<'_> {
        let socket = self.sockets.iter().position(|route| path.matches(&route.path));
        let socket = socket.and_then(|index| u8::try_from(index).ok());
        let page = self.pages.iter_mut().find(|(literal, _)| path.matches(literal));
        match (socket, page) {
            (Some(index), None) => Found::Socket(index),
            (Some(index), Some(_)) if wants_upgrade => Found::Socket(index),
            (_, Some((_, page))) => Found::Page(page.as_mut()),
            (None, None) => Found::Nothing,
        }
    }

    /// Subscriptions in the hubs of all routes.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn subscription_count(&self) -> usize {
        self.sockets.iter().map(|route| route.hub.counts().1).sum()
    }

    /// The socket route with this number, which [`Router::find`] gave.
    pub(crate) fn socket(&mut self, index: u8) -> &mut SocketRoute {
        &mut self.sockets[usize::from(index)]
    }
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Router")
            .field("sockets", &self.sockets.iter().map(|route| &route.path).collect::<Vec<_>>())
            .field("pages", &self.pages.iter().map(|(path, _)| path).collect::<Vec<_>>())
            .finish()
    }
}
