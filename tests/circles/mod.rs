//! Which files of `src/` import each other in a circle, parents and children counted. Reads the code as text: paths in
//! `use` and inline, through re-exports to the file that defines the name. What only tests import is left out.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A module as a path: `["proxy", "route"]`.
type Module = Vec<String>;

/// One import of a file: the path as written, the name that it has here, and whether others may have it from here.
struct Import {
    path: String,
    alias: String,
    is_public: bool,
}

struct File {
    path: PathBuf,
    imports: Vec<Import>,
    /// Without comments, tests and imports.
    body: String,
}

/// The files of the tree, by the module that each defines.
struct Tree(BTreeMap<Module, File>);

/// Every circle, as one line with the files in it.
pub fn find(sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let files = sources.iter().filter_map(|(path, text)| Some((module(path)?, File::read(path, text))));
    let tree = Tree(files.collect());
    let edges: BTreeMap<&Path, BTreeSet<&Path>> =
        tree.0.iter().map(|(module, file)| (&*file.path, tree.imported(module, file))).collect();
    let mut seen: BTreeSet<&Path> = BTreeSet::new();
    let mut found = Vec::new();
    for start in edges.keys() {
        // All files on a way from here and back.
        let circle: Vec<&Path> = reached(&edges, start)
            .into_iter()
            .filter(|other| reached(&edges, other).contains(start))
            .collect();
        if !circle.is_empty() && seen.insert(start) {
            seen.extend(&circle);
            let names: Vec<String> = circle.iter().map(|path| path.display().to_string()).collect();
            found.push(format!("a circle: {}", names.join(", ")));
        }
    }
    found
}

fn reached<'a>(edges: &BTreeMap<&'a Path, BTreeSet<&'a Path>>, from: &Path) -> BTreeSet<&'a Path> {
    let mut found: BTreeSet<&Path> = BTreeSet::new();
    let mut open: Vec<&Path> = edges.get(from).into_iter().flatten().copied().collect();
    while let Some(next) = open.pop() {
        if found.insert(next) {
            open.extend(edges.get(next).into_iter().flatten());
        }
    }
    found
}

/// The module of a file; `None` for the tree's root and for tests.
fn module(path: &Path) -> Option<Module> {
    let mut parts: Module =
        path.with_extension("").iter().map(|part| part.to_string_lossy().into_owned()).collect();
    if parts.last()? == "mod" {
        parts.pop();
    }
    let name = parts.last()?;
    (!matches!(name.as_str(), "lib" | "main") && !name.ends_with("tests")).then_some(parts)
}

impl File {
    fn read(path: &Path, text: &str) -> File {
        // To name a child, or who may see an item, imports nothing.
        let declares = |line: &&str| line.ends_with(';') && line.split(' ').rev().nth(1) == Some("mod");
        let code: String = text
            .lines()
            .map(|line| line.split("//").next().unwrap_or_default())
            .filter(|line| !declares(line))
            .map(|line| line.replace("(in crate::", "(in_") + "\n")
            .collect();
        let code = code.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        let (mut imports, mut body, mut rest) = (Vec::new(), String::new(), code);
        while let Some(at) = find_use(rest) {
            let (before, after) = rest.split_at(at);
            let end = after.find(';').unwrap_or(after.len() - 1);
            let line = before.rsplit('\n').next().unwrap_or_default();
            let tree = after["use ".len()..end].split_whitespace().collect::<Vec<_>>().join(" ");
            let is_public = line.trim_start().starts_with("pub");
            for (path, alias) in expand(&tree) {
                imports.push(Import { path, alias, is_public });
            }
            body.push_str(before);
            rest = &after[end + 1..];
        }
        body.push_str(rest);
        File { path: path.to_path_buf(), imports, body }
    }

    /// Whether an item of this name stands here.
    fn defines(&self, name: &str) -> bool {
        let kinds = ["struct ", "enum ", "trait ", "fn ", "const ", "static ", "type ", "macro_rules! "];
        kinds.iter().any(|kind| words(&self.body, &format!("{kind}{name}")).next().is_some())
    }
}

/// Where the next `use` begins.
fn find_use(text: &str) -> Option<usize> {
    words(text, "use").find(|at| text[at + 3..].starts_with(' '))
}

