//! The reply a bounce quotes, and whether it was given to us.
//!
//! | the report has | read as | may blame our IP |
//! |---|---|---|
//! | `Diagnostic-Code` that begins with a code, without `Remote-MTA`: the reporter's own refusal | that reply | unless it names other addresses than ours |
//! | the same with a `Remote-MTA` that is not the reporter, or prose in which another host speaks | that reply | only if it names an address of ours |
//! | a text with `… said: 550 …` in it | the reply behind `said:` | no: that host was talking to the reporter |
//! | `Status` of class 4 or 5, perhaps with prose | 450 or 550 with that enhanced code | no |
//! | neither | nothing | no |
//!
//! What was told the reporter may be about the recipient, and is good for that; what it says about a client, its name or
//! its network is about the reporter's.

use std::net::{IpAddr, Ipv4Addr};

use super::read::Reported;
use crate::outcome::classify_cli::parse_line;
use crate::outcome::{EnhancedCode, Reply, is_public};

/// What introduces another host's reply in the texts of Postfix and its kin.
const SAID: &str = " said: ";

/// A reply as a report tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heard {
    /// What was said, as far as it can be told.
    pub reply: Reply,
    /// It may well have been said about the address our mail came from.
    pub from_us_to_them: bool,
    /// It was said by a further host to the reporter, or about another's address.
    pub about_others: bool,
}

/// The reply of a report on one recipient; `ours` as in [`super::book::Question::addresses`].
pub fn reply(reported: &Reported, ours: &[IpAddr]) -> Option<Heard> {
    let diagnostic = reported.diagnostic.as_deref().unwrap_or_default();
    if let Some(reply) = refusal(diagnostic) {
        let named = named(&reply.text, ours);
        let from_us_to_them = match spoken_by_another(reported) {
            true => named == Named::Ours,
            false => named != Named::Others,
        };
        return Some(Heard { reply, from_us_to_them, about_others: !from_us_to_them });
    }
    let quoted = diagnostic.find(SAID).and_then(|at| refusal(&diagnostic[at + SAID.len()..]));
    let about_others = quoted.is_some();
    let told = quoted.or_else(|| {
        let enhanced = status(reported.status.as_deref()?)?;
        let code = if enhanced.class == 5 { 550 } else { 450 };
        let text = diagnostic.chars().take(Reply::TEXT_MAX / 4).collect();
        Some(Reply { code, enhanced: Some(enhanced), text })
    })?;
    Some(Heard { reply: told, from_us_to_them: false, about_others })
}

/// Whether a further host spoke to the reporter: prose names it, fields give a `Remote-MTA` that is not the reporter.
fn spoken_by_another(reported: &Reported) -> bool {
    let is_reporter =
        |remote: &str| reported.reporting_mta.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(remote));
    reported.said_by.is_some() || reported.remote_mta.as_deref().is_some_and(|remote| !is_reporter(remote))
}

fn refusal(text: &str) -> Option<Reply> {
    parse_line(text.as_bytes()).filter(|reply| reply.code >= 400)
}

/// `Status`, where it is one of failure; comments behind it are allowed (RFC 3464 §2.3.4).
fn status(text: &str) -> Option<EnhancedCode> {
    let first = text.split_ascii_whitespace().next()?;
    EnhancedCode::lead(first.as_bytes()).map(|(code, _)| code).filter(|code| code.class != 2)
}

/// Whose addresses a text names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Ours,
    Others,
    Nobodys,
}

/// Whose addresses the text names: the way they stand, or backwards, as in the name under which a list was asked. Where
/// ours are only known inside a network, the world sees another that nobody told us, and others cannot be told from it.
fn named(text: &str, ours: &[IpAddr]) -> Named {
    let is_ours = |address: &IpAddr| match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            ours.contains(address) || ours.contains(&IpAddr::V4(Ipv4Addr::new(d, c, b, a)))
        }
        IpAddr::V6(_) => ours.contains(address),
    };
    let words = text.split(|c: char| !(c.is_ascii_hexdigit() || c == '.' || c == ':'));
    let mut found = Named::Nobodys;
    for address in words.filter_map(address) {
        if is_ours(&address) {
            return Named::Ours;
        }
        if ours.iter().any(|address| is_public(*address)) {
            found = Named::Others;
        }
    }
    found
}

