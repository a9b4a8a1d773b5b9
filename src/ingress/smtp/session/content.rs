//! The message: from DATA over the final dot to the reply (RFC 5321 §4.1.1.4), and what is looked at in any message.
//!
//! [`DataReader`] reads the text; here is when it may come, what is refused at its end, and that a message is answered
//! only by [`Session::answered`], when the shell has made it durable. Octets above 127 are taken in header and body, whatever
//! the envelope promised: clients that say neither 8BITMIME nor SMTPUTF8 and send them are many, and refusing them helps
//! nobody; [`Transaction::eight_bit`] remembers what is there.

use bytes::{Buf, BytesMut};

use super::end::sequence;
use super::envelope::Envelope;
use super::held::Held;
use super::hello::Helo;
use super::{Effect, Phase, Session};
use crate::ingress::header::look;
use crate::ingress::smtp::data::DataReader;
use crate::ingress::{Admission, Refusal, Share, Transaction};
use crate::message::MessageId;
use crate::message::wishes::TlsWish;

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
            Phase::Mail(mut envelope) => {
                let expected = envelope.size;
                if let Err(refusal) = self.take_room(&mut envelope, expected, admission) {
                    self.phase = Phase::Mail(envelope);
                    return self.refuse(refusal, out);
                }
                // A stranger's word fills no buffer.
                let expected = envelope.held.expected(expected);
                let reader = DataReader::new(self.limit(&envelope), expected);
                self.phase = Phase::Data(Box::new((envelope, reader)));
                self.replies.write(out, 354, None, "end data with <CRLF>.<CRLF>");
            }
            Phase::Chunks(begun) => {
                self.phase = Phase::Chunks(begun);
                self.refuse(sequence("the message has begun with BDAT, which DATA cannot end"), out);
            }
            other => {
                self.phase = other;
                self.refuse(sequence("MAIL and RCPT first"), out);
            }
        }
    }

    /// Octets the message may have.
    pub(super) fn limit(&self, envelope: &Envelope) -> u64 {
        let limit = self.terms.listener.max_message_bytes;
        envelope.report.map_or(limit, |max| max.min(limit))
    }

    /// Keeps memory free for a message that is about to begin, or says that there is none.
    pub(super) fn take_room(
        &self,
        envelope: &mut Envelope,
        expected: Option<u64>,
        admission: &dyn Admission,
    ) -> Result<(), Refusal> {
        let client = self.client.ip();
        let of_strangers = admission.room().filter(|_| envelope.report.is_some() && !self.may_relay());
        let share = |room: std::sync::Arc<crate::ingress::Room>| Share::new(&room, client);
        envelope.held = Held::new(admission.memory().map(share), of_strangers.map(share));
        let expected = expected.unwrap_or(1).min(self.limit(envelope));
        if envelope.held.announce(expected) { Ok(()) } else { Err(Refusal::crowded()) }
    }

    /// Text of a message came in: what to do next; `None` where the message ended and was refused.
    pub(super) fn text(&mut self, input: &mut BytesMut, out: &mut Vec<u8>) -> Option<Effect> {
        let Phase::Data(message) = &mut self.phase else { return None };
        let (envelope, reader) = &mut **message;
        let taken = envelope.held.feed(reader, input);
        input.advance(taken);
        if !reader.ended() {
            return Some(Effect::Read);
        }
        let Phase::Data(message) = std::mem::replace(&mut self.phase, Phase::Idle) else { return None };
        self.complete(message.0, message.1, out).map(|transaction| Effect::Deliver(Box::new(transaction)))
    }

    /// The end of the message was read: the transaction to deliver, or a refusal written.
    pub(super) fn complete(
        &mut self,
        envelope: Envelope,
        reader: DataReader,
        out: &mut Vec<u8>,
    ) -> Option<Transaction> {
        let text = match reader.finish() {
            Ok(text) => text,
            Err(fault) => {
                self.refuse_message(fault.refusal(), out);
                return None;
            }
        };
        let mut wishes = envelope.wishes;
        match self.header(&text.body) {
            Err(refusal) => {
                self.refuse_message(refusal, out);
                return None;
            }
            // RFC 8689 §5: where the envelope requires TLS, the field says nothing.
            Ok(tls) if wishes.tls.is_none() => wishes.tls = tls,
            Ok(_) => {}
        }
        let helo = self.helo.clone().unwrap_or_else(|| Helo { name: "unknown".into(), esmtp: false });
        self.phase = Phase::Waiting;
        self.held = envelope.held;
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
            wishes,
            tls: self.tls_words(),
            submission: self.terms.listener.submission,
        })
    }

    /// Looks at the header: whether it is one to take, and what it says of TLS (RFC 8689 §5).
    fn header(&self, body: &[u8]) -> Result<TlsWish, Refusal> {
        look(body, self.terms.listener.max_header_bytes).map(|told| told.tls)
    }

    /// The shell's answer to [`Effect::Deliver`]. Call [`Session::advance`] afterwards: there may be more input.
    pub fn answered(&mut self, answer: Result<MessageId, Refusal>, out: &mut Vec<u8>) {
        self.phase = Phase::Idle;
        self.held = Held::default();
        self.forwarded = None;
        match answer {
            Ok(id) => {
                (self.errors, self.idle_commands) = (0, 0);
                self.replies.ok(out, 6, 0, &format!("{id} accepted"));
            }
            // Not counted as the client's error: most of these are ours, or the tenant's.
            Err(refusal) => self.replies.refuse(out, &refusal),
        }
        self.stop_if_told(out);
    }

    fn refuse_message(&mut self, refusal: Refusal, out: &mut Vec<u8>) {
        self.forwarded = None;
        self.refuse(refusal, out);
        self.stop_if_told(out);
    }

    /// Whether text of a stranger is being received, a report or what was refused: it must come to an end.
    pub fn is_timed(&self) -> bool {
        match &self.phase {
            Phase::Data(message) | Phase::Chunks(message) => message.0.held.is_of_strangers(),
            Phase::Chunk(piece) => piece.is_of_strangers().unwrap_or(!self.may_relay()),
            Phase::Failed(_) => !self.may_relay(),
            _ => false,
        }
    }

    /// Whether text is what comes next: much of it, most likely.
    pub fn takes_text(&self) -> bool {
        matches!(self.phase, Phase::Data(_) | Phase::Chunk(_))
    }

    /// Whether that is of a message that is taken, as far as is known: it is given time.
    pub fn takes_message(&self) -> bool {
        match &self.phase {
            Phase::Data(message) => message.1.fault().is_none(),
            Phase::Chunk(piece) => piece.is_taken(),
            _ => false,
        }
    }
}