/// Where a word stands, and no part of a longer one.
fn words<'t>(text: &'t str, word: &str) -> impl Iterator<Item = usize> + use<'t> {
    let length = word.len();
    let found: Vec<usize> = text.match_indices(word).map(|(at, _)| at).collect();
    let part = |c: char| c.is_alphanumeric() || c == '_';
    found.into_iter().filter(move |at| !text[..*at].ends_with(part) && !text[at + length..].starts_with(part))
}

/// The parts of what stands in braces, at the first level.
pub fn first_level(inside: &str) -> Vec<String> {
    let (mut depth, mut parts, mut part) = (0, Vec::new(), String::new());
    for c in inside.chars() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(std::mem::take(&mut part));
                continue;
            }
            _ => {}
        }
        part.push(c);
    }
    parts.push(part);
    parts.retain(|part| !part.trim().is_empty());
    parts
}

/// Each path of a tree of imports, with the name that it has here.
fn expand(tree: &str) -> Vec<(String, String)> {
    let tree = tree.trim();
    let Some((before, inside)) = tree.split_once('{') else {
        let (path, alias) =
            tree.split_once(" as ").unwrap_or((tree, tree.rsplit("::").next().unwrap_or(tree)));
        return vec![(path.to_owned(), alias.trim().to_owned())];
    };
    let parts = first_level(inside).into_iter().flat_map(|part| expand(&part));
    parts
        .map(|(path, alias)| match path.as_str() {
            "self" => {
                let own = before.trim_end_matches("::");
                (own.to_owned(), own.rsplit("::").next().unwrap_or(own).to_owned())
            }
            path => (format!("{before}{path}"), alias),
        })
        .collect()
}

impl Tree {
    /// The other files that a file takes something from.
    fn imported(&self, module: &Module, file: &File) -> BTreeSet<&Path> {
        // What is only passed on is no use of one's own.
        let used = |import: &&Import| !import.is_public || words(&file.body, &import.alias).next().is_some();
        let mut paths: Vec<String> =
            file.imports.iter().filter(used).map(|import| import.path.clone()).collect();
        paths.extend(self.inline(module, &file.body));
        let found = paths.iter().filter_map(|path| self.absolute(module, path));
        let found = found.filter_map(|path| self.defining(&path, 0));
        found.filter(|path| *path != file.path).collect()
    }

    /// Paths in the code itself: `super::x::f()`, `child::f()`.
    fn inline(&self, module: &Module, body: &str) -> Vec<String> {
        let path = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        let found = body.split(|c: char| !path(c)).filter(|word| word.contains("::"));
        let known = |word: &&str| self.absolute(module, word).is_some();
        found.filter(known).map(ToOwned::to_owned).collect()
    }

    /// A path from the root of the tree; `None`: it leads out of it.
    fn absolute(&self, module: &Module, path: &str) -> Option<Module> {
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let mut base = module.clone();
        match parts.first()?.as_str() {
            "crate" => (base, parts) = (Vec::new(), parts.split_off(1)),
            "self" => parts = parts.split_off(1),
            "super" => {
                while parts.first().is_some_and(|part| part == "super") {
                    base.pop();
                    parts = parts.split_off(1);
                }
            }
            first => {
                let child: Module = base.iter().cloned().chain([first.to_owned()]).collect();
                self.0.get(&child)?;
            }
        }
        base.extend(parts);
        Some(base)
    }

    /// The file in which what a path names is defined.
    fn defining(&self, path: &[String], depth: u8) -> Option<&Path> {
        let known = |length: &usize| self.0.contains_key(&path[..*length]);
        let length = (1..=path.len()).take_while(known).last()?;
        let (module, rest) = path.split_at(length);
        let file = self.0.get(module)?;
        let Some(name) = rest.first().filter(|name| depth < 8 && !file.defines(name)) else {
            return Some(&file.path);
        };
        let passed_on = file.imports.iter().find(|import| import.alias == *name);
        match passed_on {
            None => Some(&file.path),
            Some(import) => {
                let mut path = self.absolute(&module.to_vec(), &import.path)?;
                path.extend_from_slice(&rest[1..]);
                self.defining(&path, depth + 1)
            }
        }
    }
}
