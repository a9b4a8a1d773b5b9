//! The SMTP reply, or else the reason, that a block of lines quotes.

use super::{address, words};
use crate::feedback::read::typed::enhanced;

/// Octets of a quoted reply or reason that are kept.
const TEXT_MAX: usize = 1000;
/// Lines of one.
const LINES_MAX: usize = 20;

/// A reply that a text quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    /// The reply on one line.
    pub text: String,
    /// The line in which it begins.
    pub line: usize,
    /// The octet of that line at which it begins.
    pub start: usize,
}

/// The replies quoted in the lines.
pub(super) fn all(lines: &[&str]) -> Vec<Quoted> {
    let starts = lines.iter().enumerate().filter_map(|(line, text)| Some((line, start_of(text)?)));
    starts.map(|(line, start)| Quoted { text: whole(lines, line, start), line, start }).collect()
}

/// Whether a line quotes a reply.
pub(super) fn is_in(line: &str) -> bool {
    start_of(line).is_some()
}

/// The reply to `RCPT TO:<address>` in a transcript.
pub(super) fn to_command(lines: &[&str], address: &str) -> Option<Quoted> {
    let command = |line: &&str| {
        let line = line.to_lowercase();
        line.contains("rcpt to:") && address::is_named(&line, address)
    };
    let at = lines.iter().position(command)?;
    let (line, text) = lines.iter().enumerate().skip(at + 1).take(4).find(|(_, line)| !line.trim().is_empty())?;
    start_of(text).map(|start| Quoted { text: whole(lines, line, start), line, start })
}

/// What a label announces as the reason: behind it, or below it.
pub(super) fn labelled(lines: &[&str]) -> Option<String> {
    for (at, line) in lines.iter().enumerate() {
        let Some((label, value)) = line.split_once([':', '：']).or_else(|| bare_label(line)) else { continue };
        if label.len() > 120 || !words::is_reason(&label.to_lowercase()) {
            continue;
        }
        let below = &lines[at + 1..];
        let text = match value.trim() {
            "" => paragraph(below),
            value => bounded(format!("{value} {}", rest_of_paragraph(below)).trim().to_owned()),
        };
        // `(reason: …)`
        let inside = text.strip_suffix(')').filter(|_| label.trim_start().starts_with('(') && !label.contains(')'));
        let text = inside.map(str::to_owned).unwrap_or(text);
        if !text.is_empty() {
            return Some(text);
        }
    }
    None
}

/// A line of dashes around a label: `-------server message`.
fn bare_label(line: &str) -> Option<(&str, &str)> {
    let label = line.trim_matches(['-', '=', '*', ' ']);
    (line.starts_with("--") && !label.is_empty() && label.len() < 40).then_some((label, ""))
}

/// The first paragraph, on one line.
pub(super) fn paragraph(lines: &[&str]) -> String {
    let from = lines.iter().position(|line| !line.trim().is_empty()).unwrap_or(lines.len());
    rest_of_paragraph(&lines[from..])
}

fn rest_of_paragraph(lines: &[&str]) -> String {
    let end = lines.iter().take(LINES_MAX).take_while(|line| !line.trim().is_empty());
    let kept = end.map(|line| line.trim()).filter(|line| !is_alias_note(line));
    bounded(kept.collect::<Vec<_>>().join(" "))
}

/// Whether a line only says from which address this one was made.
pub(super) fn is_alias_note(line: &str) -> bool {
    let line = line.trim();
    line.starts_with("(generated from") || line.starts_with("(expanded from")
}

/// Where an enhanced code leads a line: from there to the end of its paragraph; or the paragraph around one.
pub(super) fn with_enhanced(lines: &[&str]) -> Option<String> {
    let at = lines.iter().position(|line| enhanced(line).is_some_and(|code| !code.starts_with('2')))?;
    let leads =
        enhanced(lines[at]).is_some_and(|code| lines[at].trim_start_matches(['#', ' ', '\t']).starts_with(code));
    let from = if leads {
        at
    } else {
        lines[..at].iter().rposition(|line| line.trim().is_empty()).map_or(0, |empty| empty + 1)
    };
    Some(rest_of_paragraph(&lines[from..]))
}

/// Where a reply with a code of 4yz or 5yz begins in a line.
fn start_of(line: &str) -> Option<usize> {
    if is_command(line) {
        return None;
    }
    let bytes = line.as_bytes();
    (0..bytes.len().saturating_sub(2)).find(|&at| {
        matches!(bytes[at], b'4' | b'5')
            && bytes[at + 1].is_ascii_digit()
            && bytes[at + 2].is_ascii_digit()
            && matches!(bytes.get(at + 3), None | Some(b' ' | b'-' | b'\t'))
            && announced(&line[..at], bytes.get(at + 3).is_none())
    })
}

/// Whether what stands before three digits makes them a reply code.
fn announced(before: &str, alone: bool) -> bool {
    const WORDS: &[&str] = &[
        "error", "code", "said", "returned", "was", "with", "reply", "response", "status", "smtp", "replied", "says",
        "message",
    ];
    let before = before.trim_end_matches([' ', '\t']);
    let Some(last) = before.chars().next_back() else { return true };
    let log_time = before.ends_with(|c: char| c.is_ascii_digit());
    if matches!(last, ':' | '[' | '(' | '\'' | '"' | '#' | '>' | '=' | '；' | '：' | '「' | '“' | '‘' | '«')
        || before.ends_with("<--")
        || before.ends_with("<<<")
        || before.ends_with("<-")
    {
        return true;
    }
    let word = before.rsplit(|c: char| !c.is_alphanumeric()).next().unwrap_or_default().to_lowercase();
    // `550 550 5.1.1` is found at its first code.
    !alone && !log_time && (WORDS.contains(&word.as_str()) || before.ends_with(',') || before.ends_with("..."))
}

