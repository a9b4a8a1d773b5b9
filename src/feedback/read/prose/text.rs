//! The text of a bounce as lines: without the copy of the message, quotations and summaries of its header.

use super::words;
use crate::feedback::read::fields::split_field;

/// Lines of one text that are looked at.
const LINES_MAX: usize = 4000;
/// Octets of one line that are looked at.
const LINE_MAX: usize = 2000;

/// Fields of a message's header. The second half only stands in a whole one, not in a summary for people.
const SUMMARY: &[&str] = &["from", "to", "cc", "subject", "date", "sent", "reply-to", "sender", "message-id"];
const WHOLE: &[&str] =
    &["received", "return-path", "mime-version", "content-type", "dkim-signature", "x-mailer", "delivered-to"];

/// The lines that are the report's own. What is left out in their midst becomes an empty line.
pub(super) fn own_lines(text: &str) -> Vec<&str> {
    let all: Vec<&str> = text.lines().take(LINES_MAX).map(bounded).collect();
    let (mut own, mut at) = (Vec::with_capacity(all.len()), 0);
    while at < all.len() {
        let line = all[at];
        if is_separator(line) {
            break;
        }
        match header_at(&all[at..]) {
            Some((_, true)) => break,
            Some((lines, false)) => {
                own.push("");
                at += lines;
                continue;
            }
            None => {}
        }
        // `>>>` stands before what a client said; `>` before a quotation.
        let quoted = line.starts_with('>') && !line.starts_with(">>>");
        own.push(if quoted { "" } else { line });
        at += 1;
    }
    own
}

fn bounded(line: &str) -> &str {
    let mut end = line.len().min(LINE_MAX);
    while !line.is_char_boundary(end) {
        end -= 1;
    }
    &line[..end]
}

/// Whether the copy of the message begins below this line.
fn is_separator(line: &str) -> bool {
    let text = line.trim();
    if text.len() > 120 {
        return false;
    }
    let framed = text.starts_with(['-', '=', '_', '*', '#', '~', '+', '—'])
        && text.chars().nth(1).is_some_and(|c| !c.is_alphanumeric());
    (framed || text.ends_with([':', '：'])) && words::is_copy(&text.to_lowercase())
}

/// Whether a header, or a summary of one, begins here: how many lines, and whether it is a whole one.
fn header_at(lines: &[&str]) -> Option<(usize, bool)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let margin = indent(lines[0]);
    let (mut count, mut known, mut whole) = (0, 0, false);
    for line in lines.iter().take(200) {
        if line.trim().is_empty() {
            break;
        }
        let field = split_field(line.trim_start().as_bytes()).filter(|_| indent(line) == margin);
        match field {
            Some((name, _)) => {
                known += usize::from(SUMMARY.contains(&name.as_str()) || WHOLE.contains(&name.as_str()));
                whole |= WHOLE.contains(&name.as_str());
                // A label among the fields belongs to the report.
                if known == 0 {
                    return None;
                }
            }
            None if count > 0 && indent(line) > margin => {}
            None => break,
        }
        count += 1;
    }
    (known >= 3).then_some((count, whole && margin == 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(text: &str) -> Vec<&str> {
        own_lines(text).into_iter().filter(|line| !line.is_empty()).collect()
    }

    #[test]
    fn the_copy_of_the_message_is_cut_off() {
        for copy in [
            "--- Below this line is a copy of the message.\nx",
            "------ This is a copy of the message, including all the headers. ------\nx",
            "   ----- Original message follows -----\nx",
            "    Below is a copy of the original message:\nx",
            "\nReceived: from a\n\tby b\nFrom: x\nTo: y\n\nx",
            "---- Kopfzeilen der ursprünglichen Nachricht ----\nx",
        ] {
            assert_eq!(own(&format!("one\n{copy}")), ["one"], "{copy}");
        }
        let transcript = "   ----- Transcript of session follows -----";
        assert_eq!(own(transcript), [transcript]);
    }

    #[test]
    fn quotations_and_summaries_are_passed_over() {
        let text = "a\n> quoted\n>>> RCPT TO:<x>\n  From: a\n  To: b\n  Subject: c\n\n  Reason: d\n  Date: e\n";
        assert_eq!(own(text), ["a", ">>> RCPT TO:<x>", "  Reason: d", "  Date: e"]);
    }
}
