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
//! Two refusals are made here without asking the host, since its EHLO reply has answered already: `552 5.3.4` for a
//! message above the announced SIZE (RFC 1870 §6.1) and `554 5.6.3` for eight-bit data where 8BITMIME is missing
//! (RFC 6152 §3; Remuda does not rewrite signed content). Both count as replies to MAIL; their text says who spoke.
//!
//! Where the host offers DSN, MAIL carries an envelope id and asks that a bounce return no more than the header (RFC
//! 3461 §4.3, §4.4). Both serve us, not the recipient, so they must never cost a delivery: a host that offers DSN and
//! then refuses MAIL as if it could not read it is asked once more without them, after RSET, and only what it says then
//! counts.

use super::Answer;
use super::dot;
use super::greeting::{Capabilities, out_of_place, put};
use crate::message::Mailbox;
use crate::outcome::failure::FailureKind;
use crate::outcome::{EnhancedCode, Failure, Reply, Stage};

/// Most commands sent before their replies are read.
pub const GROUP_COMMANDS: usize = 100;
/// Octets after which a group ends.
pub const GROUP_OCTETS: usize = 16 * 1024;

/// The message of a transaction.
#[derive(Clone, Copy, Debug)]
pub struct Mail<'a> {
    /// `None` is the null reverse path.
    pub reverse_path: Option<&'a Mailbox>,
    /// At least one.
    pub recipients: &'a [Mailbox],
    /// Sent before the body: whole header fields with CRLF line ends, or nothing.
    pub head: &'a [u8],
    /// With CRLF line ends, before dot-stuffing.
    pub body: &'a [u8],
    /// Envelope id for hosts that offer DSN: letters and digits.
    pub envelope_id: Option<&'a str>,
    /// Holds octets above 127.
    pub eight_bit: bool,
}

impl Mail<'_> {
    /// Octets as SIZE counts them, head and body.
    fn announced_size(&self) -> u64 {
        self.head.len() as u64 + dot::announced_size(self.body)
    }
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

