//! The client's side of the SMTP dialogue (RFC 5321), as two machines without a socket.
//!
//! [`Greeting`] takes a fresh connection from the banner to known [`Capabilities`]; [`Transaction`] delivers one message
//! over a greeted connection. Both work like quinn's connection: replies go in, octets to send come out, and the caller
//! (`client`) owns socket and time. The caller asks `stage()` what is being waited for, to choose the time-out, and
//! reports what went wrong below SMTP with `fail`.
//!
//! With PIPELINING (RFC 2920) a transaction sends MAIL, all RCPT and DATA in one group, so that a message costs two
//! round trips. A group holds at most [`GROUP_COMMANDS`] commands and about [`GROUP_OCTETS`] octets; the next one goes
//! out when all replies to it have come: neither side can then block on a full socket while the other does as well.
//! Where all recipients were refused and the host says 354 nevertheless, it gets a lone dot (RFC 2920 §3.1) and whatever
//! it answers changes nothing.
//!
//! Two refusals are made here without asking the host, since its EHLO reply has answered already: `552 5.3.4` for a
//! message above the announced SIZE (RFC 1870 §6.1) and `554 5.6.3` for eight-bit data where 8BITMIME is missing
//! (RFC 6152 §3; Remuda does not rewrite signed content). Both count as replies to MAIL; their text says who spoke.

use std::num::NonZeroU64;

use super::Answer;
use super::dot;
use crate::message::Mailbox;
use crate::outcome::failure::FailureKind;
use crate::outcome::{EnhancedCode, Failure, Reply, Stage};

/// Most commands sent before their replies are read.
pub const GROUP_COMMANDS: usize = 100;
/// Octets after which a group ends.
pub const GROUP_OCTETS: usize = 16 * 1024;

/// What a host offers (EHLO, RFC 5321 §4.1.1.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// PIPELINING, RFC 2920.
    pub pipelining: bool,
    /// 8BITMIME, RFC 6152.
    pub eight_bit_mime: bool,
    /// SIZE, RFC 1870.
    pub size: bool,
    /// Largest message it takes, in octets, where it says so.
    pub size_limit: Option<NonZeroU64>,
}

impl Capabilities {
    /// Reads the lines of an EHLO reply; the first is the host's name.
    pub fn from_lines<S: AsRef<str>>(lines: impl IntoIterator<Item = S>) -> Self {
        let mut found = Self::default();
        for line in lines.into_iter().skip(1) {
            let mut words = line.as_ref().split_ascii_whitespace();
            let keyword = words.next().unwrap_or("");
            if keyword.eq_ignore_ascii_case("PIPELINING") {
                found.pipelining = true;
            } else if keyword.eq_ignore_ascii_case("8BITMIME") {
                found.eight_bit_mime = true;
            } else if keyword.eq_ignore_ascii_case("SIZE") {
                found.size = true;
                found.size_limit = words.next().and_then(|octets| octets.parse().ok());
            }
        }
        found
    }
}

/// From the banner to the capabilities.
#[derive(Debug)]
pub struct Greeting<'a> {
    ehlo: &'a str,
    state: GreetingState,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GreetingState {
    Banner,
    Ehlo,
    Helo,
}

/// What a reply did to a greeting.
#[derive(Debug, PartialEq)]
pub enum Greeted {
    /// Send what was written and read on.
    More,
    /// Mail may be sent.
    Ready(Capabilities),
    /// The host does not want us, or does not speak SMTP.
    Refused(Answer),
}

impl<'a> Greeting<'a> {
    /// A greeting that will give the name `ehlo`.
    pub fn new(ehlo: &'a str) -> Self {
        Self { ehlo, state: GreetingState::Banner }
    }

    /// What is waited for.
    pub fn stage(&self) -> Stage {
        match self.state {
            GreetingState::Banner => Stage::Banner,
            GreetingState::Ehlo | GreetingState::Helo => Stage::Ehlo,
        }
    }

    /// Takes a reply; `lines` gives its text line by line. What is to be sent goes to `out`.
    pub fn on_reply(&mut self, reply: Reply, lines: impl FnOnce() -> Vec<String>, out: &mut Vec<u8>) -> Greeted {
        match (self.state, reply.code / 100) {
            (GreetingState::Banner, 2) => {
                self.state = GreetingState::Ehlo;
                self.say("EHLO ", out)
            }
            (GreetingState::Ehlo, 2) => Greeted::Ready(Capabilities::from_lines(lines())),
            (GreetingState::Helo, 2) => Greeted::Ready(Capabilities::default()),
            (GreetingState::Ehlo, 5) if knows_no_ehlo(&reply) => {
                self.state = GreetingState::Helo;
                self.say("HELO ", out)
            }
            (_, 4 | 5) => Greeted::Refused(Answer::Reply(self.stage(), reply)),
            _ => Greeted::Refused(Answer::Failure(out_of_place(self.stage(), &reply))),
        }
    }

    fn say(&self, command: &str, out: &mut Vec<u8>) -> Greeted {
        put(out, &[command, self.ehlo, "\r\n"]);
        Greeted::More
    }
}

/// Whether a refused EHLO means "unknown command" and HELO may do (RFC 5321 §3.2): the codes of syntax (50z, 555), but
/// not where the enhanced code speaks of policy.
fn knows_no_ehlo(reply: &Reply) -> bool {
    (reply.code / 10 == 50 || reply.code == 555) && reply.enhanced.is_none_or(|enhanced| enhanced.subject != 7)
}

