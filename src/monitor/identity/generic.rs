//! Whether a PTR name looks like one that a provider made by machine for an address nobody has claimed.
//!
//! Yahoo, Microsoft and several lists refuse such names: they are those of dial-in lines and of servers that were never
//! meant to send mail. There is no standard for them, but they have two things in common: the address stands in the name,
//! or a word for the kind of line does. Both are looked for to the left of the registered domain only (taken as the last
//! two labels, or three below a short second level such as `co.uk`): `dsl.example.org` may be the name of a company,
//! `77.dsl.example.org` is a line.
//!
//! A word alone proves little, so words of lines need a number beside them, and words that mail servers have as well
//! (`pool`, `static`, `host` …) need a part of the address.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Words of lines: with any number beside them.
const LINES: [&str; 30] = [
    "adsl",
    "broadband",
    "cable",
    "catv",
    "cpe",
    "dhcp",
    "dial",
    "dialin",
    "dialup",
    "dip",
    "docsis",
    "dsl",
    "dyn",
    "dynamic",
    "fios",
    "ftth",
    "gpon",
    "gprs",
    "hsd",
    "lte",
    "mobile",
    "ppp",
    "pppoe",
    "residential",
    "sdsl",
    "umts",
    "vdsl",
    "wifi",
    "wireless",
    "xdsl",
];

/// Words of unclaimed servers and customers: with the last part of the address.
const CUSTOMERS: [&str; 14] = [
    "client",
    "clients",
    "cust",
    "customer",
    "customers",
    "pool",
    "pools",
    "res",
    "reverse",
    "static",
    "unallocated",
    "unassigned",
    "unused",
    "user",
];

/// Words of any machine: with the last two parts of the address.
const MACHINES: [&str; 9] = ["cloud", "compute", "ec2", "host", "ip", "rdns", "server", "srv", "vps"];

/// Why `name` looks generic for `address`, in words; `None` when it does not.
pub fn generic(name: &str, address: IpAddr) -> Option<&'static str> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let host = host_part(&name)?;
    match address.to_canonical() {
        IpAddr::V4(v4) => generic_v4(host, v4),
        IpAddr::V6(v6) => generic_v6(host, v6),
    }
}

/// What stands to the left of the registered domain.
fn host_part(name: &str) -> Option<&str> {
    let labels: Vec<&str> = name.split('.').collect();
    let short = |label: &&str| label.len() <= 3;
    let below_country = labels.len() >= 3
        && labels.last().is_some_and(|country| country.len() == 2)
        && labels.get(labels.len() - 2).is_some_and(short);
    let registered = if below_country { 3 } else { 2 };
    let host = labels.len().checked_sub(registered).filter(|left| *left > 0)?;
    let length: usize = labels[..host].iter().map(|label| label.len() + 1).sum();
    name.get(..length - 1)
}

fn generic_v4(host: &str, address: Ipv4Addr) -> Option<&'static str> {
    let octets = address.octets();
    let numbers = numbers(host);
    if holds_all(&numbers, &octets) || in_one_piece_v4(host, octets) {
        return Some("the address stands in it");
    }
    let last = |count: usize| holds_all(&numbers, &octets[4 - count..]);
    by_words(host, last(1), last(2))
}

fn generic_v6(host: &str, address: Ipv6Addr) -> Option<&'static str> {
    let nibbles: String = address.octets().iter().map(|byte| format!("{byte:02x}")).collect();
    let reversed: String = nibbles.chars().rev().collect();
    let bare: String = host.chars().filter(char::is_ascii_alphanumeric).collect();
    // The half that tells hosts apart is enough: networks are often left out.
    let (low, low_reversed) = (&nibbles[16..], &reversed[..16]);
    let groups = address.segments().map(|group| format!("{group:x}"));
    let dashed = host.replace(['.', '_'], "-");
    let written = [
        groups.join("-"),
        address.segments().map(|group| format!("{group:04x}")).join("-"),
        address.to_string().replace(':', "-"),
        groups[4..].join("-"),
    ];
    let has = |text: &String| text.len() >= 7 && holds_word(&dashed, text.trim_matches('-'));
    if bare.contains(low) || bare.contains(low_reversed) || written.iter().any(has) {
        return Some("the address stands in it");
    }
    let tokens: Vec<&str> = host.split(|c: char| !c.is_ascii_alphanumeric()).collect();
    let group = |at: usize| tokens.contains(&groups[at].as_str());
    by_words(host, group(7) && groups[7].len() > 1, group(6) && group(7) && groups[7].len() > 1)
}

