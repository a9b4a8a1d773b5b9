//! Values that only the configuration of a relay knows: times of day, hosts with ports, zones and their return codes.

use std::net::SocketAddr;

use crate::config::mistake::{Findings, Place};
use crate::config::read::{Readable, as_text};
use crate::config::tree::{Node, Value};
use crate::config::{HourShares, Pace, Probe};
use crate::message::Domain;

/// Local time at which a day starts, as `"07:30"` or as TOML's own `07:30:00`.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct TimeOfDay(pub(in crate::config) jiff::civil::Time);

impl Readable for TimeOfDay {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Datetime(time) if time.date.is_none() && time.offset.is_none() => time.to_string(),
            other => {
                out.mistake(place, format!("expected a time of day, found {}", other.kind()), "write \"00:00\"");
                return None;
            }
        };
        let read = ["%H:%M", "%H:%M:%S"].iter().find_map(|form| jiff::civil::Time::strptime(form, &text).ok());
        if read.is_none() {
            out.mistake(place, format!("{text:?} is no time of day"), "write hours and minutes, such as \"00:00\"");
        }
        read.map(Self)
    }
}

/// `"none"`, `"even"`, or 24 shares of the cap, one for each hour of the day.
impl Readable for Pace {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let hint = "write \"none\", \"even\", or 24 numbers: the share of each hour of the day";
        match &node.value {
            Value::Text(word) if word == "none" => Some(Self::None),
            Value::Text(word) if word == "even" => Some(Self::Even),
            Value::Text(word) => {
                out.mistake(place, format!("{word:?} is no pace"), hint);
                None
            }
            Value::List(items) => {
                let share = |item: &Node| match item.value {
                    Value::Integer(Some(n)) => u16::try_from(n).ok(),
                    _ => None,
                };
                let shares: Option<Vec<u16>> = items.iter().map(share).collect();
                let shares = shares.and_then(|shares| <[u16; 24]>::try_from(shares).ok());
                let shares = shares.and_then(HourShares::new);
                if shares.is_none() {
                    let what = format!("expected 24 whole numbers from 0 to 65535, not all 0; found {}", items.len());
                    out.mistake(place, what, hint);
                    return None;
                }
                shares.map(Self::Hours)
            }
            other => {
                out.mistake(place, format!("expected a word or a list, found {}", other.kind()), hint);
                None
            }
        }
    }
}

/// A day, as TOML's own `2026-11-01` or in quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Date(pub(crate) jiff::civil::Date);

impl Readable for Date {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = match &node.value {
            Value::Text(text) => text.clone(),
            Value::Datetime(date) if date.time.is_none() && date.offset.is_none() => date.to_string(),
            other => {
                out.mistake(place, format!("expected a day, found {}", other.kind()), "write it as 2026-11-01");
                return None;
            }
        };
        let day = jiff::civil::Date::strptime("%Y-%m-%d", &text).ok();
        if day.is_none() {
            out.mistake(place, format!("{text:?} is no day"), "write it as 2026-11-01");
        }
        day.map(Self)
    }
}

/// SHA-256 of a token, as `"sha256:HEX"`.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct TokenHash(pub(in crate::config) [u8; 32]);

impl Readable for TokenHash {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a hash such as \"sha256:…\"", out)?;
        let octets = text.strip_prefix("sha256:").and_then(octets_of_hex);
        if octets.is_none() {
            // Not shown: it may be the token itself.
            let hint = "write the line that remuda token prints: the hash, never the token";
            out.mistake(place, "is no hash of a token: expected \"sha256:\" and 64 hexadecimal digits", hint);
        }
        octets.map(Self)
    }
}

fn octets_of_hex(hex: &str) -> Option<[u8; 32]> {
    let digits: Option<Vec<u8>> = hex.chars().map(|c| c.to_digit(16).and_then(|n| u8::try_from(n).ok())).collect();
    let octets: Vec<u8> = digits.filter(|d| d.len() == 64)?.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    octets.try_into().ok()
}

/// A host and its port, where one is given.
#[derive(Clone, Debug)]
pub(in crate::config) struct Host {
    pub(in crate::config) host: crate::config::Host,
    pub(in crate::config) port: Option<u16>,
}

impl Readable for Host {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a host such as \"mx.example.net:25\"", out)?;
        let host = read_host(text);
        if host.is_none() {
            let hint = "write \"mx.example.net\", \"mx.example.net:2525\", \"192.0.2.1:25\" or \"[2001:db8::1]:25\"";
            out.mistake(place, format!("{text:?} is no host"), hint);
        }
        host
    }
}

fn read_host(text: &str) -> Option<Host> {
    if let Ok(address) = text.trim_start_matches('[').trim_end_matches(']').parse() {
        return Some(Host { host: crate::config::Host::Address(address), port: None });
    }
    let address = text.parse::<SocketAddr>().ok().map(|at| (crate::config::Host::Address(at.ip()), Some(at.port())));
    let (host, port) = match address {
        Some(found) => found,
        None => {
            let (name, port) = match text.split_once(':') {
                Some((name, port)) => (name, Some(port.parse().ok()?)),
                None => (text, None),
            };
            // All digits in the last label is an address gone wrong, such as 192.0.2.300.
            let last = name.trim_end_matches('.').rsplit('.').next()?;
            if name.starts_with('[') || last.bytes().all(|b| b.is_ascii_digit()) {
                return None;
            }
            (crate::config::Host::Name(name.parse().ok()?), port)
        }
    };
    if port == Some(0) { None } else { Some(Host { host, port }) }
}

