//! Holds `docs/configuration.md` against the code: the tables of keys, every TOML block, every
//! message.
//!
//! To write the tables from the declarations: `TIDEGATE_RECORD=1 cargo test --test config_docs`.

use std::path::Path;
use std::{env, fs};

use tidegate::config::{Config, Key, Rule, SECTIONS, Section, keys};

const PAGE: &str = include_str!("../docs/configuration.md");

/// The blocks that open with this fence.
fn blocks(fence: &'static str) -> impl Iterator<Item = &'static str> {
    let opened = PAGE.split(fence).skip(1);
    opened.filter_map(|rest| rest.split_once("```")).map(|(block, _)| block)
}

/// What a value must be, as a cell of a table.
fn accepted(key: &Key) -> String {
    let words = |words: &[&str]| format!("`{}`", words.join("`, `"));
    let text = match key.rule {
        Rule::Address => "IP address and port".to_owned(),
        Rule::AdminAddress => "IP address and port, path of a Unix socket, or `off`".to_owned(),
        Rule::Boolean => words(&["true", "false"]),
        Rule::LocalAddresses => "a list of IP addresses".to_owned(),
        Rule::Domain => "a name or an IP address".to_owned(),
        Rule::Domains => "a list of names and IP addresses, without wildcards".to_owned(),
        Rule::EngineUrls => "a list of URLs, see [Engines](#engines)".to_owned(),
        Rule::File => "path of a file".to_owned(),
        Rule::Folder => "path of a folder".to_owned(),
        Rule::HashBy => words(&["address", "user", "cookie:NAME", "header:NAME"]),
        Rule::HeaderLines => "a list of `NAME: VALUE`".to_owned(),
        Rule::HeaderNames => "a list of names".to_owned(),
        Rule::HostHeader => "`HOST` or `HOST:PORT`".to_owned(),
        Rule::Hosts => "`\"*\"` or a list, see below".to_owned(),
        Rule::HttpsUrl => "URL that begins with `https://`".to_owned(),
        Rule::HttpUrl => "`http://…` or `https://…`, see [Backends](#backends)".to_owned(),
        Rule::Identities => "a list of names of `[[identity]]` tables".to_owned(),
        Rule::Integer { min, max } => format!("{min} to {max}"),
        Rule::Line => "a word or a template, see [Rooms](#rooms)".to_owned(),
        Rule::LogFile => "`off`, `stdout` or the path of a file".to_owned(),
        Rule::Name => "a name, see [Rooms](#rooms)".to_owned(),
        Rule::Networks => "a list of networks and addresses".to_owned(),
        Rule::OneOf(names) => words(names),
        Rule::Origins => "`\"*\"` or a list, see [Routes](#routes)".to_owned(),
        Rule::Path => "a path, see [Paths](#paths)".to_owned(),
        Rule::Paths => "a list of paths".to_owned(),
        Rule::PublicAlgorithms => "a list of algorithms of public keys".to_owned(),
        Rule::RedisUrl => {
            "`redis[s]://[[USER]:PASSWORD@]HOST[:PORT][/DATABASE]` or `unix:///PATH`".to_owned()
        }
        Rule::Upstream => "the name of an `[[upstream]]` table".to_owned(),
        Rule::RouteHosts => "a list of hosts, see [Paths](#paths)".to_owned(),
        Rule::RoutePath => "a path of a WebSocket route".to_owned(),
        Rule::Secret { bytes_min, bytes_max } | Rule::Text { bytes_min, bytes_max } => {
            format!("text of {bytes_min} to {bytes_max} bytes")
        }
        Rule::Servers => "a list of servers, see [Relays](#relays)".to_owned(),
        Rule::Subprotocols => "a list of tokens".to_owned(),
        Rule::Texts => "a list of texts".to_owned(),
        Rule::Token => "a token as in RFC 9110".to_owned(),
    };
    if key.rule.is_secret() { format!("{text}; a [secret](#secrets)") } else { text }
}

/// The default as a cell of a table: a value as code, words as they are.
fn default(key: &Key) -> String {
    let default = key.default();
    let is_word = key.is_required || default.contains('`') || default.contains(' ');
    match default.as_str() {
        "derived" | "kernel" | "none" => default,
        _ if is_word => default,
        _ => format!("`{default}`"),
    }
}

fn row(key: &Key) -> String {
    let (name, doc, default, accepted) = (key.name, key.doc, default(key), accepted(key));
    let reached = if key.reached.is_empty() { "–" } else { key.reached };
    let reload = if key.reloadable { "yes" } else { "no" };
    format!("| `{name}` | {default} | {accepted} | {doc} | {reached} | {reload} |\n")
}

/// The tables of a section: one for each group of keys, under the words that take it.
fn tables(section: &Section) -> String {
    let mut text = String::new();
    for group in section.groups {
        if !group.takers.is_empty() {
            let takers = group.takers.join("`, `");
            text += &format!("\nWith `{}` as `{takers}`:\n", section.chosen_by);
        }
        text += "\n| key | default | accepted | what it does | when it is reached | reload |\n";
        text += "| --- | --- | --- | --- | --- | --- |\n";
        text.extend(group.keys.iter().map(row));
    }
    text + "\n"
}

/// Where the tables of a section stand in the page.
fn markers(section: &Section) -> (String, &'static str) {
    let name = if section.name.is_empty() { "top" } else { section.name };
    (
        format!("<!-- keys of {name}, written by tests/config_docs.rs -->\n"),
        "<!-- end of keys -->\n",
    )
}

#[test]
fn the_tables_of_keys_are_those_of_the_declarations() {
    let mut page = PAGE.to_owned();
    for section in SECTIONS {
        let (begin, end) = markers(section);
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
        let (_, after) = rest.split_once(end).unwrap_or_else(|| panic!("no {end} after {begin}"));
        page = format!("{before}{begin}{}{end}{after}", tables(section));
    }
    if env::var_os("TIDEGATE_RECORD").is_some() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
        fs::write(path, &page).unwrap();
        return;
    }
    for (written, declared) in PAGE.lines().zip(page.lines()) {
        assert_eq!(written, declared, "TIDEGATE_RECORD=1 writes what is declared");
    }
    assert_eq!(PAGE, page);
}

