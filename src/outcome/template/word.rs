//! Words that vary from reply to reply as placeholders: IP addresses, host names, ids, numbers.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::{HOST, ID, IP, NUMBER, TIME, date, placeholder};

/// Top-level domains under which two labels are taken for a name. Behind a full stop that lacks its space ("unknown.See")
/// stands a word, which must not look like a name.
const TOP: [&str; 12] = ["com", "net", "org", "edu", "gov", "mil", "info", "biz", "io", "test", "example", "invalid"];
/// Names behind these words are what the operator is told, not who tells it.
const POINTERS: [&str; 6] = ["using", "see", "visit", "blacklist", "blocklist", "list"];
/// Before a reply code that is quoted.
const SPEAKERS: [&str; 6] = ["smtp", "error", "code", "status", "reply", "said"];

/// One pass over `text`.
pub(super) fn replace(text: &str) -> String {
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    let mut before = Before::default();
    while let Some(c) = text[at..].chars().next() {
        let rest = &text[at..];
        let fresh = !text[..at].ends_with(|c: char| c.is_ascii_alphanumeric());
        let length = if let Some(name) = placeholder(rest) {
            out.push_str(name);
            name.len()
        } else if let Some(length) = fresh.then(|| date::length(rest)).flatten() {
            out.push_str(TIME);
            length
        } else if let Some(length) = fresh.then(|| url(rest, &before)).flatten() {
            out.push_str(&in_url(&rest[..length]));
            length
        } else if let Some(length) = fresh.then(|| ip(rest)).flatten() {
            out.push_str(IP);
            length
        } else if c.is_ascii_alphanumeric() {
            let length = word(rest);
            let shown = in_word(&rest[..length], &text[..at], &rest[length..], &before);
            // The fillers at the end of base64.
            let filler = if shown == ID { rest[length..].bytes().take_while(|b| *b == b'=').count() } else { 0 };
            out.push_str(&shown);
            before = Before(&rest[..length]);
            length + filler
        } else {
            out.push(c);
            c.len_utf8()
        };
        at += length;
    }
    out
}

/// The word before the one in question.
#[derive(Clone, Copy, Default)]
struct Before<'a>(&'a str);

impl Before<'_> {
    fn is_any(self, words: &[&str]) -> bool {
        words.iter().any(|word| word.eq_ignore_ascii_case(self.0))
    }
}

/// Octets of the word in front of `text`: what names, versions and ids are made of, ending with a letter or digit.
fn word(text: &str) -> usize {
    let run = text.bytes().take_while(|b| b.is_ascii_alphanumeric() || b"-_.+".contains(b)).count();
    text[..run].trim_end_matches(['-', '_', '.', '+']).len()
}

fn in_word(word: &str, before: &str, after: &str, last: &Before<'_>) -> String {
    let is_number = word.bytes().all(|b| b.is_ascii_digit());
    let assassin = is_number && word.len() <= 9 && last.0 == "AS" && before.ends_with("AS(") && after.starts_with(')');
    let rfc = is_number && last.0 == "RFC";
    if assassin || rfc || is_marker(word) || is_enhanced(word) || is_reply_code(word, before, after, *last) {
        return word.to_owned();
    }
    if is_name(word) {
        let listed = word.split('.').any(is_list_label) || last.is_any(&POINTERS);
        return if listed { word.to_owned() } else { HOST.to_owned() };
    }
    let signs = ['-', '_', '.', '+'];
    if word.split(signs).any(is_id) {
        return ID.to_owned();
    }
    let parts = word.split_inclusive(signs);
    parts.map(|part| if is_marker(part.trim_end_matches(signs)) { part.to_owned() } else { numbers(part) }).collect()
}

/// `550` where it is no number: in front, before an enhanced code, quoted.
fn is_reply_code(word: &str, before: &str, after: &str, last: Before<'_>) -> bool {
    let (code, joined) = word.split_once('-').map_or((word, None), |(code, joined)| (code, Some(joined)));
    let is_code = code.len() == 3 && code.bytes().all(|b| b.is_ascii_digit()) && b"245".contains(&code.as_bytes()[0]);
    let next = after.trim_start_matches([' ', '#', '-']);
    let in_front = before.is_empty() && joined.is_none();
    is_code
        && (in_front
            || joined.is_some_and(is_enhanced)
            || (joined.is_none() && (is_enhanced(&next[..self::word(next)]) || last.is_any(&SPEAKERS))))
}

