//! What a host has to show: the configuration, DANE, MTA-STS and the sender's wish, put together. Pure.
//!
//! | | follows |
//! |---|---|
//! | the configuration says never | never: the operator's word about this receiver |
//! | the sender says `TLS-Required: No` | the configuration alone (RFC 8689 §5) |
//! | DANE cannot be known | no mail to this host |
//! | DANE has usable records | a certificate that one of them names, whatever MTA-STS says (RFC 8461 §2) |
//! | MTA-STS enforces, and does not name the host | no mail to this host |
//! | MTA-STS enforces, and names it | a certificate of a known authority with the host's name |
//! | DANE has records none of which is usable | TLS, and what MTA-STS or the configuration demand beyond |
//! | MTA-STS tests | the configuration alone; what would have failed is counted |

use std::sync::Arc;

use super::sts::{Kept, Mode};
use super::tlsa::Dane;
use crate::delivery::tls::demand::{TlsDemand, TlsOutcome, TlsResult, Verified};
use crate::message::TlsWish;

/// The policy of a receiver that a host was held to; reports name it (RFC 8460 §4.4).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Policy {
    /// None.
    #[default]
    None,
    /// MTA-STS.
    Sts(Arc<Kept>),
    /// TLSA records, as they came.
    Tlsa(Vec<String>),
}

impl Policy {
    /// Its type as reports have it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::None => "no-policy-found",
            Self::Sts(_) => "sts",
            Self::Tlsa(_) => "tlsa",
        }
    }

    fn is_testing(&self) -> bool {
        matches!(self, Self::Sts(kept) if kept.policy.mode == Mode::Testing)
    }
}

/// What holds for one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ruling {
    /// What it has to show; `Err` says why it gets no mail now.
    pub demand: Result<TlsDemand, Refused>,
    /// Whose policy decided.
    pub policy: Policy,
    /// What a policy in testing already has against the host.
    pub tested: Option<Refused>,
}

/// Why a host gets no mail, or would get none if a policy were not in testing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// In the terms of TLSRPT.
    pub result: TlsResult,
    /// In words.
    pub detail: String,
}

/// What holds for `host` (lower case, without final dot). `own` is what the configuration and REQUIRETLS demand of it.
pub fn rule(own: &TlsDemand, wish: TlsWish, host: &str, dane: &Dane, sts: Option<&Arc<Kept>>) -> Ruling {
    let sts = sts.filter(|kept| kept.policy.mode != Mode::None);
    let plain = |policy| Ruling { demand: Ok(own.clone()), policy, tested: None };
    if matches!(own, TlsDemand::Never) || wish == TlsWish::Dispensable {
        return plain(Policy::None);
    }
    match dane {
        Dane::Failed(why) => {
            let refused = Refused { result: TlsResult::DnssecInvalid, detail: why.clone() };
            return Ruling { demand: Err(refused), policy: Policy::Tlsa(Vec::new()), tested: None };
        }
        Dane::Records { records, names, shown } => {
            let demand = TlsDemand::Dane { records: Arc::clone(records), names: names.clone() };
            return Ruling { demand: Ok(demand), policy: Policy::Tlsa(shown.clone()), tested: None };
        }
        Dane::None | Dane::Unusable { .. } => {}
    }
    let base = match (dane, sts) {
        (Dane::Unusable { shown }, _) => Ruling {
            demand: Ok(at_least_encrypted(own)),
            policy: Policy::Tlsa(shown.clone()),
            tested: None,
        },
        _ => plain(sts.map_or(Policy::None, |kept| Policy::Sts(Arc::clone(kept)))),
    };
    let Some(kept) = sts else { return base };
    let unnamed = (!kept.policy.allows(host)).then(|| Refused {
        // RFC 8460 §4.3.1: a host that the policy does not name fails validation.
        result: TlsResult::ValidationFailure,
        detail: format!("the MTA-STS policy does not name {host}"),
    });
    match (kept.policy.mode, unnamed) {
        (Mode::Enforce, Some(refused)) => {
            Ruling { demand: Err(refused), policy: Policy::Sts(Arc::clone(kept)), tested: None }
        }
        (Mode::Enforce, None) => {
            let names = vec![Arc::from(host)];
            let policy = Policy::Sts(Arc::clone(kept));
            Ruling { demand: Ok(TlsDemand::WebPki { names }), policy, tested: None }
        }
        (_, tested) => Ruling { tested, ..base },
    }
}

fn at_least_encrypted(own: &TlsDemand) -> TlsDemand {
    if own.may_be_clear() { TlsDemand::Encrypted } else { own.clone() }
}

