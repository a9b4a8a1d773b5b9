//! Mail addresses and known words out of a text. What is taken for an address is never less than what
//! [`super::super::classify`] takes for one, so that a pattern made of what is left fits what rules are tried on.

use std::net::IpAddr;

use super::{ADDRESS, HOST, Mailbox, placeholder};

/// Known local parts shorter than this are words of any language.
const SHORTEST: usize = 3;

/// Everything around an `@` (also written `%40` or U+FF20) as a placeholder. Quoted local parts first: they may hold
/// another `@`.
pub(super) fn addresses(text: &str) -> String {
    around(&around(text, &["\"@"]), &["@", "%40", "\u{ff20}"])
}

fn around(text: &str, signs: &[&'static str]) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut done, mut from) = (0, 0);
    while let Some((at, sign)) = next_of(signs, text, from) {
        from = at + sign.len();
        let closes = sign.starts_with('"');
        if closes && opening_quote(&text[done..at]).is_none() {
            continue;
        }
        let at = if closes { at + 1 } else { at };
        let in_url = sign == "%40";
        let start = done + local_part(&text[done..at], in_url);
        let end = from + domain(&text[from..], in_url);
        let bracketed = text[done..start].ends_with('<') && text[end..].starts_with('>');
        let (first, last) = if bracketed { (start - 1, end + 1) } else { (start, end) };
        out.push_str(&text[done..first]);
        if first > done || !out.ends_with(ADDRESS) {
            out.push_str(ADDRESS);
        }
        (done, from) = (last, last);
    }
    out.push_str(&text[done..]);
    out
}

/// Local parts of `known` where they stand as a word, each also without what follows a `+`.
pub(super) fn local_parts(text: &str, known: &[&Mailbox]) -> String {
    let wholes = known.iter().map(|address| address.local_part().trim_matches('"'));
    let known: Vec<&str> = wholes.flat_map(|local| [local, local.split('+').next().unwrap_or(local)]).collect();
    words(text, &known, ADDRESS, |_| false).replace("<<address>>", ADDRESS)
}

/// Names that are `known` or lie below one that is. Known IP addresses are found without being known.
pub(super) fn hosts(text: &str, known: &[&str]) -> String {
    let known: Vec<&str> = known.iter().copied().filter(|name| name.parse::<IpAddr>().is_err()).collect();
    words(text, &known, HOST, |c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

/// `known` words, in any case of letters, with the `prefix` before them, as `instead`; longest first.
fn words(text: &str, known: &[&str], instead: &str, prefix: fn(char) -> bool) -> String {
    let mut known: Vec<String> =
        known.iter().filter(|word| word.len() >= SHORTEST).map(|word| word.to_ascii_lowercase()).collect();
    known.sort_by_key(|word| std::cmp::Reverse(word.len()));
    known.dedup();
    let mut text = text.to_owned();
    for word in known {
        text = word_out(&text, &word, instead, prefix);
    }
    text
}

fn word_out(text: &str, word: &str, instead: &str, prefix: fn(char) -> bool) -> String {
    let lower = text.to_ascii_lowercase();
    let is_part = |c: char| c.is_alphanumeric();
    let mut out = String::with_capacity(text.len());
    let mut done = 0;
    for (at, _) in lower.match_indices(word) {
        let end = at + word.len();
        let stands_alone = !text[..at].ends_with(is_part) && !text[end..].starts_with(is_part);
        // A local part may be called like one of ours.
        let is_placeholder = text[..at].ends_with('<') && placeholder(&text[at - 1..]).is_some();
        if stands_alone && !is_placeholder {
            out.push_str(text[done..at].trim_end_matches(prefix));
            out.push_str(instead);
            done = end;
        }
    }
    out.push_str(&text[done..]);
    out
}

fn next_of(signs: &[&'static str], text: &str, from: usize) -> Option<(usize, &'static str)> {
    let found = signs.iter().filter_map(|sign| text[from..].find(sign).map(|at| (from + at, *sign)));
    found.min_by_key(|(at, _)| *at)
}

/// Ends the word an address is; as in [`super::super::classify`].
fn ends_word(c: char) -> bool {
    c.is_ascii_whitespace() || "<>()[],;:".contains(c)
}

/// Where in `before`, which ends at the sign, the local part starts. `in_url`: it is a value in a query.
fn local_part(before: &str, in_url: bool) -> usize {
    let spaced = before.trim_ascii_end();
    // Nobody writes `user @ host` but people; a placeholder is no local part.
    let before = if spaced.ends_with('>') { before } else { spaced };
    let mut start = before.len();
    while let Some(c) = before[..start].chars().next_back() {
        if c == '"' {
            let closes = start == before.len() || before[start..].starts_with('.');
            match opening_quote(&before[..start - 1]).filter(|_| closes) {
                Some(open) => start = open,
                None => break,
            }
        } else if ends_word(c) || (in_url && "/?&=".contains(c)) {
            break;
        } else {
            start -= c.len_utf8();
        }
    }
    // `'user@example.com'`: the quotes are no part of it, although they might be.
    start + before[start..].bytes().take_while(|b| *b == b'\'').count()
}

fn opening_quote(text: &str) -> Option<usize> {
    let mut quotes = text.rmatch_indices('"').map(|(at, _)| at);
    quotes.find(|at| !text[..*at].ends_with('\\'))
}

/// Octets of the domain in front of `after`.
fn domain(after: &str, in_url: bool) -> usize {
    let spaces = if after.starts_with(' ') { 1 } else { 0 };
    let name = &after[spaces..];
    let ends = |at: usize, c: char| {
        ends_word(c) || "\"'".contains(c) || (in_url && "/?&=#".contains(c)) || name[at..].starts_with("..")
    };
    let end = name.char_indices().find(|(at, c)| ends(*at, *c));
    match end.map_or(name.len(), |(at, _)| at) {
        0 => 0,
        length => spaces + length,
    }
}
