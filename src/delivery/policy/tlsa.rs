//! What proven answers mean for DANE (RFC 7672). Pure.
//!
//! Three questions lead to a host's TLSA records, each of use only where the one before was proven (§2.2): do the MX records
//! of the domain name the host, what are its addresses (and behind which alias), which TLSA records has the name. What is
//! provably unsigned has no DANE; what should be proven and is not keeps mail from the host (§2.1.1).

use std::sync::Arc;

use crate::delivery::tls::demand::{TlsaMatching, TlsaRecord, TlsaSelector, TlsaUsage};
use crate::message::Domain;

/// Records that are taken of a host at most: each is compared with each certificate.
const MAX_RECORDS: usize = 32;
/// Octets of a record at most: a certificate.
const MAX_DATA: usize = 16 << 10;

/// An answer and whether it is proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer<T> {
    /// Proven.
    Secure(T),
    /// Provably of an unsigned zone.
    Insecure,
    /// There is no such name, or it has no records of that type.
    Absent,
    /// Not proven although it should be, or no answer. In words.
    Failed(String),
}

/// What stands behind a host's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addressed {
    /// The name at the end of a chain of aliases that is proven all the way.
    pub alias_of: Option<String>,
}

/// A TLSA record as it came.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RawTlsa {
    /// Certificate usage.
    pub usage: u8,
    /// Selector.
    pub selector: u8,
    /// Matching type.
    pub matching: u8,
    /// Certificate association data.
    pub data: Vec<u8>,
}

impl RawTlsa {
    /// As a TLSA record that can be used, if it can: usages 2 and 3 only (RFC 7672 §3.1.3), digests of their length.
    pub fn usable(&self) -> Option<TlsaRecord> {
        let usage = match self.usage {
            2 => TlsaUsage::DaneTa,
            3 => TlsaUsage::DaneEe,
            _ => return None,
        };
        let selector = match self.selector {
            0 => TlsaSelector::Certificate,
            1 => TlsaSelector::PublicKey,
            _ => return None,
        };
        let (matching, fits) = match self.matching {
            0 => (TlsaMatching::Full, (1..=MAX_DATA).contains(&self.data.len())),
            1 => (TlsaMatching::Sha256, self.data.len() == 32),
            2 => (TlsaMatching::Sha512, self.data.len() == 64),
            _ => return None,
        };
        fits.then(|| TlsaRecord { usage, selector, matching, data: self.data.clone() })
    }

    /// As zone files and reports write it.
    pub fn text(&self) -> String {
        let hex: String = self.data.iter().take(64).map(|octet| format!("{octet:02x}")).collect();
        let more = if self.data.len() > 64 { "…" } else { "" };
        format!("{} {} {} {hex}{more}", self.usage, self.selector, self.matching)
    }
}

/// What DANE says of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Dane {
    /// Nothing: it is off, the zone is unsigned, or there are no records.
    #[default]
    None,
    /// Records, none of which can be used: TLS without knowing whom it is with (RFC 7672 §2.2).
    Unusable {
        /// The name they are at.
        base: String,
        /// As they came.
        shown: Vec<String>,
    },
    /// Records.
    Records {
        /// The name they are at.
        base: String,
        /// Those that can be used; never empty.
        records: Arc<[TlsaRecord]>,
        /// Names a certificate below a trust anchor may have.
        names: Vec<Arc<str>>,
        /// All, as they came.
        shown: Vec<String>,
    },
    /// It cannot be known: no mail goes to the host. In words.
    Failed(String),
}

/// What the MX records of a domain say of a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Named {
    /// Nothing that is proven: there is no DANE for it.
    NotProven,
    /// They name it.
    Proven,
    /// They do not, or cannot be known. In words.
    Refused(String),
}

/// Whether the MX records of `domain` name `host`. A domain without MX records is its own host (RFC 5321 §5.1).
pub fn named(domain: &Domain, host: &str, mx: &Answer<Vec<String>>) -> Named {
    match mx {
        Answer::Secure(hosts) if hosts.iter().any(|one| one.eq_ignore_ascii_case(host)) => Named::Proven,
        Answer::Secure(_) => Named::Refused(format!("{host} is not among the signed MX records of {domain}")),
        Answer::Insecure => Named::NotProven,
        Answer::Absent if domain.as_str().eq_ignore_ascii_case(host) => Named::Proven,
        Answer::Absent => Named::Refused(format!("{domain} has no MX record that names {host}")),
        Answer::Failed(why) => Named::Refused(format!("the MX records of {domain} cannot be proven: {why}")),
    }
}

/// Names to look for TLSA records under, in order (RFC 7672 §2.2.2); none where the host's addresses are not proven.
///
/// # Errors
/// In words, where the addresses should be proven and are not.
pub fn bases(host: &str, addresses: &Answer<Addressed>) -> Result<Vec<String>, String> {
    match addresses {
        Answer::Secure(Addressed { alias_of: None }) => Ok(vec![host.to_owned()]),
        Answer::Secure(Addressed { alias_of: Some(last) }) => Ok(vec![last.clone(), host.to_owned()]),
        // Without an address there is nothing to connect to, which whoever connects finds out.
        Answer::Insecure | Answer::Absent => Ok(Vec::new()),
        Answer::Failed(why) => Err(format!("the addresses of {host} cannot be proven: {why}")),
    }
}