/// RFC 3463: class 2, 4 or 5, then two numbers of up to three digits.
fn is_enhanced(word: &str) -> bool {
    let mut parts = word.split('.');
    let (class, subject, detail) = (parts.next(), parts.next(), parts.next());
    let is_number = |part: Option<&str>| {
        part.is_some_and(|part| (1..=3).contains(&part.len()) && part.bytes().all(|b| b.is_ascii_digit()))
    };
    matches!(class, Some("2" | "4" | "5")) && is_number(subject) && is_number(detail) && parts.next().is_none()
}

/// Capitals, then digits: TSS04, S3150, RP-001, OFR_506, LPN007_401.
fn is_marker(word: &str) -> bool {
    let run = |text: &str, is: fn(&u8) -> bool| text.bytes().take_while(is).count();
    let letters = run(word, u8::is_ascii_uppercase);
    let rest = word[letters..].trim_start_matches(['-', '_']);
    let digits = run(rest, u8::is_ascii_digit);
    let more = &rest[digits..];
    let more_digits = run(more.get(1..).unwrap_or(""), u8::is_ascii_digit);
    let ends = more.is_empty() || (more.starts_with(['-', '_']) && more_digits > 0 && more.len() == 1 + more_digits);
    word.len() <= 10 && (1..=6).contains(&letters) && (1..=6).contains(&digits) && ends
}

fn is_name(word: &str) -> bool {
    let labels: Vec<&str> = word.split('.').collect();
    let sound = labels.iter().all(|label| !label.is_empty() && !label.contains('+'));
    let Some((top, rest)) = labels.split_last() else { return false };
    let is_top = top.len() >= 2 && top.bytes().all(|b| b.is_ascii_alphabetic());
    let lower = top.bytes().all(|b| b.is_ascii_lowercase());
    let usual = TOP.iter().any(|known| known.eq_ignore_ascii_case(top)) || (lower && top.len() == 2);
    let has_letters = rest.iter().any(|label| label.bytes().any(|b| b.is_ascii_alphabetic()));
    sound && is_top && has_letters && (rest.len() >= 2 || (usual && rest.iter().all(|label| label.len() >= 2)))
}

/// `dnsbl`, `rbl`, `bl`, `sbl-xbl`, `dnsbl-1`.
fn is_list_label(label: &str) -> bool {
    let label = label.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-');
    label.len() >= 2 && label.to_ascii_lowercase().ends_with("bl")
}

/// Whether a word of letters and digits alone was made by a machine.
fn is_id(part: &str) -> bool {
    let bytes = part.as_bytes();
    if bytes.is_empty() || !bytes.iter().all(u8::is_ascii_alphanumeric) || is_marker(part) {
        return false;
    }
    let changes = |is: fn(&u8) -> bool| bytes.windows(2).filter(|two| is(&two[0]) != is(&two[1])).count();
    let digits = bytes.iter().filter(|b| b.is_ascii_digit()).count();
    match (digits, changes(u8::is_ascii_digit)) {
        (0, _) => bytes.len() >= 12 && changes(u8::is_ascii_uppercase) >= bytes.len() / 3,
        (_, 0) => false,
        (_, 1) => bytes.len() >= 10 && digits >= 3,
        (..) => bytes.len() >= 6,
    }
}

/// Runs of two digits and more as a placeholder.
fn numbers(part: &str) -> String {
    let (mut out, mut rest) = (String::new(), part);
    while let Some(c) = rest.chars().next() {
        let run = rest.bytes().take_while(u8::is_ascii_digit).count();
        let length = run.max(c.len_utf8());
        out.push_str(if run >= 2 { NUMBER } else { &rest[..length] });
        rest = &rest[length..];
    }
    out
}

