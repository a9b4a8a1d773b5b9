//! Runs the dialogue of `session` over a stream, with the time-outs of RFC 5321 §4.5.3.2.
//!
//! One group of commands is one write, the body is written from where it lies (vectored, so that doubled dots cost no
//! copy). A deadline holds for a whole reply, not for a read: a host that drips octets gains nothing. A reply over
//! [`REPLY_OCTETS`] ends the connection. Where writing fails, the host may have said why before it hung up: what it has
//! sent is read for a moment before the failure is reported.

use std::io::{self, IoSlice};
use std::time::Duration;

use bytes::BytesMut;
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use super::Answer;
use super::dot;
use super::session::{After, Capabilities, Greeted, Greeting, Mail, Step, Transaction};
use crate::config::Timeouts;
use crate::outcome::failure::FailureKind;
use crate::outcome::reply::ReplyParser;
use crate::outcome::{Failure, Reply, Stage};

/// Octets of one reply, above which the peer is no SMTP host (RFC 5321 §4.5.3.1.5 asks for 512 a line).
pub const REPLY_OCTETS: usize = 64 * 1024;
/// How long a peer that hung up is listened to.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// Pieces of the body handed to the kernel in one call.
const PIECES: usize = 16;

/// A greeted connection.
#[derive(Debug)]
pub struct Connection<S> {
    stream: S,
    parser: ReplyParser,
    input: BytesMut,
    output: Vec<u8>,
    offers: Capabilities,
    after: After,
}

/// What a transaction came to.
#[derive(Debug)]
pub struct Transacted {
    /// One per recipient.
    pub answers: Vec<Answer>,
    /// The connection was dead before any reply came: nothing has happened at the peer.
    pub stale: bool,
}

type Broken = (FailureKind, String);

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Waits for the banner and says EHLO. An error is the refusal or failure, with the connection where it may still
    /// be told QUIT.
    pub async fn greet(stream: S, ehlo: &str, timeouts: &Timeouts) -> Result<Self, (Answer, Option<Self>)> {
        let mut this = Self {
            stream,
            parser: ReplyParser::default(),
            input: BytesMut::with_capacity(2048),
            output: Vec::with_capacity(512),
            offers: Capabilities::default(),
            after: After::Clean,
        };
        let mut greeting = Greeting::new(ehlo);
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

    /// What the host offers.
    pub fn offers(&self) -> Capabilities {
        self.offers
    }

    /// Whether another message may follow.
    pub fn is_usable(&self) -> bool {
        self.after != After::Close
    }

    /// The stream below.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Nothing unread is left from before: a host that spoke out of turn has most likely said goodbye.
    pub fn is_quiet(&self) -> bool {
        self.input.is_empty()
    }

    /// Delivers one message.
    pub async fn transact(&mut self, mail: Mail<'_>, timeouts: &Timeouts) -> Transacted {
        self.output.clear();
        let reset = self.after == After::Reset;
        // Were this future dropped half-way, the connection would be in nobody knows which state.
        let before = std::mem::replace(&mut self.after, After::Close);
        let (mut transaction, mut step) = Transaction::begin(mail, self.offers, reset, &mut self.output);
        if step == Step::Done {
            self.after = before;
            return Transacted { answers: transaction.finish().0, stale: false };
        }
        let mut stale = false;
        while step != Step::Done {
            if step == Step::SendBody {
                match self.send_body(mail.body, timeouts).await {
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
                Ok(reply) => transaction.on_reply(reply, &mut self.output),
                Err((kind, detail)) => {
                    stale = transaction.untouched() && kind == FailureKind::Reset;
                    transaction.fail(kind, detail);
                    Step::Done
                }
            };
        }
        let (answers, after) = transaction.finish();
        // A reply more than commands were given: the two sides no longer agree on where they are.
        self.after = if self.input.is_empty() { after } else { After::Close };
        Transacted { answers, stale }
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

    /// Sends what is waiting in `output` and reads one reply.
    async fn exchange(&mut self, limit: Duration) -> Result<Reply, Broken> {
        let deadline = Instant::now() + limit;
        if !self.output.is_empty() {
            let written = timeout_at(deadline, self.stream.write_all(&self.output)).await;
            self.output.clear();
            match written {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return self.last_words().await.ok_or_else(|| broken(&error)),
                Err(_) => return Err(silent(limit)),
            }
        }
        self.read_reply(deadline, limit).await
    }

    async fn read_reply(&mut self, deadline: Instant, limit: Duration) -> Result<Reply, Broken> {
        let mut octets = self.input.len();
        loop {
            if !self.input.is_empty() {
                match self.parser.feed(&mut self.input) {
                    Ok(Some(reply)) => return Ok(reply),
                    Ok(None) => {}
                    Err(error) => return Err((FailureKind::Protocol, error.to_string())),
                }
            }
            if octets > REPLY_OCTETS {
                return Err((FailureKind::Protocol, format!("reply of more than {REPLY_OCTETS} octets")));
            }
            self.input.reserve(1024);
            match timeout_at(deadline, self.stream.read_buf(&mut self.input)).await {
                Ok(Ok(0)) => return Err((FailureKind::Reset, "connection closed by the host".to_owned())),
                Ok(Ok(more)) => octets += more,
                Ok(Err(error)) => return Err(broken(&error)),
                Err(_) => return Err(silent(limit)),
            }
        }
    }

    /// What the host said before it hung up, if anything.
    async fn last_words(&mut self) -> Option<Reply> {
        self.read_reply(Instant::now() + LAST_WORDS, LAST_WORDS).await.ok()
    }

    /// Sends the body and the final dot. Each block must be taken in time; how many there are does not matter.
    async fn send_body(&mut self, body: &[u8], timeouts: &Timeouts) -> Result<(), Broken> {
        let mut rest = dot::pieces(body).chain(std::iter::once(dot::terminator(body)));
        loop {
            let mut block: SmallVec<[IoSlice<'_>; PIECES]> = rest.by_ref().take(PIECES).map(IoSlice::new).collect();
            if block.is_empty() {
                return Ok(());
            }
            let mut slices = block.as_mut_slice();
            while !slices.is_empty() {
                match timeout(timeouts.block, self.stream.write_vectored(slices)).await {
                    Ok(Ok(0)) => return Err(broken(&io::ErrorKind::WriteZero.into())),
                    Ok(Ok(taken)) => IoSlice::advance_slices(&mut slices, taken),
                    Ok(Err(error)) => return Err(broken(&error)),
                    Err(_) => return Err(silent(timeouts.block)),
                }
            }
        }
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

fn silent(limit: Duration) -> Broken {
    (FailureKind::TimedOut, format!("no answer in {limit:?}"))
}

fn broken(error: &io::Error) -> Broken {
    let kind = match error.kind() {
        io::ErrorKind::TimedOut => FailureKind::TimedOut,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => FailureKind::Unreachable,
        _ => FailureKind::Reset,
    };
    (kind, error.to_string())
}
