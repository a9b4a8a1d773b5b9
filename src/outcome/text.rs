//! The text of a reply as rules see it, and what can be read out of it besides.
//!
//! What is said here of a text holds for all rules, so that none has to repeat it: addresses are hidden, a code in
//! brackets counts as an enhanced code, and a wish such as "try again in 300 seconds" is taken at its word.

use std::borrow::Cow;
use std::time::Duration;

use super::EnhancedCode;

/// The text as patterns see it: addresses become `@`, so that `spam@…` or `full-quota@…` say nothing about the reason,
/// and white space becomes one space.
pub(super) fn normalise(text: &str) -> Cow<'_, [u8]> {
    let bytes = text.as_bytes();
    if memchr::memchr(b'@', bytes).is_none() && !text.contains("  ") {
        return Cow::Borrowed(bytes);
    }
    let ends_word = |b: u8| {
        b.is_ascii_whitespace()
            || matches!(b, b'<' | b'>' | b'(' | b')' | b'[' | b']' | b'"' | b'\'' | b',' | b';' | b':')
    };
    let mut out: Vec<u8> = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        match byte {
            b'@' => {
                while out.last().is_some_and(|&b| !ends_word(b) && b != b'@') {
                    out.pop();
                }
                if out.last() != Some(&b'@') {
                    out.push(b'@');
                }
                at += 1;
                // Sendmail and others go on right behind the address with dots: `user@example.com...Unknown`.
                while at < bytes.len() && !ends_word(bytes[at]) && !bytes[at..].starts_with(b"..") {
                    at += 1;
                }
            }
            byte if byte.is_ascii_whitespace() => {
                if out.last() != Some(&b' ') {
                    out.push(b' ');
                }
                at += 1;
            }
            byte => {
                out.push(byte);
                at += 1;
            }
        }
    }
    Cow::Owned(out)
}

/// Hosts of pages that look an IP up on a list: that such a page is named says something, whatever else is in its address.
const LOOK_UPS: [&str; 14] = [
    "spamhaus.org",
    "spamcop.net",
    "barracudacentral.org",
    "uceprotect.net",
    "abuseat.org",
    "sorbs.net",
    "mailspike.",
    "spamrats.com",
    "junkemailfilter.com",
    "invaluement.com",
    "senderscore.org",
    "senderbase.org",
    "csi.cloudmark.com",
    "ipcheck.proofpoint.com",
];

/// `text` (normalised) without the links in it: a link is there for the reader, and the words in it (`/blocked?ip=`,
/// `/spam-policy`) say nothing about the reason. Of links to look-up pages of lists the host stays.
pub(super) fn without_links(text: &[u8]) -> Cow<'_, [u8]> {
    let mut out: Vec<u8> = Vec::new();
    let mut kept = 0;
    while let Some(found) = link_from(text, kept) {
        let end = (found..text.len()).find(|&at| ends_link(text[at])).unwrap_or(text.len());
        out.extend_from_slice(&text[kept..found]);
        let host = &text[found..end];
        let host = memchr::memmem::find(host, b"://").map_or(host, |at| &host[at + 3..]);
        let host = &host[..host.iter().position(|b| matches!(b, b'/' | b'?' | b'#')).unwrap_or(host.len())];
        let host = String::from_utf8_lossy(host).to_ascii_lowercase();
        if LOOK_UPS.iter().any(|known| host.contains(known)) {
            out.extend_from_slice(host.as_bytes());
        }
        kept = end;
    }
    if kept == 0 {
        return Cow::Borrowed(text);
    }
    out.extend_from_slice(&text[kept..]);
    Cow::Owned(out)
}

/// Where the next link at or behind `from` begins.
fn link_from(text: &[u8], from: usize) -> Option<usize> {
    let colon = memchr::memmem::find_iter(&text[from..], b"://").map(|at| at + from).find(|&at| {
        let scheme = &text[from..at];
        scheme.len() >= 4
            && (scheme.to_ascii_lowercase().ends_with(b"http") || scheme.to_ascii_lowercase().ends_with(b"https"))
    })?;
    let secure = text[colon - 1].eq_ignore_ascii_case(&b's');
    Some(colon - if secure { 5 } else { 4 })
}