/// Whether a line of a transcript is what the client said.
fn is_command(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with(">>>") || line.contains("--> ") || line.starts_with("C: ")
}

fn prefix(line: &str) -> Option<&'static str> {
    ["<<<", "S: "].into_iter().find(|prefix| line.trim_start().starts_with(prefix))
}

/// The reply that begins in line `at`, with the lines that go on with it, on one line.
fn whole(lines: &[&str], at: usize, start: usize) -> String {
    let mut text = lines[at][start..].trim().to_owned();
    let (code, quoted) = (text.get(..3).unwrap_or_default().to_owned(), prefix(lines[at]));
    for line in lines[at + 1..].iter().take(LINES_MAX) {
        let part = match quoted {
            Some(mark) => match line.trim_start().strip_prefix(mark) {
                Some(part) => part.trim(),
                None => break,
            },
            None => line.trim(),
        };
        let other_code = start_of(part) == Some(0) && !part.starts_with(&code);
        if part.is_empty() || other_code || text.len() > TEXT_MAX || (quoted.is_none() && is_end(part)) {
            break;
        }
        text.push(' ');
        text.push_str(part);
    }
    let opener = lines[at][..start].chars().next_back();
    bounded(closed(text, opener))
}

fn is_end(line: &str) -> bool {
    let lower = line.to_lowercase();
    line.starts_with("---")
        || line.starts_with(">>>")
        || line.starts_with("<<<")
        || line.contains("--> ")
        || line.contains("<-- ")
        || lower.starts_with("giving up on")
        || lower.starts_with("i'm not going to try")
        || lower.starts_with("no action is required")
        || address::heading(line).is_some_and(|headed| !line.starts_with('<') || headed.rest.is_empty())
}

/// Cuts a reply where the bracket or quotation mark before it closes, and what Postfix adds.
fn closed(mut text: String, opener: Option<char>) -> String {
    if let Some(at) = text.rfind("(in reply to ") {
        text.truncate(at);
    }
    let end = match opener {
        Some('(') => closing(&text, '(', ')'),
        Some('[') => closing(&text, '[', ']'),
        Some('\'') => text.rfind('\''),
        Some('"') => text.rfind('"'),
        Some('「') => text.find('」'),
        // What was opened earlier in the line closes at its end.
        _ => [('(', ')'), ('[', ']')].into_iter().find_map(|(open, close)| {
            closing(&text, open, close).filter(|end| text[end + 1..].trim_matches(['.', ' ']).is_empty())
        }),
    };
    if let Some(end) = end.filter(|end| *end > 3) {
        text.truncate(end);
    }
    text.trim_end().to_owned()
}

fn closing(text: &str, open: char, close: char) -> Option<usize> {
    let mut depth = 0usize;
    text.char_indices().find_map(|(at, c)| {
        if c == open {
            depth += 1;
        } else if c == close {
            if depth == 0 {
                return Some(at);
            }
            depth -= 1;
        }
        None
    })
}

fn bounded(mut text: String) -> String {
    let mut end = text.len().min(TEXT_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Option<String> {
        let found = all(&text.lines().collect::<Vec<_>>());
        let named = found.iter().find(|quoted| address::is_named(&quoted.text, "a@x")).or(found.first());
        named.map(|quoted| quoted.text.clone())
    }

    #[test]
    fn replies_are_found_where_somebody_quotes_them() {
        for (text, reply) in [
            ("host mx [192.0.2.1]: 550 5.1.1 no\n  such user", "550 5.1.1 no such user"),
            ("  550-one\n  550-two\n  550 three\n\nfour", "550-one 550-two 550 three"),
            ("The error was: 550 550 5.1.1 User unknown (state 14).", "550 550 5.1.1 User unknown (state 14)."),
            ("(reason: 554 5.7.1 no)", "554 5.7.1 no"),
            ("error message: [554 5.4.6 hops [x]]. Bye", "554 5.4.6 hops [x]"),
            ("returned '550 5.4.1 it's no'", "550 5.4.1 it's no"),
            (">>> RCPT TO:<a@x>\n<<< 571 5.7.1 no,\n<<< no\n554 5.0.0 other", "571 5.7.1 no, no"),
            ("550 first\n\n554 <a@x>... second", "554 <a@x>... second"),
            ("said: 550 x (in reply to RCPT TO\n command)", "550 x"),
            ("Thu 2010-09-09 10:30:31: <-- 550 no\nThu: --> QUIT", "550 no"),
            ("Remote host said: 550 no\nGiving up on 192.0.2.1.", "550 no"),
        ] {
            assert_eq!(of(text).as_deref(), Some(reply), "{text}");
        }
        for text in ["waited for 500 hours", "port 425 of it", "call +44 555 123 456", "1.550 x", "in 2550 days"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn a_label_announces_the_reason_beside_or_below_it() {
        let of = |text: &str| labelled(&text.lines().collect::<Vec<_>>());
        assert_eq!(of("Reason: over\n quota\n\nx").as_deref(), Some("over quota"));
        assert_eq!(of("for the following reason:\n\n  gone away").as_deref(), Some("gone away"));
        assert_eq!(of("Grund: Postfach voll").as_deref(), Some("Postfach voll"));
        assert_eq!(of("Date: today"), None);
    }
}
