//! The streams of channels that an earlier process has left, on their way to the loops.

use std::any::Any;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use crate::channels::StreamCopy;
use crate::key::home_loop;
use crate::services::channels::Channels;
use crate::services::{Handler, LoopSite, Route, Service};

/// Streams, each of which one loop takes when it makes its services.
struct SavedStreams(Mutex<Vec<StreamCopy>>);

impl fmt::Debug for SavedStreams {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("SavedStreams")
    }
}

impl SavedStreams {
    /// Takes out those whose home a loop is.
    fn take(&self, site: LoopSite) -> Vec<StreamCopy> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_own = |own: &StreamCopy| home_loop(&own.channel, site.count) == site.index;
        let (own, rest) = std::mem::take(&mut *all).into_iter().partition(is_own);
        *all = rest;
        own
    }
}

/// The routes, whose channels go on with these streams.
#[must_use]
pub fn with_saved_streams(routes: Vec<Route>, streams: Vec<StreamCopy>) -> Vec<Route> {
    if streams.is_empty() {
        return routes;
    }
    let saved = Arc::new(SavedStreams(Mutex::new(streams)));
    let wrap = |route: Route| match route.handler {
        Handler::Socket(make, options) => {
            let saved = Arc::clone(&saved);
            let make = move |site: LoopSite| -> Box<dyn Service> {
                let mut service = make(site);
                let any: &mut dyn Any = &mut *service;
                if let Some(channels) = any.downcast_mut::<Channels>() {
                    channels.restore(saved.take(site));
                }
                service
            };
            Route { handler: Handler::Socket(Arc::new(make), options), ..route }
        }
        Handler::Page(_) => route,
    };
    routes.into_iter().map(wrap).collect()
}