fn ends_link(byte: u8) -> bool {
    byte.is_ascii_whitespace() || matches!(byte, b'<' | b'>' | b'"' | b'\'' | b')' | b']' | b';' | b',')
}

/// The enhanced code that qmail and its kin put in brackets behind the text: `sorry, no mailbox here (#5.1.1)`.
pub(super) fn trailing_code(text: &[u8]) -> Option<EnhancedCode> {
    let at = memchr::memmem::rfind(text, b"(#")?;
    let inner = &text[at + 2..];
    let end = inner.iter().position(|b| matches!(b, b')' | b' '))?;
    EnhancedCode::lead(&inner[..end]).map(|(code, _)| code)
}

/// How long the receiver asks us to wait: "try again in 300 seconds", "Greylisted for 5 minutes", "15min later".
///
/// Only a number directly before a unit of time counts, in a text that speaks of trying again; less than ten seconds
/// and more than a day are not believed.
pub(super) fn wished_delay(text: &str) -> Option<Duration> {
    let text = text.to_ascii_lowercase();
    if !["again", "retry", "later", "listed for", "wait"].iter().any(|word| text.contains(word)) {
        return None;
    }
    let mut words = text.split_ascii_whitespace().map(|word| word.trim_matches(|c: char| !c.is_ascii_alphanumeric()));
    let mut before = "";
    words.find_map(|word| {
        let digits = word.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = if digits > 0 { word.split_at(digits) } else { (before, word) };
        before = word;
        let seconds = match unit.trim_start_matches('-') {
            "s" | "sec" | "secs" | "second" | "seconds" => 1,
            "m" | "min" | "mins" | "minute" | "minutes" => 60,
            "h" | "hour" | "hours" => 3600,
            _ => return None,
        };
        let wish = number.parse::<u64>().ok()?.checked_mul(seconds)?;
        (10..=86_400).contains(&wish).then(|| Duration::from_secs(wish))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_in_the_text_say_nothing() {
        for (text, seen) in [
            ("<spam@full.example>: no", "<@>: no"),
            ("user a.b@c.example unknown", "user @ unknown"),
            ("x@earthlink.example...User full", "@...User full"),
            ("a@@b @ c@", "@ @ @"),
            ("no   address\there", "no address here"),
            ("plain", "plain"),
        ] {
            assert_eq!(String::from_utf8_lossy(&normalise(text)), seen);
        }
    }

    #[test]
    fn links_say_nothing_but_for_the_host_of_a_list() {
        for (text, seen) in [
            ("no; see https://example.com/blocked?ip=192.0.2.1 for help", "no; see  for help"),
            ("no (HTTP://www.Spamhaus.org/query/ip/192.0.2.1).", "no (www.spamhaus.org)."),
            ("see http://example.com", "see "),
            ("a://b", "a://b"),
            ("://", "://"),
            ("xhttps://a https://b", "x "),
            ("plain", "plain"),
        ] {
            assert_eq!(String::from_utf8_lossy(&without_links(text.as_bytes())), seen, "{text}");
        }
    }

    #[test]
    fn the_receivers_wish_is_read() {
        for (text, seconds) in [
            ("Greylisted, please try again in 300 seconds", Some(300)),
            ("Greylisted for 5 minutes", Some(300)),
            ("please try again 15min later", Some(900)),
            ("retry in 1 hour.", Some(3600)),
            ("try again in 1 s", None),
            ("try again in 99999999999999999999 hours", None),
            ("try again in 90 days or 30 hours", None),
            ("sent 100 seconds ago", None),
            ("try again later", None),
        ] {
            assert_eq!(wished_delay(text), seconds.map(Duration::from_secs), "{text}");
        }
    }
}
