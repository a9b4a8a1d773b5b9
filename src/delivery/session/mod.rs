//! One message over a greeted connection (RFC 5321 §3.3), as a machine without a socket.
//!
//! [`Transaction`] works like quinn's connection: replies go in, octets to send come out, and the caller (`client`) owns
//! socket and time. The caller asks `stage()` what is being waited for, to choose the time-out, and reports what went
//! wrong below SMTP with `fail`. What comes before, banner and EHLO, is `greeting`.
//!
//! With PIPELINING (RFC 2920) a transaction sends MAIL, all RCPT and DATA in one group, so that a message costs two
//! round trips. A group holds at most [`GROUP_COMMANDS`] commands and about [`GROUP_OCTETS`] octets; the next one goes
//! out when all replies to it have come: neither side can then block on a full socket while the other does as well.
//! Where all recipients were refused and the host says 354 nevertheless, it gets a lone dot (RFC 2920 §3.1) and whatever
//! it answers changes nothing.
//!
//! Where the host offers CHUNKING (RFC 3030) the message goes as one chunk, `BDAT n LAST`, as it lies, without
//! dot-stuffing. A small one goes in one group with MAIL and RCPT when it is the first over a connection: one round trip.
//! Later ones wait for the replies to RCPT. A connection that has idled may be dead, and only a message whose body has
//! not left can be sent again over another without asking; for one whose body has left the loss of the connection means a
//! fate that is not known. A host that offers CHUNKING and does not know BDAT reads the message as commands: that connection
//! is given up at once and the mail sent over another, with DATA.
//!
//! A refusal is made here without asking the host, since its EHLO reply has answered already: `552 5.3.4` for a
//! message above the announced SIZE (RFC 1870 §6.1) and `554 5.6.3` for eight-bit data where 8BITMIME is missing
//! (RFC 6152 §3) and which `convert` could not make fit. Both count as replies to MAIL; their text says who spoke.
//!
//! Where the host offers DSN, MAIL and RCPT carry what the client asked for, and where it named no envelope MAIL carries
//! an envelope id of ours and asks that a bounce return no more than the header (RFC 3461 §4.3, §4.4). They serve the
//! sender, not the recipient, so they must never cost a delivery: a host that offers DSN and then refuses MAIL as if it
//! could not read it is asked once more without them, after RSET, and only what it says then counts.
//!
//! Here is the order of things; what a command carries is in `commands`, what EHLO has answered already in `mail`, the
//! second try without DSN in `dsn`, BDAT in `chunk`, how a message goes in several transactions in `parts`, and what
//! becomes of addresses beyond ASCII in `utf8`.

mod chunk;
mod commands;
mod dsn;
mod mail;
mod parts;
mod utf8;

use self::chunk::knows_no_chunks;
use self::dsn::{Dsn, may_mean_parameters};
use self::mail::answered_by_ehlo;
use super::Answer;
use super::greeting::{Capabilities, out_of_place, put};
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Reply, Stage};

pub use self::commands::{GROUP_COMMANDS, GROUP_OCTETS};
pub use self::mail::{Mail, encryption_needed, no_require_tls};
pub use self::parts::{Part, Parts};

/// What to do after a transaction was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what was written and read the next reply.
    More,
    /// Send the body and the final dot, or the chunk where [`Transaction::sends_chunk`], tell by
    /// [`Transaction::body_sent`], then read the next reply.
    SendBody,
    /// All recipients have their answers.
    Done,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Awaits {
    Reset,
    Mail,
    Rcpt(usize),
    Data,
    Body,
    EndOfData,
    /// The reply to the dot that follows a 354 nobody wanted.
    LoneDot,
    Nothing,
}

/// One message over a greeted connection.
#[derive(Debug)]
pub struct Transaction<'a> {
    mail: Mail<'a>,
    offers: Capabilities,
    dsn: Dsn,
    awaits: Awaits,
    /// `None`: undecided.
    answers: Vec<Option<Answer>>,
    rcpt_sent: usize,
    data_sent: bool,
    /// The message goes as one chunk.
    chunked: bool,
    /// That went along with the commands, before any reply.
    body_went_along: bool,
    lost: Option<Lost>,
    fresh: bool,
    mail_accepted: bool,
    rcpt_accepted: usize,
    heard: bool,
    /// MAIL was answered with 421.
    dismissed: bool,
    after: After,
}

/// What went over the connection before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing: it was greeted a moment ago.
    Nothing,
    /// A message, and MAIL may follow.
    Clean,
    /// RSET must come first.
    Reset,
}

