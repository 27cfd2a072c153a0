//! The house stands: arrows between the folders of `src/` point downward only, and no two files import each other, by whatever way.
//!
//! `docs/architecture.md` draws what is held here. `ARCHITECTURE=arrows cargo test --test architecture -- --nocapture` prints the arrows.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use syn::{
    Attribute, Item, ItemMod, ItemUse, UseTree, Visibility,
    visit::{self, Visit},
};

/// The floors, from the top down: what a file imports lies on its own floor, or on one below.
const FLOORS: [&str; 11] = ["cli", "set", "repair", "scan", "electorate", "evidence", "digest", "report", "member", "vote", "sys"];

/// A module by its path, `["scan", "worker"]`; the crate's root is empty.
type Module = Vec<String>;

/// What one file says.
#[derive(Default)]
struct File {
    /// Names it imports or mentions, as paths from the root.
    mentions: BTreeSet<Vec<String>>,
    /// Names that it hands on, with the paths where they come from.
    hands_on: BTreeMap<String, Vec<String>>,
}

/// Collects the paths of one file, tests left out.
struct Reader<'a> {
    module: &'a Module,
    /// The modules that it declares.
    children: BTreeSet<String>,
    file: File,
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("cfg") && quoted(attribute) == "cfg (test)")
}

fn quoted(attribute: &Attribute) -> String {
    let syn::Meta::List(list) = &attribute.meta else { return String::new() };
    format!("cfg ({})", list.tokens)
}

impl Reader<'_> {
    /// A path from the crate's root, where it begins here or above.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let mut base: Vec<String> = match path.first()?.as_str() {
            "crate" | "quorum_img" => Vec::new(),
            "self" => self.module.clone(),
            "super" => self.module[..self.module.len() - 1].to_vec(),
            name if self.children.contains(name) => [self.module.clone(), vec![name.to_owned()]].concat(),
            _ => return None,
        };
        let mut rest = &path[1..];
        while rest.first().is_some_and(|name| name == "super") {
            base.pop();
            rest = &rest[1..];
        }
        base.extend_from_slice(rest);
        Some(base)
    }

    fn tree(&mut self, tree: &UseTree, prefix: &mut Vec<String>, public: bool) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(path.ident.to_string());
                self.tree(&path.tree, prefix, public);
                prefix.pop();
            }
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.tree(tree, prefix, public)),
            UseTree::Name(name) => self.used(prefix, &name.ident.to_string(), &name.ident.to_string(), public),
            UseTree::Rename(rename) => self.used(prefix, &rename.ident.to_string(), &rename.rename.to_string(), public),
            UseTree::Glob(_) => self.used(prefix, "self", "*", public),
        }
    }

    fn used(&mut self, prefix: &[String], name: &str, called: &str, public: bool) {
        let mut path = prefix.to_vec();
        if name != "self" {
            path.push(name.to_owned());
        }
        let Some(absolute) = self.absolute(&path) else { return };
        if public {
            self.file.hands_on.insert(called.to_owned(), absolute.clone());
        }
        // That a folder hands on what is made in it is no import.
        if !public || !absolute.starts_with(self.module) {
            self.file.mentions.insert(absolute);
        }
    }
}

impl Reader<'_> {
    fn words(&mut self, text: &str) {
        for word in text.replace(" :: ", "::").split(|letter: char| !(letter.is_alphanumeric() || letter == '_' || letter == ':')) {
            self.mentioned(&word.split("::").map(str::to_owned).collect::<Vec<_>>());
        }
    }

    fn mentioned(&mut self, path: &[String]) {
        if path.len() > 1
            && let Some(absolute) = self.absolute(path)
        {
            self.file.mentions.insert(absolute);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        // A module inside of a file sees the file as `super`; nothing here goes further up.
        visit::visit_item_mod(self, item);
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        let public = !matches!(item.vis, Visibility::Inherited);
        self.tree(&item.tree, &mut Vec::new(), public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.mentioned(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    /// What stands in a macro's call is no syntax yet: paths are picked out of its words.
    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.words(&call.tokens.to_string());
        visit::visit_macro(self, call);
    }

    /// Nor is what stands in an attribute, such as the text of an error.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if let syn::Meta::List(list) = &attribute.meta {
            self.words(&list.tokens.to_string());
        }
        visit::visit_attribute(self, attribute);
    }
}

