//! The connector that really connects: idle connection or new one, host by host, until somebody answers.
//!
//! A new connection is tried at each address in turn, best preference first and shuffled among equals (RFC 5321 §5.1),
//! at most `delivery.max_addresses`. The next one is tried when a host could not be reached, broke off, or said 4yz in
//! its banner or to EHLO. A 5yz there is the receiver's word about this binding, and a source address that cannot be
//! bound fails everywhere: both end the attempt. Once MAIL was given, no other host is asked. An idle connection that
//! turns out to be dead before anything was answered is replaced by a new one within the same attempt.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::SmallRng;
use tokio::time::Instant;

use super::client::Connection;
use super::connect::connect;
use super::mx::{Family, Resolver};
use super::plan;
use super::reuse::{Idle, Keep, Line, close};
use super::session::Mail;
use super::{Answer, Connector, Order, Report};
use crate::config::Delivery;
use crate::message::BindingName;
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Stage};

/// Hosts looked up in one attempt, for each address that may be tried: a long list of dead names ends somewhere.
const LOOKUPS_PER_ADDRESS: usize = 2;

/// Counters since the start.
#[derive(Debug, Default)]
pub struct Counters {
    opened: AtomicU64,
    reused: AtomicU64,
    stale: AtomicU64,
}

/// A snapshot of counters and gauges.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Connections open now, idle ones included.
    pub open: usize,
    /// Idle connections.
    pub idle: usize,
    /// Connections made and greeted.
    pub opened: u64,
    /// Messages that went over an idle connection.
    pub reused: u64,
    /// Idle connections that turned out to be dead when they were used.
    pub stale: u64,
}

/// Makes attempts over TCP from the binding's address.
#[derive(Debug)]
pub struct DirectConnector {
    resolver: Arc<Resolver>,
    settings: RwLock<Arc<Delivery>>,
    idle: Arc<Idle>,
    counters: Counters,
    rng: Mutex<SmallRng>,
}

/// Where an attempt got to.
#[derive(Debug, Default)]
struct Trace {
    local: Option<std::net::SocketAddr>,
    remote: Option<std::net::SocketAddr>,
    host: Option<String>,
}

impl DirectConnector {
    /// A connector without any connections.
    pub fn new(resolver: Arc<Resolver>, delivery: &Delivery) -> Self {
        Self {
            resolver,
            settings: RwLock::new(Arc::new(delivery.clone())),
            idle: Idle::new(Keep::from(delivery)),
            counters: Counters::default(),
            // Only spreads load over hosts of equal preference: the keys of a hash map are random enough.
            rng: Mutex::new(SmallRng::seed_from_u64(RandomState::new().hash_one(0))),
        }
    }

    /// Takes over new settings; attempts under way keep the old ones.
    pub fn reconfigure(&self, delivery: &Delivery) {
        *self.settings.write() = Arc::new(delivery.clone());
        self.idle.set_keep(Keep::from(delivery));
    }

    /// Closes the idle connections of a binding that was suspended or removed.
    pub fn retire(&self, binding: &BindingName) {
        self.idle.retire(binding);
    }

    /// Closes all idle connections, as at the end of the program.
    pub fn close_idle(&self) {
        self.idle.clear();
    }

    /// Counters and gauges now.
    pub fn stats(&self) -> Stats {
        Stats {
            open: self.idle.open(),
            idle: self.idle.idle(),
            opened: self.counters.opened.load(Ordering::Relaxed),
            reused: self.counters.reused.load(Ordering::Relaxed),
            stale: self.counters.stale.load(Ordering::Relaxed),
        }
    }

    /// Open connections by binding, idle ones included.
    pub fn open_by_binding(&self) -> Vec<(BindingName, usize)> {
        self.idle.open_by_binding()
    }

