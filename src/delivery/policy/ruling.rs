//! What a receiver demands of one of its hosts: DANE and MTA-STS, put together. Pure.
//!
//! | | follows |
//! |---|---|
//! | DANE cannot be known | no mail to this host |
//! | DANE has usable records | a certificate that one of them names, whatever MTA-STS says (RFC 8461 §2) |
//! | MTA-STS enforces, and does not name the host | no mail to this host |
//! | MTA-STS enforces, and names it | a certificate of a known authority with the host's name |
//! | DANE has records none of which is usable | TLS, whatever the host shows (RFC 7672 §2.2) |
//! | MTA-STS tests | nothing; certificates are looked at, and what would have failed is counted |
//!
//! What the operator and the sender say joins it in [`crate::delivery::tls::policy::settle`].

use std::sync::Arc;

use super::sts::{Kept, Mode};
use super::tlsa::Dane;
use crate::delivery::tls::demand::{TlsDemand, TlsOutcome, TlsResult, Verified};
use crate::delivery::tls::policy::Excluded;

/// The policy of a receiver that a host was held to; reports name it (RFC 8460 §4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// None.
    #[default]
    None,
    /// MTA-STS.
    Sts(Arc<Kept>),
    /// TLSA records.
    Tlsa {
        /// The name they are at (the TLSA base domain, RFC 7672 §2.2.3).
        base: String,
        /// As they came; empty where they cannot be known.
        records: Vec<String>,
    },
}

impl Policy {
    /// Its type as reports have it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "no-policy-found",
            Self::Sts(_) => "sts",
            Self::Tlsa { .. } => "tlsa",
        }
    }
}

/// What holds for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What it has to show, if anything; or why it gets no mail now.
    pub demand: Result<Option<TlsDemand>, Excluded>,
    /// Whose policy decided.
    pub policy: Policy,
    /// Whether the domain is proven to name the host: its MTA-STS policy does, or its signed MX records (which whoever asked
    /// DNS adds). Mail with REQUIRETLS goes to no other (RFC 8689 §4.2.1).
    pub is_named: bool,
    /// What a policy in testing has against the host, which it is given mail all the same.
    pub tested: Option<Excluded>,
}

impl Ruling {
    /// What the host has to show, as one word.
    pub fn as_str(&self) -> &'static str {
        match &self.demand {
            Ok(None | Some(TlsDemand::Never | TlsDemand::Opportunistic | TlsDemand::Watched { .. })) => "nothing",
            Ok(Some(TlsDemand::Encrypted)) => "encrypted",
            Ok(Some(TlsDemand::WebPki { .. })) => "verified",
            Ok(Some(TlsDemand::Dane { .. })) => "dane",
            Err(_) => "no mail",
        }
    }
}

/// What holds for `host` (lower case, without final dot).
pub fn rule(host: &str, dane: &Dane, sts: Option<&Arc<Kept>>) -> Ruling {
    let in_force = sts.filter(|kept| kept.policy.mode != Mode::None);
    let is_named = || in_force.is_some_and(|kept| kept.policy.allows(host));
    let (demand, policy) = match dane {
        Dane::Failed(why) => {
            let excluded = Excluded { result: TlsResult::DnssecInvalid, detail: why.clone() };
            let policy = Policy::Tlsa { base: host.to_owned(), records: Vec::new() };
            return Ruling { demand: Err(excluded), policy, is_named: false, tested: None };
        }
        Dane::Records { base, records, names, shown } => {
            let demand = TlsDemand::Dane { records: Arc::clone(records), names: names.clone() };
            let policy = Policy::Tlsa { base: base.clone(), records: shown.clone() };
            return Ruling { demand: Ok(Some(demand)), policy, is_named: is_named(), tested: None };
        }
        Dane::Unusable { base, shown } => {
            (Some(TlsDemand::Encrypted), Policy::Tlsa { base: base.clone(), records: shown.clone() })
        }
        Dane::None => (None, Policy::None),
    };
    let Some(kept) = in_force else {
        return Ruling { demand: Ok(demand), policy, is_named: false, tested: None };
    };
    let is_named = is_named();
    let unnamed = (!is_named).then(|| Excluded {
        // RFC 8460 §4.3.1 has no word of its own for it.
        result: TlsResult::ValidationFailure,
        detail: format!("the MTA-STS policy does not name {host}"),
    });
    let by_sts = Policy::Sts(Arc::clone(kept));
    match (kept.policy.mode, unnamed) {
        (Mode::Enforce, Some(excluded)) => Ruling { demand: Err(excluded), policy: by_sts, is_named, tested: None },
        (Mode::Enforce, None) => {
            let verified = TlsDemand::WebPki { names: vec![Arc::from(host)] };
            Ruling { demand: Ok(Some(verified)), policy: by_sts, is_named, tested: None }
        }
        // Beside records of DANE, a policy in testing is not what the host is held to.
        (_, _) if demand.is_some() => Ruling { demand: Ok(demand), policy, is_named, tested: None },
        (_, Some(tested)) => Ruling { demand: Ok(None), policy: by_sts, is_named, tested: Some(tested) },
        (_, None) => {
            let watched = TlsDemand::Watched { names: vec![Arc::from(host)], may_be_clear: true };
            Ruling { demand: Ok(Some(watched)), policy: by_sts, is_named, tested: None }
        }
    }
}

