//! Routes, and the service that a request path leads to.

use std::fmt;
use std::sync::Arc;

use super::page::Page;
use super::route_id::{NUMBERS_MAX, RouteId, RouteNumbers};
use super::{Effects, LoopSite, Message, Peer, RouteOptions, Service, ServiceSender};
use crate::effects::PendingEffects;
use crate::http::Path;
use crate::metrics::{Entry, Labelled, RouteCounters};
use crate::timer::Millis;

/// Paths and what serves them. A path may have a WebSocket route and a page: whether a request wants an
/// upgrade tells them apart.
#[derive(Clone, Debug)]
pub struct Route {
    /// What the route is, from one configuration to the next. Of several WebSocket routes with one id
    /// only the first is served.
    pub id: RouteId,
    /// The paths, each beginning with `/`, as decoded segments joined by `/`. A segment `:name`
    /// stands for any that is not empty, and `*` at the end for all that follows. Where several routes
    /// match a request, a path without such a segment comes first, then the first route of the list
    /// with `:name`, then that with the longest path before its `*`.
    pub paths: Vec<String>,
    /// What serves them.
    pub handler: Handler,
}

impl Route {
    /// A route with one path, from which its id follows: `page /about`, `websocket /chat`.
    #[must_use]
    pub fn new(path: impl Into<String>, handler: Handler) -> Self {
        let path = path.into();
        let kind = match handler {
            Handler::Page(_) => "page",
            Handler::Socket(..) => "websocket",
        };
        Self { id: RouteId::new(kind, &path), paths: vec![path], handler }
    }

    /// Whether it is a WebSocket route.
    #[must_use]
    pub fn is_socket(&self) -> bool {
        matches!(self.handler, Handler::Socket(..))
    }
}

/// Makes the instances that serve a route, one on each loop's own thread.
#[derive(Clone)]
#[expect(clippy::large_enum_variant, reason = "there is one for each route")]
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

/// One loop's instances of the services, and the paths that lead to them.
pub struct Router {
    /// By number, so that the route of a connection is one index away. A number that no route has
    /// leaves a [`Vacant`] entry.
    sockets: Vec<SocketRoute>,
    /// The numbers of the WebSocket routes in the order of the list, in which paths are matched.
    order: Vec<u8>,
    pages: Vec<(Vec<String>, Box<dyn Page>)>,
    numbers: RouteNumbers,
    /// The services with ticks: number, period in milliseconds, and when the next is due.
    ticks: Vec<(u8, u64, Millis)>,
}

/// A WebSocket route with this loop's instance of its service.
pub(crate) struct SocketRoute {
    paths: Vec<String>,
    /// Its id as text.
    pub(crate) label: Arc<str>,
    /// What is counted of it on this loop.
    pub(crate) counters: Arc<Entry<RouteCounters>>,
    pub(crate) service: Box<dyn Service>,
    pub(crate) options: RouteOptions,
    /// [`Service::wants_addresses`], asked once.
    pub(crate) wants_addresses: bool,
    /// [`MessageLimits::meters_messages`](crate::effects::MessageLimits::meters_messages), asked once.
    pub(crate) meters_messages: bool,
}

/// Stands for a number that no route has. No connection has such a number: connections have those that
/// [`Router::find`] and [`Router::number_of`] return, and a number that is in use stays with its route.
struct Vacant;

impl Service for Vacant {
    fn on_message(&mut self, _: Peer, _: Message<'_>, _: &mut Effects<'_>) {}
}

/// What a request path leads to.
pub(crate) enum Found<'r> {
    Nothing,
    Page(&'r mut dyn Page),
    /// The number of the WebSocket route.
    Socket(u8),
}

impl Router {
    /// Makes this loop's instances. The first 256 WebSocket routes are numbered in the order of the
    /// list; further ones are not served.
    #[must_use]
    pub fn new(routes: &[Route], site: LoopSite) -> Self {
        Self::with_numbers(routes, site, first_numbers(routes))
    }