fn address(word: &str) -> Option<IpAddr> {
    let word = word.trim_end_matches(['.', ':']).trim_start_matches('.');
    let address: IpAddr = word.parse().ok()?;
    // `::` and the like stand in texts for other things.
    (!address.is_unspecified()).then_some(address)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reported(status: Option<&str>, diagnostic: Option<&str>) -> Reported {
        Reported { status: status.map(str::to_owned), diagnostic: diagnostic.map(str::to_owned), ..Reported::default() }
    }

    const OURS: &str = "192.0.2.11";

    fn heard(status: Option<&str>, diagnostic: Option<&str>) -> Option<(String, bool)> {
        let heard = reply(&reported(status, diagnostic), &[OURS.parse().expect("valid")])?;
        Some((heard.reply.to_string(), heard.from_us_to_them))
    }

    #[test]
    fn the_quoted_reply_goes_before_the_status_and_the_status_before_nothing() {
        for (status, diagnostic, expected) in [
            (Some("5.0.0"), Some("550 5.1.1 no such user"), Some(("550 5.1.1 no such user", true))),
            (Some("5.0.0"), Some("250 2.0.0 fine"), Some(("550 5.0.0 250 2.0.0 fine", false))),
            (Some("5.2.2 (over quota)"), None, Some(("550 5.2.2", false))),
            (Some("4.4.7"), Some("delivery time expired"), Some(("450 4.4.7 delivery time expired", false))),
            (Some("2.0.0"), None, None),
            (Some("rubbish"), Some("no such user"), None),
            (None, Some("no such user"), None),
            (None, None, None),
        ] {
            let expected = expected.map(|(text, direct)| (text.to_owned(), direct));
            assert_eq!(heard(status, diagnostic), expected, "{status:?} {diagnostic:?}");
        }
    }

    #[test]
    fn a_refusal_of_somebody_elses_address_is_not_ours() {
        for (text, ours) in [
            ("550 5.7.1 blocked using zen.spamhaus.org", true),
            ("550 5.7.1 [192.0.2.11] blocked using zen.spamhaus.org", true),
            ("550 5.7.1 see https://check.example/?ip=192.0.2.11.", true),
            ("550 5.7.1 11.2.0.192.zen.spamhaus.org listed", true),
            ("550 5.7.1 mx1 [203.0.113.9]: client 192.0.2.11 blocked", true),
            ("550 5.7.1 [203.0.113.9] blocked using zen.spamhaus.org", false),
            ("550 5.7.1 client [IPv6:2001:db8::9] blocked", false),
            ("host mx.inner.example[203.0.113.9] said: 550 5.7.1 192.0.2.11 blocked", false),
        ] {
            assert_eq!(heard(None, Some(text)).map(|(_, direct)| direct), Some(ours), "{text}");
        }
        // An unknown address of ours cannot be told from others.
        let text = reported(None, Some("550 5.7.1 [203.0.113.9] blocked"));
        assert!(reply(&text, &[]).is_some_and(|heard| heard.from_us_to_them));
    }

    #[test]
    fn what_the_next_host_told_the_reporter_is_about_us_only_where_it_names_us() {
        for (text, ours) in [
            ("550 5.7.1 Service unavailable; client host blocked using zen.spamhaus.org", false),
            ("550 5.7.1 [203.0.113.9] blocked", false),
            ("550 5.7.1 client 192.0.2.11 blocked", true),
            ("550 5.7.1 11.2.0.192.zen.spamhaus.org listed", true),
        ] {
            let remote_mta = Some("mx.inner.example".to_owned());
            let reported = Reported { remote_mta, ..reported(Some("5.7.1"), Some(text)) };
            let heard = reply(&reported, &[OURS.parse().expect("valid")]).expect("a reply");
            assert_eq!(heard.from_us_to_them, ours, "{text}");
        }
    }

    #[test]
    fn an_address_inside_a_network_says_nothing_about_what_the_world_sees() {
        let text = reported(None, Some("550 5.7.1 [203.0.113.9] blocked"));
        for inside in ["10.0.0.1", "127.0.0.11", "192.168.1.1", "fd00::1", "fe80::1", "::1"] {
            let heard = |text| reply(text, &[inside.parse().expect("valid")]).expect("a reply").from_us_to_them;
            assert!(heard(&text), "{inside}");
            let named = Reported {
                remote_mta: Some("mx".into()),
                ..reported(None, Some(&format!("550 5.7.1 client [{inside}] blocked")))
            };
            assert!(heard(&named), "{inside}");
        }
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(status in ".{0,30}", diagnostic in ".{0,300}|(host x)? said: .{0,50}") {
            let heard = reply(&reported(Some(&status), Some(&diagnostic)), &[]);
            if let Some(heard) = heard {
                prop_assert!((400..600).contains(&heard.reply.code));
            }
        }
    }
}
