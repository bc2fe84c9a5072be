//! Which service a path belongs to.

use std::fmt;
use std::sync::Arc;

use super::{LoopSite, Page, RouteOptions, Service, ServiceSender};
use crate::http::Path;
use crate::timer::Millis;

/// Paths and what serves them; the same path may have a socket route and a page.
#[derive(Clone, Debug)]
pub struct Route {
    /// The paths, each beginning with `/`, as decoded segments joined by `/`. A segment `:name`
    /// stands for any that is not empty; a path without one comes first.
    pub paths: Vec<String>,
    /// Who serves them.
    pub handler: Handler,
}

impl Route {
    /// A route with one path.
    #[must_use]
    pub fn new(path: impl Into<String>, handler: Handler) -> Self {
        Self { paths: vec![path.into()], handler }
    }
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

/// One loop's services.
pub struct Router {
    sockets: Vec<SocketRoute>,
    pages: Vec<(Vec<String>, Box<dyn Page>)>,
    /// What services asked to be called for, and when next, by number.
    ticks: Vec<(u8, u64, Millis)>,
}

/// A socket route with this loop's instance of its service.
pub(crate) struct SocketRoute {
    paths: Vec<String>,
    pub(crate) service: Box<dyn Service>,
    pub(crate) options: RouteOptions,
    /// What the service says of itself.
    pub(crate) wants_addresses: bool,
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
        let mut router = Self { sockets: Vec::new(), pages: Vec::new(), ticks: Vec::new() };
        for Route { paths, handler } in routes {
            let paths = paths.clone();
            match handler {
                Handler::Page(make) => router.pages.push((paths, make())),
                Handler::Socket(make, options) => {
                    let (service, options) = (make(site), options.clone());
                    let wants_addresses = service.wants_addresses();
                    router.sockets.push(SocketRoute { paths, service, options, wants_addresses });
                }
            }
        }
        router
    }

    /// Finds who serves `path`. A request that wants no upgrade prefers a page.
    pub(crate) fn find(&mut self, path: Path<'_>, wants_upgrade: bool) -> Found<'_> {
        let socket = best_match(path, self.sockets.iter().map(|route| &route.paths));
        let socket = socket.and_then(|index| u8::try_from(index).ok());
        let page = best_match(path, self.pages.iter().map(|(paths, _)| paths));
        match (socket, page.and_then(|index| self.pages.get_mut(index))) {
            (Some(index), None) => Found::Socket(index),
            (Some(index), Some(_)) if wants_upgrade => Found::Socket(index),
            (_, Some((_, page))) => Found::Page(page.as_mut()),
            (None, None) => Found::Nothing,
        }
    }

    /// Begins: services learn where letters for them go, and `now` their ticks begin.
    pub(crate) fn start(&mut self, now: Millis, service_sender: impl Fn(u8) -> ServiceSender) {
        for (number, route) in (0..=u8::MAX).zip(&mut self.sockets) {
            route.service.on_start(service_sender(number));
            if let Some(tick_ms) = route.service.tick_ms() {
                self.ticks.push((number, tick_ms.max(1), now.plus(tick_ms.max(1))));
            }
        }
    }

    /// When a service is to be called next.
    pub(crate) fn next_tick(&self) -> Option<Millis> {
        self.ticks.iter().map(|(.., due)| *due).min()
    }

    /// A route whose service is to be called `now`. After a long sleep it is called once.
    pub(crate) fn take_tick(&mut self, now: Millis) -> Option<u8> {
        let (number, tick_ms, due) = self.ticks.iter_mut().find(|(.., due)| *due <= now)?;
        *due = now.plus(*tick_ms);
        Some(*number)
    }

    /// The number that a router of `routes` gives the socket route with exactly this path.
    #[must_use]
    pub fn number_of(routes: &[Route], path: &str) -> Option<u8> {
        let mut sockets =
            routes.iter().filter(|route| matches!(route.handler, Handler::Socket(..)));
        let number = sockets.position(|route| route.paths.iter().any(|own| own == path))?;
        u8::try_from(number).ok()
    }

    /// Whether the service of any route is told the addresses of peers.
    pub(crate) fn wants_addresses(&self) -> bool {
        self.sockets.iter().any(|route| route.wants_addresses)
    }

    /// How many socket routes there are.
    pub(crate) fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// The socket route with this number, which [`Router::find`] gave.
    pub(crate) fn socket(&mut self, index: u8) -> &mut SocketRoute {
        &mut self.sockets[usize::from(index)]
    }
}

/// The place of the path's owner: whoever names it literally, else whoever has a pattern for it.
fn best_match<'p>(path: Path<'_>, owners: impl Iterator<Item = &'p Vec<String>>) -> Option<usize> {
    let mut by_pattern = None;
    for (index, paths) in owners.enumerate() {
        for own in paths.iter().filter(|own| path.matches(own)) {
            if !is_pattern(own) {
                return Some(index);
            }
            by_pattern = by_pattern.or(Some(index));
        }
    }
    by_pattern
}

/// Whether a route's path has a segment that stands for any.
fn is_pattern(path: &str) -> bool {
    path.contains("/:")
}

impl fmt::Debug for Router {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Router")
            .field("sockets", &self.sockets.iter().map(|route| &route.paths).collect::<Vec<_>>())
            .field("pages", &self.pages.iter().map(|(paths, _)| paths).collect::<Vec<_>>())
            .finish()
    }
}
