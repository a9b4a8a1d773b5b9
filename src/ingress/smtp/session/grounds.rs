//! On what grounds a client may send here: its network is one of `trust`, or it has logged in.
//!
//! A network is looked up when the client comes, a login comes when it comes; whether either still holds is asked again
//! before each transaction, since a reload of the configuration may have taken it away.
//!
//! A mail server of `xclient` may say that its client is another (XCLIENT): from then on that one's address is what trust,
//! places, the brake on logins, the log and the trace field go by, and the dialogue begins anew with the greeting. It may go
//! on to name others; what it may is always asked of the address it came from itself. What it merely passes on
//! (XFORWARD) is for the log.

use std::net::SocketAddr;
use std::sync::Arc;

use super::end::{sequence, stopping};
use super::hello::Helo;
use super::{Phase, Session, Terms};
use crate::config::AuthMode;
use crate::ingress::smtp::xclient::Said;
use crate::ingress::{Admission, Refusal};

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

    /// Whether this client may say who its client is.
    pub(super) fn may_name_clients(&self) -> bool {
        let may = |terms: &Terms| terms.listener.xclient.iter().any(|network| network.contains(&self.came.ip()));
        may(&self.terms) && may(&self.present)
    }

    fn may_name_now(&self) -> Result<(), Refusal> {
        if !self.may_name_clients() {
            return Err(Refusal::new(550, 7, 1, "you may not say who the client is"));
        }
        if matches!(self.phase, Phase::Mail(_)) {
            return Err(sequence("not inside a transaction"));
        }
        Ok(())
    }

    /// XCLIENT: the client is another.
    pub(super) fn xclient(&mut self, said: Said, admission: &dyn Admission) -> Result<(), Refusal> {
        self.may_name_now()?;
        let user = match said.login {
            None => self.login.user().map(str::to_owned),
            Some(None) => None,
            Some(Some(user)) if !self.login.is_known_here() => {
                drop(user);
                return Err(Refusal::new(501, 5, 4, "bad LOGIN attribute: nobody logs in here"));
            }
            Some(Some(user)) if admission.has_user(&user) => Some(user),
            Some(Some(_)) => return Err(Refusal::new(535, 7, 8, "there is no such user")),
        };
        let port = said.port.unwrap_or(self.client.port());
        let ip = said.address.flatten();
        self.client = SocketAddr::new(ip.unwrap_or(self.client.ip()), port);
        self.trusted = match said.address {
            None => self.trusted,
            // Nobody knows who that is.
            Some(None) => false,
            Some(Some(_)) => trusts(&self.terms, self.client),
        };
        self.login.instead_of(self.client, user);
        self.is_named = true;
        self.helo = said.helo.map(|name| Helo { name, esmtp: said.esmtp.unwrap_or(true) });
        self.phase = Phase::Waiting;
        Ok(())
    }

    /// The shell's answer to [`super::Effect::Reseat`]: whether there is a place for that client. Call [`Session::advance`]
    /// afterwards.
    pub fn reseated(&mut self, is_seated: bool, out: &mut Vec<u8>) {
        self.phase = Phase::Idle;
        if !is_seated {
            self.close_with(&Refusal::new(421, 7, 0, "too many connections, try again later"), out);
        } else if self.stopping {
            self.close_with(&stopping(), out);
        } else {
            self.write_greeting(out);
        }
    }

    /// XFORWARD: where the next mail comes from, for the log.
    pub(super) fn xforward(&mut self, said: Said) -> Result<(), Refusal> {
        self.may_name_now()?;
        let address = said.address.flatten().map_or("-".to_owned(), |address| address.to_string());
        let (helo, ident) = (said.helo.as_deref().unwrap_or("-"), said.ident.as_deref().unwrap_or("-"));
        self.forwarded = Some(format!("{address} {helo} {ident}"));
        Ok(())
    }

    /// Where mail comes from that is only passed on: address, name and id at the server in front.
    pub fn forwarded(&self) -> Option<&str> {
        self.forwarded.as_deref()
    }

    pub(super) fn may_relay(&self) -> bool {
        self.trusted || self.login.user().is_some()
    }
}

pub(super) fn trusts(terms: &Terms, client: SocketAddr) -> bool {
    terms.listener.trust.iter().any(|network| network.contains(&client.ip()))
}
