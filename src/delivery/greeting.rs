//! From the banner to what the host offers, as a machine without a socket (RFC 5321 §3.1, §3.2).

use std::num::NonZeroU64;

use super::Answer;
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Reply, Stage};

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
    /// DSN, RFC 3461.
    pub dsn: bool,
    /// STARTTLS, RFC 3207.
    pub starttls: bool,
    /// REQUIRETLS, RFC 8689.
    pub require_tls: bool,
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
            } else if keyword.eq_ignore_ascii_case("DSN") {
                found.dsn = true;
            } else if keyword.eq_ignore_ascii_case("STARTTLS") {
                found.starttls = true;
            } else if keyword.eq_ignore_ascii_case("REQUIRETLS") {
                found.require_tls = true;
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

    /// The greeting after TLS has come about: there is no second banner, and whatever was offered before is forgotten (RFC
    /// 3207 §4.2). What is to be sent goes to `out`.
    pub fn again(ehlo: &'a str, out: &mut Vec<u8>) -> Self {
        let this = Self { ehlo, state: GreetingState::Ehlo };
        this.say("EHLO ", out);
        this
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

/// A reply whose code cannot follow here, such as 354 to EHLO.
pub(super) fn out_of_place(stage: Stage, reply: &Reply) -> Failure {
    Failure { kind: FailureKind::Protocol, stage, detail: format!("reply out of place: {reply}") }
}

/// Appends the parts of a command.
pub(super) fn put(out: &mut Vec<u8>, parts: &[&str]) {
    for part in parts {
        out.extend_from_slice(part.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::EnhancedCode;

    fn reply(text: &str) -> Reply {
        let (code, text) = text.split_once(' ').unwrap_or((text, ""));
        Reply { code: code.parse().expect("code"), enhanced: None, text: text.to_owned() }
    }

    const PIPELINING: Capabilities = Capabilities {
        pipelining: true,
        eight_bit_mime: false,
        size: false,
        size_limit: None,
        dsn: false,
        starttls: false,
        require_tls: false,
    };

    fn greet(replies: &[Reply]) -> (String, Greeted) {
        let mut out = Vec::new();
        let mut greeting = Greeting::new("me.example");
        let mut last = Greeted::More;
        for reply in replies {
            assert_eq!(last, Greeted::More);
            last = greeting.on_reply(reply.clone(), || vec!["host".into(), "PIPELINING".into()], &mut out);
        }
        (String::from_utf8(out).expect("ASCII"), last)
    }

    #[test]
    fn helo_is_tried_where_ehlo_is_unknown_and_not_where_it_is_forbidden() {
        let plain = |texts: &[&str]| texts.iter().map(|text| reply(text)).collect::<Vec<_>>();
        let (sent, ready) = greet(&plain(&["220", "250"]));
        assert_eq!((sent.as_str(), ready), ("EHLO me.example\r\n", Greeted::Ready(PIPELINING)));
        for unknown in ["500", "501", "502", "504", "555"] {
            let (sent, ready) = greet(&plain(&["220", unknown, "250"]));
            assert_eq!(sent, "EHLO me.example\r\nHELO me.example\r\n");
            assert_eq!(ready, Greeted::Ready(Capabilities::default()), "{unknown}");
        }
        let policy = EnhancedCode { class: 5, subject: 7, detail: 1 };
        let with_policy = Reply { enhanced: Some(policy), ..reply("501 go away") };
        for refusal in [reply("550"), reply("554"), reply("421"), reply("450"), with_policy] {
            let (_, refused) = greet(&[reply("220"), refusal.clone()]);
            assert_eq!(refused, Greeted::Refused(Answer::Reply(Stage::Ehlo, refusal)));
        }
        for refusal in ["554 no", "421 busy", "450 later"] {
            let (sent, refused) = greet(&plain(&[refusal]));
            assert_eq!(refused, Greeted::Refused(Answer::Reply(Stage::Banner, reply(refusal))));
            assert_eq!(sent, "");
        }
        let (_, odd) = greet(&plain(&["354 what"]));
        assert!(matches!(odd, Greeted::Refused(Answer::Failure(Failure { kind: FailureKind::Protocol, .. }))));
    }
}