    async fn carry_out(&self, order: Order) -> Report {
        let started = Instant::now();
        let delivery = self.settings.read().clone();
        if let Some(mut line) = self.idle.take(&order) {
            self.counters.reused.fetch_add(1, Ordering::Relaxed);
            match self.transact(&mut line, &order, &delivery).await {
                Some(answers) => return self.settle(line, &order, answers, true, started),
                None => {
                    self.counters.stale.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
        match self.open(&order, &delivery).await {
            Ok(mut line) => {
                let transacted = line.connection.transact(mail(&order), &delivery.timeouts).await;
                line.messages += 1;
                self.settle(line, &order, transacted.answers, false, started)
            }
            Err((trace, answer)) => Report {
                local: trace.local,
                remote: trace.remote,
                host: trace.host,
                reused: false,
                answers: vec![answer; order.recipients.len()],
                latency: started.elapsed(),
            },
        }
    }

    /// Sends over a connection used before; `None` when it was dead.
    async fn transact(&self, line: &mut Line, order: &Order, delivery: &Delivery) -> Option<Vec<Answer>> {
        let transacted = line.connection.transact(mail(order), &delivery.timeouts).await;
        line.messages += 1;
        (!transacted.stale).then_some(transacted.answers)
    }

    fn settle(&self, line: Line, order: &Order, answers: Vec<Answer>, reused: bool, started: Instant) -> Report {
        let report = Report {
            local: Some(line.local),
            remote: Some(line.remote),
            host: Some(line.host.to_string()),
            reused,
            answers,
            latency: started.elapsed(),
        };
        self.idle.put(line, order);
        report
    }

    /// A new connection, greeted; or the answer that tells most: a reply rather than a failure, the last of its kind.
    async fn open(&self, order: &Order, delivery: &Delivery) -> Result<Line, (Trace, Answer)> {
        let binding = &order.binding;
        let family = Family::of(binding.bind_address);
        let allow_private = order.plan.pinned || delivery.allow_private_mx;
        let mut best: Option<(Trace, Answer)> = None;
        let mut left = delivery.max_addresses.max(1);
        let lookups = left.saturating_mul(LOOKUPS_PER_ADDRESS);
        let hosts = plan::shuffled(&order.plan.hosts, &mut *self.rng.lock());
        for host in hosts.into_iter().take(lookups) {
            let name = plan::host_text(&host.host);
            let addresses = match self.resolver.addresses(host, family, allow_private).await {
                Ok(addresses) => addresses,
                Err(detail) => {
                    let failure = Failure { kind: FailureKind::NoAddress, stage: Stage::Connect, detail };
                    // A host that was reached tells more than one that has no address.
                    best.get_or_insert_with(|| {
                        (Trace { host: Some(name), ..Trace::default() }, Answer::Failure(failure))
                    });
                    continue;
                }
            };
            for address in addresses {
                if left == 0 {
                    break;
                }
                left -= 1;
                let mut trace = Trace { local: None, remote: Some(address), host: Some(name.clone()) };
                match self.open_one(order, delivery, &mut trace, address).await {
                    Ok(line) => return Ok(line),
                    Err(answer) if is_final(&answer) => return Err((trace, answer)),
                    Err(answer) => {
                        let had_reply = matches!(&best, Some((_, Answer::Reply(..))));
                        if !had_reply || matches!(answer, Answer::Reply(..)) {
                            best = Some((trace, answer));
                        }
                    }
                }
            }
        }
        Err(best.unwrap_or_else(|| {
            let detail = "the destination has no hosts".to_owned();
            let failure = Failure { kind: FailureKind::NoAddress, stage: Stage::Connect, detail };
            (Trace::default(), Answer::Failure(failure))
        }))
    }

    async fn open_one(
        &self,
        order: &Order,
        delivery: &Delivery,
        trace: &mut Trace,
        address: std::net::SocketAddr,
    ) -> Result<Line, Answer> {
        let binding = &order.binding;
        if let Some(limit) = binding.limits.max_outbound_connections {
            self.idle.make_room(&binding.name, limit);
        }
        let open = self.idle.count(&binding.name);
        let stream =
            connect(binding.bind_address, address, delivery.timeouts.connect).await.map_err(Answer::Failure)?;
        trace.local = stream.local_addr().ok();
        let line = |connection, local| Line {
            connection,
            host: trace.host.as_deref().unwrap_or_default().into(),
            local,
            remote: address,
            messages: 0,
            opened: Instant::now(),
            binding: binding.name.clone(),
            ehlo: order.ehlo.clone(),
            plan: order.plan.clone(),
            open,
        };
        // `connect` has read it once already.
        let local = trace.local.unwrap_or_else(|| (binding.bind_address, 0).into());
        match Connection::greet(stream, &order.ehlo, &delivery.timeouts).await {
            Ok(connection) => {
                self.counters.opened.fetch_add(1, Ordering::Relaxed);
                Ok(line(connection, local))
            }
            Err((answer, connection)) => {
                if let Some(connection) = connection {
                    close(line(connection, local), delivery.timeouts.quit);
                }
                Err(answer)
            }
        }
    }
}

impl Connector for DirectConnector {
    fn attempt(&self, order: Order) -> Pin<Box<dyn Future<Output = Report> + Send + '_>> {
        Box::pin(self.carry_out(order))
    }
}

fn mail(order: &Order) -> Mail<'_> {
    Mail {
        reverse_path: order.reverse_path.as_ref(),
        recipients: &order.recipients,
        body: &order.body,
        eight_bit: order.eight_bit,
    }
}

/// Whether asking another host makes no sense.
fn is_final(answer: &Answer) -> bool {
    match answer {
        Answer::Reply(_, reply) => reply.code / 100 == 5,
        Answer::Failure(failure) => matches!(failure.kind, FailureKind::Bind | FailureKind::Aborted),
    }
}
