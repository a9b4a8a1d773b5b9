//! A reply quoted inside a reply.
//!
//! Forwarders, gateways and address verifiers pass on what the next server told them: `550 5.1.0 Remote host said: 554
//! 5.7.1 client host [203.0.113.9] blocked using …`. The client that was blocked there is the forwarder, not we; counted
//! against our binding, one careless forwarder would suspend a good IP. So the words of others are set aside where a rule
//! blames an IP. For everything else they count: a full mailbox is full whoever says so.
//!
//! The same holds where the reply names addresses and none of them is ours: then it was another that was refused, however
//! it is worded ([`names_another`]).
//!
//! A quotation is a second SMTP reply code behind words that introduce somebody else's answer. A code alone is none:
//! many servers repeat their own (`550 550 5.7.1 …`, `Error: 554 …`).

use std::net::IpAddr;

use super::rules::Pattern;

/// Finds where the quotation begins.
#[derive(Debug)]
pub(super) struct Quotation(Pattern);

/// A code behind a mark that opens a quotation, or with an enhanced code behind it: either tells it from a mere number.
macro_rules! code {
    () => {
        concat!(
            r#"(?: ?[:="'(\[<>-][^a-z0-9]{0,4}(?:smtp;? ?)?#?[245][0-9][0-9](?:[ -]+["'<(\[#]?[a-z0-9]|['"]?$)"#,
            r"| #?[245][0-9][0-9][ -]+#?[245]\.[0-9])"
        )
    };
}

const INTRODUCTIONS: [&str; 8] = [
    // host mx.example[192.0.2.1] said: 550 …
    concat!(r"\b(?:said|says|saying)\b(?: ?\([^()]*\))?", code!()),
    // the server responded with: "550 …"
    concat!(r"\b(?:responded|replied|answered)\b(?: (?:with|us|me|by|code|error|status))*", code!()),
    // Remote server returned '550 …', downstream relay error: 550 …
    concat!(
        r"\b(?:remote|downstream|upstream|next[ -]hop|backend|back-end|destination|target|final|forward(?:ing|ed|er)?|smart ?host)",
        r"\b[^;]{0,100}?\b(?:respon[a-z]+|repl[a-z]+|answer[a-z]*|return[a-z]*|error|reject[a-z]*|refus[a-z]*|report[a-z]*|result[a-z]*|fail[a-z]*|gave|status)\b",
        r"(?: (?:with|was|is|by|code|message|from [^ ]+|after [^ ]+ ?[^ ]*))*",
        code!()
    ),
    // SMTP error from remote mail server after RCPT TO:<@>: host mx.example [192.0.2.1]: 550 …
    concat!(
        r"\b(?:error|response|reply|answer|message|refusal|rejection) (?:was |received |came )?(?:from|by|of) [^;]{0,160}?",
        code!()
    ),
    // host mx.example[192.0.2.1] refused to talk to me: 550 …; Exim's callout: Called: … Response: 550 …
    concat!(
        r"\b(?:refused to talk to me|response|callback setup failed|callout|verify failed|verification failed|delivery (?:error|failed)|message expired)\b[^;]{0,100}?",
        code!()
    ),
    // failed with 550-…, -> 550 …, smtp; 550 …
    concat!(
        r"(?:\bfailed with |-> ?|\bsmtp; ?|\bgateway: ?|\b(?:error|refused|rejected) by (?:the )?(?:next|upstream|remote|final)[^;]{0,60}: ?)",
        r"#?[245][0-9][0-9][ -]"
    ),
    // mx2 says: Your IP is blacklisted
    r"\b(?:mx[0-9]*|(?:next |remote |other |far |final )(?:host|server|hop|mx)) (?:said|says): ",
    // Sendmail's transcript, Exchange's last error details.
    r#"(?:<<<|\bled=)[ "']{0,2}[245][0-9][0-9][ -]"#,
];

impl Quotation {
    pub(super) fn new() -> Self {
        Self(Pattern::new(INTRODUCTIONS.map(|one| format!("(?:{one})")).join("|")))
    }

    /// Where in `text` (normalised, without its own code) the words of another server are introduced.
    pub(super) fn begins(&self, text: &[u8]) -> Option<usize> {
        self.0.find(text).map(|found| found.start)
    }
}

/// The first public address that `text` names as the client's, if none that it names at all is one of our `own`.
///
/// As the client's: behind words such as "client host" or "your IP". A receiver may well name its own address too, and that
/// says nothing about whom it refuses.
///
/// `None` too where we do not know under which public address we are seen. Where a whole `range` is refused, ours need not be
/// named: it is enough that it lies in the named network (as written, else in the /24 or /48 about the address).
pub(super) fn names_another(text: &[u8], own: &[IpAddr], range: bool) -> Option<IpAddr> {
    if !own.iter().any(|address| is_public(*address)) {
        return None;
    }
    let mut another = None;
    for (address, length, is_client) in addresses(text) {
        let length = if range { length.or(Some(if address.is_ipv4() { 24 } else { 48 })) } else { length };
        if own.iter().any(|ours| *ours == address || length.is_some_and(|length| same_network(*ours, address, length)))
        {
            return None;
        }
        if is_client && is_public(address) && another.is_none() {
            another = Some(address);
        }
    }
    another
}

