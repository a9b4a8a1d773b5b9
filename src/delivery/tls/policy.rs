//! Who demands what of a host: the seam between policies and connections, and how several demands become one.
//!
//! The connector asks [`Demands`] about each host before it connects, and tells it afterwards what came of it. What the
//! configuration and the sender say is known at once ([`settle`], [`OnlyConfigured`]); what the receiver says has to be looked
//! up, so the answer is a future. Whoever looks it up hands it to [`settle`], so that there is one place that says which of
//! several demands holds.
//!
//! The strictest holds, with two exceptions. `TLS-Required: No` (RFC 8689 §5) takes back what the *receiver* asks for, never
//! what the operator wrote. And `tls = "off"` is the operator's last word on a destination where TLS does harm: receivers
//! are then not asked; only a sender's REQUIRETLS stands above it, since such mail may not be sent in the clear at all.
//!
//! REQUIRETLS wants more than a certificate: a name that came from unsigned MX records is whoever's the answer was, and so is
//! a certificate for it. Such mail goes only to a host that is proven to be the destination's (RFC 8689 §4.2.1): the signed MX
//! records or the MTA-STS policy name it, or no MX record was needed to find it ([`Asked::is_own`]). So receivers are asked
//! for it always, and where nobody vouches for the host the mail waits.

use std::fmt;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::demand::{TlsDemand, TlsOutcome, TlsResult};
use crate::config::{Config, DomainPattern, Host, HostPort, TlsPolicy};
use crate::delivery::plan::MxPlan;
use crate::message::{Domain, ProviderName, TlsWish};

/// What the configuration says of TLS, for each destination.
#[derive(Clone, Debug, Default)]
pub struct Configured {
    default: TlsPolicy,
    providers: Vec<(ProviderName, TlsPolicy)>,
    routes: Vec<(DomainPattern, Option<TlsPolicy>)>,
}

impl Configured {
    /// What `config` says.
    pub fn of(config: &Config) -> Self {
        let providers = config.providers.iter();
        let routes = config.destination_routes.iter();
        Self {
            default: config.delivery.tls,
            providers: providers.filter_map(|provider| Some((provider.name.clone(), provider.tls?))).collect(),
            routes: routes.map(|route| (route.domain.clone(), route.tls)).collect(),
        }
    }

    /// The same policy for all.
    pub fn always(default: TlsPolicy) -> Self {
        Self { default, ..Self::default() }
    }

    /// What holds for mail to `domain` by `plan`: the route's own word, else the provider's, else that of `[delivery]`.
    pub fn towards(&self, plan: &MxPlan, domain: &Domain) -> TlsPolicy {
        let mut routes = self.routes.iter().filter(|_| plan.pinned);
        let route = routes.find(|(pattern, _)| pattern.matches(domain.as_str())).and_then(|(_, tls)| *tls);
        let provider = plan.provider.as_ref();
        let provider = provider.and_then(|name| self.providers.iter().find(|(known, _)| known == name));
        route.or(provider.map(|(_, tls)| *tls)).unwrap_or(self.default)
    }
}

/// A host about to be connected to, and what is known of the demands on it.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Domain of the recipients: all of an attempt are of one domain.
    pub domain: &'a Domain,
    /// The host.
    pub host: &'a HostPort,
    /// It is the host of a `[[destination_route]]`, not of an MX record.
    pub pinned: bool,
    /// What the configuration says of the destination.
    pub configured: TlsPolicy,
    /// What the sender says.
    pub wish: TlsWish,
}

impl Asked<'_> {
    /// The name a certificate of the host has to be for (RFC 6125 §6.2): its own, or its address where it has no name.
    pub fn names(&self) -> Vec<Arc<str>> {
        vec![match &self.host.host {
            Host::Name(name) => Arc::from(name.as_str()),
            Host::Address(ip) => Arc::from(ip.to_string()),
        }]
    }

    /// Whether it is the destination's host without anybody's word: the operator wrote it down, it is an address that the
    /// sender wrote, or the domain itself, whose own name the certificate is held to.
    pub fn is_own(&self) -> bool {
        let is_domain = match &self.host.host {
            Host::Address(_) => true,
            Host::Name(name) => name.as_str().eq_ignore_ascii_case(self.domain.as_str()),
        };
        self.pinned || is_domain
    }
}

/// See [`Asked::is_own`] and [`settle`].
const UNPROVEN: &str = "REQUIRETLS: neither signed MX records nor an MTA-STS policy name the host";

/// The host is not to be used: a policy excludes it, or what it says could not be learnt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Excluded {
    /// In the terms of TLSRPT.
    pub result: TlsResult,
    /// In words.
    pub detail: String,
}

