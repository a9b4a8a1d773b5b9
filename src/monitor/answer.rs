//! What one DNSBL answer means (RFC 5782, and what lists have done since).
//!
//! RFC 5782 §6 lets a client read any A record as "listed". That does not do: refusals (127.255.255.x, 127.0.0.1 of
//! some lists), good words of whitelists and the parking address of an expired domain are A records too. And "no answer" is not
//! "not listed". So each outcome falls into one of the classes of [`AnswerClass`]; where an answer holds several records,
//! the worst news about the *list* wins over any news about the address: bogus, then refused, then listed, then good.

use std::net::{IpAddr, Ipv4Addr};

use crate::config::{CodeMeaning, Zone, ZoneCode};

/// What came back for one question for A records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsOutcome {
    /// These addresses.
    Addresses(Vec<Ipv4Addr>),
    /// The name does not exist.
    NxDomain,
    /// The name exists without an A record.
    NoData,
    /// SERVFAIL: also what some lists give the unregistered, and keyed lists an inactive key.
    ServFail,
    /// REFUSED.
    Refused,
    /// Nothing in time.
    Timeout,
    /// Anything else; a word that never holds the name that was asked.
    Other(&'static str),
}

/// What it means.
#[derive(Clone, Debug, PartialEq)]
pub enum AnswerClass {
    /// On the list.
    Listed {
        /// The return codes, sorted.
        codes: Vec<Ipv4Addr>,
        /// Weight of the worst of them: a list weighs once however many codes it gives.
        weight: f64,
        /// One of them is certain.
        certain: bool,
    },
    /// The list does not want to answer us.
    Refused(Ipv4Addr),
    /// A good word.
    Good {
        /// The codes that say so, sorted.
        codes: Vec<Ipv4Addr>,
        /// 0 or less: what the best of them takes off the weight of other lists.
        weight: f64,
    },
    /// A code that the configuration does not know.
    Unknown(Ipv4Addr),
    /// Not an answer of a DNSBL: an address outside 127/8 (expired domain, rewriting resolver).
    Bogus(Ipv4Addr),
    /// Not on the list, as far as the list can be believed.
    NotListed,
    /// Nothing is known; the word says why.
    NoAnswer(&'static str),
}

impl AnswerClass {
    /// Stable text for counting: listed, good, not_listed, blocked (the list refuses us), unknown, bogus, or why there was
    /// no answer (servfail, refused, timeout …).
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Listed { .. } => "listed",
            Self::Refused(_) => "blocked",
            Self::Good { .. } => "good",
            Self::Unknown(_) => "unknown",
            Self::Bogus(_) => "bogus",
            Self::NotListed => "not_listed",
            Self::NoAnswer(why) => why,
        }
    }

    /// Whether an A record came back.
    pub fn has_address(&self) -> bool {
        !matches!(self, Self::NotListed | Self::NoAnswer(_))
    }
}

/// Reads an outcome by the zone's table of codes.
pub fn classify(outcome: &DnsOutcome, zone: &Zone) -> AnswerClass {
    let addresses = match outcome {
        DnsOutcome::Addresses(addresses) if !addresses.is_empty() => addresses,
        DnsOutcome::Addresses(_) | DnsOutcome::NxDomain | DnsOutcome::NoData => return AnswerClass::NotListed,
        DnsOutcome::ServFail => return AnswerClass::NoAnswer("servfail"),
        DnsOutcome::Refused => return AnswerClass::NoAnswer("refused"),
        DnsOutcome::Timeout => return AnswerClass::NoAnswer("timeout"),
        DnsOutcome::Other(why) => return AnswerClass::NoAnswer(why),
    };
    if let Some(&outside) = addresses.iter().find(|a| a.octets()[0] != 127) {
        return AnswerClass::Bogus(outside);
    }
    let meanings: Vec<(Ipv4Addr, Option<CodeMeaning>)> = addresses.iter().map(|&a| (a, meaning(a, zone))).collect();
    if let Some(&(code, _)) = meanings.iter().find(|(_, m)| *m == Some(CodeMeaning::Refused)) {
        return AnswerClass::Refused(code);
    }
    let (mut codes, mut good) = (Vec::new(), Vec::new());
    let (mut worst, mut best): (Option<(f64, bool)>, f64) = (None, 0.0);
    for (code, meaning) in &meanings {
        match *meaning {
            Some(CodeMeaning::Listed { weight, certain }) if weight >= 0.0 => {
                codes.push(*code);
                worst = Some(worst.map_or((weight, certain), |(w, c)| (w.max(weight), c || certain)));
            }
            // A list of good senders whose operator wrote negative weights instead of `meaning = "good"`.
            Some(CodeMeaning::Listed { weight, .. } | CodeMeaning::Good { weight }) => {
                good.push(*code);
                best = best.min(weight);
            }
            Some(CodeMeaning::Refused) | None => {}
        }
    }
    for codes in [&mut codes, &mut good] {
        codes.sort_unstable();
        codes.dedup();
    }
    match (worst, meanings.first()) {
        (Some((weight, certain)), _) => AnswerClass::Listed { codes, weight, certain },
        (None, Some(&(code, _))) if good.is_empty() => AnswerClass::Unknown(code),
        (None, _) => AnswerClass::Good { codes: good, weight: best },
    }
}

