//! Lines of a report: folded, never too long, and nothing in them that a stranger meant to be a line of its own.

use std::fmt::Write as _;

use crate::clock::Wall;

/// Octets of a reply quoted at most.
const REPLY_MAX: usize = 1000;
/// Column at which lines are folded where they have a space.
const FOLD_AT: usize = 76;
/// Octets of a line without a space, before it is broken anyway; RFC 5322 §2.1.1 allows 998.
pub(super) const WORD_MAX: usize = 900;

/// RFC 5322 §3.3, in UTC.
pub(super) fn date(at: Wall) -> String {
    at.timestamp().strftime("%a, %d %b %Y %H:%M:%S +0000").to_string()
}

/// One line of printable ASCII without runs of spaces, at most [`REPLY_MAX`] octets.
pub(super) fn text(hostile: &str) -> String {
    let mut out = String::new();
    for word in hostile.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !out.is_empty() {
            out.push(' ');
        }
        out.extend(word.chars().map(|c| if c.is_ascii_graphic() { c } else { '?' }));
    }
    // All ASCII by now, so any place is a boundary.
    out.truncate(REPLY_MAX);
    out
}

/// A host name or id: whatever else stands in it is left out.
pub(super) fn word(hostile: &str) -> String {
    hostile.chars().filter(|&c| c.is_ascii_alphanumeric() || ".-_:[]".contains(c)).take(255).collect()
}

/// What stands behind xtext, in one line: control characters are of no use there.
pub(super) fn decoded(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).chars().map(|c| if c.is_control() { '?' } else { c }).take(REPLY_MAX).collect()
}

/// A header field.
pub(super) fn field(out: &mut String, name: &str, value: &str) {
    let start = out.len();
    let _ = write!(out, "{name}:");
    let mut column = out.len() - start;
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if column + 1 + word.len() > FOLD_AT && column > name.len() + 1 {
            out.push_str("\r\n");
            column = 0;
        }
        out.push(' ');
        column = put(out, word, column + 1, "\r\n ");
    }
    out.push_str("\r\n");
}

/// Lines of text, each beginning with `indent`.
pub(super) fn fold(out: &mut String, indent: &str, value: &str) {
    out.push_str(indent);
    let mut column = indent.len();
    let mut begun = false;
    let glue = format!("\r\n{indent}");
    for word in value.split(' ').filter(|word| !word.is_empty()) {
        if begun && column + 1 + word.len() > FOLD_AT {
            out.push_str(&glue);
            column = indent.len();
        } else if begun {
            out.push(' ');
            column += 1;
        }
        begun = true;
        column = put(out, word, column, &glue);
    }
    out.push_str("\r\n");
}

/// Writes a word, broken by `glue` where it would make the line too long; gives the column behind it.
fn put(out: &mut String, word: &str, mut column: usize, glue: &str) -> usize {
    for c in word.chars() {
        if column >= WORD_MAX {
            out.push_str(glue);
            column = glue.len() - 2;
        }
        out.push(c);
        column += c.len_utf8();
    }
    column
}
