//! One message in as many transactions as the host wants it in.
//!
//! A host may say how many recipients a transaction takes (LIMITS RCPTMAX, RFC 9422), or let it be found out: `452` to the
//! next RCPT while others were accepted (RFC 5321 §4.5.3.1.10). Both ways the rest follows in further transactions over the
//! same connection. Who is not reached any more (the connection went, or MAILMAX is reached) is left without an answer: such
//! a recipient waits as if it had not been part of the attempt, and is due at once.
//!
//! A host may take the parameters of DSN with MAIL and choke on those of RCPT. A recipient it refused as if it could not read
//! them follows once more without: they serve the sender, and must not cost a delivery.
//!
//! What the host's EHLO reply says about single recipients is settled here as well: addresses beyond ASCII where it lacks
//! SMTPUTF8 ([`super::utf8`]).

use std::collections::VecDeque;

use super::dsn::may_mean_parameters;
use super::utf8::{address_refused, header_refused, in_ascii};
use super::{Answer, Mail};
use crate::delivery::greeting::Capabilities;
use crate::message::{ForwardPath, Mailbox, RecipientWishes};
use crate::outcome::{Reply, Stage};

/// Transactions of one attempt at most.
const TRANSACTIONS: u32 = 100;

/// The recipients of one transaction.
#[derive(Debug)]
pub struct Part {
    /// As RCPT is to name them.
    pub recipients: Vec<ForwardPath>,
    /// Where they stand among those of the message.
    places: Vec<usize>,
}

/// What is left to be sent, and what came of the rest.
#[derive(Debug)]
pub struct Parts {
    reverse_path: Option<Mailbox>,
    recipients: Vec<ForwardPath>,
    answers: Vec<Option<Answer>>,
    left: VecDeque<usize>,
    most: usize,
    transactions: u32,
    /// RCPT carries parameters of DSN.
    dsn: bool,
    dropped_wishes: bool,
}

impl Parts {
    /// Those of `mail` for a host that offers this, in at most `transactions`.
    pub fn of(mail: &Mail<'_>, offers: Capabilities, transactions: u32) -> Self {
        let count = mail.recipients.len();
        let mut this = Self {
            reverse_path: mail.reverse_path.cloned(),
            recipients: mail.recipients.to_vec(),
            answers: vec![None; count],
            left: VecDeque::new(),
            most: offers.rcpt_max.map_or(usize::MAX, |most| most.get() as usize),
            transactions: transactions.min(TRANSACTIONS),
            dsn: offers.dsn,
            dropped_wishes: false,
        };
        if !offers.utf8 {
            this.put_in_ascii(mail);
        }
        this.left = (0..count).filter(|at| this.answers[*at].is_none()).collect();
        this
    }

    fn put_in_ascii(&mut self, mail: &Mail<'_>) {
        let refusal = |reply: Reply| Some(Answer::Reply(Stage::Mail, reply));
        if mail.wishes.utf8 && !mail.has_plain_header() {
            return self.answers.fill(refusal(header_refused()));
        }
        match self.reverse_path.as_ref().map(in_ascii) {
            None | Some(Ok(None)) => {}
            Some(Ok(plain)) => self.reverse_path = plain,
            Some(Err(_)) => return self.answers.fill(refusal(address_refused("the sender's"))),
        }
        for (path, answer) in self.recipients.iter_mut().zip(&mut self.answers) {
            match in_ascii(&path.address) {
                Ok(None) => {}
                Ok(Some(plain)) => path.address = plain,
                Err(_) => *answer = Some(Answer::Reply(Stage::Rcpt, address_refused("the recipient's"))),
            }
        }
    }

    /// The sender, as MAIL is to name it.
    pub fn reverse_path(&self) -> Option<&Mailbox> {
        self.reverse_path.as_ref()
    }

    /// The recipients of the next transaction, if there is to be one.
    pub fn following(&mut self) -> Option<Part> {
        if self.left.is_empty() || self.transactions == 0 {
            return None;
        }
        self.transactions -= 1;
        let places: Vec<usize> = self.left.drain(..self.most.min(self.left.len())).collect();
        Some(Part { recipients: places.iter().map(|at| self.recipients[*at].clone()).collect(), places })
    }

