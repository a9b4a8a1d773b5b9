//! Who asks, and what they may.
//!
//! A handler names the role it needs by its argument: [`Reader`], [`Operator`] or [`Administrator`]. Each holds the
//! [`Actor`], whose name goes into the audit event of what was done.
//!
//! Somebody is known by a bearer token, or by a session ([`sessions`]) that was begun with one. The configuration holds
//! SHA-256 of each token and no more: tokens are 256 random bits ([`token`]), which no number of guesses finds, so that a
//! slow hash would protect nothing. All hashes are compared, each in constant time. Guessing is slowed all the same
//! ([`failures`]). Whoever can read the state directory finds a token there ([`local`]) that is good for this run: that is
//! how the command line of root works without set-up. Who brings nothing may look, or not even that (`admin.anonymous`).

pub(crate) mod failures;
mod hosts;
pub mod local;
mod origin;
mod refused;
pub(super) mod sessions;
pub mod token;

use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Method, header};
use parking_lot::{Mutex, RwLock};
use utoipa::ToSchema;

use self::failures::Failures;
use self::hosts::Hosts;
pub(super) use self::refused::Refused;
use self::sessions::{Lately, Session, Sessions};
use self::token::Digest;
use super::Sources;
use super::listener::Peer;
use super::problem::Problem;
use crate::clock::Now;
pub use crate::config::Role;
use crate::config::{Anonymous, Config};

/// Name of whoever brought the token of this run.
const LOCAL: &str = "local:operator";
/// Name of whoever brought nothing. No token is called so: names have no colon.
const ANONYMOUS: &str = "local:anonymous";

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq, ToSchema)]
pub struct Actor {
    /// Name of the token, or what stands for one.
    pub name: String,
    /// What they may.
    pub role: Role,
}

impl Actor {
    /// Whether this is nobody in particular.
    pub(super) fn is_anonymous(&self) -> bool {
        self.name == ANONYMOUS
    }
}

/// A token that is known.
#[derive(Clone)]
struct Known {
    actor: Actor,
    hash: Digest,
}

/// What the configuration says of this.
struct Rules {
    tokens: Vec<Known>,
    anonymous: Option<Role>,
    hosts: Hosts,
}

impl Rules {
    fn of(config: &Config) -> Self {
        let token = |token: &crate::config::AdminToken| Known {
            actor: Actor { name: token.name.clone(), role: token.role },
            hash: Digest(token.hash),
        };
        Self {
            tokens: config.admin.tokens.iter().map(token).collect(),
            anonymous: (config.admin.anonymous == Anonymous::Read).then_some(Role::Read),
            hosts: Hosts::of(config),
        }
    }
}

/// What is known of those who may ask.
pub struct Auth {
    rules: RwLock<Arc<Rules>>,
    /// The token of this run.
    local: RwLock<Option<Known>>,
    failures: Mutex<Failures>,
    sessions: Mutex<Sessions>,
    lately: Mutex<Lately>,
}

/// How somebody is known.
enum Shown {
    Token(String),
    Session(String),
    Nothing,
}

impl Auth {
    /// As the configuration has it.
    pub fn new(config: &Config) -> Self {
        Self {
            rules: RwLock::new(Arc::new(Rules::of(config))),
            local: RwLock::default(),
            failures: Mutex::default(),
            sessions: Mutex::default(),
            lately: Mutex::default(),
        }
    }

    /// Tokens, hosts and what those without a token may, as another configuration has it. Sessions whose token is gone
    /// end; the others have the role that their token has now.
    pub fn reconfigure(&self, config: &Config) {
        let rules = Arc::new(Rules::of(config));
        *self.rules.write() = Arc::clone(&rules);
        self.sessions.lock().retain(|session| self.known(&rules, &session.token).is_some());
    }

    /// Knows this token for the rest of the run; see [`local`].
    fn accept_locally(&self, hash: Digest) {
        *self.local.write() = Some(Known { actor: Actor { name: LOCAL.into(), role: Role::Admin }, hash });
    }

    /// Whose hash it is. Every hash is looked at, whichever it is.
    fn known(&self, rules: &Rules, hash: &Digest) -> Option<Actor> {
        let local = self.local.read().clone();
        let mut found = None;
        for known in rules.tokens.iter().chain(&local) {
            if known.hash.is(hash) {
                found = Some(known.actor.clone());
            }
        }
        found
    }

    /// Whether the host that a request names is one of ours; see [`hosts`].
    pub(super) fn is_host(&self, named: &str, peer: Option<&Peer>) -> bool {
        self.rules.read().hosts.has(named, peer.map(|peer| peer.local.ip()))
    }

    /// Whether somebody without a token may look.
    pub(super) fn may_anyone_read(&self) -> bool {
        self.rules.read().anonymous.is_some()
    }

    /// The session that a request is of, where it is of one; for [`Auth::is_still`].
    pub(super) fn session_of(&self, parts: &Parts) -> Option<Digest> {
        match shown(parts) {
            Ok(Shown::Session(id)) => Some(Digest::of(&id)),
            _ => None,
        }
    }

    /// Whether `actor` is still known, and still has that role; by a session as long as that lasts.
    pub(super) fn is_still(&self, actor: &Actor, session: Option<&Digest>, now: Now) -> bool {
        if let (Some(id), false) = (session, actor.is_anonymous()) {
            return self.session(id, now).as_ref() == Some(actor);
        }
        let rules = Arc::clone(&self.rules.read());
        match actor.name.as_str() {
            LOCAL => true,
            ANONYMOUS => rules.anonymous.is_some(),
            _ => rules.tokens.iter().any(|known| known.actor == *actor),
        }
    }