/// Extensions that a host offers and cannot bear, so that the connection was lost and nothing has happened: without it,
/// over another connection, the mail may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// DSN.
    Dsn,
    /// CHUNKING.
    Chunking,
}

/// What may be done with the connection when the transaction is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// The next MAIL may follow.
    Clean,
    /// RSET must come first.
    Reset,
    /// Good for nothing more.
    Close,
}

impl<'a> Transaction<'a> {
    /// Begins to deliver `mail`, after RSET where the transaction before left the need. First commands go to `out`.
    pub fn begin(mail: Mail<'a>, offers: Capabilities, before: Before, out: &mut Vec<u8>) -> (Self, Step) {
        let reset = before == Before::Reset;
        let mut this = Self {
            mail,
            offers,
            dsn: if offers.dsn && mail.says_dsn() { Dsn::With } else { Dsn::Without },
            awaits: if reset { Awaits::Reset } else { Awaits::Mail },
            answers: vec![None; mail.recipients.len()],
            rcpt_sent: 0,
            data_sent: false,
            chunked: offers.chunking,
            body_went_along: false,
            lost: None,
            fresh: before == Before::Nothing,
            mail_accepted: false,
            rcpt_accepted: 0,
            heard: false,
            dismissed: false,
            after: if reset { After::Reset } else { After::Clean },
        };
        if let Some(reply) = answered_by_ehlo(&mail, offers) {
            let step = this.finish_with(Stage::Mail, reply);
            return (this, step);
        }
        if reset {
            put(out, &["RSET\r\n"]);
        }
        if !reset || offers.pipelining {
            this.put_mail(out);
        }
        (this, Step::More)
    }

    /// What is waited for; also where a failure happened.
    pub fn stage(&self) -> Stage {
        match self.awaits {
            Awaits::Reset | Awaits::Mail => Stage::Mail,
            Awaits::Rcpt(_) => Stage::Rcpt,
            Awaits::Data | Awaits::Body => Stage::Data,
            Awaits::EndOfData | Awaits::LoneDot | Awaits::Nothing => Stage::EndOfData,
        }
    }

    /// No reply to MAIL has come yet, nor has the body left: nothing happened that could not be done again over another
    /// connection.
    pub fn untouched(&self) -> bool {
        !self.heard && !self.body_went_along
    }

    /// MAIL was answered with 421, and the body has not left: over another connection the mail may pass.
    pub fn dismissed(&self) -> bool {
        self.dismissed && !self.body_went_along
    }

    /// The message is to be sent as one chunk, whose command was written; else with its dots doubled and a final dot.
    pub fn sends_chunk(&self) -> bool {
        self.chunked
    }

    /// What the host offered and could not bear.
    pub fn lost(&self) -> Option<Lost> {
        if self.lost_over_dsn() { Some(Lost::Dsn) } else { self.lost }
    }

    /// Takes a reply. What is to be sent goes to `out`.
    pub fn on_reply(&mut self, reply: Reply, out: &mut Vec<u8>) -> Step {
        self.heard |= self.awaits != Awaits::Reset;
        if reply.code == 421 {
            self.dismissed = self.awaits == Awaits::Mail;
            return self.close(Answer::Reply(self.answer_stage(), reply));
        }
        match (self.awaits, reply.code / 100) {
            (Awaits::Reset, 2) => {
                self.after = After::Clean;
                self.awaits = Awaits::Mail;
                if !self.offers.pipelining {
                    self.put_mail(out);
                }
                Step::More
            }
            (Awaits::Mail, 2) => {
                self.mail_accepted = true;
                self.after = After::Reset;
                self.next_rcpt(0, out)
            }
            (Awaits::Mail, 5) if self.dsn == Dsn::With && may_mean_parameters(&reply) => {
                self.dsn = Dsn::Refused;
                self.next_rcpt(0, out)
            }
            (Awaits::Mail, 4 | 5) => {
                self.decide_rest(&Answer::Reply(Stage::Mail, reply));
                self.next_rcpt(0, out)
            }
            (Awaits::Rcpt(at), 2) => {
                self.rcpt_accepted += usize::from(self.mail_accepted);
                self.next_rcpt(at + 1, out)
            }
            (Awaits::Rcpt(at), 4 | 5) => {
                if self.dsn != Dsn::Refused {
                    self.answers[at].get_or_insert(Answer::Reply(Stage::Rcpt, reply));
                }
                self.next_rcpt(at + 1, out)
            }
            (Awaits::Data, 3) if self.rcpt_accepted > 0 => {
                self.awaits = Awaits::Body;
                Step::SendBody
            }
            (Awaits::Data, 3) => {
                put(out, &[".\r\n"]);
                self.awaits = Awaits::LoneDot;
                Step::More
            }
            (Awaits::Data, 4 | 5) if self.dsn == Dsn::Refused => self.begin_again(out),
            (Awaits::Data, 4 | 5) => self.finish_with(Stage::Data, reply),
            (Awaits::Body | Awaits::EndOfData, 5) if self.chunked && knows_no_chunks(&reply) => self.give_up_chunks(),
            (Awaits::EndOfData, 2 | 4 | 5) if self.rcpt_accepted == 0 => match self.dsn {
                Dsn::Refused => self.begin_again(out),
                _ => {
                    self.after = After::Reset;
                    self.done()
                }
            },
            (Awaits::Body, 4 | 5) => self.close(Answer::Reply(Stage::EndOfData, reply)),
            (Awaits::EndOfData, 2) => {
                self.after = After::Clean;
                self.finish_with(Stage::EndOfData, reply)
            }
            (Awaits::EndOfData, 4 | 5) => self.finish_with(Stage::EndOfData, reply),
            (Awaits::LoneDot, 2 | 4 | 5) if self.dsn == Dsn::Refused => self.begin_again(out),
            (Awaits::LoneDot, 2 | 4 | 5) => self.done(),
            _ => {
                let failure = out_of_place(self.stage(), &reply);
                self.close(Answer::Failure(failure))
            }
        }
    }

