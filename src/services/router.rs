//! Routes, and the service that a request path leads to.

use std::fmt;
use std::sync::Arc;

use super::page::Page;
use super::route_id::{NUMBERS_MAX, RouteId, RouteNumbers};
use super::{Effects, LoopSite, Message, Peer, RouteOptions, Service, ServiceSender};
use crate::effects::PendingEffects;
use crate::http::{Authority, HostPattern, HostRank, Path, host_rank};
use crate::metrics::{Entry, Labelled, RouteCounters};
use crate::timer::Millis;

/// Paths and what serves them. A path may have a WebSocket route and a page: whether a request wants an
/// upgrade tells them apart.
#[derive(Clone, Debug)]
pub struct Route {
    /// What the route is, from one configuration to the next. Of several WebSocket routes with one id
    /// only the first is served.
    pub id: RouteId,
    /// The hosts that it is for; empty for any. Of the routes with a path that matches a request, those
    /// come first whose host is the most specific.
    pub hosts: Vec<HostPattern>,
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
        Self { id: RouteId::new(kind, &path), hosts: Vec::new(), paths: vec![path], handler }
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
    pages: Vec<PageRoute>,
    /// The rank of the host that no route's is above: [`HostRank::ANY`] where no route has hosts.
    top: HostRank,
    numbers: RouteNumbers,
    /// The services with ticks: number, period in milliseconds, and when the next is due.
    ticks: Vec<(u8, u64, Millis)>,
}

/// A page with this loop's instance of it.
struct PageRoute {
    hosts: Vec<HostPattern>,
    paths: Vec<String>,
    page: Box<dyn Page>,
}

