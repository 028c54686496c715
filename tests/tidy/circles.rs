//! Import circles inside a room: files that need each other cannot be read one after the other.
//!
//! A `mod.rs` declares and re-exports its children, and they use what it defines; that is no circle. What it re-exports
//! counts as a use of the file that defines it.

use std::{
    collections::{BTreeMap, BTreeSet},
    str::FromStr as _,
};

use petgraph::{algo::tarjan_scc, graphmap::DiGraphMap};
use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::files::Text;

type Path = Vec<String>;

/// One file as a module: its absolute path, what it imports under which name, and every path that its code names.
struct Module {
    file: String,
    path: Path,
    imports: BTreeMap<String, Path>,
    named: BTreeSet<Path>,
}

/// `src/actors/lists/mod.rs` is `actors::lists`, `src/lib.rs` the root.
fn module_path(file: &str) -> Path {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let mut path: Path = inside.split('/').map(str::to_owned).collect();
    if path.last().is_some_and(|last| ["mod", "lib"].contains(&last.as_str())) {
        path.pop();
    }
    path
}

impl Module {
    fn read(source: &Text) -> Self {
        let path = module_path(&source.path);
        let mut module = Self { file: source.path.clone(), path, imports: BTreeMap::new(), named: BTreeSet::new() };
        let tokens = TokenStream::from_str(&source.text).unwrap_or_else(|error| panic!("{}: {error}", source.path));
        let here = module.path.clone();
        module.scan(tokens, &here);
        module
    }

    /// Reads the tokens of a module or of a block in it. Code of tests (`#[cfg(test)] mod …`) is left out.
    fn scan(&mut self, tokens: TokenStream, here: &Path) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                // `impl Trait + use<'a>` captures lifetimes and imports nothing.
                TokenTree::Ident(word) if word == "use" && is_mark(tokens.get(at + 1), '<') => at += 1,
                // `use ::name` is another crate.
                TokenTree::Ident(word) if word == "use" && is_mark(tokens.get(at + 1), ':') => at += 1,
                TokenTree::Ident(word) if word == "use" => {
                    let is_public = at > 0 && is_visibility(&tokens[at - 1]);
                    at += 1;
                    self.import(&tokens, &mut at, here, &Path::new(), is_public);
                }
                TokenTree::Ident(word) if word == "mod" => {
                    let inner = match (tokens.get(at + 1), tokens.get(at + 2)) {
                        (Some(TokenTree::Ident(name)), Some(TokenTree::Group(group))) => Some((name, group)),
                        _ => None,
                    };
                    if let Some((name, group)) = inner
                        && !is_test(&tokens[..at])
                    {
                        let mut inside = here.clone();
                        inside.push(name.to_string());
                        self.scan(group.stream(), &inside);
                    }
                    at += if inner.is_some() { 3 } else { 2 };
                }
                TokenTree::Ident(_) => {
                    let path = read_path(&tokens, &mut at);
                    if path.len() > 1 {
                        self.named.insert(absolute(&path, here));
                    }
                }
                TokenTree::Group(group) => {
                    self.scan(group.stream(), here);
                    at += 1;
                }
                _ => at += 1,
            }
        }
    }

    /// Reads one tree of a `use`. A public one of a child is a re-export, which is not a use of it.
    fn import(&mut self, tokens: &[TokenTree], at: &mut usize, here: &Path, before: &Path, is_public: bool) {
        let mut path = before.clone();
        path.extend(read_path(tokens, at));
        if let Some(TokenTree::Group(group)) = tokens.get(*at)
            && group.delimiter() == Delimiter::Brace
        {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let mut inside = 0;
            while inside < inner.len() {
                self.import(&inner, &mut inside, here, &path, is_public);
                inside += 1;
            }
            *at += 1;
            return;
        }
        let renamed = matches!(tokens.get(*at), Some(TokenTree::Ident(word)) if word == "as");
        let mut name = path.last().cloned().unwrap_or_default();
        if renamed {
            name = tokens.get(*at + 1).map(ToString::to_string).unwrap_or_default();
            *at += 2;
        }
        if path.last().is_some_and(|last| last == "self") {
            path.pop();
            if !renamed {
                name = path.last().cloned().unwrap_or_default();
            }
        }
        let path = absolute(&path, here);
        if !is_public {
            self.named.insert(path.clone());
        }
        self.imports.insert(name, path);
    }
}

