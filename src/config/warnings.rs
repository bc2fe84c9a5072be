//! What a configuration may do that its author hardly wants.

use super::route::{NameKind, RouteService};
use super::word::Word as _;
use super::{HeaderPolicy, IdentityKind, Listener, ListenerKind, ResolvedConfig};
use crate::http::HostRule;

impl ResolvedConfig {
    /// What is allowed and worth a warning, each as one line that begins with the key.
    #[must_use]
    pub fn warnings(&self) -> Vec<String> {
        let rooms = self.routes.iter().enumerate();
        let rooms = rooms.filter(|(_, route)| {
            route.service.room().is_some_and(|room| room.name == NameKind::Address)
        });
        let rooms = rooms.filter(|_| self.trusted_proxies.is_empty());
        let rooms = rooms.filter(|_| self.is_reached_by_this_machine_only()).map(|(index, _)| {
            format!(
                "route[{index}].name = \"address\": behind a proxy every member bears an address of \
                 the proxy, and only programs of this machine reach the listeners"
            )
        });
        let claims = self.listeners.iter().enumerate().filter_map(|own| self.open_claims(own));
        let rooms = rooms.chain(claims).chain(self.key_log()).chain(self.shared_rooms());
        let unverified = self.unverified_upstreams();
        let unreached = self.unreached_hosts();
        rooms.chain(self.identity_warnings()).chain(unverified).chain(unreached).collect()
    }

    /// Upstreams whose servers may be anyone.
    fn unverified_upstreams(&self) -> impl Iterator<Item = String> {
        let upstreams = self.upstreams.iter().enumerate();
        upstreams.filter(|(_, own)| own.tls && !own.tls_verify).map(|(index, _)| {
            format!(
                "upstream[{index}].tls_verify = false: THE CERTIFICATES OF ITS SERVERS ARE NOT VERIFIED; \
                 anyone on the way can read and change what is relayed"
            )
        })
    }

    /// Hosts of routes that no listener lets requests name.
    fn unreached_hosts(&self) -> impl Iterator<Item = String> {
        let http = self.listeners.iter().filter(|own| own.kind == ListenerKind::Http);
        let rules: Vec<HostRule> = http.map(|own| own.hosts.rule(own.address)).collect();
        let hosts = self.routes.iter().enumerate().flat_map(|(index, route)| {
            route.hosts.iter().enumerate().map(move |(position, host)| (index, position, host))
        });
        hosts.filter_map(move |(index, position, host)| {
            let is_reached = rules.iter().any(|rule| host.is_permitted_by(rule));
            (!is_reached).then(|| {
                format!(
                    "route[{index}].hosts[{position}] = \"{host}\": every listener refuses requests for it; \
                     list the names in listener.hosts"
                )
            })
        })
    }

    /// Identities that prove nothing, or that nothing asks for.
    fn identity_warnings(&self) -> impl Iterator<Item = String> {
        self.identities.iter().enumerate().filter_map(|(index, identity)| {
            if !self.takes(&identity.name) {
                return Some(format!(
                    "identity[{index}].name = {:?}: no route takes this identity",
                    identity.name
                ));
            }
            let word = identity.kind.word().name();
            match identity.kind {
                IdentityKind::Cookie(_) | IdentityKind::Query(_) => Some(format!(
                    "identity[{index}].kind = \"{word}\": any client can state any user, which \
                     proves nothing"
                )),
                IdentityKind::Callback(..)
                | IdentityKind::Certificate(_)
                | IdentityKind::Header(_)
                | IdentityKind::Jwt(..)
                | IdentityKind::Redis(..)
                | IdentityKind::Tokens(..) => None,
            }
        })
    }

    /// Whether clients speak with each other, in rooms or by topics.
    pub fn joins_clients(&self) -> bool {
        self.routes.iter().any(|route| match route.service {
            RouteService::Broadcast { .. }
            | RouteService::Channels { .. }
            | RouteService::Room { .. } => true,
            RouteService::Chat { .. }
            | RouteService::Echo { .. }
            | RouteService::Events { .. }
            | RouteService::Hall
            | RouteService::Page
            | RouteService::Relay { .. } => false,
        })
    }