/// A WebSocket route with this loop's instance of its service.
pub(crate) struct SocketRoute {
    hosts: Vec<HostPattern>,
    paths: Vec<String>,
    /// What it is known by, without its service: its first path, with its first host before it.
    name: Box<str>,
    /// Its id as text.
    pub(crate) label: Arc<str>,
    /// What is counted of it on this loop.
    pub(crate) counters: Arc<Entry<RouteCounters>>,
    pub(crate) service: Box<dyn Service>,
    pub(crate) options: RouteOptions,
    /// Whether its service or its observer is told the addresses of peers, asked once.
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
        for Route { id, hosts, paths, handler } in routes {
            let (hosts, paths) = (hosts.clone(), paths.clone());
            match handler {
                Handler::Page(make) => pages.push(PageRoute { hosts, paths, page: make() }),
                Handler::Socket(make, options) => {
                    let Some(number) = numbers.number_of(id) else { continue };
                    if order.contains(&number) {
                        continue;
                    }
                    let service = make(site);
                    let wants_addresses = wants_addresses(&*service, options);
                    let meters_messages = options.limits.meters_messages();
                    let label: Arc<str> = id.to_string().into();
                    let counters = Arc::new(Entry::new(&label));
                    sockets[usize::from(number)] = SocketRoute {
                        name: name_of(&hosts, &paths),
                        hosts,
                        paths,
                        label,
                        counters,
                        service,
                        options: options.clone(),
                        wants_addresses,
                        meters_messages,
                    };
                    order.push(number);
                }
            }
        }
        Self { sockets, order, pages, top: top_rank(routes), numbers, ticks: Vec::new() }
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
        self.top = top_rank(routes);
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
        for Route { id, hosts, paths, handler } in routes {
            let (make, options) = match handler {
                Handler::Page(make) => {
                    let (hosts, paths) = (hosts.clone(), paths.clone());
                    self.pages.push(PageRoute { hosts, paths, page: make() });
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
            own.name = name_of(hosts, paths);
            own.hosts.clone_from(hosts);
            own.paths.clone_from(paths);
            own.options = options.clone();
            own.wants_addresses = wants_addresses(&*own.service, &own.options);
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

    /// Finds what serves `path` at `host`. Routes with the most specific host come first; of those a page
    /// does unless the request wants an upgrade, or goes to a backend by a path that is more specific than
    /// that of the page.
    pub(crate) fn find(
        &mut self,
        host: Option<Authority<'_>>,
        path: Path<'_>,
        wants_upgrade: bool,
    ) -> Found<'_> {
        let sockets = self.order.iter().map(|number| {
            let own = &self.sockets[usize::from(*number)];
            (&own.hosts[..], &own.paths[..])
        });
        let socket = best_match(host, path, self.top, sockets);
        let pages = self.pages.iter().map(|own| (&own.hosts[..], &own.paths[..]));
        let page = best_match(host, path, self.top, pages);
        let takes_socket = match (socket, page) {
            (None, None) => return Found::Nothing,
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some(socket), Some(page)) if socket.host == page.host => {
                wants_upgrade || self.takes_plain(socket.index) && socket.path > page.path
            }
            (Some(socket), Some(page)) => socket.host > page.host,
        };
        match (socket, page) {
            (Some(socket), _) if takes_socket => {
                self.order.get(socket.index).map_or(Found::Nothing, |number| Found::Socket(*number))
            }
            (_, Some(page)) => self
                .pages
                .get_mut(page.index)
                .map_or(Found::Nothing, |own| Found::Page(own.page.as_mut())),
            (_, None) => Found::Nothing,
        }
    }

    /// Whether the WebSocket route at this position takes requests that upgrade nothing.
    fn takes_plain(&self, position: usize) -> bool {
        let number = self.order.get(position).and_then(|number| self.get(*number));
        number.is_some_and(|own| own.options.http.is_some())
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

    /// When the next tick is due of a service that is not at rest.
    #[inline]
    pub(crate) fn next_tick(&self) -> Option<Millis> {
        let is_at_rest = |number: u8| self.sockets[usize::from(number)].service.is_at_rest();
        self.ticks.iter().filter(|(number, ..)| !is_at_rest(*number)).map(|(.., due)| *due).min()
    }

    /// Whether any service has ticks.
    #[inline]
    pub(crate) fn has_ticks(&self) -> bool {
        !self.ticks.is_empty()
    }

    /// The tick of this route is due now, if it has any.
    pub(crate) fn hasten_tick(&mut self, number: u8, now: Millis) {
        if let Some((.., due)) = self.ticks.iter_mut().find(|(own, ..)| *own == number) {
            *due = now;
        }
    }

    /// The number of a route whose tick is due, until there is none. After a delay of several periods a
    /// service gets one tick, not one for each period.
    #[inline]
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

    /// The number that a WebSocket route with exactly this path has among `numbers`; of several the one
    /// for any host, or else the first.
    #[must_use]
    pub fn number_among(routes: &[Route], path: &str, numbers: &RouteNumbers) -> Option<u8> {
        let sockets = routes.iter().filter(|route| route.is_socket());
        let named = sockets.filter(|route| route.paths.iter().any(|own| own == path));
        let route = named.min_by_key(|route| !route.hosts.is_empty())?;
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

    /// What it is known by: its first path, with its first host before it if it has hosts. `None` for a
    /// route that no path leads to any more.
    pub(crate) fn name(&self) -> Option<&str> {
        (!self.paths.is_empty()).then_some(&*self.name)
    }

    /// Whether an operator means this route: by its id, or by what it is known by.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        *self.label == *name || self.name() == Some(name)
    }

    fn vacant() -> Self {
        Self {
            hosts: Vec::new(),
            paths: Vec::new(),
            name: "".into(),
            label: "".into(),
            counters: Arc::new(Entry::new("")),
            service: Box::new(Vacant),
            options: RouteOptions::default(),
            wants_addresses: false,
            meters_messages: false,
        }
    }
}

/// Whether the service of a route, or what observes it, is told the addresses of peers.
fn wants_addresses(service: &dyn Service, options: &RouteOptions) -> bool {
    options.observer.is_some() || service.wants_addresses()
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

/// The route that serves `path` at `host`, of routes given as their hosts and paths. The host counts first;
/// of routes with one rank it is the first with this very path, else the first with a pattern of as many
/// segments that matches it, else that with the longest path before its `*`. No host's rank is above `top`.
fn best_match<'p>(
    host: Option<Authority<'_>>,
    path: Path<'_>,
    top: HostRank,
    routes: impl Iterator<Item = (&'p [HostPattern], &'p [String])>,
) -> Option<Match> {
    let mut best: Option<Match> = None;
    for (index, (hosts, paths)) in routes.enumerate() {
        let Some(host) = host_rank(hosts, host) else { continue };
        for own in paths.iter().filter(|own| path.matches(own)) {
            let own = Match { host, path: path_rank(own), index };
            if best.is_none_or(|best| (best.host, best.path) < (own.host, own.path)) {
                best = Some(own);
            }
            if (own.host, own.path) == (top, PathRank::Exact) {
                return best;
            }
        }
    }
    best
}

/// A route that matches a request: how specifically, and its position.
#[derive(Clone, Copy, Debug)]
struct Match {
    host: HostRank,
    path: PathRank,
    index: usize,
}

/// How specific the path of a route is that matches a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum PathRank {
    /// Ends in `*`, after a path of this many bytes.
    Wildcard(usize),
    /// Has a segment that stands for any.
    Pattern,
    /// The request's.
    Exact,
}

fn path_rank(path: &str) -> PathRank {
    match path.strip_suffix("/*") {
        Some(prefix) => PathRank::Wildcard(prefix.len()),
        None if is_pattern(path) => PathRank::Pattern,
        None => PathRank::Exact,
    }
}

/// No route's host has a rank above this one.
fn top_rank(routes: &[Route]) -> HostRank {
    let has_hosts = routes.iter().any(|route| !route.hosts.is_empty());
    if has_hosts { HostRank::EXACT } else { HostRank::ANY }
}

/// What a route with these hosts and paths is known by.
fn name_of(hosts: &[HostPattern], paths: &[String]) -> Box<str> {
    let path = paths.first().map_or("", String::as_str);
    hosts.first().map_or_else(|| path.into(), |host| format!("{host}{path}").into())
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
            .field("pages", &self.pages.iter().map(|own| &own.paths).collect::<Vec<_>>())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::{HeaderValue, RequestHead, Status, parse_head};
    use crate::services::{BuiltInPage, Echo, PageReply};
    use proptest::prelude::*;

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
        let head = parse_head(request.as_bytes()).unwrap();
        match router.find(head.host(), head.path(), true) {
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

    fn patterns(hosts: &[&str]) -> Vec<HostPattern> {
        hosts.iter().map(|host| HostPattern::parse(host).unwrap()).collect()
    }

    fn at(hosts: &[&str], path: &str) -> Route {
        let hosts = patterns(hosts);
        Route { id: RouteId::with_hosts("echo", path, &hosts), hosts, ..socket(path) }
    }

    #[test]
    fn a_route_of_the_host_comes_before_one_for_any_host() {
        let routes = [
            at(&[], "/a/b"),
            at(&["*.example.com"], "/a/*"),
            at(&["app.example.com", "10.0.0.1"], "/*"),
        ];
        let mut router = Router::new(&routes, SITE);
        let mut found = |host: &str, path: &str| {
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let head = parse_head(request.as_bytes()).unwrap();
            match router.find(head.host(), head.path(), true) {
                Found::Socket(number) => Some(number),
                Found::Nothing | Found::Page(_) => None,
            }
        };
        assert_eq!(found("APP.example.com.:80", "/a/b"), Some(2));
        assert_eq!(found("10.0.0.1", "/a/b"), Some(2));
        assert_eq!(found("b.example.com", "/a/b"), Some(1));
        assert_eq!(found("example.org", "/a/b"), Some(0));
        // What the host's own routes do not match falls to the others.
        assert_eq!(found("b.example.com", "/c"), None);
        assert_eq!(found("app.example.com", "/c"), Some(2));
    }

    #[test]
    fn routes_that_differ_in_their_host_have_names_of_their_own() {
        let routes = [at(&["a.example"], "/x"), at(&["b.example"], "/x"), at(&[], "/x")];
        let router = Router::new(&routes, SITE);
        let called = |name| router.number_called(name);
        assert_eq!(called("a.example/x"), Some(0));
        assert_eq!(called("echo b.example/x"), Some(1));
        assert_eq!(called("/x"), Some(2));
        assert_eq!(Router::number_of(&routes, "/x"), Some(2), "that for any host");
        // A reload in another order keeps their numbers.
        let turned = [routes[1].clone(), routes[2].clone(), routes[0].clone()];
        let again = next(&router, &turned, &[]);
        assert_eq!(again.number_called("a.example/x"), Some(0));
        assert_eq!(again.number_called("b.example/x"), Some(1));
    }

    const HOSTS: [&str; 5] = ["a.test", "b.a.test", "*.test", "*.a.test", "c.test"];
    const PATHS: [&str; 5] = ["/", "/x", "/:any", "/*", "/x/*"];

    /// A route for one path of each kind, which a page or a socket serves.
    #[derive(Clone, Debug)]
    struct Plan {
        hosts: Vec<usize>,
        path: usize,
        is_page: bool,
    }

    /// A page whose body is its number.
    struct Numbered(usize);

    impl Page for Numbered {
        fn reply(&mut self, _: &RequestHead<'_>) -> PageReply {
            PageReply {
                status: Status::Ok,
                content_type: HeaderValue::HTML,
                headers: Vec::new(),
                body: self.0.to_string().into(),
            }
        }
    }

    /// What serves a request by the rules, one after the other, in the words of `docs/configuration.md`.
    fn naive(plans: &[Plan], host: &str, path: &str, wants_upgrade: bool) -> Option<usize> {
        let host_rank = |plan: &Plan| {
            let own = plan.hosts.iter().map(|own| HOSTS[*own]).map(|own| {
                let below = own.strip_prefix('*').is_some_and(|end| host.ends_with(end));
                (own == host, if below { own.len() } else { 0 })
            });
            let own = own.filter(|rank| *rank != (false, 0)).max();
            if plan.hosts.is_empty() { Some((false, 0)) } else { own }
        };
        let path_rank = |plan: &Plan| match PATHS[plan.path] {
            own if own == path => Some((3, 0)),
            "/:any" if path.len() > 1 && !path[1..].contains('/') => Some((2, 0)),
            "/*" => Some((1, 0)),
            "/x/*" if path.starts_with("/x/") => Some((1, 2)),
            _ => None,
        };
        let ranked = plans.iter().enumerate().filter_map(|(index, plan)| {
            let of_kind = plan.is_page != wants_upgrade;
            Some((host_rank(plan)?, of_kind, path_rank(plan)?, usize::MAX - index))
        });
        ranked.max().map(|(.., index)| usize::MAX - index)
    }

    proptest! {
        #[test]
        fn the_most_specific_host_and_then_path_is_served(
            plans in prop::collection::vec(
                (prop::collection::btree_set(0..HOSTS.len(), 0..3), 0..PATHS.len(), any::<bool>())
                    .prop_map(|(hosts, path, is_page)| {
                        Plan { hosts: hosts.into_iter().collect(), path, is_page }
                    }),
                0..8,
            ),
            host in prop::sample::select(vec!["a.test", "b.a.test", "c.b.a.test", "d.test", "e"]),
            path in prop::sample::select(vec!["/", "/x", "/y", "/x/", "/x/y"]),
            wants_upgrade: bool,
        ) {
            let routes: Vec<Route> = plans.iter().enumerate().map(|(index, plan)| {
                let hosts = plan.hosts.iter().map(|own| HOSTS[*own]).collect::<Vec<_>>();
                let route = at(&hosts, PATHS[plan.path]);
                // Their ids would be the same where hosts and paths are.
                let id = RouteId::new("echo", &index.to_string());
                match plan.is_page {
                    true => Route {
                        id,
                        handler: Handler::Page(Arc::new(move || {
                            Box::new(Numbered(index))
                        })),
                        ..route
                    },
                    false => Route { id, ..route },
                }
            }).collect();
            let mut router = Router::new(&routes, SITE);
            let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            let head = parse_head(request.as_bytes()).unwrap();
            let served = match router.find(head.host(), head.path(), wants_upgrade) {
                Found::Nothing => None,
                Found::Page(page) => {
                    str::from_utf8(&page.reply(&head).body).unwrap().parse().ok()
                }
                Found::Socket(number) => {
                    let sockets = plans.iter().enumerate().filter(|(_, plan)| !plan.is_page);
                    sockets.map(|(index, _)| index).nth(usize::from(number))
                }
            };
            prop_assert_eq!(served, naive(&plans, host, path, wants_upgrade));
        }
    }
}
