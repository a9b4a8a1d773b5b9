//! The connector that really connects: idle connection or new one, host by host, until somebody answers.
//!
//! A new connection is tried at each address in turn, best preference first and shuffled among equals (RFC 5321 §5.1),
//! at most `delivery.max_addresses`. The next one is tried when a host could not be reached, broke off, or said 4yz in
//! its banner or to EHLO; where a binding has addresses of two families, the other family also when the first is silent
//! ([`happy`](super::happy)). A 5yz there is the receiver's word about this binding, and a source address that cannot be
//! bound fails everywhere: both end the attempt, but a binding with addresses of two families goes on with the other one
//! where one cannot be bound. Once MAIL was given, no other host is asked. An idle connection that turns out to be dead
//! before anything was answered, or that the host ends with 421 to MAIL, is replaced by a new one within the same attempt;
//! so is one that was lost because the host cannot bear what it offers itself (an envelope id, a chunk), which then stays away.
//!
//! What is demanded of a host's TLS is asked of [`Demands`] before it is connected to, and again before an idle connection
//! is used: only one made under the same demand will do.
//!
//! [`open`] makes connections, [`carry`] sends one message over one of them.

mod carry;
mod dial;
mod open;
mod race;

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use rand::SeedableRng;
use rand::rngs::SmallRng;

use self::carry::{Carried, carry};
use self::dial::Trace;
use super::learned::{Fared, Learned};
use super::mx::Resolver;
use super::reuse::{Idle, Keep, Line, Wanted};
use super::session::Lost;
use super::tls::client::TlsClient;
use super::tls::memory::Memory;
use super::tls::policy::{Configured, Demands, OnlyConfigured};
use super::{Answer, Connector, Order, Report};
use crate::clock::{Clock, Mono, SystemClock};
use crate::config::{Config, Delivery};
use crate::message::{BindingName, DestinationName};
use crate::outcome::{Failure, FailureKind, Stage};

/// Connections of one attempt that may be lost over what the host offers and cannot bear.
const LOSSES: usize = 2;

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

/// What the configuration says.
#[derive(Debug)]
struct Settings {
    delivery: Delivery,
    configured: Configured,
    tls: TlsClient,
}

/// Makes attempts over TCP from the binding's address.
#[derive(Debug)]
pub struct DirectConnector {
    resolver: Arc<Resolver>,
    settings: RwLock<Arc<Settings>>,
    demands: Arc<dyn Demands>,
    memory: Mutex<Memory>,
    idle: Arc<Idle>,
    counters: Counters,
    learned: Mutex<Learned>,
    rng: Mutex<SmallRng>,
    clock: Arc<SystemClock>,
}

impl DirectConnector {
    /// A connector without any connections, as `config` has it. What receivers demand of TLS is asked of `demands`.
    pub fn of(config: &Config, resolver: Arc<Resolver>, demands: Arc<dyn Demands>) -> Self {
        let this = Self { demands, ..Self::new(resolver, &config.delivery) };
        this.set(&config.delivery, Configured::of(config));
        this
    }

    /// A connector without any connections, which knows `delivery` alone.
    pub fn new(resolver: Arc<Resolver>, delivery: &Delivery) -> Self {
        let clock = Arc::new(SystemClock::default());
        Self {
            resolver,
            settings: RwLock::new(Arc::new(settings(delivery, Configured::always(delivery.tls)))),
            demands: Arc::new(OnlyConfigured),
            memory: Mutex::default(),
            idle: Idle::new(Keep::from(delivery), Arc::clone(&clock) as Arc<dyn Clock>),
            counters: Counters::default(),
            learned: Mutex::default(),
            // Only spreads load over hosts of equal preference: the keys of a hash map are random enough.
            rng: Mutex::new(SmallRng::seed_from_u64(RandomState::new().hash_one(0))),
            clock,
        }
    }