/// What is demanded of a host.
pub type Demanded = Result<TlsDemand, Excluded>;

/// The answer when it comes.
pub type Demanding<'a> = Pin<Box<dyn Future<Output = Demanded> + Send + 'a>>;

/// How TLS with a host ended.
#[derive(Clone, Copy, Debug)]
pub struct Concluded<'a> {
    /// As it was asked.
    pub asked: Asked<'a>,
    /// What was demanded; `None` where the host was excluded.
    pub demand: Option<&'a TlsDemand>,
    /// Our end, where a connection was made.
    pub local: Option<SocketAddr>,
    /// The other end, where one was tried.
    pub remote: Option<SocketAddr>,
    /// What came of it.
    pub outcome: &'a TlsOutcome,
}

/// Knows the policies.
pub trait Demands: fmt::Debug + Send + Sync + 'static {
    /// What is demanded of a host. Asked before each connection and before an idle one is used again: whatever is looked up
    /// should be remembered.
    fn demand<'a>(&'a self, asked: Asked<'a>) -> Demanding<'a>;

    /// Takes note of how it ended: once for each connection that said something of TLS, in the clear or not, and for each
    /// host that was excluded.
    fn concluded(&self, _seen: &Concluded<'_>) {}
}

/// Knows the configuration and the sender's wish, and asks nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct OnlyConfigured;

impl Demands for OnlyConfigured {
    fn demand<'a>(&'a self, asked: Asked<'a>) -> Demanding<'a> {
        Box::pin(std::future::ready(settle(&asked, None, false)))
    }
}

/// Whether a receiver's policy could change anything: where not, there is no need to look it up.
pub fn asks_receiver(asked: &Asked<'_>) -> bool {
    match asked.wish {
        TlsWish::Required => true,
        TlsWish::Dispensable => false,
        TlsWish::None => asked.configured != TlsPolicy::Off,
    }
}

/// What holds of what the configuration, the sender and, where it has a policy, the receiver say; `is_named` where the
/// receiver is proven to name the host.
///
/// # Errors
/// The sender demands a host that is proven to be the receiver's, and this one is not.
pub fn settle(asked: &Asked<'_>, receiver: Option<TlsDemand>, is_named: bool) -> Demanded {
    if asked.wish == TlsWish::Required && !is_named && !asked.is_own() {
        return Err(Excluded { result: TlsResult::ValidationFailure, detail: UNPROVEN.to_owned() });
    }
    let ours = match asked.configured {
        TlsPolicy::Off => TlsDemand::Never,
        TlsPolicy::Opportunistic => TlsDemand::Opportunistic,
        TlsPolicy::Required => TlsDemand::Encrypted,
        TlsPolicy::Verified => TlsDemand::WebPki { names: asked.names() },
    };
    let theirs = receiver.filter(|_| asks_receiver(asked));
    let sender = (asked.wish == TlsWish::Required).then(|| TlsDemand::WebPki { names: asked.names() });
    // The receiver's first: between equals, what it says of its own hosts is better than what we guess.
    Ok([theirs, sender].into_iter().flatten().fold(ours, stricter))
}

/// The stricter of two; `new` among equals.
fn stricter(old: TlsDemand, new: TlsDemand) -> TlsDemand {
    match (&old, new) {
        // Looked at all the same.
        (TlsDemand::Encrypted, TlsDemand::Watched { names, .. }) => TlsDemand::Watched { names, may_be_clear: false },
        (_, new) if rank(&new) > rank(&old) => new,
        _ => old,
    }
}