    /// Makes this loop's instances. The WebSocket routes have these numbers, for instance the
    /// [next](RouteNumbers::next) after those of [`Router::numbers`]; one without a number is not
    /// served. All loops must have the same numbers, as the messages between them name routes by these.
    #[must_use]
    pub fn with_numbers(routes: &[Route], site: LoopSite, numbers: RouteNumbers) -> Self {
        let mut sockets: Vec<SocketRoute> = Vec::new();
        sockets.resize_with(numbers.end(), SocketRoute::vacant);
        let (mut order, mut pages) = (Vec::new(), Vec::new());
        for Route { id, paths, handler } in routes {
            let paths = paths.clone();
            match handler {
                Handler::Page(make) => pages.push((paths, make())),
                Handler::Socket(make, options) => {
                    let Some(number) = numbers.number_of(id) else { continue };
                    if order.contains(&number) {
                        continue;
                    }
                    let (service, options) = (make(site), options.clone());
                    let wants_addresses = service.wants_addresses();
                    let meters_messages = options.limits.meters_messages();
                    let label: Arc<str> = id.to_string().into();
                    let counters = Arc::new(Entry::new(&label));
                    sockets[usize::from(number)] = SocketRoute {
                        paths,
                        label,
                        counters,
                        service,
                        options,
                        wants_addresses,
                        meters_messages,
                    };
                    order.push(number);
                }
            }
        }
        Self { sockets, order, pages, numbers, ticks: Vec::new() }
    }

    /// Serves these routes from now on. `numbers` are the [next](RouteNumbers::next) after those of
    /// [`Router::numbers`], with those of routes that are gone and still in use.
    ///
    /// The service of a route that stays is told by [`Service::on_reload`]; that of a route which is
    /// gone goes on as long as `numbers` has it, though no path leads there. `service_sender` is for
    /// services that are new, as in [`Router::start`].
    pub(crate) fn reload(
        &mut self,
        routes: &[Route],
        site: LoopSite,
        numbers: RouteNumbers,
        pending: &mut PendingEffects,
        service_sender: impl Fn(u8) -> ServiceSender,
    ) {
        self.order.clear();
        self.pages.clear();
        let before = std::mem::replace(&mut self.numbers, numbers);
        let stays = |numbers: &RouteNumbers, number| {
            before.route(number).is_some_and(|id| numbers.route(number) == Some(id))
        };
        for (number, own) in (0..=u8::MAX).zip(&mut self.sockets) {
            own.paths.clear();
            if !stays(&self.numbers, number) {
                *own = SocketRoute::vacant();
            }
        }
        self.ticks.retain(|(number, ..)| stays(&self.numbers, *number));
        self.sockets.resize_with(self.numbers.end(), SocketRoute::vacant);
        for Route { id, paths, handler } in routes {
            let (make, options) = match handler {
                Handler::Page(make) => {
                    self.pages.push((paths.clone(), make()));
                    continue;
                }
                Handler::Socket(make, options) => (make, options),
            };
            let Some(number) = self.numbers.number_of(id) else { continue };
            if self.order.contains(&number) {
                continue;
            }
            self.order.push(number);
            let own = &mut self.sockets[usize::from(number)];
            let next = make(site);
            match stays(&self.numbers, number) {
                true => own.service.on_reload(next, &mut Effects::detached(number, pending)),
                false => {
                    own.label = id.to_string().into();
                    own.service = next;
                    own.service.on_start(service_sender(number));
                    let first =
                        |tick_ms: u64| (number, tick_ms.max(1), pending.now.plus(tick_ms.max(1)));
                    self.ticks.extend(own.service.tick_ms().map(first));
                }
            }
            own.paths.clone_from(paths);
            own.options = options.clone();
            own.wants_addresses = own.service.wants_addresses();
            own.meters_messages = own.options.limits.meters_messages();
        }
    }