/// What stands before the address of a client, perhaps with its name between.
const CLIENT_WORDS: [&[u8]; 11] =
    [b"client", b"host", b"ip", b"ips", b"ipv4", b"ipv6", b"address", b"addr", b"from", b"network", b"relay"];

/// Addresses in the text, with the length of the prefix where one is written behind them, and whether the words before it
/// make it a client's.
fn addresses(text: &[u8]) -> impl Iterator<Item = (IpAddr, Option<u8>, bool)> {
    let of_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b'.' | b':');
    let mut before: [&[u8]; 2] = [b"", b""];
    let words = text.split(move |b| !of_address(b) && !b.is_ascii_alphanumeric() && !matches!(b, b'/' | b'-' | b'_'));
    words.filter_map(move |word| {
        if word.is_empty() {
            return None;
        }
        let [earlier, previous] = before;
        before = [previous, word];
        let is_client_word = |word: &[u8]| {
            let word = word.trim_ascii_end();
            let word = word.strip_suffix(b":").unwrap_or(word);
            CLIENT_WORDS.iter().any(|known| word.eq_ignore_ascii_case(known))
        };
        let is_name = previous.contains(&b'.');
        let mut is_client = is_client_word(previous) || is_name && is_client_word(earlier);
        let (word, length) = match word.iter().position(|b| *b == b'/') {
            Some(at) => (&word[..at], std::str::from_utf8(&word[at + 1..]).ok().and_then(|rest| rest.parse().ok())),
            None => (word, None),
        };
        let mut word = std::str::from_utf8(word).ok()?;
        // `[IPv6:2001:db8::1]` (RFC 5321 §4.1.3), `ip:192.0.2.1`.
        for label in ["ipv6:", "ip:"] {
            if let Some((head, rest)) = word.split_at_checked(label.len())
                && head.eq_ignore_ascii_case(label)
            {
                (word, is_client) = (rest, is_client || label == "ip:");
            }
        }
        let trimmed = word.trim_end_matches(['.', ':', '-']).trim_start_matches([':', '.']);
        // Yahoo's texts end with the version of their software: "… user complaints - 4.16.55.1".
        if previous == b"-" && trimmed.starts_with("4.16.") || previous.eq_ignore_ascii_case(b"version") {
            return None;
        }
        // `192.0.2.1:34567`
        let without_port = trimmed.split_once(':').map_or(trimmed, |(address, _)| address);
        let address = word.parse().or_else(|_| trimmed.parse()).or_else(|_| without_port.parse::<IpAddr>()).ok()?;
        Some((address.to_canonical(), length, is_client))
    })
}

fn same_network(one: IpAddr, other: IpAddr, length: u8) -> bool {
    let shift = |bits: u32| bits.checked_sub(u32::from(length));
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => {
            shift(32).is_some_and(|by| (one.to_bits() ^ other.to_bits()).checked_shr(by).unwrap_or(0) == 0)
        }
        (IpAddr::V6(one), IpAddr::V6(other)) => {
            shift(128).is_some_and(|by| (one.to_bits() ^ other.to_bits()).checked_shr(by).unwrap_or(0) == 0)
        }
        _ => false,
    }
}