/// All files of `src/` by their modules; those that are for tests alone are left out.
struct House {
    files: BTreeMap<Module, File>,
}

impl House {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut files = BTreeMap::new();
        read_module(&root, &root.join("lib.rs"), &Vec::new(), &mut files);
        assert!(files.len() > 100, "the files are found");
        Self { files }
    }

    /// The file in which the name at the end of that path is made.
    fn made_in(&self, path: &[String], depth: usize) -> Option<&Module> {
        assert!(depth < 20, "{path:?} is handed on in circles");
        let length = (0..=path.len()).rev().find(|&length| self.files.contains_key(&path[..length]))?;
        let (module, file) = self.files.get_key_value(&path[..length])?;
        match path.get(length).and_then(|name| file.hands_on.get(name)) {
            Some(from) => self.made_in(from, depth + 1),
            None => Some(module),
        }
    }

    /// From each file to those that it imports from.
    fn arrows(&self) -> BTreeMap<&Module, BTreeSet<&Module>> {
        let of = |(module, file): (&'_ Module, &File)| -> BTreeSet<&Module> {
            file.mentions.iter().filter_map(|path| self.made_in(path, 0)).filter(|to| *to != module).collect()
        };
        self.files.iter().map(|(module, file)| (module, of((module, file)))).collect()
    }
}