    /// Who asks.
    fn actor(&self, parts: &Parts, now: Now) -> Result<Actor, Refused> {
        let peer = parts.extensions.get::<axum::extract::ConnectInfo<Peer>>().map(|info| info.0);
        let is_safe = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&parts.method);
        let shown = shown(parts)?;
        if !is_safe {
            origin::check(parts, matches!(shown, Shown::Session(_)))?;
        }
        match shown {
            Shown::Token(token) => self.bearer(&token, peer.as_ref(), now),
            Shown::Session(id) => match self.session(&Digest::of(&id), now) {
                Some(actor) => Ok(actor),
                None => self.nobody(),
            },
            Shown::Nothing => self.nobody(),
        }
    }

    fn nobody(&self) -> Result<Actor, Refused> {
        let role = self.rules.read().anonymous;
        let without = "a token is needed: Authorization: Bearer TOKEN (remuda token makes one)";
        let role = role.ok_or_else(|| Refused::quietly(Problem::unauthorised(without)))?;
        Ok(Actor { name: ANONYMOUS.into(), role })
    }

    /// Whose token this is. `peer` is who brings it.
    pub(super) fn bearer(&self, token: &str, peer: Option<&Peer>, now: Now) -> Result<Actor, Refused> {
        let client = peer.map(|peer| peer.address.ip());
        let rules = Arc::clone(&self.rules.read());
        // Many may share an address: a right token goes through whatever the others tried. Nobody guesses 256 bits.
        if let Some(actor) = self.known(&rules, &Digest::of(token)) {
            return Ok(actor);
        }
        let wait = self.failures.lock().wait(client, now.mono);
        if let Some(wait) = wait {
            return Err(Refused::too_many(wait));
        }
        let is_news = self.failures.lock().failed(client, now.mono);
        Err(Refused::wrong_token(client, is_news))
    }

    /// Whether it is worth an event that `actor` signed in.
    pub(super) fn is_news(&self, actor: &Actor, peer: Option<&Peer>, now: Now) -> bool {
        self.lately.lock().is_news(&actor.name, peer.map(|peer| peer.address.ip()), now.mono)
    }

    fn session(&self, id: &Digest, now: Now) -> Option<Actor> {
        let session = self.sessions.lock().find(id, now.wall)?;
        let rules = Arc::clone(&self.rules.read());
        self.known(&rules, &session.token)
    }

    /// Begins a session of whoever has this token: its id, and who that is.
    pub(super) fn sign_in(&self, token: &str, peer: Option<&Peer>, now: Now) -> Result<(String, Actor), Refused> {
        let actor = self.bearer(token, peer, now)?;
        let id = token::random().map_err(|error| Refused::quietly(error.into()))?;
        let session = Session { token: Digest::of(token), until: now.wall.plus(sessions::LASTS) };
        self.sessions.lock().open(Digest::of(&id), session, now.wall);
        Ok((id, actor))
    }

    /// Ends the session that the request is of, if it is of one.
    pub(super) fn sign_out(&self, parts: &Parts) {
        if let Ok(Shown::Session(id)) = shown(parts) {
            self.sessions.lock().close(&Digest::of(&id));
        }
    }
}

/// What a request brings. A header with a token counts before a session.
fn shown(parts: &Parts) -> Result<Shown, Refused> {
    let mut headers = parts.headers.get_all(header::AUTHORIZATION).iter();
    if let Some(value) = headers.next() {
        let words = "Authorization: expected Bearer TOKEN";
        let text = value.to_str().ok().filter(|_| headers.next().is_none());
        // RFC 9110 §11.1: the scheme's name is case-insensitive.
        let token = text.and_then(|text| text.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
        let token = token.filter(|token| !token.is_empty());
        return token
            .map(|token| Shown::Token(token.to_owned()))
            .ok_or_else(|| Refused::quietly(Problem::unauthorised(words)));
    }
    let cookies = parts.headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    Ok(sessions::id_in(cookies).map_or(Shown::Nothing, |id| Shown::Session(id.to_owned())))
}

/// Refuses what the page of another site had a browser send.
pub(super) fn own_page(parts: &Parts) -> Result<(), Refused> {
    origin::check(parts, false)
}

/// Who a request is from, whatever they may.
pub(super) async fn identify(parts: &Parts, sources: &Sources) -> Result<Actor, Problem> {
    sources.auth.actor(parts, sources.dispatcher.now()).map_err(|refused| refused.told(sources))
}

async fn with_role(parts: &Parts, sources: &Sources, role: Role) -> Result<Actor, Problem> {
    let actor = identify(parts, sources).await?;
    if actor.role >= role {
        return Ok(actor);
    }
    let refused = if actor.is_anonymous() {
        let words = format!("this needs a token of role {}: Authorization: Bearer TOKEN", role.as_str());
        Refused::quietly(Problem::unauthorised(words))
    } else {
        Refused::role(&actor, role)
    };
    Err(refused.told(sources))
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident => $role:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Actor);

        impl FromRequestParts<Sources> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, sources: &Sources) -> Result<Self, Problem> {
                with_role(parts, sources, Role::$role).await.map(Self)
            }
        }
    )+};
}

roles! {
    /// Somebody who may look.
    Reader => Read,
    /// Somebody who may act.
    Operator => Operate,
    /// Somebody who may everything.
    Administrator => Admin,
}

#[cfg(test)]
mod tests;
