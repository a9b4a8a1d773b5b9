//! Who may send.
//!
//! As on the operator's side: tokens are 256 random bits of which the configuration holds SHA-256, all are compared in
//! constant time, and who guesses is slowed. A token is for one tenant; it may be bound to networks and to a rate. It is asked
//! for twice: before the body is read, and before mail is taken in ([`Gate::still`]).

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderMap, StatusCode, header};
use parking_lot::{Mutex, RwLock};

use super::pace::Pace;
use super::problem::Problem;
use crate::admin::auth::failures::Failures;
use crate::admin::auth::token::Digest;
use crate::clock::Now;
use crate::config::{Config, InjectionToken};
use crate::message::TenantName;

/// What stands before a token's name where the name of a user would: no user's name has a colon.
pub const TOKEN: &str = "token:";

/// Somebody who may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Caller {
    /// Name of the token.
    pub(super) token: String,
    /// Whose mail it is.
    pub(super) tenant: TenantName,
    /// What the configuration holds of it.
    hash: [u8; 32],
}

/// Why somebody may not, and what the counter calls it.
#[derive(Debug)]
pub(super) struct Turned {
    pub(super) problem: Box<Problem>,
    pub(super) result: &'static str,
}

pub(super) struct Gate {
    tokens: RwLock<Arc<Vec<InjectionToken>>>,
    failures: Mutex<Failures>,
    paces: Mutex<HashMap<String, Pace>>,
}

impl Gate {
    pub(super) fn new(config: &Config) -> Self {
        let tokens = RwLock::new(Arc::new(config.injection.tokens.clone()));
        Self { tokens, failures: Mutex::default(), paces: Mutex::default() }
    }

    pub(super) fn reconfigure(&self, config: &Config) {
        let tokens = Arc::new(config.injection.tokens.clone());
        self.paces.lock().retain(|name, _| tokens.iter().any(|token| token.name == *name));
        *self.tokens.write() = tokens;
    }

    /// Who asks, from where.
    pub(super) fn admit(&self, headers: &HeaderMap, client: IpAddr, now: Now) -> Result<Caller, Turned> {
        let turned = |problem: Problem, result| Err(Turned { problem: problem.into(), result });
        let Some(secret) = bearer(headers) else {
            return turned(Problem::unauthorised("a token is needed: Authorization: Bearer TOKEN"), "token");
        };
        let tokens = Arc::clone(&self.tokens.read());
        let hash = Digest::of(secret);
        // All are looked at, whichever it is.
        let known =
            tokens.iter().fold(None, |found, token| if Digest(token.hash).is(&hash) { Some(token) } else { found });
        let Some(token) = known else { return Err(self.unknown(client, now)) };
        is_good_from(token, client)?;
        if let Some(rate) = token.rate_limit
            && let Err(wait) = self.paces.lock().entry(token.name.clone()).or_default().take(rate, now.mono)
        {
            let words = format!("token {} sends faster than its rate_limit", token.name);
            return turned(Problem::too_many(words, seconds(wait)), "rate");
        }
        Ok(Caller { token: token.name.clone(), tenant: token.tenant.clone(), hash: token.hash })
    }

    /// Whether somebody who was let in still may: a request can take minutes, and the token may be gone by then, replaced,
    /// or another tenant's.
    pub(super) fn still(&self, caller: &Caller, client: IpAddr) -> Result<(), Turned> {
        let tokens = Arc::clone(&self.tokens.read());
        let token = tokens.iter().find(|token| token.name == caller.token && token.hash == caller.hash);
        let Some(token) = token else {
            let problem = Problem::unauthorised("this token was taken away while the request came in");
            return Err(Turned { problem: problem.into(), result: "token" });
        };
        if token.tenant != caller.tenant {
            let words = format!("token {} became another tenant's while the request came in", token.name);
            return Err(Turned { problem: Problem::new(StatusCode::FORBIDDEN, words).into(), result: "token" });
        }
        is_good_from(token, client)
    }

    fn unknown(&self, client: IpAddr, now: Now) -> Turned {
        let mut failures = self.failures.lock();
        if let Some(wait) = failures.wait(Some(client), now.mono) {
            let problem = Problem::too_many("too many wrong tokens from this address", seconds(wait));
            return Turned { problem: problem.into(), result: "rate" };
        }
        if failures.failed(Some(client), now.mono) {
            tracing::warn!(%client, "somebody brought a wrong token to send mail");
        }
        Turned { problem: Problem::unauthorised("nobody is known by this token").into(), result: "token" }
    }
}

fn is_good_from(token: &InjectionToken, client: IpAddr) -> Result<(), Turned> {
    let at = client.to_canonical();
    if token.networks.is_empty() || token.networks.iter().any(|network| network.contains(&at)) {
        return Ok(());
    }
    let words = format!("token {} is not good from {at}", token.name);
    Err(Turned { problem: Problem::new(StatusCode::FORBIDDEN, words).into(), result: "network" })
}

/// Rounded up: who comes back then is heard.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let text = given.next()?.to_str().ok().filter(|_| given.next().is_none())?;
    // RFC 9110 §11.1: the scheme's name is case-insensitive.
    let (scheme, token) = text.split_once(' ')?;
    Some(token.trim()).filter(|token| scheme.eq_ignore_ascii_case("bearer") && !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str, tenant: &str, hash: u8, networks: &[&str]) -> InjectionToken {
        InjectionToken {
            name: name.into(),
            tenant: TenantName::new(tenant),
            hash: [hash; 32],
            networks: networks.iter().map(|network| network.parse().expect("a network")).collect(),
            rate_limit: None,
        }
    }

    #[test]
    fn who_was_let_in_may_still_only_with_the_same_token_for_the_same_tenant_from_there() {
        let client = "192.0.2.7".parse().expect("an address");
        let caller = Caller { token: "shop".into(), tenant: TenantName::new("acme"), hash: [1; 32] };
        for (tokens, status) in [
            (vec![token("site", "globex", 2, &[]), token("shop", "acme", 1, &["192.0.2.0/24"])], None),
            (vec![], Some(401)),
            (vec![token("shop", "acme", 2, &[])], Some(401)),
            (vec![token("other", "acme", 1, &[])], Some(401)),
            (vec![token("shop", "globex", 1, &[])], Some(403)),
            (vec![token("shop", "acme", 1, &["198.51.100.0/24"])], Some(403)),
        ] {
            let gate =
                Gate { tokens: RwLock::new(Arc::new(tokens)), failures: Mutex::default(), paces: Mutex::default() };
            assert_eq!(gate.still(&caller, client).err().map(|turned| turned.problem.status), status);
        }
    }
}
