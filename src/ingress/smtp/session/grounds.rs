//! On what grounds a client may send here: its network is one of `trust`, or it has logged in.
//!
//! A network is looked up when the client comes, a login comes when it comes; whether either still holds is asked again
//! before each transaction, since a reload of the configuration may have taken it away. Whatever tells that a client is
//! somebody else than the peer of the socket belongs here.

use std::net::SocketAddr;
use std::sync::Arc;

use super::{Session, Terms};
use crate::config::AuthMode;
use crate::ingress::Admission;

impl Session {
    /// Says by which terms sessions begin now. This one goes on by its own, but begins no mail that it might not begin by
    /// these.
    pub fn now_by(&mut self, present: Arc<Terms>) {
        self.present = present;
    }

    /// Whether what lets this client send has gone since it came: its network, or its user. Also where it would have to log
    /// in now.
    pub(super) fn has_lost_its_grounds(&self, admission: &dyn Admission) -> bool {
        let now = &self.present.listener;
        match self.login.user() {
            Some(user) if now.auth == AuthMode::Off || !admission.has_user(user) => return true,
            None if now.auth == AuthMode::Required && self.terms.listener.auth != AuthMode::Required => return true,
            _ => {}
        }
        self.trusted && !trusts(&self.present, self.client)
    }

    pub(super) fn may_relay(&self) -> bool {
        self.trusted || self.login.user().is_some()
    }
}

pub(super) fn trusts(terms: &Terms, client: SocketAddr) -> bool {
    terms.listener.trust.iter().any(|network| network.contains(&client.ip()))
}
