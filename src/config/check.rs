//! What `--check` prints: the configuration as a file, and what it comes to on this machine.

use std::fmt;

use super::{Config, MachineLimits, ResolvedConfig, ResolvedRoute, RoomOptions};
use crate::output::context_bytes_max;

impl Config {
    /// The text of `--check`: every key as TOML that can be used as a configuration file, then, as
    /// comments, what was derived and what had to be adjusted.
    ///
    /// Derived values are comments because they belong to this machine: a file that pinned them
    /// would bring the descriptor limit of one host to the next. Secrets are printed as the name of
    /// their file or environment variable, or else as `***`, which no file may hold: the user has to
    /// put those in again.
    pub fn check_text(&self, granted: MachineLimits) -> String {
        let file: String = self.tables().iter().map(ToString::to_string).collect();
        let resolved = self.resolve(granted);
        format!("{file}{}", Comments { config: self, resolved: &resolved, granted })
    }
}

/// The part of the text that is not the configuration itself.
struct Comments<'c> {
    config: &'c Config,
    resolved: &'c ResolvedConfig,
    granted: MachineLimits,
}

impl fmt::Display for Comments<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MachineLimits { descriptors, cores } = self.granted;
        writeln!(f, "\n# Derived, with {descriptors} descriptors and {cores} cores granted:")?;
        self.derived(f)?;
        for (index, route) in self.resolved.routes.iter().enumerate() {
            self.derived_of_route(f, index, route)?;
        }
        if self.config.holds_masked() {
            writeln!(
                f,
                "#\n# *** stands for what is not printed; a file must hold the thing itself."
            )?;
        }
        if self.resolved.joins_clients() {
            writeln!(
                f,
                "#\n# After SIGUSR2 two processes serve until the old one has drained. Rooms and topics are \
                 of\n# one process: clients of one do not see those of the other meanwhile."
            )?;
        }
        if self.resolved.adjustments.is_empty() {
            writeln!(f, "#\n# Nothing had to be adjusted.")?;
        } else {
            writeln!(f, "#\n# Adjusted:")?;
        }
        for adjustment in &self.resolved.adjustments {
            writeln!(f, "#   {adjustment}")?;
        }
        for warning in self.resolved.warnings() {
            writeln!(f, "#\n# Warning: {warning}")?;
        }
        Ok(())
    }
}