/// Whether MAIL carries the parameters of DSN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Dsn {
    Without,
    With,
    /// MAIL was refused for what may be their sake. The replies to what went out behind it are still to be read.
    Refused,
    /// MAIL goes, or went, out again without them.
    GivenUp,
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
            dsn: if offers.dsn && mail.envelope_id.is_some_and(is_plain) { Dsn::With } else { Dsn::Without },
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

    /// No reply to MAIL has come yet: nothing happened that could not be done again over another connection.
    pub fn untouched(&self) -> bool {
        !self.heard
    }

    /// The host offers DSN and took MAIL only without: not worth another try over this connection.
    pub fn dsn_failed(&self) -> bool {
        self.dsn == Dsn::GivenUp && self.mail_accepted
    }

    /// The host refused the parameters of DSN and then would not go on: nothing has happened, and over another connection
    /// the mail may pass without them.
    pub fn lost_over_dsn(&self) -> bool {
        matches!(self.dsn, Dsn::Refused | Dsn::GivenUp) && !self.mail_accepted && self.after == After::Close
    }

    /// Takes a reply. What is to be sent goes to `out`.
    pub fn on_reply(&mut self, reply: Reply, out: &mut Vec<u8>) -> Step {
        self.heard |= self.awaits != Awaits::Reset;
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
        self.put_data(out);
        self.awaits = Awaits::Data;
        Step::More
    }

    /// RSET, then the whole transaction without the parameters of DSN. Nobody has an answer yet.
    fn begin_again(&mut self, out: &mut Vec<u8>) -> Step {
        (self.rcpt_sent, self.rcpt_accepted, self.data_sent) = (0, 0, false);
        self.dsn = Dsn::GivenUp;
        self.awaits = Awaits::Reset;
        self.after = After::Reset;
        put(out, &["RSET\r\n"]);
        if self.offers.pipelining {
            self.put_mail(out);
        }
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
            put(out, &[" SIZE=", &self.mail.announced_size().to_string()]);
        }
        if self.mail.eight_bit {
            put(out, &[" BODY=8BITMIME"]);
        }
        if let Some(id) = self.mail.envelope_id.filter(|_| self.dsn == Dsn::With) {
            put(out, &[" RET=HDRS ENVID=", id]);
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

/// Whether a text is its own xtext (RFC 3461 §4): what is sent here needs no more than letters and digits.
fn is_plain(envelope_id: &str) -> bool {
    (1..=100).contains(&envelope_id.len()) && envelope_id.bytes().all(|byte| byte.is_ascii_alphanumeric())
}

/// Whether a refused MAIL may mean its parameters: the codes for a command that was not understood (RFC 5321 §4.2.2,
/// §4.1.1.11), or an enhanced code that says so (RFC 3463 §3.6). The first also stand for bad addresses; asking again
/// tells.
fn may_mean_parameters(reply: &Reply) -> bool {
    let by_enhanced = reply.enhanced.is_some_and(|code| code.subject == 5 && matches!(code.detail, 2 | 4));
    matches!(reply.code, 500 | 501 | 504 | 555) || by_enhanced
}

/// The refusal that the host's EHLO reply already holds, if any.
fn answered_by_ehlo(mail: &Mail<'_>, offers: Capabilities) -> Option<Reply> {
    let size = mail.announced_size();
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reply(text: &str) -> Reply {
        let (code, text) = text.split_once(' ').unwrap_or((text, ""));
        Reply { code: code.parse().expect("code"), enhanced: None, text: text.to_owned() }
    }

    fn rcpts(count: usize) -> Vec<Mailbox> {
        (0..count).map(|at| format!("r{at}@example.org").parse().expect("address")).collect()
    }

    const PIPELINING: Capabilities =
        Capabilities { pipelining: true, eight_bit_mime: false, size: false, size_limit: None, dsn: false };

    /// Plays `replies` to a transaction. What it sent (the body as `BODY`), by write; the codes that decided; what is
    /// left to do.
    fn mail(recipients: &[Mailbox]) -> Mail<'_> {
        Mail { reverse_path: None, recipients, head: b"", body: b"x\r\n", envelope_id: None, eight_bit: false }
    }

    fn play(recipients: usize, offers: Capabilities, reset: bool, replies: &[&str]) -> (Vec<String>, String, After) {
        play_mail(mail(&rcpts(recipients)), offers, reset, replies)
    }

    fn play_mail(mail: Mail<'_>, offers: Capabilities, reset: bool, replies: &[&str]) -> (Vec<String>, String, After) {
        let mut out = Vec::new();
        let (mut transaction, mut step) = Transaction::begin(mail, offers, reset, &mut out);
        let mut sent = Vec::new();
        let mut replies = replies.iter();
        while step != Step::Done {
            if step == Step::SendBody {
                sent.push("BODY".to_owned());
                transaction.body_sent();
            }
            if !out.is_empty() {
                sent.push(String::from_utf8(std::mem::take(&mut out)).expect("ASCII").replace("\r\n", "|"));
            }
            step = match replies.next() {
                Some(text) => transaction.on_reply(reply(text), &mut out),
                None => {
                    transaction.fail(FailureKind::Reset, String::new());
                    Step::Done
                }
            };
        }
        assert_eq!(replies.next(), None, "reply left over");
        assert!(out.is_empty(), "left unsent: {out:?}");
        let (answers, after) = transaction.finish();
        let codes: Vec<String> = answers
            .iter()
            .map(|answer| match answer {
                Answer::Reply(stage, reply) => format!("{}:{}", stage.as_str(), reply.code),
                Answer::Failure(failure) => format!("{}:{}", failure.stage.as_str(), failure.kind.as_str()),
            })
            .collect();
        (sent, codes.join(" "), after)
    }

    #[test]
    fn pipelining_sends_all_commands_in_one_group() {
        let (sent, codes, after) = play(2, PIPELINING, false, &["250", "250", "250", "354", "250 queued"]);
        let group = "MAIL FROM:<>|RCPT TO:<r0@example.org>|RCPT TO:<r1@example.org>|DATA|";
        assert_eq!(sent, [group, "BODY"]);
        assert_eq!(codes, "end_of_data:250 end_of_data:250");
        assert_eq!(after, After::Clean);
    }

    #[test]
    fn without_pipelining_each_command_waits_for_its_reply() {
        let (sent, codes, after) =
            play(1, Capabilities::default(), true, &["250 reset", "250", "250", "354", "250 queued"]);
        assert_eq!(sent, ["RSET|", "MAIL FROM:<>|", "RCPT TO:<r0@example.org>|", "DATA|", "BODY"]);
        assert_eq!((codes.as_str(), after), ("end_of_data:250", After::Clean));
    }

    #[test]
    fn each_recipient_gets_the_answer_that_decided_over_it() {
        let plain = Capabilities::default();
        for (offers, reset, replies, codes, after) in [
            // Pipelined.
            (PIPELINING, false, &["250", "550", "250", "354", "250"][..], "rcpt:550 end_of_data:250", After::Clean),
            (PIPELINING, true, &["250", "250", "550", "250", "354", "451"], "rcpt:550 end_of_data:451", After::Reset),
            (PIPELINING, false, &["250", "250", "250", "451"], "data:451 data:451", After::Reset),
            (PIPELINING, false, &["250", "550", "450", "503"], "rcpt:550 rcpt:450", After::Reset),
            (PIPELINING, false, &["250", "550", "450", "354", "554"], "rcpt:550 rcpt:450", After::Reset),
            (PIPELINING, false, &["250", "550", "450", "354", "250"], "rcpt:550 rcpt:450", After::Reset),
            (PIPELINING, false, &["550", "503", "503", "503"], "mail:550 mail:550", After::Clean),
            // A host that goes on although it refused MAIL has delivered nothing.
            (PIPELINING, false, &["550", "250", "250", "354", "250"], "mail:550 mail:550", After::Clean),
            (PIPELINING, false, &["421"], "mail:421 mail:421", After::Close),
            (PIPELINING, false, &["250", "550", "421"], "rcpt:550 rcpt:421", After::Close),
            (PIPELINING, false, &["250", "250", "250", "421"], "data:421 data:421", After::Close),
            (PIPELINING, false, &["250", "250", "250", "354", "421"], "end_of_data:421 end_of_data:421", After::Close),
            (PIPELINING, false, &["250", "550", "450", "354", "421"], "rcpt:550 rcpt:450", After::Close),
            (PIPELINING, false, &["250", "550", "250", "354"], "rcpt:550 end_of_data:reset", After::Close),
            (PIPELINING, false, &["250", "550"], "rcpt:550 rcpt:reset", After::Close),
            (PIPELINING, false, &["250", "354"], "rcpt:protocol rcpt:protocol", After::Close),
            (PIPELINING, false, &["250", "250", "250", "250"], "data:protocol data:protocol", After::Close),
            (PIPELINING, true, &["500"], "mail:protocol mail:protocol", After::Close),
            // Step by step.
            (plain, false, &["550"], "mail:550 mail:550", After::Clean),
            (plain, false, &["250", "550", "450"], "rcpt:550 rcpt:450", After::Reset),
            (plain, false, &["250", "550", "250", "354", "250"], "rcpt:550 end_of_data:250", After::Clean),
            (plain, false, &["250", "250", "250", "554"], "data:554 data:554", After::Reset),
            (plain, false, &[], "mail:reset mail:reset", After::Close),
        ] {
            let (_, decided, left) = play(2, offers, reset, replies);
            assert_eq!((decided.as_str(), left), (codes, after), "{replies:?}");
        }
    }

    const WITH_DSN: &str = "MAIL FROM:<> RET=HDRS ENVID=mark01|";

    #[test]
    fn the_envelope_id_goes_to_hosts_that_offer_dsn_and_to_no_others() {
        let rcpts = rcpts(1);
        let sent = |envelope_id, dsn| {
            let mut out = Vec::new();
            let offers = Capabilities { dsn, ..Capabilities::default() };
            Transaction::begin(Mail { envelope_id, ..mail(&rcpts) }, offers, false, &mut out);
            String::from_utf8(out).expect("ASCII").replace("\r\n", "|")
        };
        assert_eq!(sent(Some("mark01"), true), WITH_DSN);
        let long = "k".repeat(101);
        for (envelope_id, dsn) in [
            (Some("mark01"), false),
            (None, true),
            (Some(""), true),
            (Some("a+b"), true),
            (Some("a b"), true),
            (Some(long.as_str()), true),
        ] {
            assert_eq!(sent(envelope_id, dsn), "MAIL FROM:<>|", "{envelope_id:?} {dsn}");
        }
    }

    #[test]
    fn a_host_that_chokes_on_its_own_dsn_gets_the_mail_without() {
        let rcpts = rcpts(2);
        let mail = Mail { envelope_id: Some("mark01"), ..mail(&rcpts) };
        let (piped, plain) =
            (Capabilities { dsn: true, ..PIPELINING }, Capabilities { dsn: true, ..Capabilities::default() });
        let rest = "RCPT TO:<r0@example.org>|RCPT TO:<r1@example.org>|DATA|";
        let groups = [format!("{WITH_DSN}{rest}"), format!("RSET|MAIL FROM:<>|{rest}"), "BODY".to_owned()];
        for replies in [
            &["501 what", "503", "503", "503", "250 reset", "250", "550", "250", "354", "250 queued"][..],
            &["555", "250", "550", "554", "250 reset", "250", "550", "250", "354", "250 queued"],
        ] {
            let (sent, codes, after) = play_mail(mail, piped, false, replies);
            assert_eq!(sent, groups);
            assert_eq!((codes.as_str(), after), ("rcpt:550 end_of_data:250", After::Clean), "{replies:?}");
        }
        // It waits for a message nobody may send: the lone dot comes before the second try.
        let replies =
            ["504", "250", "250", "354", "554 nothing", "250 reset", "250", "250", "250", "354", "250 queued"];
        let (sent, codes, _) = play_mail(mail, piped, false, &replies);
        assert_eq!(sent, [groups[0].as_str(), ".|", &groups[1], "BODY"]);
        assert_eq!(codes, "end_of_data:250 end_of_data:250");
        let replies = ["500", "250 reset", "250", "250", "250", "354", "250 queued"];
        let (sent, codes, _) = play_mail(mail, plain, false, &replies);
        assert_eq!(sent[..3], [WITH_DSN, "RSET|", "MAIL FROM:<>|"]);
        assert_eq!(codes, "end_of_data:250 end_of_data:250");
    }

    #[test]
    fn what_the_host_says_without_dsn_counts_and_is_asked_for_once() {
        let rcpts = rcpts(1);
        let mail = Mail { envelope_id: Some("mark01"), ..mail(&rcpts) };
        let offers = Capabilities { dsn: true, ..Capabilities::default() };
        for (replies, expected, left) in [
            (&["501 bad address", "250 reset", "501 bad address"][..], "mail:501", After::Clean),
            (&["501", "250 reset", "250", "550"], "rcpt:550", After::Reset),
            (&["501", "421"], "mail:421", After::Close),
            (&["501"], "mail:reset", After::Close),
            (&["501", "500 no RSET here"], "mail:protocol", After::Close),
            // Refusals that speak of something else.
            (&["550"], "mail:550", After::Clean),
            (&["451"], "mail:451", After::Clean),
            (&["503"], "mail:503", After::Clean),
        ] {
            let (_, codes, after) = play_mail(mail, offers, false, replies);
            assert_eq!((codes.as_str(), after), (expected, left), "{replies:?}");
        }
        let enhanced = EnhancedCode { class: 5, subject: 5, detail: 4 };
        let unsupported = Reply { enhanced: Some(enhanced), ..reply("550 Unsupported option") };
        let mut out = Vec::new();
        let (mut transaction, _) = Transaction::begin(mail, offers, false, &mut out);
        out.clear();
        assert_eq!((transaction.on_reply(unsupported, &mut out), out.as_slice()), (Step::More, &b"RSET\r\n"[..]));
        transaction.on_reply(reply("250"), &mut out);
        assert!(!transaction.dsn_failed());
        transaction.on_reply(reply("250"), &mut out);
        assert!(transaction.dsn_failed());
    }

    #[test]
    fn many_recipients_go_out_in_groups() {
        let mut replies = vec!["250"; 1 + 250];
        replies.extend(["354", "250"]);
        let (sent, codes, _) = play(250, PIPELINING, false, &replies);
        let commands: Vec<usize> = sent.iter().map(|write| write.matches('|').count()).collect();
        assert_eq!(commands, [1 + 100, 100, 50 + 1, 0]);
        assert_eq!(codes.matches("end_of_data:250").count(), 250);
        // MAIL refused: the rest of the recipients is not sent any more.
        let mut replies = vec!["550"];
        replies.extend(["503"; 100]);
        let (sent, _, after) = play(250, PIPELINING, false, &replies);
        assert_eq!((sent.len(), after), (1, After::Clean));
    }

    #[test]
    fn what_the_host_offers_goes_into_mail() {
        let offers =
            Capabilities::from_lines(["mx.example.org at your service", "size 1000", "8BITMIME", "X-What EVER"]);
        assert!(offers.size && offers.eight_bit_mime && !offers.pipelining);
        let rcpts = rcpts(1);
        let from: Mailbox = "a@example.net".parse().expect("address");
        let mut mail = Mail { reverse_path: Some(&from), body: b"\xe4", eight_bit: true, ..mail(&rcpts) };
        let mut out = Vec::new();
        Transaction::begin(mail, offers, false, &mut out);
        assert_eq!(out, b"MAIL FROM:<a@example.net> SIZE=3 BODY=8BITMIME\r\n");

        let mut refused = |mail, offers| {
            out.clear();
            let (transaction, step) = Transaction::begin(mail, offers, true, &mut out);
            assert!(step == Step::Done && out.is_empty(), "nothing is sent");
            let (answers, after) = transaction.finish();
            (answers[0].clone(), after)
        };
        match refused(mail, Capabilities { eight_bit_mime: false, ..offers }) {
            (Answer::Reply(Stage::Mail, reply), After::Reset) => assert!(reply.to_string().starts_with("554 5.6.3 ")),
            other => panic!("{other:?}"),
        }
        let body = vec![b'x'; 999];
        mail.body = &body;
        match refused(mail, offers) {
            (Answer::Reply(Stage::Mail, reply), _) => assert!(reply.to_string().starts_with("552 5.3.4 ")),
            other => panic!("{other:?}"),
        }
        mail.body = &body[..998];
        assert_eq!(Transaction::begin(mail, offers, false, &mut Vec::new()).1, Step::More);
        mail.head = b"X: y\r\n";
        match refused(mail, offers) {
            (Answer::Reply(_, reply), _) => assert!(reply.text.contains("message size 1006 "), "{reply}"),
            other => panic!("{other:?}"),
        }
        mail.body = &body[..992];
        out.clear();
        Transaction::begin(mail, offers, false, &mut out);
        assert_eq!(out, b"MAIL FROM:<a@example.net> SIZE=1000 BODY=8BITMIME\r\n", "the head counts");
        for unlimited in ["SIZE", "SIZE 0", "SIZE lots"] {
            assert_eq!(Capabilities::from_lines(["x", unlimited]).size_limit, None, "{unlimited}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_replied_every_recipient_is_answered_and_no_success_is_invented(
            recipients in 1_usize..4,
            pipelining: bool,
            reset: bool,
            dsn: bool,
            codes in proptest::collection::vec(proptest::sample::select(vec![220_u16, 250, 354, 421, 450, 501, 550]), 0..12),
        ) {
            let rcpts = rcpts(recipients);
            let mail = Mail { envelope_id: dsn.then_some("id"), ..mail(&rcpts) };
            let offers = Capabilities { pipelining, dsn, ..Capabilities::default() };
            let mut out = Vec::new();
            let (mut transaction, mut step) = Transaction::begin(mail, offers, reset, &mut out);
            let mut body_sent = false;
            let mut taken = 0;
            while step != Step::Done {
                if step == Step::SendBody {
                    body_sent = true;
                    transaction.body_sent();
                }
                step = match codes.get(taken) {
                    Some(&code) => transaction.on_reply(Reply { code, enhanced: None, text: String::new() }, &mut out),
                    None => { transaction.fail(FailureKind::Reset, String::new()); Step::Done }
                };
                taken += 1;
            }
            let commands = out.windows(2).filter(|end| end == b"\r\n").count() + usize::from(body_sent);
            prop_assert!(taken <= commands, "no reply is read that nothing asked for");
            let (answers, after) = transaction.finish();
            prop_assert_eq!(answers.len(), recipients);
            let last = taken.checked_sub(1).and_then(|at| codes.get(at));
            for answer in &answers {
                if let Answer::Reply(stage, reply) = answer && reply.is_positive() {
                    prop_assert_eq!(*stage, Stage::EndOfData);
                    prop_assert!(body_sent && last == Some(&reply.code));
                }
            }
            if taken < commands {
                prop_assert_eq!(after, After::Close, "replies are outstanding");
            }
        }
    }
}
