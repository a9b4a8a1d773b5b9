//! What is wrong with a configuration, where, and what to write instead.
//!
//! Checks add to [`Findings`] and go on: an operator who fixes one typing error per run has been sent round the houses.
//! A finding knows its [`Place`] (file, offset, key path); only at the end are offsets turned into lines and columns.
//! Nothing here ever repeats a line of the file: it may hold the key of a DNSBL.

use std::fmt;
use std::path::{Path, PathBuf};

use super::tree::SourceFile;
use super::{Certificate, Origin};

/// Where something stands: file by number, offset in octets, and the key path that leads there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) file: usize,
    pub(crate) offset: usize,
    pub(crate) path: String,
}

impl Place {
    /// The place of `key` below this one, for something that is missing: same position, longer path.
    pub(crate) fn key(&self, key: &str) -> Self {
        Self { path: join(&self.path, key), ..self.clone() }
    }
}

/// `parent.key`, with the key quoted where TOML would ask for it.
pub(crate) fn join(parent: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    let dot = if parent.is_empty() { "" } else { "." };
    if bare { format!("{parent}{dot}{key}") } else { format!("{parent}{dot}{key:?}") }
}

#[derive(Debug)]
struct Finding {
    place: Place,
    what: String,
    hint: String,
}

/// Mistakes and warnings as they are found.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    mistakes: Vec<Finding>,
    warnings: Vec<Finding>,
    compared: usize,
}

/// Names compared for suggestions in one run. A renamed herd of thousands, each looked for among thousands, would keep
/// the operator waiting; the first few hundred hints say it all.
const COMPARISONS: usize = 250_000;

impl Findings {
    /// As [`suggest`], for names of which there may be thousands: silent once many have been compared.
    pub(crate) fn suggest_name(&mut self, name: &str, known: &[&str]) -> String {
        self.compared = self.compared.saturating_add(known.len());
        // One look through any herd is always granted.
        if self.compared > COMPARISONS && self.compared != known.len() {
            return String::new();
        }
        suggest(name, known.iter().copied())
    }

    /// Adds a mistake; an empty hint is left out of the message.
    pub(crate) fn mistake(&mut self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.mistakes.push(Finding { place: place.clone(), what: what.into(), hint: hint.into() });
    }

    /// Adds a warning: it works, but hardly as meant.
    pub(crate) fn warning(&mut self, place: &Place, what: impl Into<String>, hint: impl Into<String>) {
        self.warnings.push(Finding { place: place.clone(), what: what.into(), hint: hint.into() });
    }

    /// Whether no mistake was found so far.
    pub(crate) fn is_clean(&self) -> bool {
        self.mistakes.is_empty()
    }

    /// Turns offsets into lines and columns, in the order of the files.
    pub(crate) fn locate(self, files: &[SourceFile]) -> (Vec<Mistake>, Vec<Mistake>) {
        let lines = LineTable::new(files);
        let locate = |mut list: Vec<Finding>| -> Vec<Mistake> {
            list.sort_by_key(|finding| (finding.place.file, finding.place.offset));
            let mut located: Vec<Mistake> = list.into_iter().map(|finding| lines.mistake(finding)).collect();
            located.dedup();
            located
        };
        (locate(self.mistakes), locate(self.warnings))
    }
}

/// Line starts of every file, so that a thousand mistakes do not mean a thousand walks through the text.
pub(crate) struct LineTable<'a> {
    files: &'a [SourceFile],
    starts: Vec<Vec<usize>>,
}

impl<'a> LineTable<'a> {
    pub(crate) fn new(files: &'a [SourceFile]) -> Self {
        let starts =
            |file: &SourceFile| std::iter::once(0).chain(file.text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { files, starts: files.iter().map(starts).collect() }
    }

    /// Line and column (in characters) of an offset, both from 1.
    pub(crate) fn position(&self, file: usize, offset: usize) -> (usize, usize) {
        let (Some(source), Some(starts)) = (self.files.get(file), self.starts.get(file)) else { return (1, 1) };
        let line = starts.partition_point(|start| *start <= offset).max(1);
        let before = source.text.get(starts[line - 1]..offset).unwrap_or("");
        (line, before.chars().count() + 1)
    }

    /// `file:line`, for naming a second place in a message.
    pub(crate) fn name(&self, place: &Place) -> String {
        let (line, _) = self.position(place.file, place.offset);
        let file = self.files.get(place.file).map(|f| f.path.display().to_string()).unwrap_or_default();
        format!("{file}:{line}")
    }

    /// The directory of the file in which something is written.
    pub(crate) fn directory(&self, place: &Place) -> &'a Path {
        self.files.get(place.file).and_then(|file| file.path.parent()).unwrap_or(Path::new(""))
    }

    fn mistake(&self, finding: Finding) -> Mistake {
        let (line, column) = self.position(finding.place.file, finding.place.offset);
        let file = self.files.get(finding.place.file).map(|f| f.path.clone()).unwrap_or_default();
        let Finding { place, what, hint } = finding;
        Mistake { file, line, column, path: place.path, what, hint }
    }
}

/// One thing that is wrong (or, as a warning, odd).
///
/// Displayed as `remuda.toml:12:8: pool.marketing.active[1]: no binding "mat2"; did you mean "mta2"?`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The file, as it was named by the operator.
    pub file: PathBuf,
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// Key path such as `pool.marketing.active[1].weight`; empty for errors of TOML syntax.
    pub path: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead; may be empty.
    pub hint: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file.display(), self.line, self.column)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        if !self.hint.is_empty() {
            write!(f, "; {}", self.hint)?;
        }
        Ok(())
    }
}

