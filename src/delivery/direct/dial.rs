//! One address: connect, greet, and TLS as far as it is demanded.
//!
//! Where mail may go in the clear, TLS must never cost a delivery (RFC 7435 §3): whatever goes wrong between STARTTLS and the
//! second EHLO leads to one more connection to the same address, without it, and after the second time in a row the
//! address is not asked again for some time. Where it may not, the same is a failure of this host, and the next one may do better.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::{DirectConnector, Settings};
use crate::clock::Clock;
use crate::config::HostPort;
use crate::delivery::client::{Connection, StartTls};
use crate::delivery::egress::Leg;
use crate::delivery::reuse::{Line, OpenGuard, say_quit};
use crate::delivery::session::{encryption_needed, no_require_tls};
use crate::delivery::tls::TlsReport;
use crate::delivery::tls::demand::{TlsDemand, TlsOutcome, TlsResult};
use crate::delivery::tls::stream::Stream;
use crate::delivery::{Answer, Order};
use crate::message::TlsWish;
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Reply, Stage};

/// Longest handshake: two round trips and some arithmetic, not a person's patience as with commands.
const HANDSHAKE_MAX: Duration = Duration::from_secs(60);

/// A host and one of its addresses.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target<'a> {
    pub(super) host: &'a HostPort,
    /// The host as text.
    pub(super) name: &'a str,
    pub(super) address: SocketAddr,
    pub(super) demand: &'a TlsDemand,
}

/// Where an attempt got to.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) host: Option<String>,
    pub(super) tls: TlsReport,
}

impl Trace {
    /// To the other end of a connection.
    pub(super) fn of(line: &Line) -> Self {
        Self {
            local: Some(line.local),
            remote: Some(line.remote),
            host: Some(line.host.to_string()),
            tls: line.tls.clone(),
        }
    }
}

/// Why an address carries nothing.
#[derive(Debug)]
pub(super) struct Missed {
    pub(super) answer: Answer,
    /// How much it tells, against what others come to; see [`rank`].
    pub(super) rank: u8,
    /// Asking another host makes no sense.
    pub(super) is_final: bool,
}

/// What the answer of an attempt is chosen by: what was said counts more than what was not. That a host cannot keep a promise
/// of the sender's (REQUIRETLS) counts least, also against a look-up that failed: the mail is only given up for it where
/// every host was asked and says so.
pub(super) mod rank {
    pub(in super::super) const PROMISE: u8 = 0;
    pub(in super::super) const NO_ADDRESS: u8 = 1;
    pub(in super::super) const FAILURE: u8 = 2;
    pub(in super::super) const REPLY: u8 = 3;
}

impl Missed {
    /// The binding cannot send from the address of that family.
    pub(super) fn is_unbound(&self) -> bool {
        matches!(&self.answer, Answer::Failure(failure) if failure.kind == FailureKind::Bind)
    }
}

impl From<Answer> for Missed {
    fn from(answer: Answer) -> Self {
        let (rank, is_final) = match &answer {
            Answer::Reply(_, reply) => (rank::REPLY, reply.code / 100 == 5),
            Answer::Failure(failure) => {
                (rank::FAILURE, matches!(failure.kind, FailureKind::Bind | FailureKind::Aborted))
            }
        };
        Self { answer, rank, is_final }
    }
}

/// How one connection ended before it could carry anything.
enum Broke {
    Missed(Missed),
    /// Over TLS alone: the same host in the clear may do.
    Tls(TlsResult, String),
}

impl From<Answer> for Broke {
    fn from(answer: Answer) -> Self {
        Self::Missed(answer.into())
    }
}

/// A connection on its way to become a [`Line`].
struct Greeted {
    connection: Connection<Stream>,
    open: OpenGuard,
    local: SocketAddr,
    outcome: TlsOutcome,
}