/// What a code means in this zone; `None` where nobody said.
fn meaning(code: Ipv4Addr, zone: &Zone) -> Option<CodeMeaning> {
    let octets = code.octets();
    if octets[..3] == [127, 255, 255] {
        return Some(CodeMeaning::Refused);
    }
    if zone.codes.is_empty() {
        let conventional = octets[..3] == [127, 0, 0] && (2..=254).contains(&octets[3]);
        return conventional.then_some(CodeMeaning::Listed { weight: zone.weight, certain: false });
    }
    zone.codes.iter().find(|rule| covers(rule, octets)).map(|rule| rule.meaning)
}

fn covers(rule: &ZoneCode, octets: [u8; 4]) -> bool {
    let in_range = rule.octets.iter().zip(octets).all(|(&(from, to), octet)| (from..=to).contains(&octet));
    in_range && rule.mask.is_none_or(|mask| octets[3] & mask != 0)
}

/// The name to ask for `address` in `zone`: octets or nibbles reversed (RFC 5782 §2.1, §2.4), with a trailing dot so
/// that no search list is tried.
pub fn query_name(address: IpAddr, zone: &str) -> String {
    let zone = zone.trim_end_matches('.');
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.{zone}.")
        }
        IpAddr::V6(v6) => {
            let nibbles: String =
                v6.octets().iter().rev().map(|byte| format!("{:x}.{:x}.", byte & 15, byte >> 4)).collect();
            format!("{nibbles}{zone}.")
        }
    }
}

/// The name to ask for `domain` in `zone` (RFC 5782 §3), fully qualified.
pub fn domain_query_name(domain: &str, zone: &str) -> String {
    format!("{}.{}.", domain.trim_end_matches('.'), zone.trim_end_matches('.'))
}

/// Characters kept of what a list says of its reason.
const TEXT_CHARS: usize = 300;

/// What a list says of its reason (TXT), fit to be shown: one line, no control characters, clipped, and without `secrets`
/// (the key, the list's own name): some lists repeat the question.
pub fn shown_text(parts: &[String], secrets: &[&str]) -> String {
    let mut text: String = parts.join("; ").chars().take(TEXT_CHARS * 4).collect();
    for secret in secrets.iter().filter(|secret| !secret.is_empty()) {
        text = masked(&text, secret);
    }
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(TEXT_CHARS).collect::<String>().trim().to_owned()
}

/// Labels of a zone's name that are likely to be a key: long ones of letters and digits. For names that are written with their key.
pub fn likely_keys(zone: &str) -> Vec<&str> {
    let is_key = |label: &&str| {
        let has = |what: fn(&u8) -> bool| label.bytes().any(|b| what(&b));
        label.len() >= 16 && has(u8::is_ascii_digit) && has(u8::is_ascii_alphabetic)
    };
    zone.split('.').filter(is_key).collect()
}

