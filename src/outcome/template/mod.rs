//! Replies that differ only in what is particular to one message, as one text: what they have in common.
//!
//! A receiver says the same thing a thousand times with another address, queue id and hour in it. To count such replies
//! as one, and to make a rule of them, what varies becomes a placeholder and what an operator writes a rule from stays:
//!
//! | in the reply | in the template |
//! |---|---|
//! | mail addresses (also quoted, `%40`, return paths with an address in them), local parts named by the caller | `<address>` |
//! | IPv4 and IPv6 addresses, also in front of a zone (`2.2.0.192.list.example`) | `<ip>` |
//! | host names of three labels and more, of two under the usual top-level domains, those named by the caller and what lies below them | `<host>` |
//! | days and hours | `<time>` |
//! | words in which letters and digits alternate, or case does; the same in URLs and the values of their queries | `<id>` |
//! | other runs of two digits and more | `<n>` |
//! | white space | one space |
//! | control, direction and other invisible characters, runs of them | U+FFFD |
//! | what goes beyond [`LONGEST`] characters | `…` |
//!
//! Readable stay: the reply code in front and where it stands as one (before an enhanced code, after "said:" or
//! "error"), enhanced codes with all their digits (5.7.606), *markers* — up to six capitals and then digits, ten
//! characters at most, with hyphen or underscore between them (TSS04, S3150, IB605, RP-001, OFR_506), and the numbers in
//! AS(1410) and RFC 5321 —, hosts and paths of URLs and the number of a place in them (#550), names of lists (a label
//! that ends in "bl", or behind "using", "see", "visit" and "list"). A short queue id that looks like a marker stays as
//! well; that costs a line in a list and no more.
//!
//! Making one takes a bounded look at a bounded text. [`pattern`] goes the other way: the regular expression, in the
//! terms of rule files, that the replies of a template match.

mod date;
mod mask;
mod word;

use std::fmt::Write as _;

use crate::message::Mailbox;

/// Characters of the longest template.
pub const LONGEST: usize = 300;
/// Characters of a reply that are looked at, and the longest [`sample`].
pub const READ: usize = 1000;
/// Ends a text that was cut.
const CUT: char = '…';
/// Replacing can lay bare what is replaced next (a number cut off a name); after so many rounds it is good enough. Two
/// are the rule, and no text is known that takes more than four.
const ROUNDS: usize = 12;

const ADDRESS: &str = "<address>";
const IP: &str = "<ip>";
const HOST: &str = "<host>";
const TIME: &str = "<time>";
const ID: &str = "<id>";
const NUMBER: &str = "<n>";

/// The placeholders, each with what it stands for in a pattern.
const PLACEHOLDERS: [(&str, &str); 6] =
    [(ADDRESS, r"\S+"), (IP, r"\S+"), (HOST, r"\S+"), (TIME, ".+"), (ID, r"\S+"), (NUMBER, "[0-9]+")];

/// What of a reply is known to be particular to one message.
#[derive(Clone, Copy, Debug, Default)]
pub struct Particular<'a> {
    /// Addresses it may name by their local part alone: recipients, sender.
    pub addresses: &'a [&'a Mailbox],
    /// Names of hosts and domains it may hold, with any labels before them.
    pub hosts: &'a [&'a str],
}

/// `text` on one line, safe to keep: no mail address, no invisible characters, at most [`READ`] characters and `…`.
///
/// Local parts of the known addresses go wherever they stand as a word, also where they are an English one; those of
/// one or two characters only before a `@`.
pub fn sample(text: &str, known: &Particular<'_>) -> String {
    mask::local_parts(&mask::addresses(&fold(text)), known.addresses)
}

/// The template of `text`.
pub fn template(text: &str) -> String {
    template_of(text, &Particular::default())
}

/// The template of `text`, knowing more about it.
pub fn template_of(text: &str, known: &Particular<'_>) -> String {
    let mut text = mask::hosts(&sample(text, known), known.hosts);
    for _ in 0..ROUNDS {
        let next = cut(&word::replace(&mask::addresses(&fold(&text))));
        if next == text {
            break;
        }
        text = next;
    }
    text
}

/// A regular expression for rule files that the texts of a template match, and hardly others: anchored at both ends
/// unless the template was cut. ASCII; what is not is written as its octets.
pub fn pattern(template: &str) -> String {
    let (mut rest, open) = template.strip_suffix(CUT).map_or((template, false), |rest| (rest, true));
    let mut pattern = String::from("^");
    while let Some(c) = rest.chars().next() {
        let found = PLACEHOLDERS.iter().find(|(name, _)| rest.starts_with(name));
        rest = &rest[found.map_or(c.len_utf8(), |(name, _)| name.len())..];
        match (found, c) {
            (Some((_, stands_for)), _) => pattern.push_str(stands_for),
            (None, char::REPLACEMENT_CHARACTER) => pattern.push_str(r"\S+"),
            (None, c) if c.is_ascii() => pattern.push_str(&regex::escape(c.encode_utf8(&mut [0; 4]))),
            (None, c) => {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    // Writing to a String cannot fail.
                    let _ = write!(pattern, "\\x{byte:02X}");
                }
            }
        }
    }
    if !open {
        pattern.push('$');
    }
    pattern
}

/// Whether a terminal or a reader would do something with `c` instead of showing it: control characters, marks that
/// turn the direction of writing, characters without width, and all white space but the space.
pub fn is_invisible(c: char) -> bool {
    (c.is_whitespace() && c != ' ')
        || c.is_control()
        || matches!(c, '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{180b}'..='\u{180f}' | '\u{3164}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}' | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// Text on one line, with everything that is not simply shown written out (`\u{1b}`).
pub fn visible(text: impl IntoIterator<Item = char>) -> String {
    let mut out = String::new();
    for c in text {
        if is_invisible(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// The beginning of `text` on one line: white space folded, the invisible shown as U+FFFD.
fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len().min(READ * 2));
    let (mut seen, mut left) = (0, text.chars());
    for c in left.by_ref().take(READ) {
        seen += 1;
        let c = match c {
            c if c.is_ascii_whitespace() => ' ',
            c if is_invisible(c) => char::REPLACEMENT_CHARACTER,
            c => c,
        };
        if !(matches!(c, ' ' | char::REPLACEMENT_CHARACTER) && out.ends_with(c)) {
            out.push(c);
        }
    }
    let more = seen == READ && left.any(|c| !c.is_ascii_whitespace());
    let mut out = out.trim_ascii().to_owned();
    if more {
        out.push(CUT);
    }
    out
}

/// At most [`LONGEST`] characters, cut between words where there is a space near.
fn cut(text: &str) -> String {
    const NEAR: usize = 80;
    let Some((end, _)) = text.char_indices().nth(LONGEST - 1) else { return text.to_owned() };
    if text[end..].chars().nth(1).is_none() {
        return text.to_owned();
    }
    let head = &text[..end];
    let head = match head.rfind(' ') {
        Some(space) if end - space <= NEAR => &head[..space],
        _ => head,
    };
    format!("{}{CUT}", head.trim_ascii_end())
}

/// The placeholder in front of `text`.
fn placeholder(text: &str) -> Option<&'static str> {
    PLACEHOLDERS.iter().map(|(name, _)| *name).find(|name| text.starts_with(name))
}

#[cfg(test)]
mod tests;