    /// What came of a transaction. `goes_on`: the connection may carry another.
    pub fn took(&mut self, part: &Part, answers: Vec<Answer>, goes_on: bool) {
        let is_accepted = answers
            .iter()
            .any(|answer| matches!(answer, Answer::Reply(Stage::EndOfData, reply) if reply.code / 100 == 2));
        if is_accepted && goes_on {
            let too_many = |(_, answer): &(&usize, &Answer)| is_one_too_many(answer);
            self.left.extend(part.places.iter().zip(&answers).filter(too_many).map(|(at, _)| *at));
        }
        if self.dsn && goes_on {
            self.drop_wishes(part, &answers);
        }
        // What the host holds against the message, or against us, it will say again.
        let is_put_off = answers.iter().any(|answer| match answer {
            Answer::Reply(stage, reply) => *stage != Stage::Rcpt && reply.code / 100 == 4,
            Answer::Failure(_) => true,
        });
        for (at, answer) in part.places.iter().zip(answers) {
            self.answers[*at] = Some(answer);
        }
        if !goes_on || is_put_off {
            self.left.clear();
        }
    }

    /// Has those follow without what they were refused for, perhaps. Asking again tells.
    fn drop_wishes(&mut self, part: &Part, answers: &[Answer]) {
        for (at, answer) in part.places.iter().zip(answers) {
            let wishes = &mut self.recipients[*at].wishes;
            let is_refused = matches!(answer, Answer::Reply(Stage::Rcpt, reply)
                if reply.code / 100 == 5 && may_mean_parameters(reply));
            if is_refused && !wishes.is_none() {
                *wishes = RecipientWishes::default();
                self.left.push_back(*at);
                self.dropped_wishes = true;
            }
        }
    }

    /// Something was asked of the host without the sender's wishes: it does not report to all who want to know.
    pub fn has_dropped_wishes(&self) -> bool {
        self.dropped_wishes
    }

    /// The answers, in the order of the recipients, as far as all have one.
    pub fn finish(self) -> Vec<Answer> {
        self.answers.into_iter().map_while(|answer| answer).collect()
    }
}