    /// Takes over new settings; attempts under way keep the old ones.
    fn set(&self, delivery: &Delivery, configured: Configured) {
        *self.settings.write() = Arc::new(settings(delivery, configured));
        self.idle.set_keep(Keep::from(delivery));
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

    async fn carry_out(&self, mut order: Order) -> Report {
        let started = self.clock.now().mono;
        let settings = self.settings.read().clone();
        if let Some(learned) = self.learned_messages(&order.plan.destination) {
            order.messages_per_connection = order.messages_per_connection.min(learned);
        }
        let mut without = Vec::new();
        if let Some(mut line) = self.idle_line(&order, &settings).await {
            let carried = self.carry(&mut line, &order, &settings.delivery).await;
            without.extend(carried.lost);
            if !carried.stale && carried.lost.is_none() {
                self.counters.reused.fetch_add(1, Ordering::Relaxed);
                return self.settle(line, &mut order, carried, true, started);
            }
            self.counters.stale.fetch_add(u64::from(carried.stale), Ordering::Relaxed);
        }
        match self.deliver_anew(&order, &settings, without).await {
            Ok((line, carried)) => self.settle(line, &mut order, carried, false, started),
            Err((trace, answers)) => Report {
                local: trace.local,
                remote: trace.remote,
                host: trace.host,
                reused: false,
                tls: trace.tls,
                answers,
                dsn_passed: false,
                latency: self.clock.now().mono.since(started),
            },
        }
    }

    /// An idle connection that is as safe as is demanded of its host now.
    async fn idle_line(&self, order: &Order, settings: &Settings) -> Option<Line> {
        let mut demanded = Vec::new();
        for host in self.idle.hosts(order) {
            if let Some(Ok(demand)) = self.demanded(order, settings, &host).await {
                demanded.push((host, demand));
            }
        }
        if demanded.is_empty() {
            return None;
        }
        self.idle.take(order, |line| demanded.iter().any(|(host, demand)| *host == line.at && *demand == line.demand))
    }

    /// Over a new connection; where that is lost over something the host offers, over another one without it.
    async fn deliver_anew(
        &self,
        order: &Order,
        settings: &Settings,
        mut without: Vec<Lost>,
    ) -> Result<(Line, Carried), (Trace, Vec<Answer>)> {
        let mut came = None;
        loop {
            let mut line = match self.open(order, settings).await {
                Ok(line) => line,
                // Where there is no further connection, what the one before came to stands.
                Err((trace, answer)) => return Err(came.unwrap_or((trace, vec![answer; order.recipients.len()]))),
            };
            without.iter().for_each(|what| line.connection.distrust(*what));
            let carried = self.carry(&mut line, order, &settings.delivery).await;
            let Some(lost) = carried.lost.filter(|_| without.len() < LOSSES) else { return Ok((line, carried)) };
            without.push(lost);
            // The connection itself ends here: a binding at its limit has no room for two.
            came = Some((Trace::of(&line), carried.answers));
        }
    }

    async fn carry(&self, line: &mut Line, order: &Order, delivery: &Delivery) -> Carried {
        let destination = &order.plan.destination;
        if !delivery.chunking || self.learned.lock().is_plain(destination, self.clock.now().wall) {
            line.connection.distrust(Lost::Chunking);
        }
        let number = line.messages + 1;
        let mut carried = carry(line, order, delivery).await;
        let fared = Fared::of(&carried.answers, carried.stale);
        carried.is_enough = number > 1 && fared == Fared::Ended;
        let (now, mut learned) = (self.clock.now().wall, self.learned.lock());
        if carried.lost == Some(Lost::Chunking) {
            learned.no_chunks(destination, now);
        } else if let Some(limit) = learned.note(destination, number, fared, now) {
            tracing::info!(destination = %destination, messages_per_connection = limit,
                "the destination ends connections after so many messages; they carry no more for a while");
        }
        carried
    }

    /// A host that takes mail over TLS only (`530`, RFC 3207 §4) and gets it in the clear because TLS has failed with it lately:
    /// that fails here, for now, and refuses nobody. The next attempt tries TLS again. What it took before stays taken.
    fn owe_tls(&self, line: &Line, answers: &mut [Answer]) {
        let wants_tls =
            |answer: &&mut Answer| matches!(&**answer, Answer::Reply(Stage::Mail, reply) if reply.code == 530);
        let mut memory = self.memory.lock();
        if !memory.has_failed(line.remote, self.clock.now().mono) {
            return;
        }
        for answer in answers.iter_mut().filter(wants_tls) {
            memory.succeeded(line.remote);
            let detail = format!("{} takes mail over TLS only, and TLS with it fails", line.host);
            *answer = Answer::Failure(Failure { kind: FailureKind::Tls, stage: Stage::Tls, detail });
        }
    }

    fn settle(&self, line: Line, order: &mut Order, mut carried: Carried, reused: bool, started: Mono) -> Report {
        self.owe_tls(&line, &mut carried.answers);
        let report = Report {
            local: Some(line.local),
            remote: Some(line.remote),
            host: Some(line.host.to_string()),
            reused,
            tls: line.tls.clone(),
            answers: carried.answers,
            dsn_passed: carried.dsn_passed,
            latency: self.clock.now().mono.since(started),
        };
        if let Some(most) = line.connection.offers().mail_max {
            // Closed in time, with a word, before the host does it.
            order.messages_per_connection = order.messages_per_connection.min(most.get());
        }
        if carried.is_enough {
            order.messages_per_connection = 0;
        }
        self.idle.put(line, order);
        report
    }
}

impl Connector for DirectConnector {
    fn attempt(&self, order: Order) -> Pin<Box<dyn Future<Output = Report> + Send + '_>> {
        Box::pin(self.carry_out(order))
    }

    fn retire(&self, binding: &BindingName) {
        self.idle.retire(binding);
    }

    fn reconfigure(&self, config: &Config) {
        self.set(&config.delivery, Configured::of(config));
        self.idle.keep_only(Wanted::of(config));
    }

    fn learned_messages(&self, destination: &DestinationName) -> Option<u32> {
        self.learned.lock().messages(destination, self.clock.now().wall)
    }

    fn open(&self, binding: &BindingName) -> usize {
        self.idle.open_of(binding)
    }
}

fn settings(delivery: &Delivery, configured: Configured) -> Settings {
    Settings { delivery: delivery.clone(), configured, tls: TlsClient::new(delivery.tls_roots.clone()) }
}

#[cfg(test)]
mod family_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod tls_tests;
