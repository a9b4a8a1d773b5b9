//! Plain values: numbers, texts, durations, rates, addresses, domains.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use ipnet::IpNet;

use super::{Readable, as_text};
use crate::config::mistake::{Findings, Place};
use crate::config::tree::{Node, Value};
use crate::config::units::{BadQuantity, parse_duration, parse_size};
use crate::config::{DomainPattern, Rate};
use crate::message::{Domain, Mailbox};

impl Readable for String {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        as_text(node, place, "a text", out).map(str::to_owned)
    }
}

impl Readable for bool {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        out.mistake(place, format!("expected true or false, found {}", node.value.kind()), "");
        None
    }
}

macro_rules! integers {
    ($($ty:ty),+) => {$(
        impl Readable for $ty {
            fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
                let Value::Integer(number) = node.value else {
                    let hint = if matches!(node.value, Value::Text(_)) { "write it without quotes" } else { "" };
                    out.mistake(place, format!("expected a whole number, found {}", node.value.kind()), hint);
                    return None;
                };
                let fitting = number.and_then(|number| <$ty>::try_from(number).ok());
                if fitting.is_none() {
                    let shown = number.map_or_else(|| "the number".to_owned(), |number| number.to_string());
                    out.mistake(place, format!("{shown} is out of range"), format!("from 0 to {}", <$ty>::MAX));
                }
                fitting
            }
        }
    )+};
}
integers!(u8, u16, u32, u64, usize);

impl Readable for f64 {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let number = match node.value {
            Value::Float(number) => number,
            Value::Integer(Some(number)) => number as f64,
            _ => {
                out.mistake(place, format!("expected a number, found {}", node.value.kind()), "");
                return None;
            }
        };
        if !number.is_finite() {
            out.mistake(place, "not a finite number", "");
            return None;
        }
        Some(number)
    }
}

/// A size in octets: a number, or a text with a unit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Size(pub(crate) u64);

impl Readable for Size {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if matches!(node.value, Value::Integer(_)) {
            return u64::read(node, place, out).map(Self);
        }
        let text = as_text(node, place, "a size such as \"50MiB\"", out)?;
        report(parse_size(text), place, out).map(Self)
    }
}

impl Readable for Duration {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if let Value::Integer(Some(number)) = node.value {
            out.mistake(place, "a duration needs a unit", format!("write \"{number}s\" for seconds"));
            return None;
        }
        let text = as_text(node, place, "a duration such as \"15m\"", out)?;
        report(parse_duration(text), place, out)
    }
}

impl Readable for Rate {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a rate such as \"20/s\"", out)?;
        report(text.parse(), place, out)
    }
}

fn report<T>(read: Result<T, BadQuantity>, place: &Place, out: &mut Findings) -> Option<T> {
    read.map_err(|bad| out.mistake(place, bad.what, bad.hint)).ok()
}

impl Readable for IpAddr {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "an IP address", out)?;
        let address = text.parse().ok();
        if address.is_none() {
            let port = text.parse::<SocketAddr>().is_ok();
            let hint =
                if port { "write the address without a port" } else { "write it as \"192.0.2.1\" or \"2001:db8::1\"" };
            out.mistake(place, format!("{text:?} is no IP address"), hint);
        }
        address
    }
}

/// Address and port, the port being optional where there is a customary one.
fn socket_address(text: &str, customary: Option<u16>) -> Option<SocketAddr> {
    let bare = || text.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
    text.parse().ok().or_else(|| Some(SocketAddr::new(bare()?, customary?)))
}

impl Readable for SocketAddr {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "an address and port", out)?;
        let address = socket_address(text, None);
        if address.is_none() {
            let hint = match text.parse::<IpAddr>() {
                Ok(ip) => format!("add the port, such as \"{}\"", SocketAddr::new(ip, 2525)),
                Err(_) => "write it as \"127.0.0.1:2525\" or \"[::1]:2525\"".to_owned(),
            };
            out.mistake(place, format!("{text:?} is no address with port"), hint);
        }
        address
    }
}

/// A name server: port 53 unless another is given.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NameServer(pub(crate) SocketAddr);

impl Readable for NameServer {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "the address of a name server", out)?;
        let address = socket_address(text, Some(53)).filter(|address| address.port() != 0);
        if address.is_none() {
            out.mistake(
                place,
                format!("{text:?} is no address of a name server"),
                "write \"192.0.2.53\" or \"127.0.0.1:5353\"",
            );
        }
        address.map(Self)
    }
}

impl Readable for IpNet {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a network", out)?;
        let net = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(IpNet::from));
        let Some(net) = net else {
            out.mistake(
                place,
                format!("{text:?} is no network"),
                "write \"10.1.0.0/16\", \"2001:db8::/32\" or one address",
            );
            return None;
        };
        if net.addr() != net.network() {
            let hint = format!("write \"{}\" for the network or \"{}\" for the one address", net.trunc(), net.addr());
            out.mistake(place, format!("{text:?} is neither a network nor one address"), hint);
            return None;
        }
        Some(net)
    }
}

impl Readable for Domain {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a domain name", out)?;
        text.parse().map_err(|error| out.mistake(place, format!("{text:?}: {error}"), "")).ok()
    }
}

impl Readable for Mailbox {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a mail address", out)?;
        text.parse().map_err(|error| out.mistake(place, format!("{text:?}: {error}"), "")).ok()
    }
}

impl Readable for DomainPattern {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        let text = as_text(node, place, "a domain pattern", out)?;
        if text == "*" {
            return Some(Self::Any);
        }
        let (below, name) = text.strip_prefix("*.").map_or((false, text), |name| (true, name));
        // An address literal is a fine domain of a mailbox, but nothing lies below one.
        match name.parse::<Domain>() {
            Ok(domain) if below && !name.starts_with('[') => Some(Self::Below(domain)),
            Ok(domain) if !below => Some(Self::Exact(domain)),
            _ => {
                let hint = "write \"example.com\", \"*.example.com\" for all names below it, or \"*\"";
                out.mistake(place, format!("{text:?} is no domain pattern"), hint);
                None
            }
        }
    }
}