/// Octets of the IP address in front of `text`, with the length of its prefix.
fn ip(text: &str) -> Option<usize> {
    let run = text.bytes().take_while(|b| b.is_ascii_hexdigit() || b":.".contains(b)).count();
    let six = text[..run].trim_end_matches(['.', ':']);
    // `::` ends some addresses.
    let six = if text[six.len()..run].starts_with("::") { &text[..six.len() + 2] } else { six };
    let is_six = six.len() >= 3 && six.bytes().filter(|b| *b == b':').count() >= 2 && six.parse::<Ipv6Addr>().is_ok();
    let length = if is_six { six.len() } else { four(text)? };
    let after = &text[length..];
    if after.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return None;
    }
    let prefix = after.strip_prefix('/').map_or(0, |rest| rest.bytes().take_while(u8::is_ascii_digit).count());
    Some(if (1..=3).contains(&prefix) { length + 1 + prefix } else { length })
}

fn four(text: &str) -> Option<usize> {
    let run = text.bytes().take_while(|b| b.is_ascii_digit() || *b == b'.').count();
    let four = text[..run].trim_end_matches('.');
    four.parse::<Ipv4Addr>().is_ok().then_some(four.len())
}

/// Octets of the URL in front of `text`: with its scheme, or a name that goes on with a path.
fn url(text: &str, last: &Before<'_>) -> Option<usize> {
    let scheme = ["http://", "https://", "ftp://"]
        .iter()
        .find(|scheme| text.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme)));
    let head = match scheme {
        Some(scheme) => scheme.len(),
        None => {
            let name = word(text);
            let plain = is_name(&text[..name]) && !last.is_any(&["from", "by"]);
            let goes_on =
                text[name..].starts_with('/') || text.get(..4).is_some_and(|w| w.eq_ignore_ascii_case("www."));
            if !plain || !goes_on {
                return None;
            }
            name
        }
    };
    let mut end = head;
    while let Some(c) = text[end..].chars().next() {
        match placeholder(&text[end..]) {
            Some(name) => end += name.len(),
            None if c.is_ascii_graphic() && !"<>\"'()[]{},;\\".contains(c) => end += 1,
            None => break,
        }
    }
    // A full stop behind it ends the sentence.
    let trimmed = text[..end].trim_end_matches(['.', ':', '!', '?']).len();
    (trimmed > head || scheme.is_none()).then_some(trimmed.max(head))
}

fn in_url(url: &str) -> String {
    let (address, query) = url.find(['?', '#']).map_or((url, ""), |at| url.split_at(at));
    let path = address.split_inclusive('/').map(|part| {
        let name = part.trim_end_matches('/');
        let slash = &part[name.len()..];
        format!("{}{slash}", in_path(name))
    });
    let mut out: String = path.collect();
    let signs = ['?', '#', '&', '=', ';'];
    for part in query.split_inclusive(signs) {
        let value = part.trim_end_matches(signs);
        let sign = &part[value.len()..];
        // `#550` leads to the place that speaks of this code.
        let place = out.ends_with('#') && value.len() <= 3 && value.bytes().all(|b| b.is_ascii_digit());
        out.push_str(if sign == "=" || place || is_word(value) { value } else { varying(value) });
        out.push_str(sign);
    }
    out
}

fn in_path(name: &str) -> &str {
    let digits = name.len() >= 5 && name.bytes().all(|b| b.is_ascii_digit());
    let is_address = ip(name) == Some(name.len());
    match name {
        name if name.contains('<') => name,
        _ if is_address => IP,
        _ if digits => NUMBER,
        name if !is_name(name) && name.split(['-', '_', '.', '+']).any(is_id) => ID,
        name => name,
    }
}

/// A value in a query that means something by itself: `p=UnsolicitedRateLimitError`.
fn is_word(value: &str) -> bool {
    let letters = value.bytes().all(|b| b.is_ascii_alphabetic() || b"-_.+/".contains(&b));
    value.contains('<') || (letters && value.len() <= 40 && !value.split(['-', '_', '.', '+', '/']).any(is_id))
}

fn varying(value: &str) -> &'static str {
    if ip(value) == Some(value.len()) { IP } else { ID }
}
