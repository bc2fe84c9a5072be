//! Which file uses what of which other file.
//!
//! A path is followed to the file that defines the item: through modules, and where a module's file
//! names the next segment in a `use` of its own, through that. Only `mod` items with a file of their
//! own are modules here; what an inline module holds counts as its file's.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::code::{Token, begins, behind_bracket, tokens_without_tests};
use super::files::{name, read, root};

/// Re-exports that lead to each other are followed this far.
const HOPS_MAX: usize = 16;

/// One name that a `use` brings in.
#[derive(Debug)]
pub(crate) struct Import {
    pub(crate) path: Vec<String>,
    /// The name that it has here; `*` for all that a module has.
    pub(crate) alias: String,
    /// `pub use` and its like.
    pub(crate) is_reexport: bool,
    pub(crate) line: usize,
}

/// A file of a program, without its tests.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) name: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) imports: Vec<Import>,
    /// Paths in code, with the line of each.
    pub(crate) paths: Vec<(Vec<String>, usize)>,
    defined: BTreeSet<String>,
    children: BTreeMap<String, usize>,
    parent: Option<usize>,
}

/// A use of something that another file defines.
#[derive(Debug)]
pub(crate) struct Edge {
    pub(crate) from: usize,
    pub(crate) to: usize,
    /// What is used: the type, or the function.
    pub(crate) item: String,
    pub(crate) line: usize,
    /// The module at the root of the crate that the path goes through.
    pub(crate) through: Option<String>,
    pub(crate) is_reexport: bool,
}

/// The files of a folder that are built together, as one crate or as a library and its program.
#[derive(Debug)]
pub(crate) struct Program {
    folder: PathBuf,
    /// The name by which the program calls its library, which is the first root.
    library: &'static str,
    pub(crate) files: Vec<Source>,
}

impl Program {
    /// The gateway.
    pub(crate) fn gateway() -> Self {
        Self::load("src", "tidegate", &["lib.rs", "main.rs"])
    }

    /// The load generator.
    pub(crate) fn loadtest() -> Self {
        Self::load("loadtest/src", "", &["main.rs"])
    }

    fn load(folder: &str, library: &'static str, roots: &[&str]) -> Self {
        let folder = root().join(folder);
        let mut program = Self { folder: folder.clone(), library, files: Vec::new() };
        for file in roots {
            program.add(&folder.join(file), &folder, None);
        }
        program
    }

    /// Adds a file and its modules, which are in `folder`.
    fn add(&mut self, path: &Path, folder: &Path, parent: Option<usize>) -> usize {
        let index = self.files.len();
        let (source, children) = Source::parse(name(path), &read(path), parent);
        self.files.push(source);
        for child in children {
            let beside = folder.join(format!("{child}.rs"));
            let within = folder.join(&child).join("mod.rs");
            let file = if beside.is_file() { beside } else { within };
            let added = self.add(&file, &folder.join(&child), Some(index));
            self.files[index].children.insert(child, added);
        }
        index
    }

    /// The module at the root of the crate that a file belongs to: the first part of its path.
    pub(crate) fn module(&self, file: usize) -> String {
        let path = root().join(&self.files[file].name);
        let path = path.strip_prefix(&self.folder).unwrap_or(&path);
        let first = path.components().next().map(|part| part.as_os_str().to_string_lossy());
        first.map_or_else(String::new, |first| first.trim_end_matches(".rs").to_owned())
    }

    /// All uses of other files.
    pub(crate) fn edges(&self) -> Vec<Edge> {
        let mut found = Vec::new();
        for (from, source) in self.files.iter().enumerate() {
            let imports =
                source.imports.iter().map(|import| (&import.path, import.line, import.is_reexport));
            let paths = source.paths.iter().map(|(path, line)| (path, *line, false));
            for (path, line, is_reexport) in imports.chain(paths) {
                let Some(to) = self.resolve(from, path, HOPS_MAX).filter(|to| *to != from) else {
                    continue;
                };
                let item = item_of(path);
                let is_absolute = path[0] == "crate" || path[0] == self.library;
                let through = is_absolute.then(|| path.get(1).cloned()).flatten();
                found.push(Edge { from, to, item, line, through, is_reexport });
            }
        }
        found
    }

