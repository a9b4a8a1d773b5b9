//! Runs the dialogue of `greeting` and `session` over a stream, with the time-outs of RFC 5321 §4.5.3.2.
//!
//! One group of commands is one write; head and body are written from where they lie (vectored, so that neither our own
//! header field nor doubled dots cost a copy). A deadline holds for a whole reply, not for a read: a host that drips
//! octets gains nothing. A reply over [`REPLY_OCTETS`] ends the connection. Where writing fails, the host may have said
//! why before it hung up: what it has sent is read for a moment before the failure is reported.
//!
//! Here is what a connection is and how it goes through greeting and transaction; `wire` exchanges commands and replies,
//! `body` sends the message.

mod body;
mod wire;

use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite};

use super::Answer;
use super::greeting::{Capabilities, Greeted, Greeting};
use super::session::{After, Before, Lost, Mail, Step, Transaction};
use crate::config::Timeouts;
use crate::outcome::failure::FailureKind;
use crate::outcome::reply::ReplyParser;
use crate::outcome::{Failure, Reply, Stage};

pub use self::wire::REPLY_OCTETS;

/// A greeted connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    parser: ReplyParser,
    input: BytesMut,
    output: Vec<u8>,
    offers: Capabilities,
    after: After,
    /// A message went over it before.
    used: bool,
}

/// What STARTTLS came to.
#[derive(Debug)]
pub enum StartTls<S> {
    /// The handshake may begin.
    Begin(S),
    /// Not here, or not now.
    Refused(Reply, Connection<S>),
    /// The connection is of no more use.
    Broken(Failure),
}

/// What a transaction came to.
#[derive(Debug)]
pub struct Transacted {
    /// One per recipient.
    pub answers: Vec<Answer>,
    /// The connection was dead or of no use before MAIL was answered, or had been used before and was ended with 421 then:
    /// nothing has happened at the peer.
    pub stale: bool,
    /// What the host offers and could not bear: nothing has happened, and without it, over another connection, the mail
    /// may pass.
    pub lost: Option<Lost>,
    /// The host took what was said in terms of DSN.
    pub dsn_passed: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Waits for the banner and says EHLO. An error is the refusal or failure, with the connection where it may still
    /// be told QUIT.
    pub async fn greet(stream: S, ehlo: &str, timeouts: &Timeouts) -> Result<Self, (Answer, Option<Self>)> {
        Self::new(stream).hear(Greeting::new(ehlo), timeouts).await
    }

    /// Says EHLO once TLS has come about: as [`Connection::greet`], but nobody waits for a banner.
    pub async fn greet_again(stream: S, ehlo: &str, timeouts: &Timeouts) -> Result<Self, (Answer, Option<Self>)> {
        let mut this = Self::new(stream);
        let greeting = Greeting::again(ehlo, &mut this.output);
        this.hear(greeting, timeouts).await
    }

    fn new(stream: S) -> Self {
        Self {
            stream,
            parser: ReplyParser::default(),
            input: BytesMut::with_capacity(2048),
            output: Vec::with_capacity(512),
            offers: Capabilities::default(),
            after: After::Clean,
            used: false,
        }
    }

    async fn hear(self, mut greeting: Greeting<'_>, timeouts: &Timeouts) -> Result<Self, (Answer, Option<Self>)> {
        let mut this = self;
        loop {
            let stage = greeting.stage();
            let limit = time_for(stage, timeouts);
            let reply = match this.exchange(limit).await {
                Ok(reply) => reply,
                Err((kind, detail)) => return Err((Answer::Failure(Failure { kind, stage, detail }), None)),
            };
            match greeting.on_reply(reply, || this.parser.take_lines(), &mut this.output) {
                Greeted::More => {}
                Greeted::Ready(offers) => {
                    this.offers = offers;
                    return Ok(this);
                }
                Greeted::Refused(answer) => {
                    let civil = matches!(&answer, Answer::Reply(_, reply) if reply.code != 421);
                    return Err((answer, civil.then_some(this)));
                }
            }
        }
    }