/// The DNS name of a zone. No message repeats it: it may hold a key.
#[derive(Clone)]
pub(in crate::config) struct ZoneDomain(pub(in crate::config) String);

impl std::fmt::Debug for ZoneDomain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(masked)")
    }
}

impl Readable for ZoneDomain {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "the DNS name of a list", out)?;
        // In the place of one label may stand what a file holds.
        let (keyed, plain) = match text.strip_prefix(KEY) {
            Some(rest) if rest.starts_with('.') => (true, &rest[1..]),
            _ => (false, text),
        };
        let domain = plain.parse::<Domain>().ok().filter(|domain| !domain.as_str().starts_with('['));
        if domain.is_none() {
            out.mistake(place, "not a DNS name", "write the name below which addresses are looked up");
        }
        domain.map(|domain| if keyed { Self(format!("{KEY}.{domain}")) } else { Self(domain.as_str().to_owned()) })
    }
}

/// What stands for the key in the name of a zone, as its first label.
const KEY: &str = "{key}";

impl ZoneDomain {
    /// The name without the place of its key.
    pub(in crate::config) fn bare(&self) -> &str {
        self.0.strip_prefix(KEY).map_or(&self.0, |rest| rest.trim_start_matches('.'))
    }

    /// Whether it asks for a key.
    pub(in crate::config) fn is_keyed(&self) -> bool {
        self.0.starts_with(KEY)
    }
}

/// An address, or a name below the list.
impl Readable for Probe {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "an address or a name", out)?;
        let address = text.parse().map(Self::Address).ok();
        let read = address.or_else(|| text.parse::<Domain>().ok().map(|name| Self::Name(name.as_str().to_owned())));
        if read.is_none() {
            let hint = "write \"127.0.0.2\" for a list of addresses, \"test\" for one of domains";
            out.mistake(place, format!("{text:?} is neither an address nor a name"), hint);
        }
        read
    }
}

/// A URL to push to. No message repeats it: it may hold a key.
#[derive(Clone)]
pub(in crate::config) struct TargetUrl(pub(in crate::config) String);

impl std::fmt::Debug for TargetUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(masked)")
    }
}

impl Readable for TargetUrl {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        as_text(node, place, "a URL", out).map(|text| Self(text.to_owned()))
    }
}

/// Ranges of the four octets of a return code: `127.0.0.2-11`, `127.0.*.1`.
#[derive(Clone, Copy, Debug)]
pub(in crate::config) struct Octets(pub(in crate::config) [(u8, u8); 4]);

impl Readable for Octets {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "return codes such as \"127.0.0.2-11\"", out)?;
        let octets = read_octets(text);
        if octets.is_none() {
            let hint = "write four octets from 127, each a number, a range or *, such as \"127.0.0.2-11\"";
            out.mistake(place, format!("{text:?} are no return codes"), hint);
        }
        octets.map(Self)
    }
}

fn read_octets(text: &str) -> Option<[(u8, u8); 4]> {
    let mut ranges = [(0, 0); 4];
    let mut parts = text.split('.');
    for range in &mut ranges {
        let part = parts.next()?;
        let (low, high) = if part == "*" { ("0", "255") } else { part.split_once('-').unwrap_or((part, part)) };
        *range = (low.trim().parse().ok()?, high.trim().parse().ok()?);
        if range.0 > range.1 {
            return None;
        }
    }
    // What a list answers outside 127/8 is no return code but somebody's web server (RFC 5782 §2.3).
    (parts.next().is_none() && ranges[0] == (127, 127)).then_some(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn octets_read_ranges() {
        assert_eq!(read_octets("127.0.0.2-11"), Some([(127, 127), (0, 0), (0, 0), (2, 11)]));
        assert_eq!(read_octets("127.*.1.4"), Some([(127, 127), (0, 255), (1, 1), (4, 4)]));
        for text in ["", "127.0.0", "127.0.0.2.3", "10.0.0.2", "127.0.0.11-2", "127.0.0.256", "127.0.0.-", "*.0.0.2"] {
            assert_eq!(read_octets(text), None, "{text}");
        }
    }

    #[test]
    fn hosts_read_names_and_addresses() {
        let shown = |text: &str| read_host(text).map(|host| format!("{:?} {:?}", host.host, host.port));
        for (text, host) in [
            ("mx.example.net", Some("Name(\"mx.example.net\") None")),
            ("MX.example.net:2525", Some("Name(\"mx.example.net\") Some(2525)")),
            ("192.0.2.1", Some("Address(192.0.2.1) None")),
            ("192.0.2.1:25", Some("Address(192.0.2.1) Some(25)")),
            ("::1", Some("Address(::1) None")),
            ("[::1]", Some("Address(::1) None")),
            ("[::1]:25", Some("Address(::1) Some(25)")),
            ("192.0.2.300", None),
            ("mx.example.net:0", None),
            ("mx.example.net:99999", None),
            ("", None),
            (":25", None),
            ("a b", None),
        ] {
            assert_eq!(shown(text).as_deref(), host, "{text}");
        }
    }
}
