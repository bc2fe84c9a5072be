//! Figures of how the code hangs together, to compare states of the project with each other.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::circles::circles;
use super::code::{Token, begins, behind_bracket};
use super::files::{files, name, read, root};
use super::imports::{Program, Source};
use super::layers::{TRANSPORT_METHODS, is_below, method_calls};

/// The structs whose fields make up a connection and the table around it.
const OF_A_CONNECTION: &[&str] = &["Conn", "Connections"];

/// A named field of a struct.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) of: String,
    pub(crate) name: String,
    /// `pub(super)`, or `pub(in` a module: for some other files.
    pub(crate) is_for_neighbours: bool,
}

/// The files of the gateway below `place`.
pub(crate) fn sources<'p>(program: &'p Program, place: &'p str) -> Vec<&'p Source> {
    program.files.iter().filter(|source| is_below(source, &[place])).collect()
}

/// The named fields of the structs in a file.
pub(crate) fn fields(source: &Source) -> Vec<Field> {
    let mut found = Vec::new();
    for (at, _) in source.tokens.iter().enumerate().filter(|(_, token)| token.is("struct")) {
        let body = source.tokens[at..].iter().position(|token| token.is("{") || token.is(";"));
        let Some(open) = body.map(|length| at + length) else { continue };
        if source.tokens[open].is("{") {
            let body = &source.tokens[open + 1..behind_bracket(&source.tokens, open) - 1];
            found.extend(fields_of(&source.tokens[at + 1].text, body));
        }
    }
    found
}

fn fields_of(of: &str, body: &[Token]) -> Vec<Field> {
    let mut found = Vec::new();
    let mut at = 0;
    let mut is_for_neighbours = false;
    while at < body.len() {
        let is_field = body[at].is_name() && body.get(at + 1).is_some_and(|next| next.is(":"));
        if body[at].is("#") {
            at = behind_bracket(body, at + 1);
        } else if begins(&body[at..], &["pub", "("]) {
            is_for_neighbours = body[at + 2].is("super") || body[at + 2].is("in");
            at = behind_bracket(body, at + 1);
        } else if is_field {
            found.push(Field { of: of.to_owned(), name: body[at].text.clone(), is_for_neighbours });
            is_for_neighbours = false;
            at = end_of_type(body, at);
        } else {
            at += 1;
        }
    }
    found
}

/// The position of the comma that ends a field's type.
fn end_of_type(body: &[Token], field: usize) -> usize {
    let mut depth = 0_i32;
    for (at, token) in body.iter().enumerate().skip(field) {
        let is_arrow = at > 0 && body[at - 1].is("-");
        match token.text.as_str() {
            "<" | "(" | "[" => depth += 1,
            ">" if is_arrow => {}
            ">" | ")" | "]" => depth -= 1,
            "," if depth == 0 => return at,
            _ => {}
        }
    }
    body.len()
}

/// Whether a file says `.field`, other than to call it.
fn touches(source: &Source, field: &str) -> bool {
    source
        .tokens
        .windows(3)
        .any(|window| window[0].is(".") && window[1].is(field) && !window[2].is("("))
}

/// Whether a file has an `impl` block of the type `name` itself, not of a trait for it.
pub(crate) fn implements(source: &Source, name: &str) -> bool {
    let is_item =
        |at: usize| at == 0 || ["}", ";", "]", "{"].contains(&&*source.tokens[at - 1].text);
    let impls =
        source.tokens.iter().enumerate().filter(|(at, token)| token.is("impl") && is_item(*at));
    impls.map(|(at, _)| &source.tokens[at..]).any(|tokens| {
        let head: Vec<&Token> = tokens.iter().take_while(|token| !token.is("{")).collect();
        let is_trait = head.iter().any(|token| token.is("for"));
        let mut depth = 0_i32;
        !is_trait
            && head.iter().any(|token| {
                depth += i32::from(token.is("<")) - i32::from(token.is(">"));
                depth == 0 && token.is(name)
            })
    })
}

/// The figures, a line each.
pub(crate) fn report() -> String {
    let gateway = Program::gateway();
    let mut report = Report::default();
    report.fields(&sources(&gateway, "src/conn"));
    report.sockets(&gateway);
    report.circles("src", &gateway);
    report.circles("loadtest/src", &Program::loadtest());
    report.lengths();
    for place in ["src/conn", "src/reactor"] {
        let what = format!("of the lines of {place} are `//` comments");
        report.line(&share_of_comments(place), &what);
    }
    report.0
}

/// Figures, and what each of them counts.
#[derive(Debug, Default)]
struct Report(String);