    /// Says STARTTLS (RFC 3207).
    pub async fn start_tls(mut self, timeouts: &Timeouts) -> StartTls<S> {
        self.output.clear();
        self.output.extend_from_slice(b"STARTTLS\r\n");
        match self.exchange(time_for(Stage::Tls, timeouts)).await {
            // Whoever speaks before the handshake would be heard as if it had been said under its protection.
            Ok(reply) if reply.code / 100 == 2 && !self.input.is_empty() => StartTls::Broken(Failure {
                kind: FailureKind::Protocol,
                stage: Stage::Tls,
                detail: "the host went on in the clear after its answer to STARTTLS".to_owned(),
            }),
            Ok(reply) if reply.code / 100 == 2 => StartTls::Begin(self.stream),
            Ok(reply) => StartTls::Refused(reply, self),
            Err((kind, detail)) => StartTls::Broken(Failure { kind, stage: Stage::Tls, detail }),
        }
    }

    /// What the host offers.
    pub fn offers(&self) -> Capabilities {
        self.offers
    }

    /// From now on without what the host offers and cannot bear.
    pub fn distrust(&mut self, what: Lost) {
        match what {
            Lost::Dsn => self.offers.dsn = false,
            Lost::Chunking => self.offers.chunking = false,
        }
    }

    /// Whether another message may follow.
    pub fn is_usable(&self) -> bool {
        self.after != After::Close
    }

    /// The stream below.
    pub fn stream(&mut self) -> &mut S {
        &mut self.stream
    }

    /// Nothing unread is left from before: a host that spoke out of turn has most likely said goodbye.
    pub fn is_quiet(&self) -> bool {
        self.input.is_empty()
    }

    /// Delivers one message.
    pub async fn transact(&mut self, mail: Mail<'_>, timeouts: &Timeouts) -> Transacted {
        self.output.clear();
        let before_mail = match self.after {
            After::Reset => Before::Reset,
            _ if self.used => Before::Clean,
            _ => Before::Nothing,
        };
        // Were this future dropped half-way, the connection would be in nobody knows which state.
        let before = std::mem::replace(&mut self.after, After::Close);
        let (mut transaction, mut step) = Transaction::begin(mail, self.offers, before_mail, &mut self.output);
        if step == Step::Done {
            self.after = before;
            return Transacted { answers: transaction.finish().0, stale: false, lost: None, dsn_passed: false };
        }
        self.used = true;
        let mut stale = false;
        while step != Step::Done {
            if step == Step::SendBody {
                let sent = match transaction.sends_chunk() {
                    true => self.send_chunk(&mail, timeouts).await,
                    false => self.send_body(&mail, timeouts).await,
                };
                match sent {
                    Ok(()) => transaction.body_sent(),
                    Err((kind, detail)) => {
                        step = match self.last_words().await {
                            Some(reply) => transaction.on_reply(reply, &mut self.output),
                            None => {
                                transaction.fail(kind, detail);
                                Step::Done
                            }
                        };
                        continue;
                    }
                }
            }
            step = match self.exchange(self.limit(&transaction, timeouts)).await {
                Ok(reply) => {
                    let step = transaction.on_reply(reply, &mut self.output);
                    // RSET was refused; or the host has enough of a connection that has served, not of us.
                    let is_dismissed = before_mail != Before::Nothing && transaction.dismissed();
                    stale = step == Step::Done && (transaction.untouched() || is_dismissed);
                    step
                }
                Err((kind, detail)) => {
                    stale = transaction.untouched() && kind == FailureKind::Reset;
                    transaction.fail(kind, detail);
                    Step::Done
                }
            };
        }
        if transaction.dsn_failed() {
            self.distrust(Lost::Dsn);
        }
        let (lost, dsn_passed) = (transaction.lost(), transaction.dsn_passed());
        let (answers, after) = transaction.finish();
        // A reply more than commands were given: the two sides no longer agree on where they are.
        self.after = if self.input.is_empty() { after } else { After::Close };
        Transacted { answers, stale, lost, dsn_passed }
    }

    /// Says QUIT and waits for the end, at most `limit`.
    pub async fn quit(mut self, limit: Duration) {
        self.output.clear();
        self.output.extend_from_slice(b"QUIT\r\n");
        let _ = self.exchange(limit).await;
    }

    fn limit(&self, transaction: &Transaction<'_>, timeouts: &Timeouts) -> Duration {
        time_for(transaction.stage(), timeouts)
    }
}

fn time_for(stage: Stage, timeouts: &Timeouts) -> Duration {
    match stage {
        Stage::Connect => timeouts.connect,
        Stage::Banner => timeouts.banner,
        Stage::Ehlo | Stage::Tls => timeouts.command,
        Stage::Mail => timeouts.mail,
        Stage::Rcpt => timeouts.rcpt,
        Stage::Data => timeouts.data,
        Stage::EndOfData => timeouts.end_of_data,
    }
}

#[cfg(test)]
mod tests;