/// `text` without `secret`, in whatever case it is written.
fn masked(text: &str, secret: &str) -> String {
    let (low, secret) = (text.to_ascii_lowercase(), secret.to_ascii_lowercase());
    let (mut out, mut from) = (String::with_capacity(text.len()), 0);
    // ASCII lower case moves no octet.
    for (at, found) in low.match_indices(&secret) {
        out.push_str(&text[from..at]);
        out.push_str("***");
        from = at + found.len();
    }
    out.push_str(&text[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::super::zone::tests::zone;
    use super::*;

    #[test]
    fn a_key_that_is_written_in_the_name_is_known_by_its_look() {
        for (name, keys) in [
            ("zen.example.org", &[][..]),
            ("abcdefgh12345678ijklmnop90.zen.dq.example.net", &["abcdefgh12345678ijklmnop90"]),
            ("a-rather-long-label.example.org", &[]),
        ] {
            assert_eq!(likely_keys(name), keys, "{name}");
        }
        let zone = "abcdefgh12345678ijklmnop90.zen.dq.example.net";
        let secrets = [&[zone][..], &likely_keys(zone)].concat();
        let shown = shown_text(&["see https://example.org/?k=ABCDEFGH12345678ijklmnop90".to_owned()], &secrets);
        assert_eq!(shown, "see https://example.org/?k=***");
    }

    fn listed(codes: &[[u8; 4]], weight: f64, certain: bool) -> AnswerClass {
        AnswerClass::Listed { codes: codes.iter().map(|&o| o.into()).collect(), weight, certain }
    }

    fn good(codes: &[[u8; 4]], weight: f64) -> AnswerClass {
        AnswerClass::Good { codes: codes.iter().map(|&o| o.into()).collect(), weight }
    }

    fn code(last: (u8, u8), mask: Option<u8>, meaning: CodeMeaning) -> ZoneCode {
        ZoneCode { octets: [(127, 127), (0, 0), (0, 0), last], mask, meaning }
    }

    fn answer(zone: &Zone, octets: &[[u8; 4]]) -> AnswerClass {
        classify(&DnsOutcome::Addresses(octets.iter().map(|&o| o.into()).collect()), zone)
    }

    #[test]
    fn without_a_table_only_the_conventional_codes_list() {
        let zone = zone("z");
        let table = [
            (&[[127, 0, 0, 2]][..], listed(&[[127, 0, 0, 2]], 3.0, false)),
            (&[[127, 0, 0, 254]], listed(&[[127, 0, 0, 254]], 3.0, false)),
            (&[[127, 0, 0, 1]], AnswerClass::Unknown([127, 0, 0, 1].into())),
            (&[[127, 0, 0, 255]], AnswerClass::Unknown([127, 0, 0, 255].into())),
            (&[[127, 0, 1, 2]], AnswerClass::Unknown([127, 0, 1, 2].into())),
            (&[[127, 255, 255, 254]], AnswerClass::Refused([127, 255, 255, 254].into())),
            (&[[127, 0, 0, 2], [127, 255, 255, 255]], AnswerClass::Refused([127, 255, 255, 255].into())),
            (&[[91, 195, 240, 117]], AnswerClass::Bogus([91, 195, 240, 117].into())),
            (&[[127, 0, 0, 2], [0, 0, 0, 0]], AnswerClass::Bogus([0, 0, 0, 0].into())),
            (&[[127, 0, 0, 4], [127, 0, 0, 2]], listed(&[[127, 0, 0, 2], [127, 0, 0, 4]], 3.0, false)),
            (&[[127, 0, 0, 9], [127, 0, 1, 9]], listed(&[[127, 0, 0, 9]], 3.0, false)),
            (&[], AnswerClass::NotListed),
        ];
        for (octets, expected) in table {
            assert_eq!(answer(&zone, octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn a_table_gives_each_code_its_weight_and_the_worst_counts_once() {
        let mut zone = zone("z");
        zone.codes = vec![
            code((1, 1), None, CodeMeaning::Refused),
            code((2, 2), None, CodeMeaning::Listed { weight: 4.0, certain: true }),
            code((3, 4), None, CodeMeaning::Listed { weight: 2.0, certain: false }),
            code((18, 20), None, CodeMeaning::Good { weight: -1.0 }),
            code((21, 21), None, CodeMeaning::Good { weight: 0.0 }),
        ];
        let table = [
            (&[[127, 0, 0, 2], [127, 0, 0, 3]][..], listed(&[[127, 0, 0, 2], [127, 0, 0, 3]], 4.0, true)),
            (&[[127, 0, 0, 4]], listed(&[[127, 0, 0, 4]], 2.0, false)),
            (&[[127, 0, 0, 1]], AnswerClass::Refused([127, 0, 0, 1].into())),
            (&[[127, 0, 0, 2], [127, 0, 0, 1]], AnswerClass::Refused([127, 0, 0, 1].into())),
            (&[[127, 0, 0, 18], [127, 0, 0, 21]], good(&[[127, 0, 0, 18], [127, 0, 0, 21]], -1.0)),
            (&[[127, 0, 0, 21]], good(&[[127, 0, 0, 21]], 0.0)),
            (&[[127, 0, 0, 18], [127, 0, 0, 3]], listed(&[[127, 0, 0, 3]], 2.0, false)),
            (&[[127, 0, 0, 18], [127, 0, 0, 7]], good(&[[127, 0, 0, 18]], -1.0)),
            (&[[127, 0, 0, 7]], AnswerClass::Unknown([127, 0, 0, 7].into())),
            (&[[127, 255, 255, 252]], AnswerClass::Refused([127, 255, 255, 252].into())),
        ];
        for (octets, expected) in table {
            assert_eq!(answer(&zone, octets), expected, "{octets:?}");
        }
    }

    #[test]
    fn a_negative_weight_is_a_good_word() {
        let zone = Zone { weight: -2.0, ..zone("z") };
        assert_eq!(answer(&zone, &[[127, 0, 0, 2]]), good(&[[127, 0, 0, 2]], -2.0));
    }

    #[test]
    fn bit_masks_are_read_by_bits() {
        let mut zone = zone("z");
        zone.codes = vec![
            code((1, 1), None, CodeMeaning::Refused),
            code((0, 255), Some(0b1000_0000), CodeMeaning::Listed { weight: 3.0, certain: false }),
            code((0, 255), Some(0b0000_0110), CodeMeaning::Listed { weight: 1.0, certain: false }),
        ];
        assert_eq!(answer(&zone, &[[127, 0, 0, 130]]), listed(&[[127, 0, 0, 130]], 3.0, false));
        assert_eq!(answer(&zone, &[[127, 0, 0, 4]]), listed(&[[127, 0, 0, 4]], 1.0, false));
        assert_eq!(answer(&zone, &[[127, 0, 0, 1]]), AnswerClass::Refused([127, 0, 0, 1].into()));
        assert_eq!(answer(&zone, &[[127, 0, 0, 16]]), AnswerClass::Unknown([127, 0, 0, 16].into()));
    }

    #[test]
    fn errors_are_neither_clean_nor_listed() {
        let zone = zone("z");
        let table = [
            (DnsOutcome::NxDomain, AnswerClass::NotListed),
            (DnsOutcome::NoData, AnswerClass::NotListed),
            (DnsOutcome::ServFail, AnswerClass::NoAnswer("servfail")),
            (DnsOutcome::Refused, AnswerClass::NoAnswer("refused")),
            (DnsOutcome::Timeout, AnswerClass::NoAnswer("timeout")),
            (DnsOutcome::Other("proto"), AnswerClass::NoAnswer("proto")),
        ];
        for (outcome, expected) in table {
            assert_eq!(classify(&outcome, &zone), expected);
        }
    }

    #[test]
    fn a_text_is_shown_without_keys_and_control_characters() {
        let parts = ["see https://bl.example/?q=SecretKey.zen\u{1b}[2J".to_owned(), "Secretkey!".to_owned()];
        assert_eq!(shown_text(&parts, &["secretkey", ""]), "see https://bl.example/?q=***.zen [2J; ***!");
        assert_eq!(shown_text(&["é".repeat(1000)], &["key"]).chars().count(), TEXT_CHARS);
        assert_eq!(shown_text(&[], &["key"]), "");
    }

    #[test]
    fn names_are_reversed_and_fully_qualified() {
        assert_eq!(query_name("192.0.2.99".parse().unwrap(), "bl.example"), "99.2.0.192.bl.example.");
        assert_eq!(query_name("192.0.2.99".parse().unwrap(), "bl.example."), "99.2.0.192.bl.example.");
        assert_eq!(
            query_name("2001:db8:1:2:3:4:567:89ab".parse().unwrap(), "bl.example"),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bl.example."
        );
    }
}