fn is_mark(token: Option<&TokenTree>, mark: char) -> bool {
    matches!(token, Some(TokenTree::Punct(found)) if found.as_char() == mark)
}

fn is_visibility(token: &TokenTree) -> bool {
    match token {
        TokenTree::Ident(word) => word == "pub",
        TokenTree::Group(group) => group.delimiter() == Delimiter::Parenthesis,
        _ => false,
    }
}

/// Whether the attribute before an item is `#[cfg(test)]`.
fn is_test(before: &[TokenTree]) -> bool {
    let attribute = before.iter().rev().find(|token| !matches!(token, TokenTree::Ident(_)));
    attribute.is_some_and(|token| token.to_string().replace(' ', "") == "[cfg(test)]")
}

/// Reads `a::b::c` from an identifier on, and leaves `at` behind it.
fn read_path(tokens: &[TokenTree], at: &mut usize) -> Path {
    let mut path = Path::new();
    while let Some(TokenTree::Ident(word)) = tokens.get(*at) {
        path.push(word.to_string());
        *at += 1;
        if !(is_mark(tokens.get(*at), ':') && is_mark(tokens.get(*at + 1), ':')) {
            break;
        }
        *at += 2;
    }
    path
}

/// A path from the root of the crate; one that begins with a name stays as it is, with a mark that it is relative.
fn absolute(path: &Path, here: &Path) -> Path {
    let mut from = here.clone();
    let mut rest = path.iter().peekable();
    match rest.peek().map(|first| first.as_str()) {
        Some("crate") => {
            rest.next();
            from.clear();
        }
        Some("self") => {
            rest.next();
        }
        Some("super") => {}
        _ => from.push(RELATIVE.to_owned()),
    }
    while rest.next_if(|word| word.as_str() == "super").is_some() {
        from.pop();
    }
    from.extend(rest.cloned());
    from
}

/// Stands before a name that is a child of the module, one of its imports, or another crate.
const RELATIVE: &str = "?";

struct Modules(BTreeMap<Path, Module>);

impl Modules {
    /// The file that defines what a path names, through imports and re-exports; `None` where that is outside of the
    /// crate, or the path names a module and nothing in it.
    fn defined_in(&self, path: &Path, hops: usize) -> Option<&Module> {
        if let Some(mark) = path.iter().position(|word| word == RELATIVE) {
            let here = path[..mark].to_vec();
            let rest = &path[mark + 1..];
            let mut child = here.clone();
            child.extend(rest.iter().cloned());
            if self.0.contains_key(&child[..=here.len()]) {
                return self.defined_in(&child, hops);
            }
            // An inline module sees no imports of the file around it, but asking for them does no harm.
            let imported = self.0.get(&here)?.imports.get(rest.first()?)?;
            return self.follow(imported, &rest[1..], hops);
        }
        let known = (1..=path.len()).rev().find(|length| self.0.contains_key(&path[..*length]))?;
        let module = &self.0[&path[..known]];
        let name = path.get(known)?;
        match module.imports.get(name) {
            Some(imported) => self.follow(imported, &path[known + 1..], hops),
            None => Some(module),
        }
    }

    fn follow(&self, imported: &Path, rest: &[String], hops: usize) -> Option<&Module> {
        let mut path = imported.clone();
        path.extend(rest.iter().cloned());
        if hops == 0 { None } else { self.defined_in(&path, hops - 1) }
    }
}