fn by_words(host: &str, last: bool, last_two: bool) -> Option<&'static str> {
    let number = host.bytes().any(|b| b.is_ascii_digit());
    let word = |words: &[&str]| words_of(host).any(|word| words.contains(&word));
    if number && word(&LINES) || (number || host.contains('-')) && word(&["dynamic", "dynip"]) {
        Some("it is named like an access line")
    } else if last && word(&CUSTOMERS) || last_two && word(&MACHINES) {
        Some("it is numbered like an unclaimed address")
    } else {
        None
    }
}

/// Runs of letters.
fn words_of(host: &str) -> impl Iterator<Item = &str> {
    // `ec2` and `x4dsl` are words with a digit in them; both readings are tried.
    host.split(|c: char| !c.is_ascii_alphabetic()).chain(host.split(|c: char| !c.is_ascii_alphanumeric()))
}

/// Numbers of at most three digits, as an octet is written; zeros in front are allowed.
fn numbers(host: &str) -> Vec<u8> {
    let runs = host.split(|c: char| !c.is_ascii_digit()).filter(|run| !run.is_empty() && run.len() <= 3);
    runs.filter_map(|run| run.parse().ok()).collect()
}

/// Whether each of `wanted` stands among `numbers`, as often as it is wanted, in whatever order.
fn holds_all(numbers: &[u8], wanted: &[u8]) -> bool {
    let count = |of: &[u8], octet: u8| of.iter().filter(|n| **n == octet).count();
    wanted.iter().all(|&octet| count(numbers, octet) >= count(wanted, octet))
}

/// The four octets without anything between them: in hexadecimal, as twelve digits, as one number.
fn in_one_piece_v4(host: &str, octets: [u8; 4]) -> bool {
    let [a, b, c, d] = octets;
    let backwards = [d, c, b, a];
    let hex = |octets: [u8; 4]| octets.iter().map(|octet| format!("{octet:02x}")).collect::<String>();
    let padded = |octets: [u8; 4]| octets.iter().map(|octet| format!("{octet:03}")).collect::<String>();
    let plain = |octets: [u8; 4]| octets.iter().map(ToString::to_string).collect::<String>();
    // With the separators taken out, so that c0-00-02-01 is seen as well.
    let bare: String = host.chars().filter(char::is_ascii_alphanumeric).collect();
    let runs: Vec<&str> = host.split(|c: char| !c.is_ascii_digit()).collect();
    // Short ones would be found in serial numbers.
    let number = |text: String| text.len() >= 8 && runs.contains(&text.as_str());
    [octets, backwards].iter().any(|&order| {
        bare.contains(&hex(order))
            || bare.contains(&padded(order))
            || number(plain(order))
            || number(u32::from_be_bytes(order).to_string())
    })
}

