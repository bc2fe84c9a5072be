//! A comparison: which servers take turns, and under which load.

use super::document::{CaseResult, ComparisonResult};
use super::load::Load;
use super::servers_under_test::ServerUnderTest;

/// The cases that take turns. The first is the one that the others are compared with.
#[derive(Clone, Debug)]
pub(super) struct Comparison {
    pub(super) scenario: &'static str,
    /// Pairs with the same heading share a table.
    pub(super) heading: String,
    /// The name of the comparison in such a table.
    pub(super) title: String,
    pub(super) unit: &'static str,
    pub(super) is_pair: bool,
    pub(super) cases: Vec<Case>,
}

/// A server under a load: one of the cases that are compared.
#[derive(Clone, Debug)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) server: ServerUnderTest,
    pub(super) load: Load,
    /// Clients offer compression, and the server must agree to it.
    pub(super) is_deflated: bool,
}

impl Comparison {
    /// The result before the first measurement.
    pub(super) fn empty_result(&self) -> ComparisonResult {
        let cases = self
            .cases
            .iter()
            .map(|case| CaseResult { name: case.name.clone(), ..CaseResult::default() });
        ComparisonResult {
            scenario: self.scenario.to_owned(),
            heading: self.heading.clone(),
            title: self.title.clone(),
            unit: self.unit.to_owned(),
            is_pair: self.is_pair,
            cases: cases.collect(),
        }
    }
}

impl Case {
    /// A case without compression.
    pub(super) fn new(name: &str, server: &ServerUnderTest, load: Load) -> Self {
        Self { name: name.to_owned(), server: server.clone(), load, is_deflated: false }
    }
}
