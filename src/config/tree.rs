//! Files of TOML as one tree in which every value knows where it stands.
//!
//! The parser's own tables are sorted by name and know only offsets; here entries keep the order of the file (it decides
//! which provider pattern wins), values remember their file, and the files of an `include` are laid over one another:
//! tables join, `[[listener]]` and `[[destination_route]]` are appended, any other key may be given only once.

use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

use super::mistake::{Findings, LineTable, Place, join};

/// A file of configuration: its name, for messages, and what stands in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// As the operator named it; relative paths in the file are relative to its directory.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    pub(crate) file: usize,
    pub(crate) offset: usize,
    pub(crate) value: Value,
}

#[derive(Clone, Debug)]
pub(crate) enum Value {
    Text(String),
    /// `None` where the number does not fit.
    Integer(Option<i128>),
    Float(f64),
    Bool(bool),
    Datetime(toml::value::Datetime),
    List(Vec<Node>),
    Table(Table),
}

/// Entries in the order of the file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table(pub(crate) Vec<Entry>);

#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) file: usize,
    /// Of the key, not of the value.
    pub(crate) offset: usize,
    pub(crate) node: Node,
}

impl Value {
    /// What it is, as messages name it.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) => "a whole number",
            Self::Float(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Datetime(_) => "a date or time",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

impl Table {
    pub(crate) fn get(&self, key: &str) -> Option<&Entry> {
        self.0.iter().find(|entry| entry.key == key)
    }
}

/// Parses one file. Errors of syntax are mistakes; the tree is what could be read and then not to be trusted.
pub(crate) fn parse(file: usize, source: &SourceFile, out: &mut Findings) -> Table {
    let (table, errors) = DeTable::parse_recoverable(&source.text);
    // One broken line often trips the parser again further down; the first complaints are the ones that help.
    for error in errors.iter().take(3) {
        let offset = error.span().map_or(0, |span| span.start);
        out.mistake(&Place { file, offset, path: String::new() }, format!("TOML: {}", error.message()), "");
    }
    convert_table(file, table.get_ref())
}

fn convert_table(file: usize, table: &DeTable<'_>) -> Table {
    let mut entries: Vec<Entry> = table
        .iter()
        .map(|(key, value)| {
            let offset = key.span().start;
            let mut node = convert(file, value.span().start, value.get_ref());
            // Tables made by a header, or by the dots of a key, have no text of their own: they stand where their name does.
            if node.offset < offset || value.span().is_empty() {
                node.offset = offset;
            }
            Entry { key: key.get_ref().clone().into_owned(), file, offset, node }
        })
        .collect();
    entries.sort_by_key(|entry| entry.offset);
    Table(entries)
}

fn convert(file: usize, offset: usize, value: &DeValue<'_>) -> Node {
    let value = match value {
        DeValue::String(text) => Value::Text(text.clone().into_owned()),
        DeValue::Integer(number) => Value::Integer(i128::from_str_radix(number.as_str(), number.radix()).ok()),
        DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
        DeValue::Boolean(value) => Value::Bool(*value),
        DeValue::Datetime(value) => Value::Datetime(*value),
        DeValue::Array(list) => {
            Value::List(list.iter().map(|item| convert(file, item.span().start, item.get_ref())).collect())
        }
        DeValue::Table(table) => Value::Table(convert_table(file, table)),
    };
    Node { file, offset, value }
}

/// Lists that grow where a second file has them too.
const APPENDED: [&str; 2] = ["listener", "destination_route"];

/// Lays `more` over `base`.
pub(crate) fn merge(base: &mut Table, more: Table, lines: &LineTable<'_>, out: &mut Findings) {
    merge_below("", base, more, lines, out);
}

fn merge_below(path: &str, base: &mut Table, more: Table, lines: &LineTable<'_>, out: &mut Findings) {
    for entry in more.0 {
        let Some(there) = base.0.iter_mut().find(|e| e.key == entry.key) else {
            base.0.push(entry);
            continue;
        };
        let path = join(path, &entry.key);
        let place = Place { file: entry.file, offset: entry.offset, path: path.clone() };
        match (&mut there.node.value, entry.node.value) {
            (Value::Table(base), Value::Table(more)) => merge_below(&path, base, more, lines, out),
            (Value::List(base), Value::List(more)) if APPENDED.contains(&path.as_str()) => base.extend(more),
            _ => {
                let first = Place { file: there.file, offset: there.offset, path };
                out.mistake(&place, format!("already given at {}", lines.name(&first)), "keep one of the two");
            }
        }
    }
}

/// Reads the file system for `include`; the shell has the real one, tests a table.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Whatever keeps it from being read.
    fn read(&mut self, path: &Path) -> std::io::Result<String>;

    /// The names of the files in a directory, without their path, in any order.
    ///
    /// # Errors
    /// Whatever keeps the directory from being read.
    fn list(&mut self, directory: &Path) -> std::io::Result<Vec<String>>;
}

/// Reads `main` and everything it includes, each file once, in the order of their mention.
pub(crate) fn gather(main: &Path, files: &mut dyn Files, out: &mut Findings) -> Vec<SourceFile> {
    let mut gathered: Vec<SourceFile> = Vec::new();
    let mut waiting = std::collections::VecDeque::from([(main.to_owned(), Place::default())]);
    while let Some((path, named_at)) = waiting.pop_front() {
        if gathered.iter().any(|file| same_path(&file.path, &path)) {
            out.mistake(&named_at, format!("{} is included twice", path.display()), "keep one of the two");
            continue;
        }
        let text = match files.read(&path) {
            Ok(text) => text,
            Err(error) => {
                // The main file must be there for its name to be printed before the colon.
                if gathered.is_empty() {
                    gathered.push(SourceFile { path: path.clone(), text: String::new() });
                }
                out.mistake(&named_at, format!("cannot read {}: {error}", path.display()), "");
                continue;
            }
        };
        let source = SourceFile { path, text };
        let number = gathered.len();
        waiting.extend(includes(number, &source, files, out));
        gathered.push(source);
    }
    gathered
}

/// The files one file asks for. Mistakes of its syntax are left to [`parse`].
fn includes(number: usize, source: &SourceFile, files: &mut dyn Files, out: &mut Findings) -> Vec<(PathBuf, Place)> {
    let table = parse(number, source, &mut Findings::default());
    let Some(Entry { node: Node { value: Value::List(list), .. }, .. }) = table.get("include") else {
        return Vec::new();
    };
    let directory = source.path.parent().unwrap_or(Path::new(""));
    let mut found = Vec::new();
    for (index, node) in list.iter().enumerate() {
        let Value::Text(pattern) = &node.value else { continue };
        let place = Place { file: node.file, offset: node.offset, path: format!("include[{index}]") };
        let path = directory.join(pattern);
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        if !name.contains(['*', '?']) {
            found.push((path, place));
            continue;
        }
        let directory = path.parent().unwrap_or(Path::new(""));
        match files.list(directory) {
            Ok(mut names) => {
                names.retain(|candidate| !candidate.starts_with('.') && glob(name.as_bytes(), candidate.as_bytes()));
                names.sort();
                found.extend(names.into_iter().map(|name| (directory.join(name), place.clone())));
            }
            Err(error) => out.mistake(&place, format!("cannot read directory {}: {error}", directory.display()), ""),
        }
    }
    found
}

/// Whether two paths are written alike but for `.` parts.
fn same_path(a: &Path, b: &Path) -> bool {
    let parts = |path: &Path| -> Vec<String> {
        let parts = path.components().filter(|part| !matches!(part, std::path::Component::CurDir));
        parts.map(|part| part.as_os_str().to_string_lossy().into_owned()).collect()
    };
    parts(a) == parts(b)
}

/// `*` for any octets, `?` for one. Goes back at most to the last `*`, so its time is bounded by the product of lengths.
fn glob(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t, mut star) = (0, 0, None);
    while t < text.len() {
        if p < pattern.len() && pattern[p] == b'*' {
            star = Some((p, t));
            p += 1;
        } else if p < pattern.len() && (pattern[p] == b'?' || pattern[p] == text[t]) {
            p += 1;
            t += 1;
        } else if let Some((at, from)) = star {
            star = Some((at, from + 1));
            p = at + 1;
            t = from + 1;
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|b| *b == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, text, yes) in [
            ("*.toml", "a.toml", true),
            ("*.toml", "a.toml.bak", false),
            ("??-*.toml", "10-x.toml", true),
            ("??-*.toml", "1-x.toml", false),
            ("*", "", true),
            ("a*b*c", "aXbYbZc", true),
        ] {
            assert_eq!(glob(pattern.as_bytes(), text.as_bytes()), yes, "{pattern} {text}");
        }
    }

    #[test]
    fn entries_keep_the_order_of_the_file() {
        let source = SourceFile { path: "a".into(), text: "[b.z]\nx = 1\n[b.a]\nx = 1\n[a]\n".into() };
        let mut out = Findings::default();
        let table = parse(0, &source, &mut out);
        let Some(Value::Table(b)) = table.get("b").map(|e| &e.node.value) else { panic!("b is a table") };
        assert_eq!(b.0.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(table.0.iter().map(|e| e.key.as_str()).collect::<Vec<_>>(), ["b", "a"]);
        assert!(out.is_clean());
    }
}