fn read_module(root: &Path, path: &Path, module: &Module, files: &mut BTreeMap<Module, File>) {
    let text = fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let parsed = syn::parse_file(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let declared = |item: &Item| if let Item::Mod(child) = item { Some(child.ident.to_string()) } else { None };
    let mut reader = Reader { module, children: parsed.items.iter().filter_map(declared).collect(), file: File::default() };
    reader.visit_file(&parsed);
    files.insert(module.clone(), reader.file);
    for item in &parsed.items {
        let Item::Mod(child) = item else { continue };
        if child.content.is_none() && !is_for_tests(&child.attrs) {
            let module = [module.clone(), vec![child.ident.to_string()]].concat();
            read_module(root, &file_of(root, &module), &module, files);
        }
    }
}

fn file_of(root: &Path, module: &Module) -> PathBuf {
    let path = module.iter().fold(root.to_owned(), |path, name| path.join(name));
    let folder = path.join("mod.rs");
    if folder.is_file() { folder } else { path.with_extension("rs") }
}

fn shown(module: &Module) -> String {
    module.join("/")
}

/// Groups of modules in which each leads to each other one.
fn circles<'a>(arrows: &BTreeMap<&'a Module, BTreeSet<&'a Module>>) -> Vec<Vec<&'a Module>> {
    let reached = |from: &'a Module| {
        let (mut seen, mut next) = (BTreeSet::new(), vec![from]);
        while let Some(module) = next.pop() {
            for &to in arrows.get(module).into_iter().flatten() {
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        seen
    };
    let all: BTreeMap<&Module, BTreeSet<&Module>> = arrows.keys().map(|module| (*module, reached(module))).collect();
    let mut groups: BTreeSet<Vec<&Module>> = BTreeSet::new();
    for (module, to) in &all {
        if to.contains(module) {
            groups.insert(to.iter().filter(|other| all[**other].contains(module)).copied().collect());
        }
    }
    groups.into_iter().collect()
}

#[test]
fn arrows_point_downward_only() {
    let house = House::read();
    let floor = |module: &Module| FLOORS.iter().position(|floor| module.first().is_some_and(|name| name == floor));
    let mut upward = Vec::new();
    let mut between: BTreeMap<(usize, usize), usize> = BTreeMap::new();
    for (from, to) in house.arrows() {
        let Some(own) = floor(from) else { continue };
        for to in to {
            match floor(to) {
                Some(other) if other >= own => *between.entry((own, other)).or_default() += 1,
                _ => upward.push(format!("{} imports from {}", shown(from), shown(to))),
            }
        }
    }
    if std::env::var_os("ARCHITECTURE").is_some() {
        between
            .iter()
            .filter(|((from, to), _)| from != to)
            .for_each(|((from, to), count)| println!("{} -> {}: {count}", FLOORS[*from], FLOORS[*to]));
    }
    assert!(upward.is_empty(), "{upward:#?}");
    let folders: BTreeSet<&String> = house.files.keys().filter_map(|module| module.first()).collect();
    assert!(folders.iter().all(|folder| FLOORS.contains(&folder.as_str())), "a folder without a floor: {folders:?}");
}

#[test]
fn no_circle_of_files_comes_back() {
    let house = House::read();
    let found: Vec<Vec<String>> = circles(&house.arrows()).iter().map(|group| group.iter().map(|module| shown(module)).collect()).collect();
    assert!(found.is_empty(), "these files import each other: {found:#?}");
}

/// A folder is a room: what goes out of it and comes back in is a circle, too.
#[test]
fn no_circle_of_rooms_comes_back() {
    let house = House::read();
    let is_folder = |module: &Module| house.files.keys().any(|other| other.len() > module.len() && other.starts_with(module));
    // A file that stands in a floor's own folder is a room by itself.
    let rooms: BTreeMap<&Module, Module> = house
        .files
        .keys()
        .map(|module| (module, if module.len() > 1 && is_folder(&module[..2].to_vec()) { module[..2].to_vec() } else { module.clone() }))
        .collect();
    let mut arrows: BTreeMap<&Module, BTreeSet<&Module>> = BTreeMap::new();
    for (from, to) in house.arrows() {
        let from = &rooms[from];
        let others = to.into_iter().map(|to| &rooms[to]).filter(|to| *to != from);
        arrows.entry(from).or_default().extend(others);
    }
    let found: Vec<Vec<String>> = circles(&arrows).iter().map(|group| group.iter().map(|module| shown(module)).collect()).collect();
    assert!(found.is_empty(), "these rooms import each other: {found:#?}");
}

/// Below the command line nothing prints, and nothing asks for the time or the environment: what it needs is handed down.
#[test]
fn only_the_command_line_prints_or_looks_at_the_clock() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let words = [
        "println!",
        "print!",
        "SystemTime::now",
        "Instant::now",
        "env::var",
        "env::args",
        "current_dir",
        "io::stdout",
        "io::stderr",
        "io::stdin",
    ];
    let mut found = Vec::new();
    for module in House::read().files.keys().filter(|module| module.first().is_some_and(|floor| floor != "cli")) {
        let text = fs::read_to_string(file_of(&root, module)).expect("it was read");
        let code = text.split("#[cfg(test)]\nmod ").next().unwrap_or(&text);
        let lines = code.lines().enumerate().filter(|(_, line)| !line.trim_start().starts_with("//"));
        let said = lines.filter(|(_, line)| words.iter().any(|word| line.contains(word)));
        found.extend(said.map(|(number, line)| format!("{}:{}: {}", shown(module), number + 1, line.trim())));
    }
    assert!(found.is_empty(), "{found:#?}");
}

/// Each file can be held in the head.
#[test]
fn no_file_swells() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut long = Vec::new();
    for module in House::read().files.keys() {
        let lines = fs::read_to_string(if module.is_empty() { root.join("lib.rs") } else { file_of(&root, module) })
            .expect("it was read")
            .lines()
            .count();
        if lines > 430 {
            long.push(format!("{}: {lines} lines", shown(module)));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}
