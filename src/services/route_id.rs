//! What a route is from one configuration to the next, and the number that stands for it in a loop.

use std::collections::BTreeMap;
use std::fmt;

use crate::http::HostPattern;

/// What a route is, from one configuration to the next: its service, the first of its hosts and its first
/// path, such as `room /chat` and `room chat.example.com/chat`. A page and a WebSocket route at the same path are two routes, and so are two
/// services that have one path in turn: a connection belongs to the service that admitted it.
///
/// It is the label of counters, a reload matches the routes of two configurations by it, and
/// [`RouteNumbers`] gives each a number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RouteId(Box<str>);

impl RouteId {
    /// The id of the route with this service and this first path.
    #[must_use]
    pub fn new(service: &str, path: &str) -> Self {
        Self(format!("{service} {path}").into())
    }

    /// The id of the route with this service, this first path and these hosts: the first of them stands
    /// before the path, such as `relay *.example.com/app/*`.
    #[must_use]
    pub fn with_hosts(service: &str, path: &str, hosts: &[HostPattern]) -> Self {
        match hosts.first() {
            Some(host) => Self(format!("{service} {host}{path}").into()),
            None => Self::new(service, path),
        }
    }
}

impl fmt::Display for RouteId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

/// The numbers of WebSocket routes: one byte of each connection's slot says which route it is on.
/// A number stands for the same route as long as a connection may have it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RouteNumbers(BTreeMap<u8, RouteId>);

/// The WebSocket routes, with those that only connections still use, are more than the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("more than 256 WebSocket routes are served at once, with those that connections still use")]
pub struct TooManyRoutes;

impl RouteNumbers {
    /// The numbers of the routes of the next configuration: a route that stays keeps its number, and
    /// a new one gets the least that is free. The number of a route that is gone stays with it while
    /// `is_in_use`, so that the route has it again if it comes back before that.
    ///
    /// # Errors
    /// If the numbers do not suffice; the assignment stays as it was.
    pub fn next<'r>(
        &self,
        routes: impl Iterator<Item = &'r RouteId> + Clone,
        is_in_use: impl Fn(u8) -> bool,
    ) -> Result<Self, TooManyRoutes> {
        let mut numbers = self.0.clone();
        numbers.retain(|number, id| routes.clone().any(|route| route == id) || is_in_use(*number));
        let mut next = Self(numbers);
        for route in routes {
            if next.number_of(route).is_none() {
                let free = (0..=u8::MAX).find(|number| !next.0.contains_key(number));
                next.0.insert(free.ok_or(TooManyRoutes)?, route.clone());
            }
        }
        Ok(next)
    }

    /// One more than the largest number; 0 if there are none.
    pub(super) fn end(&self) -> usize {
        self.0.last_key_value().map_or(0, |(number, _)| usize::from(*number) + 1)
    }

    /// The number of a route.
    #[must_use]
    pub fn number_of(&self, route: &RouteId) -> Option<u8> {
        self.0.iter().find(|(_, id)| *id == route).map(|(number, _)| *number)
    }

    /// The route with a number.
    #[must_use]
    pub fn route(&self, number: u8) -> Option<&RouteId> {
        self.0.get(&number)
    }
}

/// The count of numbers: those of one byte.
pub(super) const NUMBERS_MAX: usize = 1 << u8::BITS;

#[cfg(test)]
mod tests {
    use super::*;

    fn ids(paths: &[&str]) -> Vec<RouteId> {
        paths.iter().map(|path| RouteId::new("echo", path)).collect()
    }

    fn numbers_of(numbers: &RouteNumbers, paths: &[&str]) -> Vec<Option<u8>> {
        ids(paths).iter().map(|id| numbers.number_of(id)).collect()
    }

    fn next(numbers: &RouteNumbers, paths: &[&str], in_use: &[u8]) -> RouteNumbers {
        numbers.next(ids(paths).iter(), |number| in_use.contains(&number)).unwrap()
    }

    #[test]
    fn services_at_one_path_have_different_ids() {
        let id = RouteId::new("echo", "/");
        assert_ne!(id, RouteId::new("page", "/"));
        assert_ne!(id, RouteId::new("echo", "/a"));
        assert_eq!(id.to_string(), "echo /");
        let hosts = ["*.A.example", "b.example"].map(|own| HostPattern::parse(own).unwrap());
        assert_eq!(RouteId::with_hosts("echo", "/", &hosts).to_string(), "echo *.a.example/");
        assert_eq!(RouteId::with_hosts("echo", "/", &[]), id);
    }

    #[test]
    fn the_first_routes_are_numbered_in_order() {
        let numbers = next(&RouteNumbers::default(), &["/a", "/b", "/c"], &[]);
        assert_eq!(numbers_of(&numbers, &["/a", "/b", "/c"]), [Some(0), Some(1), Some(2)]);
        assert_eq!(numbers.route(1), Some(&RouteId::new("echo", "/b")));
        assert_eq!(numbers.route(3), None);
    }

    #[test]
    fn a_route_that_stays_keeps_its_number() {
        let first = next(&RouteNumbers::default(), &["/a", "/b", "/c"], &[]);
        let second = next(&first, &["/c", "/new", "/b"], &[]);
        assert_eq!(numbers_of(&second, &["/b", "/c", "/new"]), [Some(1), Some(2), Some(0)]);
    }

    #[test]
    fn a_number_in_use_is_given_to_no_other_route() {
        let first = next(&RouteNumbers::default(), &["/a", "/b"], &[]);
        let second = next(&first, &["/b", "/new"], &[0, 1]);
        assert_eq!(numbers_of(&second, &["/b", "/new", "/a"]), [Some(1), Some(2), Some(0)]);
        // As soon as the last connection has gone, it is free.
        let third = next(&second, &["/b", "/new", "/newer"], &[1]);
        assert_eq!(numbers_of(&third, &["/b", "/new", "/newer"]), [Some(1), Some(2), Some(0)]);
        assert_eq!(third.number_of(&RouteId::new("echo", "/a")), None);
    }

    #[test]
    fn a_route_that_comes_back_in_time_has_its_number_again() {
        let first = next(&RouteNumbers::default(), &["/a", "/b"], &[]);
        let without = next(&first, &["/b"], &[0]);
        let again = next(&without, &["/new", "/b", "/a"], &[0]);
        assert_eq!(numbers_of(&again, &["/a", "/b", "/new"]), [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn there_are_as_many_numbers_as_a_byte_has() {
        let paths: Vec<String> = (0..257).map(|number| format!("/{number}")).collect();
        let paths: Vec<&str> = paths.iter().map(String::as_str).collect();
        let full = next(&RouteNumbers::default(), &paths[..256], &[]);
        assert_eq!(full.number_of(&RouteId::new("echo", "/255")), Some(255));
        assert_eq!(full.next(ids(&paths).iter(), |_| false), Err(TooManyRoutes));
        assert_eq!(full.next(ids(&paths[1..]).iter(), |_| true), Err(TooManyRoutes));
        assert!(full.next(ids(&paths[1..]).iter(), |_| false).is_ok());
    }
}
