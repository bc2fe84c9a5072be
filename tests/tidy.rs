//! The repository holds itself to its own rules: layers, no circles, module docs, documents that
//! agree with the code, the field's words, and no leftovers. Plain files and plain text; nothing is
//! built or run.
//!
//! `cargo test --test tidy -- --ignored --nocapture structure` prints figures instead. With
//! `TIDY_ROOT=/some/tree` all of this looks at another tree.

#[path = "tidy/circles.rs"]
mod circles;
#[path = "tidy/code.rs"]
mod code;
#[path = "tidy/files.rs"]
mod files;
#[path = "tidy/imports.rs"]
mod imports;
#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/structure.rs"]
mod structure;
#[path = "tidy/words.rs"]
mod words;

use std::collections::BTreeSet;

use tidegate::metrics::{
    CertificateCounters, ControlCounters, Counters, ListenerCounters, ProcessCounters,
    ReloadCounters, RouteCounters,
};

use files::{files, name, read, root, rust_files};
use imports::Program;
use layers::{
    DENIED_CRATES, DENIED_MODULES, DENIED_WORDS, LAYERS, LOADTEST_LAYERS, calls_of_sockets,
    is_below, named, upward_uses,
};

/// What must not be left lying in code. Split so that this file does not find itself.
const LEFTOVERS: &[&str] =
    &[concat!("dbg", "!("), concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];

/// Files in which an `impl Connections` may stand: such blocks hide who uses whom.
const IMPL_FILES_MAX: usize = 3;

/// Fields of structs in src/conn that may be `pub(super)`.
const NEIGHBOUR_FIELDS_MAX: usize = 12;

#[test]
fn modules_use_only_those_below_them() {
    let broken = upward_uses(&Program::gateway(), LAYERS, DENIED_MODULES);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn modules_of_the_load_generator_use_only_those_below_them() {
    let broken = upward_uses(&Program::loadtest(), LOADTEST_LAYERS, &[]);
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let programs = [Program::gateway(), Program::loadtest()];
    let found: Vec<String> =
        programs.iter().flat_map(circles::circles).map(|circle| circle.report).collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn layers_do_not_name_what_they_do_without() {
    let mut broken = Vec::new();
    for source in &Program::gateway().files {
        for (_, words, rule) in DENIED_WORDS.iter().filter(|(places, ..)| is_below(source, places))
        {
            broken.extend(named(source, words).iter().map(|found| format!("{found}: it {rule}")));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_their_places_name_the_operating_system_and_the_asynchronous_runtime() {
    let mut broken = Vec::new();
    for source in &Program::gateway().files {
        for (words, places, what) in DENIED_CRATES {
            if !is_below(source, places) {
                let found = named(source, words);
                broken.extend(
                    found
                        .iter()
                        .map(|found| format!("{found}: {what} belongs into {}", places.join(", "))),
                );
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn only_the_stream_calls_the_transport() {
    let broken = calls_of_sockets(&Program::gateway());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn connections_are_implemented_in_few_files() {
    let gateway = Program::gateway();
    let sources = structure::sources(&gateway, "src/conn");
    let with_impl: Vec<&str> = sources
        .iter()
        .filter(|source| structure::implements(source, "Connections"))
        .map(|source| source.name.as_str())
        .collect();
    assert!(
        with_impl.len() <= IMPL_FILES_MAX,
        "more than {IMPL_FILES_MAX} files with `impl Connections`: {}",
        with_impl.join(", ")
    );
}

#[test]
fn few_fields_of_connections_are_open_to_their_neighbours() {
    let open = structure::fields_for_neighbours(&Program::gateway(), "src/conn");
    assert!(
        open.len() <= NEIGHBOUR_FIELDS_MAX,
        "{} fields are pub(super), more than {NEIGHBOUR_FIELDS_MAX}: {open:?}",
        open.len()
    );
}

#[test]
fn old_words_do_not_come_back() {
    let found = words::old_words();
    assert!(found.is_empty(), "{} old words:\n{}", found.len(), found.join("\n"));
}

#[test]
#[ignore = "prints figures; it checks nothing"]
#[expect(clippy::print_stdout, reason = "figures to read")]
fn structure() {
    print!("{}", structure::report());
}

#[test]
fn every_file_says_what_it_is_for() {
    let silent: Vec<String> = rust_files()
        .iter()
        .filter(|path| !path.ends_with("tests.rs") && !read(path).starts_with("//!"))
        .map(|path| name(path))
        .collect();
    assert!(silent.is_empty(), "no module doc: {silent:?}");
}

#[test]
fn nothing_is_left_lying_about() {
    let mut found = Vec::new();
    for path in rust_files() {
        for (number, line) in read(&path).lines().enumerate() {
            for word in LEFTOVERS.iter().filter(|word| line.contains(**word)) {
                found.push(format!("{}:{}: {word}", name(&path), number + 1));
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
#[expect(clippy::print_stdout, reason = "a note for whoever reads the output, not a failure")]
fn files_stay_readable() {
    // A warning, not a rule: a file that does one thing is rarely this long.
    for path in rust_files() {
        let lines = read(&path).lines().count();
        if lines > 500 {
            println!("note: {} has {lines} lines", name(&path));
        }
    }
}

#[test]
fn every_counter_is_documented_and_every_documented_one_exists() {
    let documented: BTreeSet<String> = read(&root().join("docs/metrics.md"))
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next().map(str::to_owned))
        .collect();
    let names = Counters::NAMES.iter().chain(ControlCounters::NAMES);
    let names = names.chain(CertificateCounters::NAMES).chain(ProcessCounters::NAMES);
    let names = names.chain(ReloadCounters::NAMES);
    let names = names.chain(RouteCounters::NAMES).chain(ListenerCounters::NAMES);
    let counted: BTreeSet<String> = names.map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(documented, counted);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut documents = files(&root().join("docs"), ".md");
    documents.extend(files(&root().join("tests"), ".md"));
    documents
        .extend(["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|file| root().join(file)));
    let mut broken = Vec::new();
    for document in documents {
        let text = read(&document);
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let target = target.split('#').next().unwrap_or("");
            let is_elsewhere = target.is_empty() || target.contains("://");
            let Some(folder) = document.parent() else { continue };
            if !is_elsewhere && !folder.join(target).exists() {
                broken.push(format!("{}: {target}", name(&document)));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_row_of_what_is_lost_names_tests_that_exist() {
    let document = read(&root().join("docs/engines.md"));
    let part = document.split_once("\n## What is lost, and when\n").map_or("", |(_, rest)| rest);
    let rows = part.lines().skip_while(|line| !line.starts_with('|')).skip(2);
    let code: String = files(&root().join("tests"), ".rs").iter().map(|path| read(path)).collect();
    let mut count = 0;
    for row in rows.take_while(|line| line.starts_with('|')) {
        let cell = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap_or("").trim();
        let names: Vec<&str> = cell.split('`').skip(1).step_by(2).collect();
        assert!(!names.is_empty() || cell.starts_with("none: "), "no test: {row}");
        let missing = names.iter().find(|name| !code.contains(&format!("fn {name}(")));
        assert_eq!(missing, None, "no such test: {row}");
        count += 1;
    }
    assert!(count > 5, "{count} rows");
}