    /// The file that defines what `path` means in the file `from`; none if it is of another crate.
    fn resolve(&self, from: usize, path: &[String], hops: usize) -> Option<usize> {
        let hops = hops.checked_sub(1)?;
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "crate" => Some(self.walk(self.root_of(from), rest, hops)),
            "self" => Some(self.walk(from, rest, hops)),
            "super" => {
                let mut file = self.files[from].parent?;
                let mut rest = rest;
                while let [first, behind @ ..] = rest
                    && first == "super"
                {
                    file = self.files[file].parent?;
                    rest = behind;
                }
                Some(self.walk(file, rest, hops))
            }
            library if library == self.library => Some(self.walk(0, rest, hops)),
            child if self.files[from].children.contains_key(child) => {
                Some(self.walk(from, path, hops))
            }
            alias => {
                let import = self.files[from].import(alias)?;
                // A crate that is imported by its own name would lead back here.
                let is_itself = import.path.first() == Some(first);
                let whole: Vec<String> = import.path.iter().chain(rest).cloned().collect();
                if is_itself { None } else { self.resolve(from, &whole, hops) }
            }
        }
    }

    /// The file that defines the item at `path` below the module of `file`.
    fn walk(&self, file: usize, path: &[String], hops: usize) -> usize {
        let source = &self.files[file];
        let Some((first, rest)) = path.split_first() else { return file };
        if let Some(&child) = source.children.get(first) {
            return self.walk(child, rest, hops);
        }
        if let Some(import) = source.import(first) {
            let whole: Vec<String> = import.path.iter().chain(rest).cloned().collect();
            return self.resolve(file, &whole, hops).unwrap_or(file);
        }
        if source.defined.contains(first) {
            return file;
        }
        let globs = source.imports.iter().filter(|import| import.alias == "*");
        let mut modules = globs.filter_map(|glob| self.resolve(file, &glob.path, hops));
        modules
            .find(|module| self.files[*module].offers(first))
            .map_or(file, |module| self.walk(module, path, hops))
    }

    fn root_of(&self, mut file: usize) -> usize {
        while let Some(parent) = self.files[file].parent {
            file = parent;
        }
        file
    }
}

impl Source {
    /// Reads a file; gives also the modules that are declared in it.
    fn parse(name: String, text: &str, parent: Option<usize>) -> (Self, Vec<String>) {
        let tokens = tokens_without_tests(text);
        let mut imports = Vec::new();
        let mut paths = Vec::new();
        let mut defined = BTreeSet::new();
        let mut modules = Vec::new();
        let mut at = 0;
        while at < tokens.len() {
            let next = tokens.get(at + 1);
            match tokens[at].text.as_str() {
                "use" if next.is_some_and(|next| !next.is("<")) => {
                    let end = end_of_statement(&tokens, at);
                    let before = at.checked_sub(1).map(|before| &tokens[before]);
                    let is_reexport =
                        before.is_some_and(|before| before.is("pub") || before.is(")"));
                    flatten(&tokens[at + 1..end], &[], is_reexport, &mut imports);
                    at = end;
                }
                "pub" if begins(&tokens[at..], &["pub", "(", "in"]) => {
                    at = behind_bracket(&tokens, at + 1);
                }
                "mod" if tokens.get(at + 2).is_some_and(|end| end.is(";")) => {
                    modules.extend(next.map(|next| next.text.clone()));
                    at += 2;
                }
                "const" | "enum" | "fn" | "mod" | "static" | "struct" | "trait" | "type" => {
                    defined.extend(next.map(|next| next.text.clone()));
                    at += 1;
                }
                _ => {
                    let path = path_at(&tokens, at);
                    at += (2 * path.len()).max(2) - 1;
                    if path.len() > 1 {
                        paths.push((path, tokens[at - 1].line));
                    }
                }
            }
        }
        let children = BTreeMap::new();
        (Self { name, tokens, imports, paths, defined, children, parent }, modules)
    }

    /// A file of its own, for tests.
    pub(crate) fn of_text(text: &str) -> Self {
        Self::parse("test.rs".to_owned(), text, None).0
    }

