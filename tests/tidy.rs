//! The repository holds itself to its own rules: layers, module docs, documents that agree with
//! the code, and no leftovers. Plain files and plain text; nothing is built or run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use tidegate::metrics::{ControlCounters, Counters};

/// What the files of a folder must not name, because their layer does without it.
const LAYERS: &[(&[&str], &[&str], &str)] = &[
    (
        &[
            "src/hub",
            "src/http",
            "src/key.rs",
            "src/line.rs",
            "src/pool",
            "src/shrink.rs",
            "src/timer",
            "src/ws",
        ],
        &[
            "mio::",
            "libc::",
            "rustix::",
            "socket2::",
            "std::net",
            "std::thread",
            "Mutex",
            "Instant",
            "SystemTime",
            "crate::conn",
            "crate::control",
            "crate::reactor",
            "crate::services",
        ],
        "is a function of bytes and numbers",
    ),
    (
        &["src/conn", "src/services", "src/metrics"],
        &["mio::", "libc::", "rustix::", "socket2::", "std::thread", "Mutex", "Instant"],
        "knows sockets only through reactor::Transport",
    ),
    (
        &["src/conn", "src/metrics", "src/os", "src/reactor", "src/services"],
        &["crate::control"],
        "knows the control thread only by what is handed to it",
    ),
    (
        &["src/control"],
        &["crate::conn", "crate::reactor", "mio::", "std::thread::sleep"],
        "waits for others, and never touches a client's socket",
    ),
    (
        &[
            "src/reactor/drain.rs",
            "src/reactor/event_loop.rs",
            "src/reactor/listener.rs",
            "src/reactor/mailbox.rs",
            "src/reactor/poller.rs",
        ],
        &["mio::", "libc::", "rustix::", "socket2::", "Instant"],
        "runs on any poller and clock",
    ),
    (
        &["src/client"],
        &[
            "mio::",
            "libc::",
            "rustix::",
            "socket2::",
            "signal_hook",
            "std::thread",
            "Mutex",
            "Instant",
        ],
        "waits, reads the terminal and hears signals through os",
    ),
    (
        &[
            "src/client/ending.rs",
            "src/client/header.rs",
            "src/client/lines.rs",
            "src/client/repeat.rs",
            "src/client/url.rs",
            "src/client/visible.rs",
        ],
        &["std::net", "std::io", "std::os", "crate::os", "Clock"],
        "is a function of text and numbers",
    ),
];

/// What must not be left lying in code. Split so that this file does not find itself.
const LEFTOVERS: &[&str] =
    &[concat!("dbg", "!("), concat!("FIX", "ME"), concat!("XX", "X"), concat!("TO", "DO")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All files below `path` whose name ends in `ending`.
fn files(path: &Path, ending: &str) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_path_buf()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            found.extend(files(&path, ending));
        } else if path.to_string_lossy().ends_with(ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn rust_files() -> Vec<PathBuf> {
    ["src", "tests", "benches", "examples", "loadtest"]
        .iter()
        .flat_map(|folder| files(&root().join(folder), ".rs"))
        .collect()
}

fn read(path: &Path) -> String {
    let text = fs::read_to_string(path);
    assert!(text.is_ok(), "{} cannot be read", path.display());
    text.unwrap_or_default()
}

/// The part of a file before its tests.
fn without_tests(text: &str) -> &str {
    text.find("#[cfg(test)]\nmod tests").map_or(text, |at| &text[..at])
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

#[test]
fn layers_do_not_reach_down() {
    let mut broken = Vec::new();
    for (folders, forbidden, rule) in LAYERS {
        for path in folders.iter().flat_map(|folder| files(&root().join(folder), ".rs")) {
            if path.ends_with("tests.rs") {
                continue;
            }
            let text = read(&path);
            for (number, line) in without_tests(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                for word in forbidden.iter().filter(|word| code.contains(**word)) {
                    broken.push(format!("{}:{} names {word}: it {rule}", name(&path), number + 1));
                }
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Whether code names a crate: not as a part of a longer name or path.
fn names_crate(code: &str, name: &str) -> bool {
    code.match_indices(&format!("{name}::")).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        !before.is_some_and(|before| before.is_alphanumeric() || before == '_' || before == ':')
    })
}

#[test]
fn only_the_control_thread_is_asynchronous() {
    let mut broken = Vec::new();
    for path in files(&root().join("src"), ".rs") {
        if path.starts_with(root().join("src/control")) {
            continue;
        }
        for (number, line) in read(&path).lines().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            let is_broken = names_crate(code, "tokio")
                || names_crate(code, "redis")
                || code.contains("async ")
                || code.contains(".await");
            if is_broken {
                broken.push(format!("{}:{}: {}", name(&path), number + 1, code.trim()));
            }
        }
    }
    assert!(broken.is_empty(), "belongs into control/:\n{}", broken.join("\n"));
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