    /// From now on what happens on each route is counted in `routes`, by its id.
    pub fn count_in(&mut self, routes: &Labelled<RouteCounters>) {
        for number in &self.order {
            let route = &mut self.sockets[usize::from(*number)];
            route.counters = routes.of(&route.label);
        }
    }

    /// The numbers of the WebSocket routes, from which those of the next configuration follow.
    #[must_use]
    pub fn numbers(&self) -> &RouteNumbers {
        &self.numbers
    }

    /// Finds what serves `path`. A page comes first unless the request wants an upgrade.
    pub(crate) fn find(&mut self, path: Path<'_>, wants_upgrade: bool) -> Found<'_> {
        let sockets = self.order.iter().map(|number| &self.sockets[usize::from(*number)].paths);
        let socket = best_match(path, sockets).map(|position| self.order[position]);
        let page = best_match(path, self.pages.iter().map(|(paths, _)| paths));
        match (socket, page.and_then(|index| self.pages.get_mut(index))) {
            (Some(number), None) => Found::Socket(number),
            (Some(number), Some(_)) if wants_upgrade => Found::Socket(number),
            (_, Some((_, page))) => Found::Page(page.as_mut()),
            (None, None) => Found::Nothing,
        }
    }

    /// Calls [`Service::on_start`] of each service, with the sender for its number, and begins the ticks
    /// at `now`.
    pub(crate) fn start(&mut self, now: Millis, service_sender: impl Fn(u8) -> ServiceSender) {
        for (number, route) in (0..=u8::MAX).zip(&mut self.sockets) {
            route.service.on_start(service_sender(number));
            if let Some(tick_ms) = route.service.tick_ms() {
                self.ticks.push((number, tick_ms.max(1), now.plus(tick_ms.max(1))));
            }
        }
    }

    /// When the next tick of a service is due.
    pub(crate) fn next_tick(&self) -> Option<Millis> {
        self.ticks.iter().map(|(.., due)| *due).min()
    }

    /// The number of a route whose tick is due, until there is none. After a delay of several periods a
    /// service gets one tick, not one for each period.
    pub(crate) fn take_tick(&mut self, now: Millis) -> Option<u8> {
        let (number, tick_ms, due) = self.ticks.iter_mut().find(|(.., due)| *due <= now)?;
        *due = now.plus(*tick_ms);
        Some(*number)
    }

    /// The numbers that [`Router::new`] gives WebSocket routes.
    #[must_use]
    pub fn first_numbers(routes: &[Route]) -> RouteNumbers {
        first_numbers(routes)
    }

    /// The number that a WebSocket route with exactly this path has among `numbers`.
    #[must_use]
    pub fn number_among(routes: &[Route], path: &str, numbers: &RouteNumbers) -> Option<u8> {
        let mut sockets = routes.iter().filter(|route| route.is_socket());
        let route = sockets.find(|route| route.paths.iter().any(|own| own == path))?;
        numbers.number_of(&route.id)
    }

    /// The number that [`Router::new`] gives the WebSocket route with exactly this path.
    #[must_use]
    pub fn number_of(routes: &[Route], path: &str) -> Option<u8> {
        Self::number_among(routes, path, &first_numbers(routes))
    }

    /// Whether the service of any route wants the addresses of peers.
    pub(crate) fn wants_addresses(&self) -> bool {
        self.sockets.iter().any(|route| route.wants_addresses)
    }

    /// The count of numbers that WebSocket routes may have, vacant ones included.
    pub(crate) fn socket_count(&self) -> usize {
        self.sockets.len()
    }

    /// The number of the first WebSocket route that an operator means by this name.
    pub(crate) fn number_called(&self, name: &str) -> Option<u8> {
        let mut served = self.order.iter().copied();
        served.find(|number| self.sockets[usize::from(*number)].is_called(name))
    }

    /// As [`Router::socket`], to look only; `None` for a number that is not in use.
    pub(crate) fn get(&self, number: u8) -> Option<&SocketRoute> {
        self.sockets.get(usize::from(number))
    }

    /// The WebSocket route with a number that [`Router::find`] or [`Router::number_of`] gave. Called for
    /// every message.
    pub(crate) fn socket(&mut self, number: u8) -> &mut SocketRoute {
        &mut self.sockets[usize::from(number)]
    }
}

impl fmt::Debug for SocketRoute {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("SocketRoute").field(&self.label).finish()
    }
}

