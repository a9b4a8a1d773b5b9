//! The message: from DATA over the final dot to the reply (RFC 5321 §4.1.1.4), and the room it takes meanwhile.
//!
//! [`DataReader`] reads the text; here is when it may come, what is refused at its end, and that a message is answered
//! only by [`Session::answered`], when the shell has made it durable.

use bytes::{Buf, BytesMut};

use super::end::{sequence, stopping};
use super::hello::Helo;
use super::{Effect, Phase, Session};
use crate::ingress::smtp::data::DataReader;
use crate::ingress::{Admission, Refusal, Share, Transaction};
use crate::message::MessageId;
use crate::message::header::Headers;

/// `Received:` lines above which a message is taken for one that goes in circles (RFC 5321 §6.3: at least 100).
pub const MAX_HOPS: usize = 100;

impl Session {
    /// DATA. `more_input`: something came behind it, which the `354` should have been waited for.
    pub(super) fn data(&mut self, more_input: bool, admission: &dyn Admission, out: &mut Vec<u8>) {
        if more_input {
            let refusal = Refusal::new(554, 5, 1, "protocol error: DATA must be the last command of a group");
            return self.close_with(&refusal, out);
        }
        match std::mem::replace(&mut self.phase, Phase::Idle) {
            Phase::Mail(envelope) if envelope.recipients.is_empty() => {
                self.phase = Phase::Mail(envelope);
                self.refuse(Refusal::new(554, 5, 1, "no valid recipients"), out);
            }
            Phase::Mail(envelope) => {
                let limit = self.terms.listener.max_message_bytes;
                let limit = envelope.report.map_or(limit, |max| max.min(limit));
                let reader = DataReader::new(limit, envelope.size);
                let room = admission.room().filter(|_| envelope.report.is_some() && !self.may_relay());
                self.share = room.map(|room| Share::new(&room, self.client.ip()));
                self.phase = Phase::Data(envelope, reader);
                self.replies.write(out, 354, None, "end data with <CRLF>.<CRLF>");
            }
            other => {
                self.phase = other;
                self.refuse(sequence("MAIL and RCPT first"), out);
            }
        }
    }

    /// Text of a message came in: what to do next; `None` where the message ended and was refused.
    pub(super) fn text(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Option<Effect> {
        let Phase::Data(_, reader) = &mut self.phase else { return None };
        let taken = reader.feed(input);
        input.advance(taken);
        if self.share.as_mut().is_some_and(|share| !share.resize(reader.held())) {
            reader.no_room();
            self.share = None;
        }
        if !reader.ended() {
            return Some(Effect::Read);
        }
        self.end_of_data(out).map(|transaction| Effect::Deliver(Box::new(transaction)))
    }

    /// The final dot was read: the transaction to deliver, or a refusal written.
    fn end_of_data(&mut self, out: &mut Vec<u8>) -> Option<Transaction> {
        let Phase::Data(envelope, reader) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        let text = match reader.finish() {
            Ok(text) => text,
            Err(fault) => {
                self.refuse_message(fault.refusal(), out);
                return None;
            }
        };
        if Headers::of(&text.body).count("Received") > MAX_HOPS {
            let refusal = Refusal::new(554, 4, 6, format!("more than {MAX_HOPS} Received lines: mail loop"));
            self.refuse_message(refusal, out);
            return None;
        }
        let helo = self.helo.clone().unwrap_or_else(|| Helo { name: "unknown".into(), esmtp: false });
        self.phase = Phase::Waiting;
        Some(Transaction {
            listener: self.terms.index,
            client: self.client,
            trusted: self.trusted,
            helo: helo.name,
            esmtp: helo.esmtp,
            reverse_path: envelope.reverse_path,
            recipients: envelope.recipients,
            report: envelope.report.is_some(),
            body: text.body,
            eight_bit: text.eight_bit,
            auth_user: self.login.user().map(str::to_owned),
            wishes: envelope.wishes,
            tls: self.tls_words(),
        })
    }

    /// The shell's answer to [`Effect::Deliver`]. Call [`Session::advance`] afterwards: there may be more input.
    pub fn answered(&mut self, answer: Result<MessageId, Refusal>, out: &mut Vec<u8>) {
        self.phase = Phase::Idle;
        self.share = None;
        match answer {
            Ok(id) => {
                self.errors = 0;
                self.replies.ok(out, 6, 0, &format!("{id} accepted"));
            }
            // Not counted as the client's error: most of these are ours, or the tenant's.
            Err(refusal) => self.replies.refuse(out, &refusal),
        }
        if self.stopping {
            self.close_with(&stopping(), out);
        }
    }

    fn refuse_message(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.share = None;
        self.refuse(refusal, out);
        if self.stopping && !matches!(self.phase, Phase::Closed(_)) {
            self.close_with(&stopping(), out);
        }
    }

    /// Whether a stranger's report is being received: it takes part of what all of them share, and must come to an end.
    pub fn takes_room(&self) -> bool {
        self.share.is_some() && matches!(self.phase, Phase::Data(..))
    }
}