/// The circles among the files of each room, each as its sorted files.
pub(crate) fn circles(sources: &[Text]) -> Vec<Vec<String>> {
    let read = sources.iter().map(Module::read).map(|module| (module.path.clone(), module));
    let modules = Modules(read.collect());
    let mut graph = DiGraphMap::<&str, ()>::new();
    for module in modules.0.values() {
        for path in &module.named {
            if let Some(target) = modules.defined_in(path, 8)
                && target.file != module.file
                && target.path.first() == module.path.first()
                && !target.path.starts_with(&module.path)
            {
                graph.add_edge(module.file.as_str(), target.file.as_str(), ());
            }
        }
    }
    let strong = tarjan_scc(&graph).into_iter().filter(|files| files.len() > 1);
    let mut found: Vec<Vec<String>> = strong
        .map(|files| {
            let mut files: Vec<String> = files.into_iter().map(str::to_owned).collect();
            files.sort();
            files
        })
        .collect();
    found.sort();
    found
}

#[test]
fn files_of_a_room_import_each_other_one_way() {
    let found = circles(&crate::files::below("src", "rs"));
    assert_eq!(found, [] as [Vec<String>; 0], "import circles");
}

/// A tool is a room of its own: its paths and its `crate::` are read as if it stood below `src/`.
#[test]
fn files_of_a_tool_import_each_other_one_way() {
    let mut tools: BTreeMap<String, Vec<Text>> = BTreeMap::new();
    for Text { path, text } in crate::files::below("tools", "rs") {
        let Some((tool, file)) = path.trim_start_matches("tools/").split_once("/src/") else { continue };
        let room = tool.replace('-', "_");
        let text = text.replace("crate::", &format!("crate::{room}::"));
        tools.entry(room.clone()).or_default().push(Text { path: format!("src/{room}/{file}"), text });
    }
    assert!(!tools.is_empty());
    for (tool, files) in tools {
        assert!(files.len() > 2, "the sources of {tool} were not found");
        assert_eq!(circles(&files), [] as [Vec<String>; 0], "import circles in {tool}");
    }
}

#[test]
fn circles_are_found_in_every_form_of_a_path() {
    let circle_of = |files: &[(&str, &str)]| {
        let text = |(path, text): &(&str, &str)| Text { path: format!("src/room/{path}"), text: (*text).to_owned() };
        circles(&files.iter().map(text).collect::<Vec<_>>())
    };
    let parent = ("mod.rs", "mod a; mod b; pub use a::A; pub use b::{B, b as c}; fn f() { a::run(); }");
    let forms = [
        "use super::a::A;",
        "use super::A;",
        "use crate::room::{a::{self, A as X}, other};",
        "use super::a; fn f() { a::run(); }",
        "fn f() { if super::a::ready() {} }",
        "fn f() { assert!(super::A::new().is_some()); }",
        "mod inside { use super::super::a::A; }",
    ];
    for form in forms {
        let found = circle_of(&[parent, ("a.rs", "use super::c;"), ("b.rs", form)]);
        assert_eq!(found, [["src/room/a.rs", "src/room/b.rs"]], "{form}");
    }
    let harmless = [
        "use super::Parent;",
        "use super::b::B;",
        "use std::a::A;",
        "use ::b::a::A;",
        "use ::b::{a, A};",
        "/// [`super::a::A`]\nstruct X;",
        "#[cfg(test)]\nmod tests { use super::super::a::A; }",
        "use crate::elsewhere::a::A;",
        "fn f<'a>(x: &'a u8) -> impl Fn() -> u8 + use<'a> { move || *x }",
        "fn f<T: Copy>(x: T) -> impl Fn() -> T + use<T> { move || x }",
    ];
    for form in harmless {
        let found = circle_of(&[parent, ("a.rs", "use super::b::B;"), ("b.rs", form)]);
        assert!(found.is_empty(), "{form}: {found:?}");
    }
    let through_a_third = [parent, ("a.rs", "use super::b::B;"), ("b.rs", "use super::d;"), ("d.rs", "")];
    assert!(circle_of(&through_a_third).is_empty());
    let closed = [parent, ("a.rs", "use super::b::B;"), ("b.rs", "use super::d::D;"), ("d.rs", "use super::A;")];
    assert_eq!(circle_of(&closed).len(), 1);
}
