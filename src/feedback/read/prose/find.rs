//! Who failed, in the lines of a bounce.
//!
//! From the surest to the least sure, and only as far as needed: lines that are about one address; addresses behind a
//! label or in a sentence that says a delivery failed; `RCPT TO` and replies in a transcript.

use super::{address, reply, words};

/// Recipients of one text that are read.
const MENTIONS_MAX: usize = 100;

/// A recipient, and the lines that are about it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Mention<'a> {
    pub address: String,
    /// The address the message was sent to, where a forward has led to this one.
    pub alias: Option<String>,
    pub block: Vec<&'a str>,
    /// Other recipients have the same lines.
    pub shared: bool,
}

struct At<'a> {
    line: usize,
    address: &'a str,
    rest: &'a str,
}

/// The recipients in the order of the text. `known` are addresses the header names as failed, `own` those of the
/// report's sender and recipient, which prove nothing in a sentence.
pub(super) fn mentions<'a>(lines: &[&'a str], known: &[String], own: &[String]) -> Vec<Mention<'a>> {
    let mut at = headings(lines, known);
    for find in [labelled, in_sentences, in_transcript] {
        if at.is_empty() {
            at = find(lines, own);
        }
    }
    at.truncate(MENTIONS_MAX);
    blocks(lines, &at)
}

fn headings<'a>(lines: &[&'a str], known: &[String]) -> Vec<At<'a>> {
    let found = lines.iter().enumerate().filter_map(|(line, text)| {
        address::heading(text).map(|headed| At { line, address: headed.address, rest: headed.rest })
    });
    let all: Vec<At<'a>> = found.take(MENTIONS_MAX * 4).collect();
    let is_known = |at: &At<'_>| known.iter().any(|address| address.eq_ignore_ascii_case(at.address));
    let is_desk = |at: &At<'_>| {
        let local = at.address.split('@').next().unwrap_or_default().to_ascii_lowercase();
        ["postmaster", "mailer-daemon", "abuse", "support", "helpdesk", "hostmaster"].contains(&local.as_str())
    };
    // Signatures name whom to ask. Header fields are not always complete, so what is in one list with those stays.
    if all.iter().any(is_known) {
        let places: Vec<_> = all.iter().filter(|at| is_known(at)).map(|at| list_of(lines, at.line)).collect();
        all.into_iter().filter(|at| is_known(at) || places.contains(&list_of(lines, at.line))).collect()
    } else if all.iter().any(|at| !is_desk(at)) {
        all.into_iter().filter(|at| !is_desk(at) || !at.rest.is_empty()).collect()
    } else {
        all
    }
}

/// The list a line stands in: the paragraph's first line, and the indent.
fn list_of(lines: &[&str], line: usize) -> (usize, usize) {
    let first = lines[..line].iter().rposition(|line| line.trim().is_empty()).map_or(0, |empty| empty + 1);
    (first, lines[line].len() - lines[line].trim_start().len())
}

fn labelled<'a>(lines: &[&'a str], _own: &[String]) -> Vec<At<'a>> {
    let mut found = Vec::new();
    for (line, text) in lines.iter().enumerate() {
        let Some((label, value)) = text.split_once([':', '：']) else { continue };
        if label.len() > 100 || !words::is_recipient(&label.to_lowercase()) {
            continue;
        }
        let start = value.trim_start_matches([' ', '\t', '<', '"', '\'', '[']);
        let start = start.get(..5).filter(|kind| kind.eq_ignore_ascii_case("smtp:")).map_or(start, |_| &start[5..]);
        if let Some(first) = address::all(value).into_iter().next().filter(|first| start.starts_with(first.text)) {
            let rest = value[first.end..].trim_start_matches(['>', '"', '\'', ']', '.', ',', ' ']);
            found.push(At { line, address: first.text, rest });
        }
    }
    found
}

fn in_sentences<'a>(lines: &[&'a str], own: &[String]) -> Vec<At<'a>> {
    let mut found = Vec::new();
    for (line, text) in lines.iter().enumerate() {
        // The sentence may begin on the line before, or end on the next.
        let near = &lines[line.saturating_sub(1)..(line + 2).min(lines.len())];
        let addresses = address::all(text);
        if addresses.is_empty() || !words::is_failure(&near.join(" ").to_lowercase()) {
            continue;
        }
        for address in addresses {
            let mut begin = address.start.saturating_sub(30);
            while !text.is_char_boundary(begin) {
                begin -= 1;
            }
            let before = text[begin..address.start].to_lowercase();
            let other = words::is_other(&before) || own.iter().any(|own| own.eq_ignore_ascii_case(address.text));
            if !other && start_of_reply_before(text, address.start) {
                found.push(At { line, address: address.text, rest: &text[address.end..] });
            }
        }
    }
    found
}