    fn import(&self, alias: &str) -> Option<&Import> {
        self.imports.iter().find(|import| import.alias == alias)
    }

    /// All paths of the file with their lines, and with what an import says of their beginning.
    pub(crate) fn full_paths(&self) -> Vec<(String, usize)> {
        let imports = self.imports.iter().map(|import| (import.path.join("::"), import.line));
        let paths = self.paths.iter().map(|(path, line)| {
            let beginning = self.import(&path[0]).map_or(&path[..1], |import| &import.path[..]);
            ([beginning, &path[1..]].concat().join("::"), *line)
        });
        imports.chain(paths).collect()
    }

    fn offers(&self, name: &str) -> bool {
        self.defined.contains(name)
            || self.children.contains_key(name)
            || self.import(name).is_some_and(|import| import.is_reexport)
    }
}

/// The type in a path such as `a::Type::new`, or its last segment.
fn item_of(path: &[String]) -> String {
    let of_type = path.iter().find(|segment| segment.starts_with(char::is_uppercase));
    of_type.or_else(|| path.last()).cloned().unwrap_or_default()
}

fn end_of_statement(tokens: &[Token], at: usize) -> usize {
    let length = tokens[at..].iter().position(|token| token.is(";"));
    length.map_or(tokens.len(), |length| at + length)
}

/// The path `a::b::c` that begins at `at`, if one does.
fn path_at(tokens: &[Token], at: usize) -> Vec<String> {
    let is_inside = at > 0 && (tokens[at - 1].is("::") || tokens[at - 1].is("."));
    let mut path = Vec::new();
    let mut at = at;
    while !is_inside && tokens.get(at).is_some_and(Token::is_name) {
        path.push(tokens[at].text.clone());
        if !tokens.get(at + 1).is_some_and(|next| next.is("::")) {
            break;
        }
        at += 2;
    }
    path
}

/// What a `use` names, brace by brace.
fn flatten(tree: &[Token], prefix: &[String], is_reexport: bool, found: &mut Vec<Import>) {
    let mut path = prefix.to_vec();
    let mut alias = None;
    let mut at = 0;
    let mut line = tree.first().map_or(0, |token| token.line);
    while at < tree.len() {
        let token = &tree[at];
        match token.text.as_str() {
            "{" => {
                let end = behind_bracket(tree, at);
                flatten(&tree[at + 1..end - 1], &path, is_reexport, found);
                path.clear();
                at = end - 1;
            }
            "," => {
                add_import(&mut path, alias.take(), is_reexport, line, found);
                path.extend_from_slice(prefix);
            }
            "as" => {
                alias = tree.get(at + 1).map(|token| token.text.clone());
                at += 1;
            }
            "self" if !path.is_empty() => line = token.line,
            "*" => alias = Some("*".to_owned()),
            "::" => {}
            name => {
                path.push(name.to_owned());
                line = token.line;
            }
        }
        at += 1;
    }
    if path.len() > prefix.len() || tree.last().is_some_and(|last| last.is("self") || last.is("*"))
    {
        add_import(&mut path, alias, is_reexport, line, found);
    }
}

fn add_import(
    path: &mut Vec<String>,
    alias: Option<String>,
    is_reexport: bool,
    line: usize,
    found: &mut Vec<Import>,
) {
    let path = std::mem::take(path);
    if let Some(last) = path.last() {
        let alias = alias.unwrap_or_else(|| last.clone());
        found.push(Import { path, alias, is_reexport, line });
    }
}

#[test]
fn a_use_names_what_stands_in_its_braces() {
    let text = "pub use a::{b::{self, c as d}, e::*, f};\nuse g;\nimpl X { fn y() { h::<u8>::i(); crate::j::k() } }";
    let source = Source::of_text(text);
    let imports: Vec<String> = source
        .imports
        .iter()
        .map(|import| format!("{} {} {}", import.path.join("::"), import.alias, import.line))
        .collect();
    assert_eq!(imports, ["a::b b 1", "a::b::c d 1", "a::e * 1", "a::f f 1", "g g 2"]);
    let paths: Vec<String> = source.paths.iter().map(|(path, _)| path.join("::")).collect();
    assert_eq!(paths, ["crate::j::k"]);
}