impl Comments<'_> {
    fn derived(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ResolvedConfig { loops, limits, connections_max_origin, .. } = self.resolved;
        let loops_origin = match self.config.process.loops {
            0 => "one per core",
            _ => "configured",
        };
        let half_open_origin = match self.config.limits.half_open_max {
            None => "a quarter of connections_max",
            Some(_) => "configured",
        };
        let connections_max = limits.connections_max;
        let half_open_max = limits.half_open_max;
        writeln!(f, "#   loops = {loops} ({})", self.origin("loops", loops_origin))?;
        writeln!(f, "#   limits.connections_max = {connections_max} ({connections_max_origin})")?;
        writeln!(
            f,
            "#   limits.half_open_max = {half_open_max} ({})",
            self.origin("limits.half_open_max", half_open_origin)
        )?;
        writeln!(f, "#   limits.refusals_max = {}", limits.refusals_max)?;
        let entries_origin = match self.config.addresses.entries_max {
            None => "twice connections_max, and 65536 at least",
            Some(_) => "configured",
        };
        let entries_max = self.resolved.addresses.entries_max(connections_max);
        writeln!(f, "#   addresses.entries_max = {entries_max} ({entries_origin})")?;
        writeln!(
            f,
            "#   limits.backlog_hard_bytes = {} (at least {}, for backlog_high_bytes and the \
             largest message with its header)",
            limits.backlog_hard_bytes,
            limits.backlog_hard_bytes_min()
        )
    }

    /// Where a value came from, unless the adjustments below say it.
    fn origin(&self, key: &str, origin: &'static str) -> &'static str {
        let is_adjusted = self.resolved.adjustments.iter().any(|each| each.key == key);
        if is_adjusted { "adjusted" } else { origin }
    }

    /// The keys that a route leaves out and whose meaning no value expresses.
    fn derived_of_route(
        &self,
        f: &mut fmt::Formatter<'_>,
        index: usize,
        route: &ResolvedRoute,
    ) -> fmt::Result {
        let Some(configured) = self.config.routes.get(index) else { return Ok(()) };
        let (Some(configured), Some(websocket)) =
            (configured.service.websocket(), route.service.websocket())
        else {
            return Ok(());
        };
        if configured.message_bytes_max.is_none() {
            let bytes = websocket.message_bytes_max;
            writeln!(f, "#   route[{index}].message_bytes_max = {bytes} (as in limits)")?;
        }
        if configured.subprotocols.is_none() && !websocket.subprotocols.is_empty() {
            let names = &websocket.subprotocols;
            writeln!(f, "#   route[{index}].subprotocols = {names:?} (as of any such route)")?;
        }
        if websocket.origins.is_same_host() {
            writeln!(f, "#   route[{index}].origins: same host")?;
        }
        if let Some(window_bits) = websocket.deflate.and_then(|deflate| deflate.context_bits) {
            let limits = &self.resolved.limits;
            let (each, count) = (context_bytes_max(window_bits), limits.connections_max);
            let (all, pool) = (each.saturating_mul(count), limits.pool_bytes_max);
            writeln!(
                f,
                "#   route[{index}].deflate_context_takeover: up to {each} bytes for each \
                 connection, {all} for {count} of them, within pool_bytes_max = {pool}"
            )?;
        }
        self.derived_identity(f, index, route)
    }

    /// What checks the tokens of a room that leaves out `identity`.
    fn derived_identity(
        &self,
        f: &mut fmt::Formatter<'_>,
        index: usize,
        route: &ResolvedRoute,
    ) -> fmt::Result {
        let configured = self.config.routes.get(index).map(|route| &route.service);
        let asks = configured.and_then(|own| own.room()).is_some_and(RoomOptions::asks_for_tokens);
        let names_one =
            configured.and_then(|own| own.websocket()).is_some_and(|own| own.identity.is_some());
        if !asks || names_one {
            return Ok(());
        }
        match route.identities().first() {
            Some(name) => writeln!(
                f,
                "#   route[{index}].identity = [{name:?}] (the first of kind \"tokens\")"
            ),
            None => writeln!(
                f,
                "#   route[{index}].identity: no client is let in, as there is no [[identity]] of \
                 kind \"tokens\""
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::config::arbitrary;

    const GRANTED: MachineLimits = MachineLimits { descriptors: 20_000, cores: 2 };

    /// The text with what was not printed.
    fn with_secrets(text: &str) -> String {
        let text = text.replace("\"***\"", &format!("\"{}\"", arbitrary::SECRET));
        text.replace("user:***@", &format!("user:{}@", arbitrary::SECRET))
    }

    #[test]
    fn adjustments_are_comments() {
        let mut config = Config::default();
        config.limits.connections_max = Some(50_000);
        let text = config.check_text(GRANTED);
        assert!(
            text.ends_with(
                "#\n# Adjusted:\n#   limits.connections_max = 50000 is lowered to 19888: \
                 20000 descriptors - 112 reserved\n"
            ),
            "{text}"
        );
    }

    proptest! {
        #[test]
        fn the_text_can_be_fed_back(
            config in arbitrary::config(),
            descriptors in 0_u64..100_000,
            cores in 1_usize..64,
        ) {
            let granted = MachineLimits { descriptors, cores };
            let text = config.check_text(granted);
            prop_assert!(!text.contains(arbitrary::SECRET));
            let again = Config::from_toml_in(
                &with_secrets(&text), "check", &arbitrary::surroundings("check"),
            ).unwrap();
            prop_assert_eq!(&again, &config);
            prop_assert_eq!(again.resolve(granted), config.resolve(granted));
            prop_assert_eq!(again.check_text(granted), text);
        }
    }
}