/// Whether `text` stands in `host` with no further letter or digit at its ends.
fn holds_word(host: &str, text: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_hexdigit());
    host.match_indices(text)
        .any(|(at, _)| edge(host[..at].chars().next_back()) && edge(host[at + text.len()..].chars().next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GENERIC: &[(&str, &str)] = &[
        ("192-0-2-17.static.example.net", "192.0.2.17"),
        ("17.2.0.192.example.net", "192.0.2.17"),
        ("ip-192-0-2-17.eu-west.compute.example.net", "192.0.2.17"),
        ("ec2-192-0-2-17.compute-1.example.com", "192.0.2.17"),
        ("host-192.0.2.17.example.co.uk", "192.0.2.17"),
        ("static.17.2.0.192.clients.example.de", "192.0.2.17"),
        ("192.000.002.017.example.net", "192.0.2.17"),
        ("x192000002017.example.net", "192.0.2.17"),
        ("c0000211.example.net", "192.0.2.17"),
        ("c0-00-02-11.example.net", "192.0.2.17"),
        ("pc110200c0x.example.net", "192.0.2.17"),
        ("ip3221225985.example.net", "192.0.2.1"),
        ("h20311345167.example.net", "203.113.45.167"),
        ("dsl-17-2.example.net", "192.0.2.17"),
        ("77.dsl.example.org", "192.0.2.17"),
        ("pd9e3a.dip0.example.net", "192.0.2.17"),
        ("dhcp-4711.example.net", "192.0.2.17"),
        ("dynamic-line.example.net", "192.0.2.17"),
        ("cpe-00-1b.cable.example.com", "192.0.2.17"),
        ("pool-2-17.example.net", "192.0.2.17"),
        ("static-17.example.net", "192.0.2.17"),
        ("customer17.example.net", "192.0.2.17"),
        ("host-2-17.example.net", "192.0.2.17"),
        ("vps2-17.example.net", "192.0.2.17"),
        ("unassigned-17.example.net", "192.0.2.17"),
        ("2001-db8-0-0-0-0-0-17.example.net", "2001:db8::17"),
        ("2001-db8--17.example.net", "2001:db8::17"),
        ("2001-0db8-0000-0000-0000-0000-0000-0017.v6.example.net", "2001:db8::17"),
        ("20010db8000000000000000000000017.example.net", "2001:db8::17"),
        ("7.1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.example.net", "2001:db8::17"),
        ("host-02001efffe123456.example.net", "2001:db8::200:1eff:fe12:3456"),
        ("pool-17.example.net", "2001:db8::17"),
    ];

    const OWN: &[(&str, &str)] = &[
        ("mta1.example.org", "192.0.2.1"),
        ("mail.example.org", "192.0.2.17"),
        ("example.org", "192.0.2.17"),
        ("o17.mail.example.org", "192.0.2.17"),
        ("mta-2-17.example.org", "192.0.2.17"),
        ("out2-17.smtp.example.org", "192.0.2.17"),
        ("mta17.pool2.example.org", "192.0.2.18"),
        ("pool-party.example.org", "192.0.2.17"),
        ("static.example.org", "192.0.2.17"),
        ("host17.example.org", "192.0.2.17"),
        ("mail.dsl-company.example", "192.0.2.17"),
        ("mx1.dynamic-mail.com", "192.0.2.17"),
        ("mail.cable.co.uk", "192.0.2.17"),
        ("mta3.deadbeef.example.org", "192.0.2.17"),
        ("a1-2-3.smtp-out.example.org", "192.0.2.17"),
        ("m20240117.mail.example.org", "192.0.2.17"),
        ("mta17.example.org", "2001:db8::17"),
        ("v6.mta1.example.org", "2001:db8::1"),
        ("mta1.example.org", "::ffff:192.0.2.1"),
        ("", "192.0.2.17"),
        ("...", "192.0.2.17"),
        ("localhost", "192.0.2.17"),
    ];

    #[test]
    fn names_made_by_machine_are_told_from_names_given() {
        for (name, address) in GENERIC {
            assert!(generic(name, address.parse().unwrap()).is_some(), "{name} for {address}");
        }
        for (name, address) in OWN {
            assert_eq!(generic(name, address.parse().unwrap()), None, "{name} for {address}");
        }
    }

    #[test]
    fn case_and_the_final_dot_make_no_difference() {
        assert!(generic("HOST-192-0-2-17.Example.NET.", "192.0.2.17".parse().unwrap()).is_some());
        assert!(generic("192-0-2-17.example.net", "::ffff:192.0.2.17".parse().unwrap()).is_some());
    }

    #[test]
    fn no_name_makes_it_panic() {
        for name in ["é.ü.example.org", "a..b", "-", "-.-.-", &"1-".repeat(200), "\u{0}.x.y", "ß17.dsl.ñ.é"] {
            for address in ["192.0.2.17", "2001:db8::17", "::"] {
                let _ = generic(name, address.parse().unwrap());
            }
        }
    }
}
