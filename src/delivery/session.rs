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
        Capabilities { pipelining: true, eight_bit_mime: false, size: false, size_limit: None };

    /// Plays `replies` to a transaction. What it sent (the body as `BODY`), by write; the codes that decided; what is
    /// left to do.
    fn play(recipients: usize, offers: Capabilities, reset: bool, replies: &[&str]) -> (Vec<String>, String, After) {
        let rcpts = rcpts(recipients);
        let mail = Mail { reverse_path: None, recipients: &rcpts, body: b"x\r\n", eight_bit: false };
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
        let mut mail = Mail { reverse_path: Some(&from), recipients: &rcpts, body: b"\xe4", eight_bit: true };
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
            codes in proptest::collection::vec(proptest::sample::select(vec![220_u16, 250, 354, 421, 450, 550]), 0..12),
        ) {
            let rcpts = rcpts(recipients);
            let mail = Mail { reverse_path: None, recipients: &rcpts, body: b"x\r\n", eight_bit: false };
            let offers = Capabilities { pipelining, ..Capabilities::default() };
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