/// Everything that is wrong, in the order of files and lines. Displayed one per line.
#[derive(Clone, Debug, Default, PartialEq, Eq, thiserror::Error)]
#[error("{}", lines(.mistakes))]
pub struct Mistakes {
    /// Never empty when returned as an error.
    pub mistakes: Vec<Mistake>,
    /// What was odd besides; not part of the displayed text.
    pub warnings: Vec<Mistake>,
    /// What else can be checked in the same run.
    pub named: Box<NamedFiles>,
}

/// Other files that a configuration names, as far as they could be made out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamedFiles {
    /// Those of `classify.rules`.
    pub rules: Vec<PathBuf>,
    /// File and line where `classify.rules` is written.
    pub rules_at: Option<Origin>,
    /// `feedback.key_file`, where there is a `[feedback]`.
    pub key_file: Option<PathBuf>,
    /// `server.state_dir`, which is made at the start; empty where it is not known.
    pub state_dir: PathBuf,
    /// `server.users_file`, where it is named, and where that is written.
    pub users_file: Option<(PathBuf, Option<Origin>)>,
    /// Each `[certificate.NAME]`.
    pub certificates: Vec<Certificate>,
    /// `monitor.zone.NAME.key_file` of each keyed zone.
    pub zone_keys: Vec<ZoneKeyFile>,
    /// Those of `[alerts]` and `[feed]` that are read when somebody is told or asked.
    pub read_later: Vec<LaterFile>,
}

/// A file that is read, again and again, while the program runs: what is wrong with it keeps no relay from starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LaterFile {
    /// Key that names it.
    pub key: String,
    /// The file.
    pub file: PathBuf,
    /// What is in it.
    pub holds: Holds,
    /// File and line where it is named.
    pub at: Option<Origin>,
}

/// What is in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holds {
    /// A key, a token, a password.
    Secret,
    /// The first of a row of tokens: once it was used, the file may be gone.
    FirstToken,
    /// Certificates of authorities (PEM).
    Authorities,
}

/// The file that holds the key of a zone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneKeyFile {
    /// Whose.
    pub zone: crate::message::ZoneName,
    /// The file.
    pub file: PathBuf,
    /// File and line where it is named.
    pub at: Option<Origin>,
}

fn lines(mistakes: &[Mistake]) -> String {
    mistakes.iter().map(Mistake::to_string).collect::<Vec<_>>().join("\n")
}

/// Says which of `known` was meant by `word`, or lists them all when none is near and they are few.
pub(crate) fn suggest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    if let Some(near) = nearest(word, &known) {
        return format!("did you mean {near:?}?");
    }
    if known.is_empty() || known.len() > 16 {
        return String::new();
    }
    format!("known: {}", known.join(", "))
}

/// The known word nearest to `word`, if it is near enough to be what was meant.
fn nearest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = word.to_lowercase();
    let length = lower.chars().count();
    let allowed = (length / 3).clamp(1, 4);
    let by_distance = known
        .iter()
        .filter(|candidate| candidate.chars().count().abs_diff(length) <= allowed)
        .map(|candidate| (distance(&lower, &candidate.to_lowercase()), *candidate))
        .filter(|(far, candidate)| *far <= allowed && *far < candidate.chars().count())
        .min_by_key(|(far, _)| *far);
    if let Some((_, near)) = by_distance {
        return Some(near);
    }
    // `ehlo` for `ehlo_hostname`, `max_connections` for `max_outbound_connections`: a part of the words is right.
    let parts: Vec<&str> = lower.split(['_', '-']).filter(|part| part.len() > 2).collect();
    let mut holding = known.iter().filter(|candidate| {
        !parts.is_empty() && parts.iter().all(|part| candidate.split(['_', '-']).any(|c| c == *part))
    });
    holding.next().filter(|_| holding.next().is_none()).copied()
}

/// Edit distance in which two neighbours that changed places count once. Long words are not compared: they are no
/// typing errors, and the table would be large.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(65).collect(), b.chars().take(65).collect());
    if a.len() > 64 || b.len() > 64 {
        return usize::MAX;
    }
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let change = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = change.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(before[j - 2] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suggestions_find_what_was_meant() {
        let keys = ["bind_address", "ehlo_hostname", "max_outbound_connections", "daily_cap", "warmup"];
        for (typed, meant) in [
            ("bind_adress", "bind_address"),
            ("dayli_cap", "daily_cap"),
            ("Daily_Cap", "daily_cap"),
            ("warm_up", "warmup"),
            ("ehlo", "ehlo_hostname"),
            ("max_connections", "max_outbound_connections"),
        ] {
            assert_eq!(suggest(typed, keys), format!("did you mean {meant:?}?"), "{typed}");
        }
        assert_eq!(suggest("mat2", ["mta1", "mta2"]), "did you mean \"mta2\"?");
        assert_eq!(suggest("zzz", ["mta1", "mta2"]), "known: mta1, mta2");
        assert_eq!(suggest("b", ["a"]), "known: a", "one letter is no near miss of another");
        assert_eq!(suggest("zzz", []), "");
    }

    #[test]
    fn neighbours_that_changed_places_count_once() {
        assert_eq!(distance("mat2", "mta2"), 1);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("abc", "abc"), 0);
        assert_eq!(distance(&"x".repeat(100), "x"), usize::MAX);
    }

    #[test]
    fn positions_count_characters_from_one() {
        let files = [SourceFile { path: "a.toml".into(), text: "ä = 1\nbö = 2".into() }];
        let table = LineTable::new(&files);
        assert_eq!(table.position(0, 0), (1, 1));
        assert_eq!(table.position(0, "ä = 1\nbö".len()), (2, 3));
        assert_eq!(table.position(0, 9_999), (2, 1), "an offset outside is no panic");
        assert_eq!(table.position(7, 0), (1, 1));
    }
}