impl SocketRoute {
    /// Its paths, as [`Route::paths`].
    pub(crate) fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The path that it is known by.
    pub(crate) fn first_path(&self) -> Option<&str> {
        self.paths.first().map(String::as_str)
    }

    /// Whether an operator means this route: by its id, or by its first path.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        *self.label == *name || self.paths.first().is_some_and(|first| first == name)
    }

    fn vacant() -> Self {
        Self {
            paths: Vec::new(),
            label: "".into(),
            counters: Arc::new(Entry::new("")),
            service: Box::new(Vacant),
            options: RouteOptions::default(),
            wants_addresses: false,
            meters_messages: false,
        }
    }
}

/// The numbers of a router's first routes.
fn first_numbers(routes: &[Route]) -> RouteNumbers {
    let mut ids: Vec<&RouteId> = Vec::new();
    for route in routes.iter().filter(|route| route.is_socket()) {
        if ids.len() < NUMBERS_MAX && !ids.contains(&&route.id) {
            ids.push(&route.id);
        }
    }
    // This cannot fail: there are at most as many ids as numbers, and all numbers are free.
    RouteNumbers::default().next(ids.into_iter(), |_| false).unwrap_or_default()
}

/// The position of the route that serves `path`: the first with this very path, else the first with a
/// pattern of as many segments that matches it, else that with the longest path before its `*`.
fn best_match<'p>(path: Path<'_>, routes: impl Iterator<Item = &'p Vec<String>>) -> Option<usize> {
    let (mut by_pattern, mut by_wildcard) = (None, None);
    for (index, paths) in routes.enumerate() {
        for own in paths.iter().filter(|own| path.matches(own)) {
            if let Some(prefix) = own.strip_suffix("/*") {
                if by_wildcard.is_none_or(|(_, bytes)| bytes < prefix.len()) {
                    by_wildcard = Some((index, prefix.len()));
                }
            } else if !is_pattern(own) {
                return Some(index);
            } else {
                by_pattern = by_pattern.or(Some(index));
            }
        }
    }
    by_pattern.or_else(|| by_wildcard.map(|(index, _)| index))
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
            .field("order", &self.order)
            .field("pages", &self.pages.iter().map(|(paths, _)| paths).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::parse_head;
    use crate::services::{BuiltInPage, Echo};

    const SITE: LoopSite = LoopSite { index: 0, count: 1 };

    fn socket(path: &str) -> Route {
        let make = |_| -> Box<dyn Service> { Box::new(Echo) };
        Route::new(path, Handler::Socket(Arc::new(make), RouteOptions::default()))
    }

    fn sockets(paths: &[&str]) -> Vec<Route> {
        paths.iter().map(|path| socket(path)).collect()
    }

    /// The router of the next configuration, while connections use these numbers.
    fn next(router: &Router, routes: &[Route], in_use: &[u8]) -> Router {
        let ids = routes.iter().map(|route| &route.id);
        let numbers = router.numbers().next(ids, |number| in_use.contains(&number)).unwrap();
        Router::with_numbers(routes, SITE, numbers)
    }

    fn found(router: &mut Router, path: &str) -> Option<u8> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n");
        match router.find(parse_head(request.as_bytes()).unwrap().path(), true) {
            Found::Socket(number) => Some(number),
            Found::Nothing | Found::Page(_) => None,
        }
    }

    fn all_found(router: &mut Router, paths: &[&str]) -> Vec<Option<u8>> {
        paths.iter().map(|path| found(router, path)).collect()
    }

    #[test]
    fn routes_are_numbered_in_order_without_the_pages() {
        let page = Route::new("/a", Handler::Page(Arc::new(|| Box::new(BuiltInPage::chat()))));
        let mut routes = sockets(&["/a", "/b"]);
        routes.insert(0, page);
        let mut router = Router::new(&routes, SITE);
        assert_eq!(all_found(&mut router, &["/a", "/b", "/c"]), [Some(0), Some(1), None]);
        assert_eq!(
            ["/a", "/b", "/c"].map(|path| Router::number_of(&routes, path)),
            [Some(0), Some(1), None]
        );
    }

    #[test]
    fn reordered_routes_keep_their_numbers() {
        let mut first = Router::new(&sockets(&["/a", "/b", "/c"]), SITE);
        let mut second = next(&first, &sockets(&["/c", "/a", "/b"]), &[]);
        let paths = ["/a", "/b", "/c"];
        assert_eq!(all_found(&mut second, &paths), all_found(&mut first, &paths));
    }

    #[test]
    fn a_removed_route_leaves_a_number_that_no_path_leads_to() {
        let first = Router::new(&sockets(&["/a", "/b"]), SITE);
        let mut second = next(&first, &sockets(&["/b"]), &[]);
        assert_eq!(all_found(&mut second, &["/a", "/b", "/"]), [None, Some(1), None]);
        assert_eq!(second.socket_count(), 2);
        assert!(second.socket(0).paths.is_empty());
    }

    #[test]
    fn an_added_route_gets_a_number_that_is_free() {
        let first = Router::new(&sockets(&["/a", "/b"]), SITE);
        let routes = sockets(&["/new", "/b"]);
        assert_eq!(found(&mut next(&first, &routes, &[]), "/new"), Some(0));
        // A connection still uses the number of the route that is gone.
        assert_eq!(found(&mut next(&first, &routes, &[0]), "/new"), Some(2));
    }

    #[test]
    fn paths_are_matched_in_the_order_of_the_list_whatever_the_numbers() {
        let mut first = Router::new(&sockets(&["/:any", "/:other", "/b"]), SITE);
        assert_eq!(all_found(&mut first, &["/x", "/b"]), [Some(0), Some(2)]);
        let mut second = next(&first, &sockets(&["/:other", "/:any", "/b"]), &[]);
        assert_eq!(all_found(&mut second, &["/x", "/b"]), [Some(1), Some(2)]);
    }

    #[test]
    fn the_most_specific_path_is_served_whatever_the_order() {
        let paths = ["/*", "/a/*", "/a/b/*", "/:any/x", "/a/x", "/a/b/c"];
        for turn in 0..paths.len() {
            let mut turned = paths;
            turned.rotate_left(turn);
            let mut router = Router::new(&sockets(&turned), SITE);
            for (path, expected) in [
                ("/q", "/*"),
                ("/a/y", "/a/*"),
                ("/a/b/y", "/a/b/*"),
                ("/b/x", "/:any/x"),
                ("/a/x", "/a/x"),
                ("/a/b/c", "/a/b/c"),
            ] {
                let number = found(&mut router, path).map(usize::from);
                assert_eq!(number.map(|own| turned[own]), Some(expected), "{path} in {turned:?}");
            }
            assert_eq!(found(&mut router, "/a/b/../x"), None);
        }
    }

    #[test]
    fn of_routes_with_one_id_the_first_is_served() {
        let mut second = socket("/a");
        second.paths.push("/b".to_owned());
        let mut router = Router::new(&[socket("/a"), second, socket("/c")], SITE);
        assert_eq!(all_found(&mut router, &["/a", "/b", "/c"]), [Some(0), None, Some(1)]);
    }

    #[test]
    fn routes_beyond_the_last_number_are_not_served() {
        let routes: Vec<Route> = (0..257).map(|number| socket(&format!("/{number}"))).collect();
        let mut router = Router::new(&routes, SITE);
        assert_eq!(all_found(&mut router, &["/255", "/256"]), [Some(255), None]);
        assert_eq!(Router::number_of(&routes, "/256"), None);
    }
}
