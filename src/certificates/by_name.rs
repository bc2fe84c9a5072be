//! Which certificates a name stands for: exact names first, then wildcards.

use std::collections::HashMap;

/// The positions of certificates by the names that they are for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct ByName {
    exact: HashMap<String, Vec<usize>>,
    /// By what stands behind `*.`.
    wildcards: HashMap<String, Vec<usize>>,
    /// The first certificate, and those that share a name with it.
    default: Vec<usize>,
}

impl ByName {
    /// Of certificates with these DNS names, which are in lower case.
    pub(super) fn new<'n>(certificates: impl Iterator<Item = &'n [String]> + Clone) -> Self {
        let mut own = Self::default();
        let first = certificates.clone().next().unwrap_or_default();
        for (position, names) in certificates.enumerate() {
            for name in names {
                let (table, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut own.wildcards, parent),
                    None => (&mut own.exact, name.as_str()),
                };
                table.entry(name.to_owned()).or_default().push(position);
            }
            if position == 0 || names.iter().any(|name| first.contains(name)) {
                own.default.push(position);
            }
        }
        own
    }

    /// The certificates for a name, in the order of preference; empty if none is for it. Those with
    /// exactly this name come before those with a wildcard, which stands for one label (RFC 6125
    /// section 6.4.3).
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = usize> {
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        let parent = name.split_once('.').filter(|(label, _)| !label.is_empty());
        let wildcards = parent.and_then(|(_, parent)| self.wildcards.get(parent));
        let found = [self.exact.get(&name), wildcards];
        found.into_iter().flatten().flatten().copied()
    }

    /// The certificates for clients that ask for no name, in the order of preference.
    pub(super) fn without_name(&self) -> impl Iterator<Item = usize> {
        self.default.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the definition, without tables.
    fn naive(certificates: &[Vec<String>], name: &str) -> Vec<usize> {
        let is_wildcard = |own: &String| {
            let parent = own.strip_prefix("*.");
            parent.is_some_and(|parent| {
                let label = name.strip_suffix(parent).and_then(|rest| rest.strip_suffix('.'));
                label.is_some_and(|label| !label.is_empty() && !label.contains('.'))
            })
        };
        let with = |matches: &dyn Fn(&String) -> bool| -> Vec<usize> {
            let all = certificates.iter().enumerate();
            // A certificate that says a name twice is found twice.
            all.flat_map(|(at, names)| names.iter().filter(|own| matches(own)).map(move |_| at))
                .collect()
        };
        [with(&|own| own == name), with(&is_wildcard)].concat()
    }

    proptest! {
        #[test]
        fn names_are_found_as_the_definition_says(
            certificates in prop::collection::vec(
                prop::collection::vec("(\\*\\.)?[ab](\\.[ab]){0,2}", 0..4), 0..5,
            ),
            name in "[ab](\\.[ab]){0,3}",
        ) {
            let by_name = ByName::new(certificates.iter().map(Vec::as_slice));
            let expected = naive(&certificates, &name);
            prop_assert_eq!(&by_name.named(&name).collect::<Vec<_>>(), &expected);
            let written = format!("{}.", name.to_ascii_uppercase());
            prop_assert_eq!(by_name.named(&written).collect::<Vec<_>>(), expected);
            prop_assert_eq!(by_name.without_name().next(), (!certificates.is_empty()).then_some(0));
        }
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        let names = [vec!["*.example.com".to_owned()], vec!["a.example.com".to_owned()]];
        let by_name = ByName::new(names.iter().map(Vec::as_slice));
        for (name, found) in [
            ("a.example.com", &[1, 0][..]),
            ("b.example.com", &[0]),
            ("example.com", &[]),
            ("a.b.example.com", &[]),
            (".example.com", &[]),
            ("com", &[]),
            ("", &[]),
        ] {
            assert_eq!(by_name.named(name).collect::<Vec<_>>(), found, "{name}");
        }
    }

    #[test]
    fn the_default_is_the_first_with_those_that_share_a_name_with_it() {
        let names = [vec!["a", "b"], vec!["c"], vec!["b"], vec![]];
        let names = names.map(|names| names.into_iter().map(str::to_owned).collect::<Vec<_>>());
        let by_name = ByName::new(names.iter().map(Vec::as_slice));
        assert_eq!(by_name.without_name().collect::<Vec<_>>(), [0, 2]);
    }
}
