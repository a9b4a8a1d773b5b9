//! The envelope: what MAIL and RCPT ask for, and whether they get it (RFC 5321 §4.1.1.2, §4.1.1.3).
//!
//! What their parameters mean for a transaction is decided here and remembered in [`Envelope`]; how they are written,
//! [`command`] knows. A transaction is either mail to relay or one report to us.

use super::end::sequence;
use super::held::Held;
use super::{Phase, Session};
use crate::ingress::smtp::command::{self, MailFrom, RcptPath, RcptTo};
use crate::ingress::{Addressee, Admission, Refusal};
use crate::message::wishes::TlsWish;
use crate::message::{ForwardPath, Mailbox, Wishes};

/// What MAIL and RCPT have said so far.
#[derive(Debug)]
pub(super) struct Envelope {
    pub(super) reverse_path: Option<Mailbox>,
    pub(super) size: Option<u64>,
    pub(super) recipients: Vec<ForwardPath>,
    pub(super) wishes: Wishes,
    /// Octets of the largest report, where the recipient is an address for reports.
    pub(super) report: Option<u64>,
    /// The memory that its message takes.
    pub(super) held: Held,
}

impl Session {
    /// MAIL: a transaction begins.
    pub(super) fn mail(&mut self, mail: MailFrom, admission: &dyn Admission) -> Result<(), Refusal> {
        if self.helo.is_none() {
            return Err(sequence("EHLO or HELO first"));
        }
        if matches!(self.phase, Phase::Mail(_) | Phase::Chunks(_)) {
            return Err(sequence("a transaction is already open"));
        }
        self.login.may_send()?;
        if let Some(user) = self.login.user() {
            admission.sender(user, mail.reverse_path.as_ref())?;
        }
        if mail.auth && !self.login.is_offered() || !mail.wishes.is_none() && !self.is_extended() {
            return Err(command::unknown_parameter());
        }
        if mail.wishes.tls == TlsWish::Required && !self.is_under_tls() {
            return Err(Refusal::new(530, 7, 10, "REQUIRETLS needs a session with TLS"));
        }
        if self.terms.listener.mails_per_session.is_some_and(|most| self.mails >= most) {
            return Err(Refusal::new(421, 7, 0, "so many transactions are enough for a session, connect again"));
        }
        let limit = self.terms.listener.max_message_bytes;
        if mail.size.is_some_and(|size| size > limit) {
            return Err(Refusal::new(552, 3, 4, format!("message is larger than the limit of {limit} octets")));
        }
        admission.ready()?;
        if admission.memory().is_some_and(|memory| !memory.fits(mail.size.unwrap_or(1))) {
            return Err(Refusal::crowded());
        }
        self.mails = self.mails.saturating_add(1);
        self.phase = Phase::Mail(Envelope {
            reverse_path: mail.reverse_path,
            size: mail.size,
            recipients: Vec::new(),
            wishes: mail.wishes,
            report: None,
            held: Held::default(),
        });
        Ok(())
    }

    /// RCPT: one recipient more.
    pub(super) fn rcpt(&mut self, to: RcptTo, admission: &dyn Admission) -> Result<(), Refusal> {
        let (may_relay, is_extended) = (self.may_relay(), self.is_extended());
        let envelope = match &mut self.phase {
            Phase::Mail(envelope) => envelope,
            Phase::Chunks(_) => return Err(sequence("the message has begun, RSET first")),
            _ => return Err(sequence("MAIL first")),
        };
        let RcptTo { path, wishes } = to;
        if !wishes.is_none() && !is_extended {
            return Err(command::unknown_parameter());
        }
        let mailbox = match path {
            RcptPath::Mailbox(mailbox) if !mailbox.is_ascii() && !envelope.wishes.utf8 => {
                return Err(command::not_ascii());
            }
            RcptPath::Mailbox(mailbox) => mailbox,
            RcptPath::Postmaster => format!("postmaster@{}", self.terms.hostname)
                .parse()
                .map_err(|why: crate::message::address::BadAddress| Refusal::new(550, 1, 3, why.to_string()))?,
        };
        let mut addressee = admission.addressee(&mailbox)?;
        if addressee == Addressee::Elsewhere && !may_relay {
            addressee = admission.addressee_of_stranger(&mailbox)?;
        }
        match addressee {
            Addressee::Elsewhere if !may_relay => return Err(self.login.relaying_denied()),
            Addressee::Elsewhere if envelope.report.is_none() => {}
            Addressee::Reports { .. } if envelope.recipients.is_empty() => {}
            // RFC 5321 §4.5.3.1.10: a client does that with those left over.
            _ => return Err(Refusal::new(452, 5, 3, "reports go alone, send it in another transaction")),
        }
        if let Addressee::Reports { max_bytes } = addressee
            && envelope.size.is_some_and(|size| size > max_bytes)
        {
            return Err(Refusal::new(552, 3, 4, format!("report is larger than the limit of {max_bytes} octets")));
        }
        if envelope.recipients.len() >= self.terms.listener.max_recipients {
            return Err(Refusal::new(452, 5, 3, "too many recipients, send the rest in another transaction"));
        }
        if addressee != Addressee::Elsewhere && !may_relay && admission.room().is_some_and(|room| room.is_full()) {
            return Err(Refusal::storage());
        }
        envelope.recipients.push(ForwardPath { address: mailbox, wishes });
        if let Addressee::Reports { max_bytes } = addressee {
            envelope.report = Some(max_bytes);
        }
        Ok(())
    }

    /// Whether the client has said EHLO, and may use what that offers.
    fn is_extended(&self) -> bool {
        self.helo.as_ref().is_some_and(|helo| helo.esmtp)
    }
}
