//! Who asks, and what they may.
//!
//! A handler names the role it needs by its argument: [`Reader`], [`Operator`] or [`Administrator`]. Each holds the
//! [`Actor`], whose name goes into the audit event of what was done.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;

use super::Sources;
use super::problem::Problem;
use crate::config::Config;

/// What somebody may do; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// Look.
    Read,
    /// Act on mail, bindings, pools and tenants.
    Operate,
    /// Reload, and end others' sessions.
    Admin,
}

/// Somebody who asks.
#[derive(Clone, Debug, PartialEq)]
pub struct Actor {
    /// Name of the token, or what stands for one.
    pub name: String,
    /// What they may.
    pub role: Role,
}

/// What is known of those who may ask.
pub struct Auth {}

impl Auth {
    /// As the configuration has it.
    pub fn new(_config: &Config) -> Self {
        Self {}
    }

    /// Tokens and hosts of another configuration.
    pub fn reconfigure(&self, _config: &Config) {}

    fn actor(&self, _parts: &Parts) -> Result<Actor, Problem> {
        Ok(Actor { name: "local".into(), role: Role::Admin })
    }
}

macro_rules! roles {
    ($($(#[$doc:meta])* $name:ident => $role:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug)]
        pub struct $name(pub Actor);

        impl FromRequestParts<Sources> for $name {
            type Rejection = Problem;

            async fn from_request_parts(parts: &mut Parts, sources: &Sources) -> Result<Self, Problem> {
                let actor = sources.auth.actor(parts)?;
                if actor.role < Role::$role {
                    return Err(Problem::new(axum::http::StatusCode::FORBIDDEN, "the token may not do this"));
                }
                Ok(Self(actor))
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
