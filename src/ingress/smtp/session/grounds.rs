//! On what grounds a client may send here: its network is one of `trust`, or it has logged in.
//!
//! A network is looked up when the client comes, a login comes when it comes; whether either still holds is asked again
//! before each transaction, since a reload of the configuration may have taken it away; so is the clear channel that it came
//! by, and those who said who it is.
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
use crate::config::{AuthMode, Listener, TlsMode};
use crate::ingress::smtp::xclient::Said;
use crate::ingress::{Admission, Refusal};

impl Session {
    /// Says by which terms sessions begin now. This one goes on by its own, but begins no mail that it might not begin by
    /// these.
    pub fn now_by(&mut self, present: Arc<Terms>) {
        self.login.insecure_by(present.listener.auth_insecure);
        self.present = present;
    }

    /// Whether what lets this client send has gone since it came: its network, its user, or those whose word it was that it is
    /// this client. Also where it would have to log in now, or to come by TLS.
    pub(super) fn has_lost_its_grounds(&self, admission: &dyn Admission) -> bool {
        let now = &self.present.listener;
        match self.login.user() {
            Some(user) if now.auth == AuthMode::Off || !admission.has_user(user) => return true,
            None if now.auth == AuthMode::Required && self.terms.listener.auth != AuthMode::Required => return true,
            _ => {}
        }
        if self.has_lost_its_channel() || self.may_relay() && self.has_lost_its_word() {
            return true;
        }
        self.trusted && !trusts(&self.present, self.client)
    }

    /// Whether it came in the clear, and may not by the present terms: at all, or with a login.
    fn has_lost_its_channel(&self) -> bool {
        let (was, is) = (&self.terms.listener, &self.present.listener);
        let needs_tls = |listener: &Listener| matches!(listener.tls, TlsMode::Required | TlsMode::Implicit);
        let logged_in = self.login.user().is_some() && !self.is_named;
        !self.is_under_tls()
            && (needs_tls(is) && !needs_tls(was) || logged_in && was.auth_insecure && !is.auth_insecure)
    }

    /// Whether somebody said that it is this client who may not say so any more.
    fn has_lost_its_word(&self) -> bool {
        let listener = &self.present.listener;
        let balancer = self.balancer.filter(|_| self.trusted || self.is_named);
        self.is_named && !self.may_name_clients()
            || balancer.is_some_and(|ip| !listener.proxy_protocol.iter().any(|network| network.contains(&ip)))
    }

    /// Whether this client may say who its client is.
    pub(super) fn may_name_clients(&self) -> bool {
        let may = |terms: &Terms| terms.listener.xclient.iter().any(|network| network.contains(&self.came.ip()));
        !self.is_unknown && may(&self.terms) && may(&self.present)
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

    /// Whether its address is in the listener's `trust`.
    pub fn is_trusted(&self) -> bool {
        self.trusted
    }

    pub(super) fn may_relay(&self) -> bool {
        self.trusted || self.login.user().is_some()
    }
}

pub(super) fn trusts(terms: &Terms, client: SocketAddr) -> bool {
    terms.listener.trust.iter().any(|network| network.contains(&client.ip()))
}