    /// That rooms are split where several processes share a port.
    fn shared_rooms(&self) -> Option<String> {
        let is_split = self.share_port && self.joins_clients();
        is_split.then(|| {
            "share_port = true: rooms and topics are of one process, so clients of one that shares the \
             port do not see those of another"
                .to_owned()
        })
    }

    /// That every client that reaches a listener can claim any address.
    fn open_claims(&self, (index, listener): (usize, &Listener)) -> Option<String> {
        let is_open = listener.proxy_protocol == HeaderPolicy::Required
            && self.trusted_proxies.is_empty()
            && !listener.address.ip().to_canonical().is_loopback();
        is_open.then(|| {
            format!(
                "listener[{index}].proxy_protocol = \"required\": every peer that reaches {} can claim any \
                 address; list the proxies in trusted_proxies",
                listener.address
            )
        })
    }

    /// That secrets of connections are written down.
    fn key_log(&self) -> Option<String> {
        let file = self.tls.key_log_file.as_ref().filter(|_| self.has_tls())?;
        Some(format!(
            "tls.key_log_file = {:?}: THE SECRETS OF ALL TLS CONNECTIONS ARE WRITTEN TO THIS FILE; \
             anyone who can read it can decrypt captured traffic",
            file.to_string()
        ))
    }

    /// Whether all clients of HTTP are programs of this machine, such as a proxy, and none says for whom
    /// it speaks with an address and a port.
    fn is_reached_by_this_machine_only(&self) -> bool {
        let mut http = self.listeners.iter().filter(|own| own.kind == ListenerKind::Http);
        http.all(|own| own.address.ip().is_loopback() && own.proxy_protocol == HeaderPolicy::Off)
    }
}

#[cfg(test)]
mod tests {
    use crate::config::{Config, MachineLimits};

    fn warnings(toml: &str) -> Vec<String> {
        let config = Config::from_toml(toml, "test.toml").unwrap();
        config.resolve(MachineLimits { descriptors: 1000, cores: 1 }).warnings()
    }

    #[test]
    fn upstreams_that_are_not_verified_are_warned_of() {
        let relay = "[[route]]\npath = \"/\"\nservice = \"relay\"\nupstream = \"a\"\n\
                     [[upstream]]\nname = \"a\"\nservers = [\"a:1\"]\ntls = true\n";
        assert_eq!(warnings(relay).len(), 0);
        let warning = &warnings(&format!("{relay}tls_verify = false\n"))[0];
        assert!(warning.starts_with("upstream[0].tls_verify = false: "), "{warning}");
    }

    #[test]
    fn rooms_are_warned_of_where_processes_share_a_port() {
        let echo = "[[route]]\npath = \"/a\"\nservice = \"echo\"\n";
        let room = "[[route]]\npath = \"/b\"\nservice = \"room\"\n";
        assert_eq!(warnings(&format!("share_port = true\n{echo}")).len(), 0);
        assert_eq!(warnings(&format!("{echo}{room}")).len(), 0);
        let warned = warnings(&format!("share_port = true\n{echo}{room}"));
        assert_eq!(warned.len(), 1);
        assert!(warned[0].starts_with("share_port = true: rooms and topics"), "{warned:?}");
    }

    #[test]
    fn a_key_log_is_warned_of_where_connections_have_secrets() {
        let pair = "[[certificate]]\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
        let log = "[tls]\nkey_log_file = \"keys.log\"\n";
        let listener = "[[listener]]\naddress = \"127.0.0.1:443\"\n";
        assert_eq!(warnings(&format!("{listener}{log}")).len(), 0);
        assert_eq!(warnings(&format!("{listener}tls = true\n{pair}")).len(), 0);
        let warned = warnings(&format!("{listener}tls = true\n{pair}{log}"));
        assert_eq!(warned.len(), 1);
        assert!(
            warned[0].starts_with("tls.key_log_file = \"keys.log\": THE SECRETS"),
            "{warned:?}"
        );
    }