/// How the receiver's reports should count what came of it: a session that kept to the policy (`None`), or a failure.
/// A policy in testing fails where an enforced one would have; `untrusted` is what its certificate lacks, where that is known.
pub fn counted(ruling: &Ruling, outcome: &TlsOutcome, untrusted: Option<&Refused>) -> Option<Refused> {
    if let Err(refused) = &ruling.demand {
        return Some(refused.clone());
    }
    if let Some(refused) = &ruling.tested {
        return Some(refused.clone());
    }
    match outcome {
        TlsOutcome::Failed { result, detail } => Some(Refused { result: *result, detail: detail.clone() }),
        TlsOutcome::NotTried => Some(Refused {
            result: TlsResult::StarttlsNotSupported,
            detail: "the session is in the clear".to_owned(),
        }),
        TlsOutcome::Session(session) if session.verified == Verified::No && ruling.policy.is_testing() => {
            untrusted.cloned()
        }
        TlsOutcome::Session(_) => None,
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
        Dane::Records { records: [record].into(), names: vec![HOST.into()], shown: vec!["3 1 1 01".to_owned()] }
    }

    fn unusable() -> Dane {
        Dane::Unusable { shown: vec!["1 1 1 01".to_owned()] }
    }

    /// Word for a demand, and for the policy.
    fn said(ruling: &Ruling) -> (&'static str, &'static str) {
        let demand = match &ruling.demand {
            Ok(TlsDemand::Never) => "never",
            Ok(TlsDemand::Opportunistic) => "opportunistic",
            Ok(TlsDemand::Encrypted) => "encrypted",
            Ok(TlsDemand::WebPki { .. }) => "verified",
            Ok(TlsDemand::Dane { .. }) => "dane",
            Err(_) => "no mail",
        };
        (demand, ruling.policy.as_str())
    }

    #[test]
    fn the_strictest_that_knows_decides() {
        let verified = TlsDemand::WebPki { names: vec![HOST.into()] };
        let (may, must) = (TlsDemand::Opportunistic, TlsDemand::Encrypted);
        let failed = Dane::Failed("bogus".to_owned());
        let (none, no_wish, dispensable) = (Dane::None, TlsWish::None, TlsWish::Dispensable);
        let (enforce, testing, off) = (sts("enforce"), sts("testing"), sts("none"));
        for (own, wish, host, dane, sts, expected) in [
            (&may, no_wish, HOST, &none, None, ("opportunistic", "no-policy-found")),
            (&must, no_wish, HOST, &none, None, ("encrypted", "no-policy-found")),
            (&may, no_wish, HOST, &none, Some(&enforce), ("verified", "sts")),
            (&may, no_wish, "evil.test", &none, Some(&enforce), ("no mail", "sts")),
            (&may, no_wish, HOST, &none, Some(&testing), ("opportunistic", "sts")),
            (&may, no_wish, "evil.test", &none, Some(&testing), ("opportunistic", "sts")),
            (&verified, no_wish, "evil.test", &none, Some(&testing), ("verified", "sts")),
            (&may, no_wish, "evil.test", &none, Some(&off), ("opportunistic", "no-policy-found")),
            (&may, no_wish, HOST, &records(), None, ("dane", "tlsa")),
            (&may, no_wish, "evil.test", &records(), Some(&enforce), ("dane", "tlsa")),
            (&verified, TlsWish::Required, HOST, &records(), None, ("dane", "tlsa")),
            (&may, no_wish, HOST, &unusable(), None, ("encrypted", "tlsa")),
            (&verified, no_wish, HOST, &unusable(), None, ("verified", "tlsa")),
            (&may, no_wish, HOST, &unusable(), Some(&enforce), ("verified", "sts")),
            (&may, no_wish, HOST, &unusable(), Some(&testing), ("encrypted", "tlsa")),
            (&may, no_wish, HOST, &failed, None, ("no mail", "tlsa")),
            (&may, no_wish, HOST, &failed, Some(&enforce), ("no mail", "tlsa")),
            (&TlsDemand::Never, no_wish, HOST, &failed, Some(&enforce), ("never", "no-policy-found")),
            (&may, dispensable, HOST, &failed, Some(&enforce), ("opportunistic", "no-policy-found")),
            (&must, dispensable, HOST, &records(), None, ("encrypted", "no-policy-found")),
        ] {
            let ruling = rule(own, wish, host, dane, sts);
            assert_eq!(said(&ruling), expected, "{own:?} {wish:?} {host} {dane:?} {sts:?}");
        }
    }

    #[test]
    fn testing_counts_what_enforcing_would_refuse() {
        let opportunistic = TlsDemand::Opportunistic;
        let session = |verified| {
            TlsOutcome::Session(TlsSession { version: "TLSv1.3", cipher: "TLS_AES_128_GCM_SHA256", group: None, verified })
        };
        let untrusted = Refused { result: TlsResult::CertificateNotTrusted, detail: "own".to_owned() };
        let result = |ruling: &Ruling, outcome| counted(ruling, &outcome, Some(&untrusted)).map(|refused| refused.result);
        let testing = rule(&opportunistic, TlsWish::None, HOST, &Dane::None, Some(&sts("testing")));
        assert_eq!(result(&testing, session(Verified::WebPki)), None);
        assert_eq!(result(&testing, session(Verified::No)), Some(TlsResult::CertificateNotTrusted));
        assert_eq!(result(&testing, TlsOutcome::NotTried), Some(TlsResult::StarttlsNotSupported));
        let elsewhere = rule(&opportunistic, TlsWish::None, "evil.test", &Dane::None, Some(&sts("testing")));
        assert!(elsewhere.demand.is_ok());
        assert_eq!(result(&elsewhere, session(Verified::WebPki)), Some(TlsResult::ValidationFailure));
        let plain = rule(&opportunistic, TlsWish::None, HOST, &Dane::None, None);
        assert_eq!(result(&plain, session(Verified::No)), None, "nobody promised more");
    }
}
