//! What others wrote, on a terminal: nothing in it may move the cursor, change colours, forge a line or turn the
//! direction of writing. Receivers choose the text of their replies, and operators look at it here.

use std::io::IsTerminal;

use crate::outcome::template::is_invisible;

/// Columns of a terminal that does not say.
const USUAL: usize = 80;

/// `text` on one line, with everything that is not simply shown written out (`\u{1b}`).
pub(super) fn visible(text: &str) -> String {
    crate::outcome::template::visible(text.chars())
}

/// A JSON document as the same document, with everything that is not simply shown escaped as JSON does.
pub(super) fn visible_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            // Between values; within them JSON has them escaped already.
            '\n' | '\r' | '\t' => out.push(' '),
            c if is_invisible(c) => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
            }
            c => out.push(c),
        }
    }
    out
}

/// Columns of the terminal on standard output; `None` where it is none and nothing has to fit.
pub(super) fn columns() -> Option<usize> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let said = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
    Some(said.or_else(asked).filter(|columns| *columns > 0).unwrap_or(USUAL))
}

fn asked() -> Option<usize> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes a winsize to the address it is given, which is one that lives on.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (done == 0).then_some(usize::from(size.ws_col))
}

/// `text` in lines of at most `width` characters, broken at spaces where there are any.
pub(super) fn wrapped(text: &str, width: usize) -> Vec<&str> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some((end, _)) = rest.char_indices().nth(width.max(1)) {
        let space = rest[..end].rfind(' ').filter(|at| *at > 0 && !rest[end..].starts_with(' '));
        let (line, more) = rest.split_at(space.unwrap_or(end));
        lines.push(line.trim_end_matches(' '));
        rest = more.trim_start_matches(' ');
    }
    lines.push(rest);
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_direction_marks_are_written_out() {
        let text = "no\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\r\nforged\u{202e}\u{2066}\u{200f}\u{85}\u{2028}\u{feff}\u{e0041} größer";
        let shown = visible(text);
        assert_eq!(
            shown,
            "no\\u{1b}[2J\\u{1b}]0;x\\u{7}\\u{9b}31m\\u{d}\\u{a}forged\\u{202e}\\u{2066}\\u{200f}\\u{85}\\u{2028}\\u{feff}\\u{e0041} größer"
        );
        assert!(!shown.chars().any(is_invisible));
    }

    #[test]
    fn json_stays_the_same_document() {
        let value = serde_json::json!({ "a": "x\u{1b}\u{9b}\u{202e}\u{e0041}\ny", "b": ["größer", 1] });
        let shown = visible_json(&serde_json::to_string_pretty(&value).expect("serialises"));
        assert!(!shown.chars().any(is_invisible), "{shown}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("is JSON"), value);
    }

    #[test]
    fn lines_break_at_spaces_and_lose_nothing_else() {
        for (text, wanted) in [
            ("", [""].as_slice()),
            ("one two three", &["one two", "three"]),
            ("one two", &["one two"]),
            ("onetwothree", &["onetwoth", "ree"]),
            ("one twothreefour", &["one", "twothree", "four"]),
            ("größer größer", &["größer", "größer"]),
        ] {
            assert_eq!(wrapped(text, 8), wanted);
        }
        assert_eq!(wrapped("ab", 0), ["a", "b"]);
    }
}
