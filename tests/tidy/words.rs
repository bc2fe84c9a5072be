//! Words that were replaced by the field's, and must not come back.

use std::path::PathBuf;

use super::code::tokens;
use super::files::{files, name, read, root, rust_files};

/// Where a word is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Where {
    /// Everywhere: in names of files, in text, and as a part of an identifier (`on_deed`, `DeedId`).
    Anywhere,
    /// As an identifier in code, or alone in backticks: the word is good English otherwise.
    Names,
}
use Where::{Anywhere, Names};

/// Words, where they must not stand, and what to say instead. A plural in `s` counts as the word.
pub(crate) const OLD_WORDS: &[(&[&str], Where, &str)] = &[
    // Names of the gateway.
    (&["Carries"], Anywhere, "PartialReads"),
    (&["Carry", "carry", "carries"], Names, "partial"),
    (&["Volley", "volley", "in_a_row"], Anywhere, "FrameBatch, batch"),
    (&["Pushed", "PushedForm"], Names, "SharedFrame, FrameEncoding"),
    (&["Stretch", "stretch", "stretches"], Anywhere, "segment; range; period"),
    (&["Errand", "errand", "PostMail"], Anywhere, "LoopMessage, LoopSender"),
    (&["Letterbox", "letterbox"], Anywhere, "ServiceSender"),
    (
        &["Mail", "Letter", "letter", "letters", "run_errand", "on_letter"],
        Names,
        "LoopMessage, ServiceMessage",
    ),
    (&["LoopLinks"], Anywhere, "LoopMailboxes"),
    (&["Requested"], Names, "PendingEffects"),
    (&["apart"], Names, "detached"),
    (
        &["Arrival", "arrival", "Welcome", "Newcomer", "newcomers_max", "Standing"],
        Names,
        "ConnectRequest, Accept, NewMember, JoinState",
    ),
    (&["Introduction", "introduction", "introduction_to"], Names, "JoinRequest"),
    (&["at the door"], Anywhere, "before it is admitted"),
    (&["Deed", "deed"], Anywhere, "RoomAction"),
    (&["Speech", "speech"], Anywhere, "broadcast line"),
    (&["News", "news_of", "on_news"], Names, "PresenceEvent"),
    (&["Bearers", "bearers"], Names, "NameHolders"),
    (&["People", "Person", "people"], Names, "LocalMembers, members"),
    (&["Place", "ContextPlace"], Names, "RoomRef, Permit, ContextKey, range, index"),
    (&["Link"], Names, "SlotRef, RedisConnection"),
    (&["Entrance", "entrance"], Anywhere, "ListenerProtocol"),
    (&["compressed_form", "plain_form", "websocket_form"], Anywhere, "encoding"),
    (&["Inflation", "Deflation", "deflation"], Names, "MessageInflater, MessageCompressor"),
    (
        &["ready_bytes", "SHOWN_RATIO", "TRUST"],
        Anywhere,
        "setup cost, dictionary cost ratio, growth factor",
    ),
    (&["look_again", "say_goodbye", "last_words"], Names, "recheck, send_close, MSG_MORE write"),
    (&["give_up", "give_back", "give_up_name"], Anywhere, "abort, release"),
    (&["give_freed_memory_back"], Anywhere, "return_freed_memory"),
    (&["Effective", "EffectiveLimits", "EffectiveRoute"], Names, "ResolvedConfig"),
    // Names of the load generator.
    (&["Manner", "manner"], Names, "options"),
    (&["Needs", "needs"], Names, "requirements"),
    (&["Shown"], Names, "result"),
    (&["Entrant", "entrant", "Contender", "contender"], Anywhere, "server under test"),
    (&["Fleet", "fleet"], Anywhere, "clients"),
    (&["Course", "course"], Names, "run"),
    // Names of the tests.
    (&["Weather", "weather"], Anywhere, "disturbances"),
    (&["judge"], Names, "checker"),
    // Prose.
    (&["goodbye"], Anywhere, "close frame; what leaves"),
    (&["whoever", "Whoever"], Anywhere, "the peer, the caller, the function"),
    (&["somebody", "Somebody", "someone", "Someone"], Anywhere, "a client, a peer"),
    (&["nobody", "Nobody"], Anywhere, "no client, no member, nothing"),
    (&["so many"], Anywhere, "the number by its name"),
    (&["it is told"], Anywhere, "what it receives or is called with"),
];

/// All that `OLD_WORDS` forbids, as `file:line: word (instead)`.
pub(crate) fn old_words() -> Vec<String> {
    let mut found = Vec::new();
    for path in scanned_files() {
        let file = name(&path);
        let text = read(&path);
        for &(words, place, instead) in OLD_WORDS {
            for word in words {
                let lines = match place {
                    Anywhere => lines_with(&text, word),
                    Names => lines_naming(&text, word, file.ends_with(".rs")),
                };
                let in_name = (place == Anywhere && contains(&file, word)).then_some(0);
                for line in in_name.into_iter().chain(lines) {
                    found.push(format!("{file}:{line}: {word} ({instead})"));
                }
            }
        }
    }
    found.sort();
    found.dedup();
    found
}

fn scanned_files() -> Vec<PathBuf> {
    let mut scanned = rust_files();
    for folder in ["docs", "tests", "loadtest"] {
        scanned.extend(files(&root().join(folder), ".md"));
    }
    scanned.push(root().join("README.md"));
    let own = [root().join("tests/tidy"), root().join("tests/tidy.rs")];
    scanned.retain(|path| !own.iter().any(|own| path.starts_with(own)));
    scanned
}

fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let lines = (1..).zip(text.lines());
    lines.filter(|(_, line)| contains(line, word)).map(|(number, _)| number).collect()
}

/// The lines where `word` is an identifier, or stands alone in backticks.
fn lines_naming(text: &str, word: &str, is_rust: bool) -> Vec<usize> {
    let mut lines = lines_with_backticks(text, word);
    if is_rust && text.contains(word) {
        lines.extend(tokens(text).iter().filter(|token| token.is(word)).map(|token| token.line));
    }
    lines
}

fn lines_with_backticks(text: &str, word: &str) -> Vec<usize> {
    let quoted = format!("`{word}`");
    let lines = (1..).zip(text.lines());
    lines.filter(|(_, line)| line.contains(&quoted)).map(|(number, _)| number).collect()
}

/// Whether `word` stands in `line`, by itself or as a part of an identifier, also in the plural.
fn contains(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let is_hump = word.starts_with(char::is_uppercase);
        let before = line[..at].chars().next_back();
        let begins = before
            .is_none_or(|before| !before.is_alphanumeric() || (is_hump && before.is_lowercase()));
        let behind = &line[at + word.len()..];
        let behind = behind.strip_prefix('s').unwrap_or(behind);
        let next = behind.chars().next();
        begins && !next.is_some_and(|next| next.is_lowercase() || next.is_numeric())
    })
}

#[test]
fn words_are_found_as_parts_of_identifiers_and_in_the_plural() {
    for line in ["on_volley(x)", "a volley.", "volleys", "volley_len", "Volley::new"] {
        assert!(contains(line, "volley") || contains(line, "Volley"), "{line}");
    }
    assert!(contains("PushVolleyId", "Volley"));
    assert!(!contains("volleyed volleyball revolley", "volley"));
    assert_eq!(lines_naming("// carry on\nself.carry\n// `carry`\n", "carry", true), [3, 2]);
    assert!(lines_naming("let carry_on = 1;", "carry", true).is_empty());
}