/// How the receiver's report counts what came of it (RFC 8460 §4.3): a session that kept to the policy (`Some(None)`), or a
/// failure. A policy in testing fails where an enforced one would have; what nobody could look at is not counted (`None`).
pub fn counted(ruling: &Ruling, outcome: &TlsOutcome) -> Option<Option<Excluded>> {
    let failed = |result, detail: &str| Some(Some(Excluded { result, detail: detail.to_owned() }));
    if let Some(excluded) = ruling.demand.as_ref().err().or(ruling.tested.as_ref()) {
        return Some(Some(excluded.clone()));
    }
    let is_watched = matches!(ruling.demand, Ok(Some(TlsDemand::Watched { .. })));
    match outcome {
        TlsOutcome::Failed { result, detail } => failed(*result, detail),
        TlsOutcome::NotTried => {
            failed(TlsResult::ValidationFailure, "the session was in the clear: TLS with the host had failed lately")
        }
        TlsOutcome::Session(session) => match session.verified {
            Verified::Doubtful(result) => failed(result, "an enforced policy would have kept the mail back"),
            // Without authorities of our own nothing is known of theirs.
            Verified::No if is_watched => None,
            _ => Some(None),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Wall;
    use crate::delivery::policy::sts::StsPolicy;
    use crate::delivery::tls::demand::{TlsSession, TlsaMatching, TlsaRecord, TlsaSelector, TlsaUsage};

    const HOST: &str = "mx.example.org";

    fn sts(mode: &str) -> Arc<Kept> {
        let text = format!("version: STSv1\nmode: {mode}\nmx: mx.example.org\nmax_age: 86400\n");
        let policy = StsPolicy::parse(text.as_bytes()).unwrap();
        Arc::new(Kept { id: "1".to_owned(), policy, fetched: Wall::from_millis(0) })
    }

    fn records() -> Dane {
        let record = TlsaRecord {
            usage: TlsaUsage::DaneEe,
            selector: TlsaSelector::PublicKey,
            matching: TlsaMatching::Sha256,
            data: vec![1; 32],
        };
        let (base, shown) = (HOST.to_owned(), vec!["3 1 1 01".to_owned()]);
        Dane::Records { base, records: [record].into(), names: vec![HOST.into()], shown }
    }

    #[test]
    fn dane_comes_before_mta_sts_and_doubt_before_both() {
        let unusable = Dane::Unusable { base: HOST.to_owned(), shown: vec!["1 1 1 01".to_owned()] };
        let failed = Dane::Failed("bogus".to_owned());
        let (enforce, testing, off) = (sts("enforce"), sts("testing"), sts("none"));
        for (host, dane, sts, demand, policy) in [
            (HOST, &Dane::None, None, "nothing", "no-policy-found"),
            (HOST, &Dane::None, Some(&enforce), "verified", "sts"),
            ("evil.test", &Dane::None, Some(&enforce), "no mail", "sts"),
            (HOST, &Dane::None, Some(&testing), "watched", "sts"),
            ("evil.test", &Dane::None, Some(&testing), "nothing", "sts"),
            ("evil.test", &Dane::None, Some(&off), "nothing", "no-policy-found"),
            (HOST, &records(), None, "dane", "tlsa"),
            ("evil.test", &records(), Some(&enforce), "dane", "tlsa"),
            (HOST, &unusable, None, "encrypted", "tlsa"),
            (HOST, &unusable, Some(&enforce), "verified", "sts"),
            ("evil.test", &unusable, Some(&enforce), "no mail", "sts"),
            (HOST, &unusable, Some(&testing), "encrypted", "tlsa"),
            (HOST, &failed, None, "no mail", "tlsa"),
            (HOST, &failed, Some(&enforce), "no mail", "tlsa"),
        ] {
            let ruling = rule(host, dane, sts);
            let word = match &ruling.demand {
                Ok(None) => "nothing",
                Ok(Some(TlsDemand::Watched { .. })) => "watched",
                Ok(Some(TlsDemand::Encrypted)) => "encrypted",
                Ok(Some(TlsDemand::WebPki { .. })) => "verified",
                Ok(Some(TlsDemand::Dane { .. })) => "dane",
                Ok(Some(other)) => panic!("{other:?}"),
                Err(_) => "no mail",
            };
            assert_eq!((word, ruling.policy.as_str()), (demand, policy), "{host} {dane:?} {sts:?}");
        }
    }

    #[test]
    fn testing_counts_what_enforcing_would_refuse() {
        let session = |verified| {
            let (version, cipher) = ("TLSv1.3", "TLS13_AES_128_GCM_SHA256");
            TlsOutcome::Session(TlsSession { version, cipher, group: None, verified })
        };
        let result = |ruling: &Ruling, outcome| {
            counted(ruling, &outcome).map(|failure| failure.map_or("kept", |excluded| excluded.result.as_str()))
        };
        let testing = rule(HOST, &Dane::None, Some(&sts("testing")));
        assert_eq!(result(&testing, session(Verified::WebPki)), Some("kept"));
        let expired = session(Verified::Doubtful(TlsResult::CertificateExpired));
        assert_eq!(result(&testing, expired), Some("certificate-expired"));
        assert_eq!(result(&testing, session(Verified::No)), None, "nobody looked");
        assert_eq!(result(&testing, TlsOutcome::NotTried), Some("validation-failure"), "in the clear");
        let elsewhere = rule("evil.test", &Dane::None, Some(&sts("testing")));
        assert_eq!(elsewhere.demand, Ok(None));
        assert_eq!(result(&elsewhere, session(Verified::No)), Some("validation-failure"));
        let failed = TlsOutcome::Failed { result: TlsResult::CertificateExpired, detail: "old".to_owned() };
        let enforced = rule(HOST, &Dane::None, Some(&sts("enforce")));
        assert_eq!(result(&enforced, failed), Some("certificate-expired"));
        assert_eq!(result(&enforced, session(Verified::WebPki)), Some("kept"));
        let excluded = rule("evil.test", &Dane::None, Some(&sts("enforce")));
        assert_eq!(result(&excluded, TlsOutcome::NotTried), Some("validation-failure"));
    }

    #[test]
    fn a_host_is_named_by_a_policy_that_holds() {
        let (enforce, testing, off) = (sts("enforce"), sts("testing"), sts("none"));
        for (host, dane, sts, is_named) in [
            (HOST, Dane::None, None, false),
            (HOST, Dane::None, Some(&enforce), true),
            (HOST, Dane::None, Some(&testing), true),
            (HOST, Dane::None, Some(&off), false),
            ("evil.test", Dane::None, Some(&testing), false),
            (HOST, records(), Some(&enforce), true),
            (HOST, records(), None, false),
        ] {
            assert_eq!(rule(host, &dane, sts).is_named, is_named, "{host} {dane:?} {sts:?}");
        }
    }
}