impl DirectConnector {
    /// A connection to `target`, greeted and as safe as it is demanded; `first` is one that nothing was said on yet.
    pub(super) async fn dial(
        &self,
        order: &Order,
        settings: &Settings,
        target: Target<'_>,
        first: (Leg, OpenGuard),
        trace: &mut Trace,
    ) -> Result<Line, Missed> {
        let may_be_clear = target.demand.may_be_clear();
        let failed_lately = || self.memory.lock().shuns(target.address, self.clock.now().mono);
        let with_tls = *target.demand != TlsDemand::Never && !(may_be_clear && failed_lately());
        match self.dial_once(order, settings, target, Some(first), with_tls, trace).await {
            Ok(greeted) => Ok(self.line(order, settings, target, greeted, trace)),
            Err(Broke::Missed(missed)) => Err(missed),
            Err(Broke::Tls(result, detail)) if !may_be_clear => Err(self.unsafe_host(target, result, &detail, trace)),
            Err(Broke::Tls(result, detail)) => {
                tracing::info!(host = target.name, address = %target.address, result = result.as_str(), %detail,
                    "TLS failed; the mail goes in the clear");
                self.memory.lock().failed(target.address, self.clock.now().mono);
                let failed = TlsOutcome::Failed { result, detail };
                trace.tls.outcome = failed.clone();
                match self.dial_once(order, settings, target, None, false, trace).await {
                    Ok(greeted) => {
                        Ok(self.line(order, settings, target, Greeted { outcome: failed, ..greeted }, trace))
                    }
                    Err(Broke::Missed(missed)) => Err(missed),
                    Err(Broke::Tls(result, detail)) => Err(self.unsafe_host(target, result, &detail, trace)),
                }
            }
        }
    }

    async fn dial_once(
        &self,
        order: &Order,
        settings: &Settings,
        target: Target<'_>,
        first: Option<(Leg, OpenGuard)>,
        with_tls: bool,
        trace: &mut Trace,
    ) -> Result<Greeted, Broke> {
        let (binding, timeouts) = (&order.binding, &settings.delivery.timeouts);
        let (Leg { stream, local }, open) = match first {
            Some(first) => first,
            None => {
                if let Some(limit) = binding.limits.max_outbound_connections {
                    self.idle.make_room(&binding.name, limit);
                }
                let open = self.idle.count(&binding.name);
                (self.leave(order, target.address, settings).await.map_err(Answer::Failure)?, open)
            }
        };
        trace.local = Some(local);
        let connection = match Connection::greet(Stream::Clear(stream), &order.ehlo, timeouts).await {
            Ok(connection) => connection,
            Err((answer, connection)) => {
                if let Some(connection) = connection {
                    say_quit(connection, open, timeouts.quit);
                }
                return Err(answer.into());
            }
        };
        let offered = connection.offers().starttls;
        trace.tls.offer_gone |= self.memory.lock().offers(target.address, offered, self.clock.now().mono);
        let greeted = Greeted { connection, open, local, outcome: TlsOutcome::NotTried };
        let greeted = if with_tls { self.protect(order, settings, target, greeted, trace).await? } else { greeted };
        if order.wishes.tls == TlsWish::Required && !greeted.connection.offers().require_tls {
            trace.tls.outcome = greeted.outcome;
            say_quit(greeted.connection, greeted.open, timeouts.quit);
            return Err(Broke::Missed(promise(no_require_tls(target.name))));
        }
        Ok(greeted)
    }