/// `452` to RCPT where it speaks of the number of recipients or says nothing more.
fn is_one_too_many(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(Stage::Rcpt, reply)
        if reply.code == 452 && reply.enhanced.is_none_or(|code| (code.subject, code.detail) == (5, 3)))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::message::Wishes;
    use crate::outcome::EnhancedCode;

    fn reply(stage: Stage, code: u16) -> Answer {
        Answer::Reply(stage, Reply { code, enhanced: None, text: String::new() })
    }

    fn recipients(count: usize) -> Vec<ForwardPath> {
        (0..count).map(|at| format!("r{at}@example.org").parse::<Mailbox>().expect("address").into()).collect()
    }

    fn parts(recipients: &[ForwardPath], most: Option<u32>, transactions: u32) -> Parts {
        let wishes = Wishes::NONE;
        let mail = Mail {
            reverse_path: None,
            recipients,
            head: b"",
            body: b"A: b\r\n\r\n",
            envelope_id: None,
            eight_bit: false,
            wishes: &wishes,
        };
        let offers = Capabilities { rcpt_max: most.and_then(NonZeroU32::new), ..Capabilities::default() };
        Parts::of(&mail, offers, transactions)
    }

    #[test]
    fn recipients_go_in_transactions_of_what_the_host_takes() {
        let all = recipients(5);
        let mut parts = parts(&all, Some(2), 10);
        let mut sizes = Vec::new();
        while let Some(part) = parts.following() {
            sizes.push(part.recipients.len());
            let answers = part.recipients.iter().map(|_| reply(Stage::EndOfData, 250)).collect();
            parts.took(&part, answers, true);
        }
        assert_eq!((sizes, parts.finish().len()), (vec![2, 2, 1], 5));
    }

    #[test]
    fn who_is_one_too_many_follows_as_long_as_somebody_gets_through() {
        let all = recipients(5);
        let mut parts = parts(&all, None, 10);
        let mut rounds = 0;
        while let Some(part) = parts.following() {
            rounds += 1;
            let answer = |at: usize| if at < 2 { reply(Stage::EndOfData, 250) } else { reply(Stage::Rcpt, 452) };
            parts.took(&part, (0..part.recipients.len()).map(answer).collect(), true);
        }
        assert_eq!((rounds, parts.finish()), (3, vec![reply(Stage::EndOfData, 250); 5]));
        // A full mailbox is no matter of numbers, and a host that takes nobody is not asked again.
        let full =
            Reply { code: 452, enhanced: Some(EnhancedCode { class: 4, subject: 2, detail: 2 }), text: String::new() };
        for answers in [
            vec![reply(Stage::EndOfData, 250), Answer::Reply(Stage::Rcpt, full)],
            vec![reply(Stage::Rcpt, 452), reply(Stage::Rcpt, 452)],
        ] {
            let all = recipients(2);
            let mut parts = parts_of_two(&all);
            let part = parts.following().expect("the first");
            parts.took(&part, answers.clone(), true);
            assert!(parts.following().is_none());
            assert_eq!(parts.finish(), answers);
        }
    }

    fn parts_of_two(all: &[ForwardPath]) -> Parts {
        parts(all, None, 10)
    }

    #[test]
    fn who_is_refused_for_parameters_of_dsn_follows_once_without() {
        let mut all = recipients(3);
        for at in [0, 1] {
            all[at].wishes.notify = Some("NEVER".parse().expect("NOTIFY"));
        }
        let enhanced = Some(EnhancedCode { class: 5, subject: 5, detail: 4 });
        let by_enhanced = Answer::Reply(Stage::Rcpt, Reply { code: 550, enhanced, text: String::new() });
        let (taken, gone) = (reply(Stage::EndOfData, 250), reply(Stage::Rcpt, 550));
        for (dsn, goes_on, answers, again) in [
            (true, true, [reply(Stage::Rcpt, 555), taken.clone(), taken.clone()], Some(1)),
            (true, true, [by_enhanced.clone(), reply(Stage::Rcpt, 501), gone.clone()], Some(2)),
            // It carried none, nor do these.
            (true, true, [taken.clone(), taken.clone(), reply(Stage::Rcpt, 555)], None),
            (false, true, [by_enhanced.clone(), taken.clone(), taken.clone()], None),
            (true, false, [by_enhanced, taken.clone(), taken.clone()], None),
            (true, true, [gone.clone(), gone.clone(), gone.clone()], None),
        ] {
            let wishes = Wishes::NONE;
            let mail = Mail {
                reverse_path: None,
                recipients: &all,
                head: b"",
                body: b"A: b\r\n\r\n",
                envelope_id: None,
                eight_bit: false,
                wishes: &wishes,
            };
            let mut parts = Parts::of(&mail, Capabilities { dsn, ..Capabilities::default() }, 9);
            let part = parts.following().expect("the first");
            parts.took(&part, answers.to_vec(), goes_on);
            let second = parts.following();
            assert_eq!(second.as_ref().map(|part| part.recipients.len()), again, "{answers:?}");
            assert_eq!(parts.has_dropped_wishes(), again.is_some());
            let Some(second) = second else {
                assert_eq!(parts.finish(), answers);
                continue;
            };
            assert!(second.recipients.iter().all(|path| path.wishes.is_none()));
            // Whatever it says now counts.
            parts.took(&second, vec![reply(Stage::Rcpt, 501); second.recipients.len()], true);
            assert!(parts.following().is_none());
            let still = parts.finish().iter().filter(|answer| **answer == reply(Stage::Rcpt, 501)).count();
            assert_eq!(Some(still), again);
        }
    }

    #[test]
    fn who_is_not_reached_has_no_answer() {
        let all = recipients(4);
        for (first, goes_on, transactions) in [
            (reply(Stage::EndOfData, 250), false, 10),
            (reply(Stage::EndOfData, 250), true, 1),
            (reply(Stage::Mail, 451), true, 10),
        ] {
            let mut parts = parts(&all, Some(2), transactions);
            let part = parts.following().expect("the first");
            parts.took(&part, vec![first.clone(); 2], goes_on);
            assert!(parts.following().is_none(), "{first:?}");
            assert_eq!(parts.finish(), vec![first; 2]);
        }
    }

    #[test]
    fn a_header_beyond_ascii_goes_to_nobody_without_smtputf8() {
        let all = recipients(2);
        let wishes = Wishes { utf8: true, ..Wishes::NONE };
        let mail = |body| Mail {
            reverse_path: None,
            recipients: &all,
            head: b"",
            body,
            envelope_id: None,
            eight_bit: true,
            wishes: &wishes,
        };
        let body = "Subject: grüße\r\n\r\nx\r\n".as_bytes();
        let mut refused = Parts::of(&mail(body), Capabilities::default(), 9);
        assert!(refused.following().is_none());
        assert_eq!(refused.finish(), vec![Answer::Reply(Stage::Mail, header_refused()); 2]);
        let plain = "Subject: x\r\n\r\ngrüße\r\n".as_bytes();
        for (body, utf8) in [(body, true), (plain, false)] {
            let mut taken = Parts::of(&mail(body), Capabilities { utf8, ..Capabilities::default() }, 9);
            assert_eq!(taken.following().expect("one").recipients, all);
        }
    }
}
