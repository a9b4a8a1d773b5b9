//! Spamhaus Web Query Service: the lists asked over HTTP, for hosts whose DNS is filtered.
//!
//! 200 carries the return codes as 1000 + last octet; 404 is the good answer. A policy listing (PBL, 10 and 11) is told
//! as a listing like any other. Since a typo in the address or a list's name is answered with 404 as well, 404 is believed
//! of a list that has its test address (RFC 5782 §5) only.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::Value as Json;

use super::observation::{Observation, Scope, Value};
use crate::clock::Wall;

/// What every list of addresses has.
pub const TEST: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));

/// Path of a question.
pub fn path(list: &str, address: IpAddr) -> String {
    format!("/{}/{address}", super::postmaster::escaped(list))
}

/// What is said of an address: listed, with its codes.
///
/// # Errors
/// Where the answer holds no codes.
pub fn listed(answer: &Json, list: &str, address: IpAddr, now: Wall) -> Result<Observation, String> {
    let codes = answer["resp"].as_array().filter(|codes| !codes.is_empty()).ok_or("no resp")?;
    let octets = codes.iter().map(|code| {
        let octet = code.as_u64().or_else(|| code.as_str()?.parse().ok())?.checked_sub(1000)?;
        u8::try_from(octet).ok()
    });
    let octets: Option<Vec<u8>> = octets.take(256).collect();
    let octets = octets.ok_or("resp holds something else than codes")?;
    let codes: Vec<String> = octets.iter().map(|octet| format!("127.0.0.{octet}")).collect();
    let raw = format!("{list}: {}", codes.join(", "));
    Ok(Observation::new(Scope::Address(address), "listed", Value::exact(1.0), (now, now), &raw, now))
}

/// What is said of an address where no list has it.
pub fn not_listed(address: IpAddr, now: Wall) -> Observation {
    Observation::new(Scope::Address(address), "listed", Value::exact(0.0), (now, now), "not listed", now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn codes_are_a_thousand_and_the_last_octet() {
        let (ip, now) = ("192.0.2.11".parse().unwrap(), Wall::from_millis(1));
        let said = listed(&json!({ "resp": [1002, "1011"] }), "zen", ip, now).unwrap();
        assert_eq!(said.raw, "zen: 127.0.0.2, 127.0.0.11");
        for odd in [json!({}), json!({ "resp": [] }), json!({ "resp": [2] }), json!({ "resp": [9999] }), json!([])] {
            assert!(listed(&odd, "zen", ip, now).is_err(), "{odd}");
        }
        assert_eq!(path("a/b", ip), "/a%2Fb/192.0.2.11");
    }
}