    /// Puts a greeted connection under TLS, where the host offers it.
    async fn protect(
        &self,
        order: &Order,
        settings: &Settings,
        target: Target<'_>,
        greeted: Greeted,
        trace: &mut Trace,
    ) -> Result<Greeted, Broke> {
        let timeouts = &settings.delivery.timeouts;
        let Greeted { connection, open, local, .. } = greeted;
        if !connection.offers().starttls {
            let why = "STARTTLS is not offered".to_owned();
            return self.without(
                order,
                settings,
                target,
                Greeted { connection, open, local, outcome: absent(why) },
                trace,
            );
        }
        let stream = match connection.start_tls(timeouts).await {
            StartTls::Begin(Stream::Clear(stream)) => stream,
            // Nothing is put under TLS twice.
            StartTls::Begin(Stream::Tls(_)) => {
                return Err(Broke::Tls(TlsResult::ValidationFailure, "twice".to_owned()));
            }
            StartTls::Refused(reply, _) if reply.code == 421 => return Err(Answer::Reply(Stage::Tls, reply).into()),
            // What is refused for now may be had later: no reason to give mail up that must have it.
            StartTls::Refused(reply, connection) if reply.code / 100 == 4 && !target.demand.may_be_clear() => {
                say_quit(connection, open, timeouts.quit);
                return Err(Broke::Tls(TlsResult::StarttlsNotSupported, format!("STARTTLS is refused: {reply}")));
            }
            StartTls::Refused(reply, connection) => {
                let outcome = absent(format!("STARTTLS is refused: {reply}"));
                return self.without(order, settings, target, Greeted { connection, open, local, outcome }, trace);
            }
            StartTls::Broken(failure) => return Err(Broke::Tls(TlsResult::ValidationFailure, failure.detail)),
        };
        let limit = timeouts.command.min(HANDSHAKE_MAX);
        let shaken = settings.tls.handshake(stream, target.name, target.demand, limit).await;
        let (stream, session) = shaken.map_err(|(result, detail)| Broke::Tls(result, detail))?;
        match Connection::greet_again(Stream::Tls(Box::new(stream)), &order.ehlo, timeouts).await {
            Ok(connection) => {
                self.memory.lock().succeeded(target.address);
                Ok(Greeted { connection, open, local, outcome: TlsOutcome::Session(session) })
            }
            // In TLS 1.3 the host's own refusal of the handshake is heard only now.
            Err((Answer::Failure(failure), _)) => Err(Broke::Tls(TlsResult::ValidationFailure, failure.detail)),
            Err((answer, connection)) => {
                trace.tls.outcome = TlsOutcome::Session(session);
                if let Some(connection) = connection {
                    say_quit(connection, open, timeouts.quit);
                }
                Err(answer.into())
            }
        }
    }

    /// Goes on without TLS, where that will do.
    fn without(
        &self,
        order: &Order,
        settings: &Settings,
        target: Target<'_>,
        greeted: Greeted,
        trace: &mut Trace,
    ) -> Result<Greeted, Broke> {
        if target.demand.may_be_clear() {
            return Ok(greeted);
        }
        say_quit(greeted.connection, greeted.open, settings.delivery.timeouts.quit);
        let TlsOutcome::Failed { result, detail } = greeted.outcome else {
            return Err(Broke::Tls(TlsResult::StarttlsNotSupported, String::new()));
        };
        if order.wishes.tls == TlsWish::Required {
            trace.tls.outcome = TlsOutcome::Failed { result, detail };
            return Err(Broke::Missed(promise(encryption_needed(target.name))));
        }
        Err(Broke::Tls(result, detail))
    }

    /// The host is not as safe as is demanded.
    fn unsafe_host(&self, target: Target<'_>, result: TlsResult, detail: &str, trace: &mut Trace) -> Missed {
        trace.tls.outcome = TlsOutcome::Failed { result, detail: detail.to_owned() };
        trace.tls.is_news = self.memory.lock().is_news(target.address, self.clock.now().mono);
        let detail = format!("{} [{}]: {}: {detail}", target.name, target.address.ip(), result.as_str());
        Answer::Failure(Failure { kind: FailureKind::Tls, stage: Stage::Tls, detail }).into()
    }

    fn line(
        &self,
        order: &Order,
        settings: &Settings,
        target: Target<'_>,
        greeted: Greeted,
        trace: &mut Trace,
    ) -> Line {
        self.counters.opened.fetch_add(1, Ordering::Relaxed);
        trace.tls.outcome = greeted.outcome;
        Line {
            connection: greeted.connection,
            host: target.name.into(),
            at: target.host.clone(),
            demand: target.demand.clone(),
            tls: trace.tls.clone(),
            local: greeted.local,
            remote: target.address,
            messages: 0,
            opened: self.clock.now().mono,
            binding: order.binding.name.clone(),
            via: order.binding.via.clone(),
            roots: settings.delivery.tls_roots.clone(),
            ehlo: order.ehlo.clone(),
            plan: order.plan.clone(),
            open: greeted.open,
        }
    }
}

fn absent(detail: String) -> TlsOutcome {
    TlsOutcome::Failed { result: TlsResult::StarttlsNotSupported, detail }
}

/// The host cannot keep what the sender was promised: our own word, said to the sender if no other host can either.
fn promise(reply: Reply) -> Missed {
    Missed { answer: Answer::Reply(Stage::Mail, reply), rank: rank::PROMISE, is_final: false }
}
