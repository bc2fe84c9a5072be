//! Files that use each other in a circle.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::imports::Program;

/// The files of each circle with the names that tie it: `from -> to: names`. Re-exports tie nothing.
pub(crate) fn circles(program: &Program) -> Vec<Circle> {
    let mut uses: Vec<BTreeMap<usize, BTreeSet<String>>> =
        vec![BTreeMap::new(); program.files.len()];
    for edge in program.edges().into_iter().filter(|edge| !edge.is_reexport) {
        uses[edge.from].entry(edge.to).or_default().insert(edge.item);
    }
    let reached: Vec<BTreeSet<usize>> = (0..uses.len()).map(|file| reach(&uses, file)).collect();
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for file in 0..uses.len() {
        let members: BTreeSet<usize> =
            reached[file].iter().copied().filter(|other| reached[*other].contains(&file)).collect();
        if members.len() > 1 && seen.insert(members.clone()) {
            found.push(Circle::new(program, &members, &uses));
        }
    }
    found
}

/// A set of files of which each leads to each other.
#[derive(Debug)]
pub(crate) struct Circle {
    pub(crate) files: usize,
    /// What to print.
    pub(crate) report: String,
}

impl Circle {
    fn new(
        program: &Program,
        members: &BTreeSet<usize>,
        uses: &[BTreeMap<usize, BTreeSet<String>>],
    ) -> Self {
        let mut report = format!("{} files use each other in a circle:\n", members.len());
        for &from in members {
            for (&to, items) in uses[from].iter().filter(|(to, _)| members.contains(to)) {
                let items: Vec<&str> = items.iter().map(String::as_str).collect();
                let [from, to] = [from, to].map(|file| &program.files[file].name);
                let _ = writeln!(report, "  {from} -> {to}: {}", items.join(", "));
            }
        }
        Self { files: members.len(), report }
    }
}

/// All files that one file leads to, by one step or more.
fn reach(uses: &[BTreeMap<usize, BTreeSet<String>>], file: usize) -> BTreeSet<usize> {
    let mut reached = BTreeSet::new();
    let mut ahead = vec![file];
    while let Some(file) = ahead.pop() {
        ahead.extend(uses[file].keys().filter(|next| reached.insert(**next)));
    }
    reached
}