    /// The body and the final dot are out. From here on a lost connection leaves the fate unknown.
    pub fn body_sent(&mut self) {
        self.awaits = Awaits::EndOfData;
    }

    /// Something broke below SMTP: whoever is undecided gets this.
    pub fn fail(&mut self, kind: FailureKind, detail: String) {
        // The host may have the whole message, whichever reply is missing.
        let stage = if self.body_went_along { Stage::EndOfData } else { self.stage() };
        let failure = Failure { kind, stage, detail };
        self.close(Answer::Failure(failure));
    }

    /// The answers, in the order of the recipients, and what may follow.
    pub fn finish(self) -> (Vec<Answer>, After) {
        let missing = || {
            let detail = "transaction abandoned".to_owned();
            Answer::Failure(Failure { kind: FailureKind::Aborted, stage: Stage::EndOfData, detail })
        };
        let after = if self.awaits == Awaits::Nothing { self.after } else { After::Close };
        (self.answers.into_iter().map(|answer| answer.unwrap_or_else(missing)).collect(), after)
    }

    /// A 421 while the body is under way answers the body, not DATA.
    fn answer_stage(&self) -> Stage {
        if self.awaits == Awaits::Body { Stage::EndOfData } else { self.stage() }
    }

    /// Goes on after the reply to MAIL or to the RCPT before `at`.
    fn next_rcpt(&mut self, at: usize, out: &mut Vec<u8>) -> Step {
        if at < self.rcpt_sent {
            self.awaits = Awaits::Rcpt(at);
            return Step::More;
        }
        if self.data_sent {
            self.awaits = if self.body_went_along { Awaits::EndOfData } else { Awaits::Data };
            return Step::More;
        }
        if self.dsn == Dsn::Refused {
            return self.begin_again(out);
        }
        if !self.mail_accepted {
            return self.done();
        }
        if at < self.mail.recipients.len() {
            self.awaits = Awaits::Rcpt(at);
            if self.offers.pipelining {
                self.put_group(out);
            } else {
                self.put_rcpt(out);
            }
            return Step::More;
        }
        if self.rcpt_accepted == 0 {
            return self.done();
        }
        if self.chunked {
            self.put_chunk(out);
            self.awaits = Awaits::Body;
            return Step::SendBody;
        }
        self.put_data(out);
        self.awaits = Awaits::Data;
        Step::More
    }

    fn finish_with(&mut self, stage: Stage, reply: Reply) -> Step {
        self.decide_rest(&Answer::Reply(stage, reply));
        self.done()
    }

    fn close(&mut self, answer: Answer) -> Step {
        self.decide_rest(&answer);
        self.after = After::Close;
        self.done()
    }

    fn done(&mut self) -> Step {
        self.awaits = Awaits::Nothing;
        Step::Done
    }

    fn decide_rest(&mut self, answer: &Answer) {
        for open in self.answers.iter_mut().filter(|answer| answer.is_none()) {
            *open = Some(answer.clone());
        }
    }
}

#[cfg(test)]
mod tests;