fn out_of_place(stage: Stage, reply: &Reply) -> Failure {
    Failure { kind: FailureKind::Protocol, stage, detail: format!("reply out of place: {reply}") }
}

/// The message of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// `None` is the null reverse path.
    pub reverse_path: Option<&'a Mailbox>,
    /// At least one.
    pub recipients: &'a [Mailbox],
    /// With CRLF line ends, before dot-stuffing.
    pub body: &'a [u8],
    /// Holds octets above 127.
    pub eight_bit: bool,
}

/// What to do after a transaction was fed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Send what was written and read the next reply.
    More,
    /// Send the body and the final dot, tell by [`Transaction::body_sent`], then read the next reply.
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
    awaits: Awaits,
    /// `None`: undecided.
    answers: Vec<Option<Answer>>,
    rcpt_sent: usize,
    data_sent: bool,
    mail_accepted: bool,
    rcpt_accepted: usize,
    heard: bool,
    after: After,
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
    pub fn begin(mail: Mail<'a>, offers: Capabilities, reset: bool, out: &mut Vec<u8>) -> (Self, Step) {
        let mut this = Self {
            mail,
            offers,
            awaits: if reset { Awaits::Reset } else { Awaits::Mail },
            answers: vec![None; mail.recipients.len()],
            rcpt_sent: 0,
            data_sent: false,
            mail_accepted: false,
            rcpt_accepted: 0,
            heard: false,
            after: if reset { After::Reset } else { After::Clean },
        };
        if let Some(reply) = answered_by_ehlo(&mail, offers) {
            this.decide_rest(&Answer::Reply(Stage::Mail, reply));
            return (this, Step::Done);
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

    /// No reply has come yet: nothing happened that could not be done again over another connection.
    pub fn untouched(&self) -> bool {
        !self.heard
    }

    /// Takes a reply. What is to be sent goes to `out`.
    pub fn on_reply(&mut self, reply: Reply, out: &mut Vec<u8>) -> Step {
        self.heard = true;
        if reply.code == 421 {
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
            (Awaits::Mail, 4 | 5) => {
                self.decide_rest(&Answer::Reply(Stage::Mail, reply));
                self.next_rcpt(0, out)
            }
            (Awaits::Rcpt(at), 2) => {
                self.rcpt_accepted += usize::from(self.mail_accepted);
                self.next_rcpt(at + 1, out)
            }
            (Awaits::Rcpt(at), 4 | 5) => {
                self.answers[at].get_or_insert(Answer::Reply(Stage::Rcpt, reply));
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
            (Awaits::Data, 4 | 5) => self.finish_with(Stage::Data, reply),
            (Awaits::Body, 4 | 5) => self.close(Answer::Reply(Stage::EndOfData, reply)),
            (Awaits::EndOfData, 2) => {
                self.after = After::Clean;
                self.finish_with(Stage::EndOfData, reply)
            }
            (Awaits::EndOfData, 4 | 5) => self.finish_with(Stage::EndOfData, reply),
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
        let failure = Failure { kind, stage: self.stage(), detail };
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
            self.awaits = Awaits::Data;
            return Step::More;
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

    fn put_mail(&mut self, out: &mut Vec<u8>) {
        put(out, &["MAIL FROM:<", self.mail.reverse_path.map_or("", Mailbox::as_str), ">"]);
        if self.offers.size {
            put(out, &[" SIZE=", &dot::announced_size(self.mail.body).to_string()]);
        }
        if self.mail.eight_bit {
            put(out, &[" BODY=8BITMIME"]);
        }
        put(out, &["\r\n"]);
        if self.offers.pipelining {
            self.put_group(out);
        }
    }

    /// RCPTs as far as a group goes, and DATA behind the last.
    fn put_group(&mut self, out: &mut Vec<u8>) {
        let first = self.rcpt_sent;
        while self.rcpt_sent < self.mail.recipients.len() {
            if self.rcpt_sent - first >= GROUP_COMMANDS || out.len() >= GROUP_OCTETS {
                return;
            }
            self.put_rcpt(out);
        }
        self.put_data(out);
    }

    fn put_rcpt(&mut self, out: &mut Vec<u8>) {
        put(out, &["RCPT TO:<", self.mail.recipients[self.rcpt_sent].as_str(), ">\r\n"]);
        self.rcpt_sent += 1;
    }

    fn put_data(&mut self, out: &mut Vec<u8>) {
        put(out, &["DATA\r\n"]);
        self.data_sent = true;
    }
}

/// The refusal that the host's EHLO reply already holds, if any.
fn answered_by_ehlo(mail: &Mail<'_>, offers: Capabilities) -> Option<Reply> {
    let size = dot::announced_size(mail.body);
    if let Some(limit) = offers.size_limit.filter(|limit| size > limit.get()) {
        let text = format!("message size {size} exceeds the limit of {limit} octets announced by the host");
        return Some(Reply { code: 552, enhanced: Some(EnhancedCode { class: 5, subject: 3, detail: 4 }), text });
    }
    if mail.eight_bit && !offers.eight_bit_mime {
        let text = "message has eight-bit data and the host does not offer 8BITMIME".to_owned();
        return Some(Reply { code: 554, enhanced: Some(EnhancedCode { class: 5, subject: 6, detail: 3 }), text });
    }
    None
}

fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}