impl Report {
    fn line(&mut self, figure: &str, what: &str) {
        let _ = writeln!(self.0, "{figure:>8}  {what}");
    }

    fn count(&mut self, count: usize, what: &str) {
        self.line(&count.to_string(), what);
    }

    /// How open the fields of a folder's structs are. A field counts by its name.
    fn fields(&mut self, folder: &[&Source]) {
        let all: Vec<(&Source, Field)> = folder
            .iter()
            .flat_map(|source| fields(source).into_iter().map(|field| (*source, field)))
            .collect();
        let users = |field: &Field| folder.iter().filter(|file| touches(file, &field.name)).count();
        let central = all.iter().filter(|(_, field)| OF_A_CONNECTION.contains(&&*field.of));
        let shared = central.filter(|(_, field)| users(field) > 1).count();
        self.count(shared, "fields of Conn and Connections that more than one file touches");
        let foreign = all.iter().filter(|(own, field)| {
            folder.iter().any(|file| file.name != own.name && touches(file, &field.name))
        });
        self.count(foreign.count(), "fields in src/conn that another of its files touches");
        let open = all.iter().filter(|(_, field)| field.is_for_neighbours).count();
        self.count(open, "fields in src/conn that are pub(super)");
        let central = folder.iter().filter(|source| implements(source, "Connections")).count();
        self.count(central, "files in src/conn with an `impl Connections`");
    }

    fn sockets(&mut self, gateway: &Program) {
        let methods: Vec<&str> =
            TRANSPORT_METHODS.iter().copied().filter(|method| *method != "peer_address").collect();
        for place in ["src/conn", "src/stream"] {
            let files = sources(gateway, place);
            let count = files.iter().filter(|file| method_calls(file, &methods).next().is_some());
            self.count(
                count.count(),
                &format!("files in {place} that read, write or shut a socket"),
            );
        }
    }

    fn circles(&mut self, place: &str, program: &Program) {
        let circles = circles(program);
        let files: usize = circles.iter().map(|circle| circle.files).sum();
        self.count(circles.len(), &format!("circles of imports in {place}, of {files} files"));
    }

    fn lengths(&mut self) {
        let paths = files(&root().join("src"), ".rs");
        let mut lengths: Vec<(usize, String)> =
            paths.iter().map(|path| (read(path).lines().count(), name(path))).collect();
        lengths.sort();
        let median = lengths.get(lengths.len() / 2).map_or(0, |(lines, _)| *lines);
        self.count(median, "lines of the median file in src");
        let (most, largest) = lengths.pop().unwrap_or_default();
        self.count(most, &format!("lines of the largest file in src, {largest}"));
    }
}

/// How many lines below a place are `//` comments, in percent of all, tests left out.
fn share_of_comments(place: &str) -> String {
    let (mut comments, mut all) = (0, 0);
    for path in files(&root().join(place), ".rs") {
        let text = read(&path);
        let code = text.find("#[cfg(test)]\nmod tests").map_or(&*text, |at| &text[..at]);
        all += code.lines().count();
        comments += code.lines().filter(|line| is_inline_comment(line)).count();
    }
    let thousandths = comments * 1000 / all.max(1);
    format!("{}.{} %", thousandths / 10, thousandths % 10)
}

fn is_inline_comment(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && !line.starts_with("///") && !line.starts_with("//!")
}

/// The distinct names of fields that are `pub(super)` or wider within a folder, for a message.
pub(crate) fn fields_for_neighbours(program: &Program, place: &str) -> BTreeSet<String> {
    let sources = sources(program, place);
    let fields = sources.iter().flat_map(|source| fields(source));
    fields
        .filter(|field| field.is_for_neighbours)
        .map(|field| format!("{}.{}", field.of, field.name))
        .collect()
}

#[test]
fn fields_are_told_from_types_and_attributes() {
    let text = concat!(
        "#[x] struct A<T: B> { #[y(z: 1)] pub(super) c: Map<D, fn(u8) -> E>, pub(crate) f: u8, g: H }",
        "struct I(pub(super) u8); struct J; impl<S: K> Connections<S> {} impl L for Connections<u8> {}"
    );
    let source = Source::of_text(text);
    let found: Vec<String> = fields(&source)
        .iter()
        .map(|field| format!("{}.{} {}", field.of, field.name, field.is_for_neighbours))
        .collect();
    assert_eq!(found, ["A.c true", "A.f false", "A.g false"]);
    assert!(implements(&source, "Connections") && !implements(&source, "K"));
    let source = Source::of_text("fn a(b: impl C, d: &Connections) {} impl E for Connections {}");
    assert!(!implements(&source, "Connections"));
}