/// An address inside a quoted reply is not the report's own word.
fn start_of_reply_before(text: &str, at: usize) -> bool {
    !reply::is_in(&text[..at])
}

fn in_transcript<'a>(lines: &[&'a str], own: &[String]) -> Vec<At<'a>> {
    let commands = |line: &str| line.to_lowercase().contains("rcpt to:");
    let asked = lines.iter().enumerate().filter(|(_, text)| commands(text));
    let replies = lines.iter().enumerate().filter(|(_, text)| reply::is_in(text));
    let mut found: Vec<At<'a>> = Vec::new();
    for (line, text) in asked.chain(replies).take(MENTIONS_MAX * 4) {
        for one in address::all(text).into_iter().take(1) {
            let seen = found.iter().any(|at| at.address.eq_ignore_ascii_case(one.text));
            if !seen && !own.iter().any(|own| own.eq_ignore_ascii_case(one.text)) {
                // The reply may stand on the line that names the address.
                found.push(At { line: line.saturating_sub(1), address: one.text, rest: "" });
            }
        }
    }
    found.sort_by_key(|at| at.line);
    found
}

/// Gives each mention the lines up to the next one. A list of addresses shares what follows it.
fn blocks<'a>(lines: &[&'a str], at: &[At<'a>]) -> Vec<Mention<'a>> {
    let mut mentions: Vec<Mention<'a>> = Vec::with_capacity(at.len());
    for (number, one) in at.iter().enumerate() {
        let end = at[number + 1..].iter().find(|next| next.line > one.line).map_or(lines.len(), |next| next.line);
        let mut block = vec![one.rest];
        block.extend(&lines[(one.line + 1).min(end)..end]);
        let mut mention = Mention { address: one.address.to_owned(), alias: None, block, shared: false };
        follow_alias(&mut mention);
        mentions.push(mention);
    }
    end_the_last(&mut mentions);
    for number in (1..mentions.len()).rev() {
        let (before, from) = mentions.split_at_mut(number);
        // Where an address comes again, the list is over and what is said of each begins.
        let again = before.iter().any(|one| one.address.eq_ignore_ascii_case(&from[0].address));
        let blank = before[number - 1].block.iter().all(|line| line.trim().is_empty());
        if blank && !again {
            before[number - 1].block = from[0].block.iter().copied().take(50).collect();
            before[number - 1].shared = true;
            from[0].shared = true;
        }
    }
    mentions
}

/// Nothing shows where the lines about the last recipient end, except how many paragraphs the others have.
fn end_the_last(mentions: &mut [Mention<'_>]) {
    let Some((last, others)) = mentions.split_last_mut() else { return };
    let alone = others.iter().all(|one| one.address.eq_ignore_ascii_case(&last.address));
    let most = others.iter().map(|one| paragraphs(&one.block).count()).max().unwrap_or(0);
    if alone || most == 0 {
        return;
    }
    let separator = |line: &&str| line.trim_start().starts_with("---") || line.trim_start().starts_with("===");
    let end = paragraphs(&last.block).nth(most - 1).unwrap_or(last.block.len());
    let end = last.block[..end].iter().skip(1).position(separator).map_or(end, |at| at + 1);
    last.block.truncate(end);
}

/// Where the paragraphs of a block end.
fn paragraphs(block: &[&str]) -> impl Iterator<Item = usize> {
    let empty = |line: Option<&&str>| line.is_none_or(|line| line.trim().is_empty());
    (1..=block.len()).filter(move |&at| empty(block.get(at)) && !empty(block.get(at - 1)))
}

/// `(expanded from: <a>)` below an address names the recipient of the message, which a list or alias has led on;
/// `(generated from a)` says the same of an address the message was forwarded to.
fn follow_alias(mention: &mut Mention<'_>) {
    let note = mention.block.iter().take(3).find(|line| line.trim_start().starts_with('(') && line.contains(" from"));
    let Some((note, other)) =
        note.and_then(|line| address::all(line).into_iter().next().map(|found| (line, found.text)))
    else {
        return;
    };
    if note.contains("expanded from") {
        mention.address = other.to_owned();
    } else if note.contains("generated from") {
        mention.alias = Some(other.to_owned());
    }
}
