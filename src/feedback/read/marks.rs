//! Where the texts with the shape of a mark stand in a mail ([`super::super::marks`] says how they got there).
//!
//! Most trusted first: the envelope id, which only a server that took part in the dialogue knows; our header field in
//! what was returned; last a return path, which also strangers see. All of them may be forged; opening them tells.

use super::Place;
use super::fields::Fields;
use super::typed::from_xtext;
use crate::feedback::marks::{has_shape, of_return_path};
use crate::feedback::token;

/// Marks of one mail that are handed on.
const MARKS_MAX: usize = 16;
/// Fields of the report that hold the address it was sent to.
const ADDRESSED: &[&str] = &["to", "delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "resent-to"];

/// What a mail is searched in.
pub(super) struct Sources<'a> {
    /// Header of the report.
    pub outer: &'a Fields,
    /// Fields on the message of machine-readable parts.
    pub reports: Vec<&'a Fields>,
    /// Headers of what was returned.
    pub returned: &'a [Fields],
    /// What people read, uncut.
    pub prose: &'a str,
}

/// Searches; `header` is the name of our field.
pub(super) fn find(sources: &Sources<'_>, header: &str) -> Vec<(Place, String)> {
    let mut found = Found(Vec::new());
    for value in sources.reports.iter().flat_map(|fields| fields.all("original-envelope-id")) {
        let id = from_xtext(value.trim_matches(['<', '>', '"', ' ']));
        found.add(Place::EnvelopeId, &id);
    }
    let name = header.to_ascii_lowercase();
    for value in sources.returned.iter().flat_map(|fields| fields.all(&name)) {
        found.add(Place::Header, first_word(value));
    }
    inline_fields(sources.prose, &name).for_each(|value| found.add(Place::Header, value));
    for fields in &sources.reports {
        // Also `X-Postfix-Sender` and its like: any address of a field on the message.
        fields.0.iter().for_each(|(_, value)| found.add_paths(value));
    }
    for fields in sources.returned {
        fields.all("return-path").for_each(|value| found.add_paths(value));
    }
    for value in ADDRESSED.iter().flat_map(|name| sources.outer.all(name)) {
        found.add_paths(value);
    }
    found.add_paths(sources.prose);
    found.0
}

struct Found(Vec<(Place, String)>);

impl Found {
    fn add(&mut self, place: Place, text: &str) {
        let new = !self.0.iter().any(|(_, seen)| seen.eq_ignore_ascii_case(text));
        if new && has_shape(text) && self.0.len() < MARKS_MAX {
            self.0.push((place, text.to_owned()));
        }
    }

    /// Adds the marks of all `b-MARK@` in a text.
    fn add_paths(&mut self, text: &str) {
        // A mark is ASCII, so a local part that holds one lies wholly on character boundaries.
        const LOCAL: usize = 2 + token::LENGTH;
        for (at, _) in text.match_indices('@') {
            if let Some(mark) = at.checked_sub(LOCAL).and_then(|start| text.get(start..at)).and_then(of_return_path) {
                self.add(Place::ReturnPath, mark);
            }
        }
    }
}

/// Values of a field quoted in prose: with `> ` before it, indented, or folded behind its name.
fn inline_fields<'a>(prose: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    let bare = |line: &'a str| line.trim_start_matches(['>', ' ', '\t', '|']);
    let mut lines = prose.lines().peekable();
    std::iter::from_fn(move || {
        let line = lines.next()?;
        let (before, after) = bare(line).split_once(':').unwrap_or(("", ""));
        if name.is_empty() || !before.trim_end().eq_ignore_ascii_case(name) {
            return Some("");
        }
        match first_word(after) {
            "" => Some(lines.peek().map_or("", |next| first_word(bare(next)))),
            word => Some(word),
        }
    })
    .filter(|word| !word.is_empty())
}

fn first_word(text: &str) -> &str {
    text.split_whitespace().next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(letter: char) -> String {
        letter.to_string().repeat(token::LENGTH)
    }

    fn fields(text: &str) -> Fields {
        Fields::section(text.as_bytes()).0
    }

    #[test]
    fn most_trusted_first_and_each_once() {
        let outer = fields(&format!("To: <b-{}@x>\nSubject: {}\n", mark('d'), mark('z')));
        let report = fields(&format!("Original-Envelope-Id: {}\nOriginal-Mail-From: <b-{}@x>\n", mark('a'), mark('c')));
        let returned = [fields(&format!("X-REMUDA-ID: {}\nReturn-Path: <b-{}@x>\n", mark('b'), mark('a')))];
        let prose = format!("é@x b-{}@\n> x-remuda-id:\n>   {}\nX-Remuda-Id: short\n", mark('f'), mark('e'));
        let sources = Sources { outer: &outer, reports: vec![&report], returned: &returned, prose: &prose };
        let expected = [
            (Place::EnvelopeId, mark('a')),
            (Place::Header, mark('b')),
            (Place::Header, mark('e')),
            (Place::ReturnPath, mark('c')),
            (Place::ReturnPath, mark('d')),
            (Place::ReturnPath, mark('f')),
        ];
        assert_eq!(find(&sources, "X-Remuda-Id"), expected);
    }

    #[test]
    fn no_more_than_sixteen() {
        let prose: String = ('a'..='z').map(|letter| format!("b-{}@x ", mark(letter))).collect();
        let sources = Sources { outer: &fields(""), reports: Vec::new(), returned: &[], prose: &prose };
        assert_eq!(find(&sources, "x").len(), 16);
    }
}