/// Whether others see us under it: no address of a private, shared (RFC 6598) or link-local network, nor loopback.
pub(crate) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let shared = v4.octets()[0] == 100 && (64..128).contains(&v4.octets()[1]);
            !(v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared)
        }
        IpAddr::V6(v6) => {
            !(v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own_words(text: &str) -> &str {
        let quotation = Quotation::new();
        &text[..quotation.begins(text.as_bytes()).unwrap_or(text.len())]
    }

    #[test]
    fn what_others_said_is_found() {
        for (text, own) in [
            ("Remote host said: 554 5.7.1 Service unavailable; client host [203.0.113.9] blocked", ""),
            (
                "undeliverable address: host mx.example[192.0.2.1] said: 550 5.7.1 blocked",
                "undeliverable address: host mx.example[192.0.2.1] ",
            ),
            (
                "Forwarding to @ refused, remote host said: 552-5.2.2 over quota 552 5.2.2 gsmtp",
                "Forwarding to @ refused, ",
            ),
            ("Failed: the server responded with \"550 5.7.1 blocked\"", "Failed: the server "),
            ("Remote Server returned '550 5.7.1 <blocked>'", ""),
            ("downstream relay error: 554 Your IP is blocked", ""),
            (
                "SMTP error from remote mail server after RCPT TO:<@>: host mx.example [192.0.2.1]: 550 5.7.1 no",
                "SMTP ",
            ),
            (
                "... while talking to mx.example.: >>> DATA <<< 550 5.7.1 blocked",
                "... while talking to mx.example.: >>> DATA ",
            ),
            ("4.4.317 cannot connect [{LED=550 5.7.1 blocked};{MSG=}]", "4.4.317 cannot connect [{"),
        ] {
            assert_eq!(own_words(text), own, "{text}");
        }
    }

    #[test]
    fn hops_and_callouts_are_quoted_in_their_own_ways() {
        for text in [
            "host mx.example[192.0.2.1] refused to talk to me: 554 5.7.1 Your IP 203.0.113.9 is blacklisted",
            "Verification failed for <@> Called: 192.0.2.1 Sent: RCPT TO:<@> Response: 550 5.7.1 Client host blocked",
            "delivery to @ failed with 550-5.7.1 [203.0.113.9] unusual rate",
            "Message expired -> 421 4.7.0 [TSS04] Messages from 203.0.113.9 temporarily deferred",
            "smtp; 554 5.7.1 Client host [203.0.113.9] blocked using zen.spamhaus.org",
            "mx2 says: Your IP 203.0.113.9 is blacklisted",
        ] {
            assert_ne!(own_words(text), text, "{text}");
        }
    }

    #[test]
    fn an_address_that_is_not_ours_is_anothers() {
        let own: Vec<IpAddr> =
            ["198.51.100.7", "10.0.0.7", "2001:db8:1::7"].map(|a| a.parse().expect("address")).to_vec();
        for (text, range, another) in [
            ("client host [203.0.113.9] blocked", false, Some("203.0.113.9")),
            ("client host [198.51.100.7] blocked", false, None),
            ("client host [198.51.100.70] blocked", false, Some("198.51.100.70")),
            ("IP 203.0.113.9 and IP 198.51.100.7 blocked", false, None),
            ("Client host mail.example.com[203.0.113.9] blocked", false, Some("203.0.113.9")),
            ("blocked, see https://example.com/?ip=198.51.100.7", false, None),
            ("blocked 2001:db8:1::7.", false, None),
            ("host 2001:db8:2::7 blocked", false, Some("2001:db8:2::7")),
            ("host [IPv6:2001:db8:2::7] blocked", false, Some("2001:db8:2::7")),
            ("host mx1[203.0.113.9]: client [IPv6:2001:db8:1::7] blocked", false, None),
            ("from 203.0.113.9 to ip:198.51.100.7 or ::ffff:198.51.100.7", false, None),
            ("from 203.0.113.9, seen as 198.51.100.7:34567", false, None),
            ("network 198.51.100.0/24 blocked", false, None),
            ("netblock of [198.51.100.99] blocked", true, None),
            ("network [203.0.113.9] blocked", true, Some("203.0.113.9")),
            ("blocked, code 127.0.0.2, by 10.1.1.1", false, None),
            ("deferred due to user complaints - 4.16.55.1; see", false, None),
            // The receiver's own address, or no address at all.
            ("Your IP is blacklisted by mx1.example.org [203.0.113.9]", false, None),
            ("mx1.example.org [203.0.113.9]: your IP address is listed on our blocklist", false, None),
            ("[203.0.113.9] your IP has been temporarily blocked for abuse", false, None),
            ("mail.example.org (203.0.113.9) Access denied - your host is on our blacklist", false, None),
            ("Your mail server has been blocked due to poor reputation. Filter engine 9.1.2.3", false, None),
            ("your IP is blocked", false, None),
            ("blocked at 9.25.2.0.192.zen.example", false, None),
        ] {
            let seen = names_another(text.as_bytes(), &own, range);
            assert_eq!(seen, another.map(|a| a.parse().expect("address")), "{text}");
        }
        let inside: Vec<IpAddr> = ["127.0.0.1", "10.0.0.7"].map(|a| a.parse().expect("address")).to_vec();
        for unknown in [&inside[..], &[]] {
            assert_eq!(names_another(b"client host [203.0.113.9] blocked", unknown, false), None);
        }
    }

    #[test]
    fn own_words_are_no_quotation() {
        for text in [
            "550 5.7.1 Service unavailable; client host [203.0.113.9] blocked using zen.spamhaus.org",
            "Error: 554 5.7.1 Client host rejected",
            "Your mail server 203.0.113.9 was rejected. Error 550-17",
            "The remote host 203.0.113.9 is listed at spamhaus",
            "5.7.1 our policy says 500 messages are enough",
            "said no",
            "remote host 203.0.113.9 refused: see https://example.com/554",
            "",
        ] {
            assert_eq!(own_words(text), text);
        }
    }
}
