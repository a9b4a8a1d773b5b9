//! The envelope: what MAIL and RCPT ask for, and whether they get it (RFC 5321 §4.1.1.2, §4.1.1.3).
//!
//! What their parameters mean for a transaction is decided here and remembered in [`Envelope`]; how they are written,
//! [`command`] knows. A transaction is either mail to relay or one report to us.

use super::end::sequence;
use super::{Phase, Session};
use crate::ingress::smtp::command::{self, MailFrom, RcptTo};
use crate::ingress::{Addressee, Admission, Refusal};
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
}

impl Session {
    /// MAIL: a transaction begins.
    pub(super) fn mail(&mut self, mail: MailFrom, admission: &dyn Admission) -> Result<(), Refusal> {
        if self.helo.is_none() {
            return Err(sequence("EHLO or HELO first"));
        }
        if matches!(self.phase, Phase::Mail(_)) {
            return Err(sequence("a transaction is already open"));
        }
        self.login.may_send()?;
        if let Some(user) = self.login.user() {
            admission.sender(user, mail.reverse_path.as_ref())?;
        }
        if mail.auth && !self.login.is_offered() {
            return Err(command::unknown_parameter());
        }
        let limit = self.terms.listener.max_message_bytes;
        if mail.size.is_some_and(|size| size > limit) {
            return Err(Refusal::new(552, 3, 4, format!("message is larger than the limit of {limit} octets")));
        }
        admission.ready()?;
        self.phase = Phase::Mail(Envelope {
            reverse_path: mail.reverse_path,
            size: mail.size,
            recipients: Vec::new(),
            wishes: Wishes::default(),
            report: None,
        });
        Ok(())
    }

    /// RCPT: one recipient more.
    pub(super) fn rcpt(&mut self, to: RcptTo, admission: &dyn Admission) -> Result<(), Refusal> {
        let may_relay = self.may_relay();
        let Phase::Mail(envelope) = &mut self.phase else {
            return Err(sequence("MAIL first"));
        };
        let mailbox = match to {
            RcptTo::Mailbox(mailbox) => mailbox,
            RcptTo::Postmaster => format!("postmaster@{}", self.terms.hostname)
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
        envelope.recipients.push(mailbox.into());
        if let Addressee::Reports { max_bytes } = addressee {
            envelope.report = Some(max_bytes);
        }
        Ok(())
    }
}