/// What the TLSA records found under `base` mean for `host` of `domain`; `None` where there are none, so that the next name
/// is looked under.
pub fn dane(domain: &Domain, host: &str, base: &str, found: &Answer<Vec<RawTlsa>>) -> Option<Dane> {
    let mut raw: Vec<&RawTlsa> = match found {
        Answer::Secure(raw) if !raw.is_empty() => raw.iter().collect(),
        Answer::Secure(_) | Answer::Insecure | Answer::Absent => return None,
        Answer::Failed(why) => {
            return Some(Dane::Failed(format!("the TLSA records of {base} cannot be proven: {why}")));
        }
    };
    // Name servers turn the order with each answer: the same records are the same demand, and the same policy in reports.
    raw.sort_unstable();
    raw.dedup();
    let shown: Vec<String> = raw.iter().take(MAX_RECORDS).map(|raw| raw.text()).collect();
    let records: Vec<TlsaRecord> = raw.iter().filter_map(|raw| raw.usable()).take(MAX_RECORDS).collect();
    let base = base.trim_end_matches('.').to_ascii_lowercase();
    if records.is_empty() {
        return Some(Dane::Unusable { base, shown });
    }
    let mut names: Vec<Arc<str>> = Vec::new();
    // RFC 7672 §3.2.2: the name the records are at, the host as the MX record has it, the domain itself.
    for name in [base.as_str(), host, domain.as_str()] {
        let name = name.trim_end_matches('.').to_ascii_lowercase();
        if !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }
    Some(Dane::Records { base, records: records.into(), names, shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn domain() -> Domain {
        "example.org".parse().unwrap()
    }

    fn raw(usage: u8, selector: u8, matching: u8, octets: usize) -> RawTlsa {
        RawTlsa { usage, selector, matching, data: vec![0xab; octets] }
    }

    #[test]
    fn only_usages_two_and_three_of_known_form_are_usable() {
        for (record, usable) in [
            (raw(3, 1, 1, 32), true),
            (raw(3, 0, 2, 64), true),
            (raw(2, 0, 0, 500), true),
            (raw(2, 1, 1, 32), true),
            (raw(0, 1, 1, 32), false),
            (raw(1, 1, 1, 32), false),
            (raw(4, 1, 1, 32), false),
            (raw(255, 1, 1, 32), false),
            (raw(3, 2, 1, 32), false),
            (raw(3, 1, 3, 32), false),
            (raw(3, 1, 1, 31), false),
            (raw(3, 1, 2, 32), false),
            (raw(3, 1, 0, 0), false),
            (raw(3, 1, 0, MAX_DATA + 1), false),
        ] {
            assert_eq!(record.usable().is_some(), usable, "{}", record.text());
        }
        assert_eq!(raw(3, 1, 1, 2).text(), "3 1 1 abab");
    }

    #[test]
    fn a_host_must_be_named_by_what_is_proven() {
        let mx = |hosts: &[&str]| Answer::Secure(hosts.iter().map(|host| (*host).to_owned()).collect());
        let is = |host, answer: Answer<Vec<String>>| match named(&domain(), host, &answer) {
            Named::Proven => "proven",
            Named::NotProven => "not proven",
            Named::Refused(_) => "refused",
        };
        assert_eq!(is("mx.example.org", mx(&["a.example.org", "MX.example.org"])), "proven");
        assert_eq!(is("evil.test", mx(&["mx.example.org"])), "refused");
        assert_eq!(is("mx.example.org", Answer::Insecure), "not proven");
        assert_eq!(is("mx.example.org", Answer::Failed("bogus".into())), "refused");
        assert_eq!(is("example.org", Answer::Absent), "proven");
        assert_eq!(is("mx.example.org", Answer::Absent), "refused");
    }

    #[test]
    fn behind_an_alias_both_names_are_looked_under() {
        let secure = |alias: Option<&str>| Answer::Secure(Addressed { alias_of: alias.map(str::to_owned) });
        assert_eq!(bases("mx.example.org", &secure(None)), Ok(vec!["mx.example.org".to_owned()]));
        let both = vec!["host.example.net".to_owned(), "mx.example.org".to_owned()];
        assert_eq!(bases("mx.example.org", &secure(Some("host.example.net"))), Ok(both));
        assert_eq!(bases("mx.example.org", &Answer::Insecure), Ok(Vec::new()));
        assert!(bases("mx.example.org", &Answer::Failed("bogus".into())).is_err());
    }

    #[test]
    fn records_are_a_demand_and_doubt_is_none() {
        let of = |found| dane(&domain(), "mx.example.org", "host.example.net", &found);
        assert_eq!(of(Answer::Absent), None);
        assert_eq!(of(Answer::Insecure), None, "what is not signed does not count");
        assert!(matches!(of(Answer::Failed("bogus".into())), Some(Dane::Failed(_))));
        let (base, shown) = ("host.example.net".to_owned(), vec!["1 1 1 ab".to_owned()]);
        let unusable = Some(Dane::Unusable { base, shown });
        assert_eq!(of(Answer::Secure(vec![raw(1, 1, 1, 1)])), unusable);
        let Some(Dane::Records { records, names, .. }) = of(Answer::Secure(vec![raw(1, 1, 1, 32), raw(3, 1, 1, 32)]))
        else {
            panic!("records");
        };
        assert_eq!(records.len(), 1);
        assert_eq!(names, ["host.example.net", "mx.example.org", "example.org"].map(Arc::from));
    }

    #[test]
    fn the_order_of_records_changes_nothing() {
        let of = |found| dane(&domain(), "mx.example.org", "mx.example.org", &Answer::Secure(found));
        let (one, two) = (raw(3, 1, 1, 32), raw(2, 1, 1, 32));
        let first = of(vec![one.clone(), two.clone()]);
        assert!(matches!(&first, Some(Dane::Records { records, .. }) if records.len() == 2));
        assert_eq!(of(vec![two.clone(), one.clone()]), first);
        assert_eq!(of(vec![two.clone(), one, two]), first, "nor does one that comes twice");
    }
}