#[test]
fn every_key_says_what_it_does() {
    for key in keys() {
        assert!(key.doc.ends_with('.'), "{}", key.name);
        assert!(!key.doc.contains('|') && !key.doc.contains('\n'), "{}", key.name);
        assert!(key.reached.is_empty() || key.reached.ends_with('.'), "{}", key.name);
    }
}

#[test]
fn every_key_the_text_mentions_exists() {
    for word in PAGE.split('`') {
        let is_name = |c: char| c.is_ascii_lowercase() || c == '_' || c == '.';
        let Some((section, leaf)) = word.rsplit_once('.') else { continue };
        let is_section = SECTIONS.iter().any(|own| !own.name.is_empty() && own.name == section);
        if is_section && leaf.chars().all(is_name) {
            let is_table = SECTIONS.iter().any(|own| own.name == word);
            assert!(is_table || keys().any(|key| key.name == word), "{word} does not exist");
        }
    }
}

#[test]
fn every_toml_block_is_a_configuration() {
    assert!(blocks("```toml\n").count() > 0);
    for block in blocks("```toml\n") {
        Config::from_toml(block, "docs/configuration.md").unwrap();
    }
}

#[test]
fn the_default_routes_are_the_default_routes() {
    let block = blocks("```toml\n").last().unwrap();
    let documented = Config::from_toml(block, "docs/configuration.md").unwrap();
    assert_eq!(documented, Config::default());
}

/// The messages shown to readers are those of the program.
#[test]
fn the_messages_shown_are_real() {
    let shown: Vec<&str> = blocks("```text\n").next().unwrap().lines().collect();
    let route = "[[route]]\npath = \"/echo\"\nservice = \"echo\"\n";
    let file = |lines: usize, text: &str| format!("{}{text}", "\n".repeat(lines));
    for (text, line) in [
        (file(10, "[limits]\nmessage_bytes_max = 0"), shown[0]),
        (file(10, "[limits]\nmesage_bytes_max = 4096"), shown[1]),
        (format!("{route}{route}"), shown[2]),
        (file(5, "[limits]\nhead_bytes_max = 8 KiB\n"), shown[3]),
        (
            "[[listener]]\naddress = \"[::]:1\"\nkind = \"line\"\nroute = \"/none\"".to_owned(),
            shown[6],
        ),
        ("[[route]]\npath = \"/:name\"\nservice = \"room\"\nname = \"token\"".to_owned(), shown[7]),
        (format!("{route}logins = \"one\""), shown[8]),
        (format!("{route}[redis]"), shown[9]),
    ] {
        let error = Config::from_toml(&text, "tidegate.toml").unwrap_err();
        assert_eq!(error.to_string(), line);
    }
}