fn rank(demand: &TlsDemand) -> u8 {
    match demand {
        TlsDemand::Never => 0,
        TlsDemand::Opportunistic => 1,
        TlsDemand::Watched { may_be_clear: true, .. } => 2,
        TlsDemand::Watched { may_be_clear: false, .. } | TlsDemand::Encrypted => 3,
        TlsDemand::WebPki { .. } => 4,
        // What the receiver signed is worth more than what any authority says (RFC 7672 §1.3).
        TlsDemand::Dane { .. } => 5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dane() -> TlsDemand {
        TlsDemand::Dane { records: Arc::new([]), names: Vec::new() }
    }

    #[test]
    fn the_strictest_holds_but_for_what_sender_and_operator_take_back() {
        use TlsPolicy::{Off, Opportunistic, Required, Verified};
        use TlsWish::{Dispensable, None as Nothing, Required as Wished};
        let (domain, host) = ("example.org".parse().expect("domain"), "mx.example.org".parse().expect("domain"));
        let host = HostPort { host: Host::Name(host), port: 25 };
        let verified = || TlsDemand::WebPki { names: vec![Arc::from("mx.example.org")] };
        let sts = || TlsDemand::WebPki { names: vec![Arc::from("mx.example.org")] };
        let watched = |may_be_clear| TlsDemand::Watched { names: vec![Arc::from("mx.example.org")], may_be_clear };
        for (configured, wish, receiver, expected) in [
            (Off, Nothing, None, TlsDemand::Never),
            (Off, Nothing, Some(dane()), TlsDemand::Never),
            (Off, Wished, None, verified()),
            (Off, Wished, Some(dane()), dane()),
            (Opportunistic, Nothing, Some(watched(true)), watched(true)),
            (Opportunistic, Dispensable, Some(watched(true)), TlsDemand::Opportunistic),
            (Opportunistic, Wished, Some(watched(true)), verified()),
            (Required, Nothing, Some(watched(true)), watched(false)),
            (Verified, Nothing, Some(watched(true)), verified()),
            (Opportunistic, Nothing, None, TlsDemand::Opportunistic),
            (Opportunistic, Nothing, Some(dane()), dane()),
            (Opportunistic, Nothing, Some(TlsDemand::Opportunistic), TlsDemand::Opportunistic),
            (Opportunistic, Dispensable, Some(dane()), TlsDemand::Opportunistic),
            (Opportunistic, Wished, None, verified()),
            (Opportunistic, Wished, Some(dane()), dane()),
            (Required, Nothing, None, TlsDemand::Encrypted),
            (Required, Dispensable, Some(sts()), TlsDemand::Encrypted),
            (Required, Nothing, Some(sts()), sts()),
            (Verified, Nothing, None, verified()),
            (Verified, Nothing, Some(dane()), dane()),
            (Verified, Dispensable, None, verified()),
        ] {
            let asked = Asked { domain: &domain, host: &host, pinned: false, configured, wish };
            assert_eq!(settle(&asked, receiver.clone(), true), Ok(expected), "{configured:?} {wish:?} {receiver:?}");
        }
    }

    #[test]
    fn requiretls_goes_to_no_host_that_nobody_vouches_for() {
        let domain: Domain = "example.org".parse().expect("domain");
        let named = |name: &str| Host::Name(name.parse().expect("domain"));
        let configured = TlsPolicy::Off;
        for (host, pinned, is_named, goes) in [
            (named("mx.example.org"), false, false, false),
            (named("mx.example.org"), false, true, true),
            (named("mx.example.org"), true, false, true),
            (named("example.org"), false, false, true),
            (Host::Address([192, 0, 2, 25].into()), false, false, true),
        ] {
            let host = HostPort { host, port: 25 };
            let asked = |wish| Asked { domain: &domain, host: &host, pinned, configured, wish };
            let required = asked(TlsWish::Required);
            assert!(asks_receiver(&required));
            match settle(&required, None, is_named) {
                Ok(demand) => assert!(goes && matches!(demand, TlsDemand::WebPki { .. }), "{required:?}"),
                Err(excluded) => assert!(!goes && excluded.detail.contains("REQUIRETLS"), "{required:?}"),
            }
            assert_eq!(settle(&asked(TlsWish::None), None, is_named), Ok(TlsDemand::Never));
        }
    }

    #[test]
    fn the_most_particular_word_of_the_configuration_counts() {
        let configured = Configured {
            default: TlsPolicy::Opportunistic,
            providers: vec![("big".into(), TlsPolicy::Required)],
            routes: vec![
                (DomainPattern::Exact("plain.example".parse().expect("domain")), Some(TlsPolicy::Off)),
                (DomainPattern::Any, None),
            ],
        };
        let plan = |provider: Option<&str>, pinned| MxPlan {
            provider: provider.map(Into::into),
            pinned,
            ..MxPlan::pinned_to("x".into())
        };
        for (domain, provider, pinned, expected) in [
            ("plain.example", Some("big"), true, TlsPolicy::Off),
            ("plain.example", Some("big"), false, TlsPolicy::Required),
            ("other.example", Some("big"), true, TlsPolicy::Required),
            ("other.example", Some("small"), true, TlsPolicy::Opportunistic),
            ("other.example", None, false, TlsPolicy::Opportunistic),
        ] {
            let domain = domain.parse().expect("domain");
            assert_eq!(configured.towards(&plan(provider, pinned), &domain), expected, "{domain} {provider:?}");
        }
    }

    #[test]
    fn a_host_without_a_name_is_known_by_its_address() {
        let domain = "example.org".parse().expect("domain");
        let host = HostPort { host: Host::Address([192, 0, 2, 25].into()), port: 25 };
        let configured = TlsPolicy::Verified;
        let asked = Asked { domain: &domain, host: &host, pinned: true, configured, wish: TlsWish::None };
        assert_eq!(asked.names(), [Arc::from("192.0.2.25")]);
    }
}
