//! Which backends are asked about connections, and what of them is kept for that.

use std::collections::HashMap;
use std::fmt;

use crate::services::SharedChannelProxy;

/// Which backends are asked about connections of channels. By default none is.
#[derive(Clone, Default)]
pub struct ChannelProxies {
    /// Asked who a client is that shows no token.
    pub connect: Option<SharedChannelProxy>,
    /// Asked whether a connection may stay whose time has expired.
    pub refresh: Option<SharedChannelProxy>,
    /// Asked about the channels of a namespace, by its name.
    pub namespaces: HashMap<String, NamespaceProxies>,
    /// What answers calls, by their names or, with a `*` at the end, by how they begin.
    pub calls: Vec<(String, SharedChannelProxy)>,
    /// Names of headers of requests that some of these pass on, in lower case.
    pub headers: Vec<String>,
    /// Names of headers that some of these pass on from first commands, in lower case.
    pub emulated_headers: Vec<String>,
}

/// Which backends are asked about the channels of a namespace.
#[derive(Clone, Default)]
pub struct NamespaceProxies {
    /// Asked whether a client may subscribe.
    pub subscribe: Option<SharedChannelProxy>,
    /// Asked whether a client may publish, and what.
    pub publish: Option<SharedChannelProxy>,
    /// Asked whether a client may stay in a channel when its subscription has expired.
    pub sub_refresh: Option<SharedChannelProxy>,
}

impl ChannelProxies {
    /// What answers a call: the proxy of its own name, or that of the longest beginning.
    pub(super) fn of_call(&self, method: &str) -> Option<&SharedChannelProxy> {
        let fits = |pattern: &str| match pattern.strip_suffix('*') {
            Some(beginning) => method.starts_with(beginning),
            None => pattern == method,
        };
        let fitting = self.calls.iter().filter(|(pattern, _)| fits(pattern));
        // A whole name is longer than the beginning of one, or as long and without a `*`.
        let best = fitting.max_by_key(|(pattern, _)| (!pattern.ends_with('*'), pattern.len()));
        best.map(|(_, proxy)| proxy)
    }

    /// The proxy of a namespace that `which` chooses.
    pub(super) fn of_namespace(
        &self,
        name: &str,
        which: impl Fn(&NamespaceProxies) -> &Option<SharedChannelProxy>,
    ) -> Option<&SharedChannelProxy> {
        // Most have none at all, and pay for no hash.
        if self.namespaces.is_empty() {
            return None;
        }
        self.namespaces.get(name).and_then(|own| which(own).as_ref())
    }

    /// Whether any is asked about clients whose user is known.
    pub(super) fn are_told_of_clients(&self) -> bool {
        self.refresh.is_some() || !self.namespaces.is_empty() || !self.calls.is_empty()
    }

    /// Whether the address of a client is among what is passed on.
    pub(super) fn tells_address(&self) -> bool {
        let of_address = ["forwarded", "x-forwarded-for", "x-real-ip"];
        self.headers.iter().any(|name| of_address.contains(&name.as_str()))
    }
}

impl fmt::Debug for ChannelProxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("ChannelProxies");
        shown.field("connect", &self.connect.is_some()).field("refresh", &self.refresh.is_some());
        let calls: Vec<&str> = self.calls.iter().map(|(pattern, _)| pattern.as_str()).collect();
        shown.field("calls", &calls).field("headers", &self.headers).finish_non_exhaustive()
    }
}

impl fmt::Debug for NamespaceProxies {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("NamespaceProxies")
            .field("subscribe", &self.subscribe.is_some())
            .field("publish", &self.publish.is_some())
            .field("sub_refresh", &self.sub_refresh.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::services::{ChannelProxy, Peer, ProxyRequest};

    struct Nothing;

    impl ChannelProxy for Nothing {
        fn ask(&self, _: ProxyRequest) {}
        fn cancel(&self, _: Peer) {}
    }

    #[test]
    fn the_most_specific_call_counts() {
        let proxy = || Arc::new(Nothing) as SharedChannelProxy;
        let names = ["*", "news:*", "news:get", "news:old:*"];
        let calls: Vec<_> = names.iter().map(|name| ((*name).to_owned(), proxy())).collect();
        let all = ChannelProxies { calls, ..ChannelProxies::default() };
        let found = |method: &str| {
            let proxy = all.of_call(method)?;
            all.calls.iter().find(|(_, own)| Arc::ptr_eq(own, proxy)).map(|(name, _)| name.as_str())
        };
        assert_eq!(found("x"), Some("*"));
        assert_eq!(found("news:"), Some("news:*"));
        assert_eq!(found("news:get"), Some("news:get"));
        assert_eq!(found("news:getall"), Some("news:*"));
        assert_eq!(found("news:old:get"), Some("news:old:*"));
        assert!(ChannelProxies::default().of_call("x").is_none());
    }
}