    #[test]
    fn identities_that_prove_nothing_or_are_not_taken_are_warned_of() {
        let query = "[[identity]]\nname = \"a\"\nkind = \"query\"\n";
        let route = "[[route]]\npath = \"/x\"\nservice = \"echo\"\n";
        let warned = warnings(&format!("{query}{route}"));
        assert_eq!(warned, ["identity[0].name = \"a\": no route takes this identity"]);
        let warned = warnings(&format!("{query}{route}identity = [\"a\"]\n"));
        let proves_nothing = "identity[0].kind = \"query\": any client can state any user, which \
                              proves nothing";
        assert_eq!(warned, [proves_nothing]);
        let header = query.replace("query\"", "header\"\nheader = \"X-User\"");
        assert_eq!(warnings(&format!("{header}{route}identity = [\"a\"]\n")).len(), 0);
    }

    #[test]
    fn a_header_that_everybody_may_send_is_warned_of() {
        let listener = |address: &str| {
            format!("[[listener]]\naddress = \"{address}\"\nproxy_protocol = \"required\"\n")
        };
        let warned = warnings(&listener("0.0.0.0:80"));
        assert_eq!(warned.len(), 1);
        assert!(
            warned[0].contains("every peer that reaches 0.0.0.0:80 can claim any address"),
            "{warned:?}"
        );
        assert_eq!(warnings(&listener("127.0.0.1:80")).len(), 0);
        let trusted = "trusted_proxies = [\"10.0.0.0/8\"]\n";
        assert_eq!(warnings(&format!("{trusted}{}", listener("0.0.0.0:80"))).len(), 0);
    }

    #[test]
    fn hosts_of_routes_that_no_listener_permits_are_warned_of() {
        let listener =
            |address: &str, hosts: &str| format!("[[listener]]\naddress = \"{address}\"\n{hosts}");
        let route = "[[route]]\npath = \"/\"\nservice = \"echo\"\nhosts = [\"a.example\", \"*.B.example\"]\n";
        let local = warnings(&format!("{}{route}", listener("127.0.0.1:80", "")));
        assert_eq!(local.len(), 2);
        let text = "route[0].hosts[1] = \"*.b.example\": every listener refuses requests for it";
        assert!(local[1].starts_with(text), "{local:?}");
        assert_eq!(warnings(&format!("{}{route}", listener("0.0.0.0:80", ""))).len(), 0);
        let both = "hosts = [\"a.example\", \"c.b.example\"]\n";
        assert_eq!(warnings(&format!("{}{route}", listener("127.0.0.1:80", both))).len(), 0);
    }

    #[test]
    fn names_by_address_are_warned_of_where_only_a_proxy_connects() {
        let room = "[[route]]\npath = \"/a\"\nservice = \"echo\"\n\
                    [[route]]\npath = \"/b\"\nservice = \"room\"\nname = \"address\"\n";
        let warned = warnings(room);
        assert_eq!(warned.len(), 1);
        assert!(warned[0].starts_with("route[1].name = \"address\": behind a proxy"), "{warned:?}");
        let open = "[[listener]]\naddress = \"192.0.2.1:80\"\n";
        let local = "[[listener]]\naddress = \"[::1]:80\"\n";
        assert_eq!(warnings(&format!("{open}{room}")).len(), 0);
        assert_eq!(warnings(&format!("{local}{room}")).len(), 1);
        assert_eq!(warnings(&format!("{open}{local}{room}")).len(), 0);
        assert_eq!(warnings(&room.replace("address", "query")).len(), 0);
        let header = format!("{local}proxy_protocol = \"required\"\n");
        assert_eq!(warnings(&format!("{header}{room}")).len(), 0);
        assert_eq!(warnings(&format!("trusted_proxies = [\"127.0.0.1\"]\n{local}{room}")).len(), 0);
        assert_eq!(warnings("").len(), 0);
    }
}
