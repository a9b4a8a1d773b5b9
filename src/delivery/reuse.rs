//! Idle connections, by route.
//!
//! A connection may carry a message when it has the same binding, source address, way out (`via`), EHLO name and set of
//! hosts, and was made under the same demand on TLS: one that was not verified carries nothing that must be, nor the other way round. The last
//! one put back is taken first, so that the others age and are closed. Limits: idle time, age, messages. A connection
//! that the host closed meanwhile is noticed before use. Whatever leaves otherwise than by `take` gets QUIT in the
//! background. One task sweeps while there is something to sweep.
//!
//! When the configuration changes, what is not as it has it (another address, proxy or name, a binding that is gone or in no
//! pool, a certificate held to other authorities) is closed: at once where it idles, else when it comes back.
//!
//! The pool also counts the open connections of each binding, idle ones included: before a new one is opened at the
//! binding's limit, [`Idle::make_room`] closes one that idles elsewhere.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use super::Order;
use super::client::Connection;
use super::plan::MxPlan;
use super::tls::TlsReport;
use super::tls::demand::TlsDemand;
use super::tls::stream::Stream;
use crate::clock::{Clock, Mono};
use crate::config::{Addresses, Config, Delivery, EhloName, HostPort, Via};
use crate::message::{BindingName, Domain, TlsWish};

/// Limits of the pool, from `[delivery]`.
#[derive(Clone, Copy, Debug)]
pub struct Keep {
    /// Idle time.
    pub idle: Duration,
    /// Age.
    pub age: Duration,
    /// For saying QUIT.
    pub quit: Duration,
}

impl From<&Delivery> for Keep {
    fn from(delivery: &Delivery) -> Self {
        Self { idle: delivery.keep_idle, age: delivery.max_connection_age, quit: delivery.timeouts.quit }
    }
}

/// Which connections a configuration has use for: by binding, source address and name.
#[derive(Debug)]
pub struct Wanted {
    bindings: HashMap<BindingName, (Addresses, Option<Via>, EhloName)>,
    hostname: Domain,
    roots: Option<PathBuf>,
}

impl Wanted {
    /// Those of bindings that stand in a pool.
    pub fn of(config: &Config) -> Self {
        let members: HashSet<&BindingName> =
            config.pools.iter().flat_map(|pool| &pool.tiers).flatten().map(|member| &member.binding).collect();
        let used = config.bindings.iter().filter(|binding| members.contains(&binding.name));
        let as_it_is = used.map(|b| (b.name.clone(), (b.sources(), b.via.clone(), b.ehlo_hostname.clone())));
        Self {
            bindings: as_it_is.collect(),
            hostname: config.server.hostname.clone(),
            roots: config.delivery.tls_roots.clone(),
        }
    }

    fn has(&self, line: &Line) -> bool {
        let Some((sources, via, ehlo)) = self.bindings.get(&line.binding) else { return false };
        let is_its_name = match ehlo {
            EhloName::Literal(name) => line.ehlo == name.as_str(),
            EhloName::Hostname => line.ehlo == self.hostname.as_str(),
            // Told apart by the message's own when it is taken.
            EhloName::Message => true,
        };
        let is_trusted = !matches!(line.demand, TlsDemand::WebPki { .. }) || line.roots == self.roots;
        sources.contains(line.local.ip()) && *via == line.via && is_its_name && is_trusted
    }
}

/// An open connection and what it may be used for.
#[derive(Debug)]
pub struct Line {
    /// The dialogue.
    pub connection: Connection<Stream>,
    /// Name of the host at the other end.
    pub host: Arc<str>,
    /// The same host as its plan has it.
    pub at: HostPort,
    /// What was demanded of its TLS.
    pub demand: TlsDemand,
    /// What came of that.
    pub tls: TlsReport,
    /// Our end. Its address is one of the binding's.
    pub local: std::net::SocketAddr,
    /// The other end.
    pub remote: std::net::SocketAddr,
    /// Messages it has carried.
    pub messages: u32,
    /// When it was made.
    pub opened: Mono,
    /// The binding it belongs to.
    pub binding: BindingName,
    /// The proxy it goes through.
    pub via: Option<Via>,
    /// The file of authorities that was `tls_roots` when it was made.
    pub roots: Option<PathBuf>,
    /// The name given in EHLO.
    pub ehlo: String,
    /// The hosts it may serve.
    pub plan: Arc<MxPlan>,
    /// Keeps the count.
    pub open: OpenGuard,
}

impl Line {
    fn serves(&self, order: &Order) -> bool {
        self.binding == order.binding.name
            && order.binding.sources().contains(self.local.ip())
            && self.via == order.binding.via
            && self.ehlo == order.ehlo
            && self.plan.pinned == order.plan.pinned
            && (Arc::ptr_eq(&self.plan, &order.plan) || self.plan.hosts == order.plan.hosts)
            && (order.wishes.tls != TlsWish::Required || self.connection.offers().require_tls)
    }

    /// The host neither closed it nor said anything since the last reply.
    fn is_quiet(&mut self) -> bool {
        self.connection.is_quiet() && self.connection.stream().is_quiet()
    }
}

/// Counts one open connection until it is dropped.
#[derive(Debug)]
pub struct OpenGuard {
    binding: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.binding.fetch_sub(1, Ordering::Relaxed);
        self.all.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The pool.
pub struct Idle {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
    hashes: RandomState,
    open: Arc<AtomicUsize>,
}

impl std::fmt::Debug for Idle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Idle").field("state", &self.state).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct State {
    keep: Keep,
    /// `None` as long as no other configuration has come: then all of them are.
    wanted: Option<Wanted>,
    /// By hash of the route; [`Line::serves`] has the last word.
    lines: HashMap<u64, Vec<Parked>>,
    open: HashMap<BindingName, Arc<AtomicUsize>>,
    sweeping: bool,
}

#[derive(Debug)]
struct Parked {
    line: Line,
    since: Mono,
}

impl Parked {
    fn is_expired(&self, keep: &Keep, now: Mono) -> bool {
        now.since(self.since) >= keep.idle || now.since(self.line.opened) >= keep.age
    }
}

impl Idle {
    /// An empty pool.
    pub fn new(keep: Keep, clock: Arc<dyn Clock>) -> Arc<Self> {
        let state = State { keep, wanted: None, lines: HashMap::new(), open: HashMap::new(), sweeping: false };
        Arc::new(Self { clock, state: Mutex::new(state), hashes: RandomState::new(), open: Arc::default() })
    }

    /// Takes over new limits.
    pub fn set_keep(&self, keep: Keep) {
        self.state.lock().keep = keep;
    }

    /// The hosts of the connections that may carry `order`, each once.
    pub fn hosts(&self, order: &Order) -> Vec<HostPort> {
        let hash = self.hash(order);
        let state = self.state.lock();
        let mut hosts: Vec<HostPort> = Vec::new();
        for parked in state.lines.get(&hash).into_iter().flatten().filter(|parked| parked.line.serves(order)) {
            if !hosts.contains(&parked.line.at) {
                hosts.push(parked.line.at.clone());
            }
        }
        hosts
    }

    /// A live connection that may carry `order` and does for `is_safe`.
    pub fn take(&self, order: &Order, is_safe: impl Fn(&Line) -> bool) -> Option<Line> {
        let hash = self.hash(order);
        let now = self.clock.now().mono;
        loop {
            let (mut parked, keep) = {
                let mut state = self.state.lock();
                let keep = state.keep;
                let parked = state.lines.get_mut(&hash)?;
                let at = parked.iter().rposition(|parked| parked.line.serves(order) && is_safe(&parked.line))?;
                let taken = parked.remove(at);
                if parked.is_empty() {
                    state.lines.remove(&hash);
                }
                (taken, keep)
            };
            if !parked.line.is_quiet() {
                continue;
            }
            if parked.is_expired(&keep, now) || parked.line.messages >= order.messages_per_connection {
                close(parked.line, keep.quit);
                continue;
            }
            return Some(parked.line);
        }
    }

    /// Puts a connection back after `order`, or closes it where a limit is reached.
    pub fn put(self: &Arc<Self>, line: Line, order: &Order) {
        if !line.connection.is_usable() {
            return;
        }
        let now = self.clock.now().mono;
        let hash = self.hash(order);
        let mut state = self.state.lock();
        let spent = line.messages >= order.messages_per_connection
            || now.since(line.opened) >= state.keep.age
            || state.keep.idle.is_zero()
            || state.wanted.as_ref().is_some_and(|wanted| !wanted.has(&line));
        if spent {
            let quit = state.keep.quit;
            drop(state);
            close(line, quit);
            return;
        }
        state.lines.entry(hash).or_default().push(Parked { line, since: now });
        if !state.sweeping {
            state.sweeping = true;
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Counts a connection of `binding` that is about to be opened.
    pub fn count(&self, binding: &BindingName) -> OpenGuard {
        let of_binding = {
            let mut state = self.state.lock();
            match state.open.get(binding) {
                Some(count) => count.clone(),
                None => state.open.entry(binding.clone()).or_default().clone(),
            }
        };
        of_binding.fetch_add(1, Ordering::Relaxed);
        self.open.fetch_add(1, Ordering::Relaxed);
        OpenGuard { binding: of_binding, all: self.open.clone() }
    }

    /// Closes an idle connection of `binding` (the one idle longest) if it has `limit` open ones.
    pub fn make_room(&self, binding: &BindingName, limit: u32) {
        let mut state = self.state.lock();
        let open = state.open.get(binding).map_or(0, |count| count.load(Ordering::Relaxed));
        if open < limit as usize {
            return;
        }
        let of_binding = |parked: &Parked| parked.line.binding == *binding;
        let oldest = state.lines.iter().flat_map(|(hash, lines)| lines.iter().map(move |parked| (*hash, parked)));
        let oldest = oldest.filter(|(_, parked)| of_binding(parked)).min_by_key(|(_, parked)| parked.since);
        let Some((hash, since)) = oldest.map(|(hash, parked)| (hash, parked.since)) else { return };
        let quit = state.keep.quit;
        let found = state.lines.get_mut(&hash).and_then(|lines| {
            let at = lines.iter().position(|parked| of_binding(parked) && parked.since == since)?;
            Some(lines.remove(at))
        });
        state.lines.retain(|_, lines| !lines.is_empty());
        drop(state);
        if let Some(parked) = found {
            close(parked.line, quit);
        }
    }

    /// Closes all idle connections of `binding` and forgets it. Those in use are closed when they come back only if
    /// their limits say so: remove the binding from use first.
    pub fn retire(&self, binding: &BindingName) {
        self.close_where(|parked| parked.line.binding == *binding);
        // Those that still say QUIT count until they have.
        self.state.lock().open.retain(|name, open| name != binding || open.load(Ordering::Relaxed) > 0);
    }

    /// Open connections of a binding, idle ones included.
    pub fn open_of(&self, binding: &BindingName) -> usize {
        self.state.lock().open.get(binding).map_or(0, |open| open.load(Ordering::Relaxed))
    }

    /// From now on only these are kept; others that idle are closed, those in use when they come back.
    pub fn keep_only(&self, wanted: Wanted) {
        let mut state = self.state.lock();
        let is_there = |name: &BindingName| wanted.bindings.contains_key(name);
        state.open.retain(|name, count| is_there(name) || count.load(Ordering::Relaxed) > 0);
        let quit = state.keep.quit;
        let unwanted = |parked: &mut Parked| !wanted.has(&parked.line);
        let gone: Vec<Parked> = state.lines.values_mut().flat_map(|lines| lines.extract_if(.., unwanted)).collect();
        state.lines.retain(|_, lines| !lines.is_empty());
        state.wanted = Some(wanted);
        drop(state);
        gone.into_iter().for_each(|parked| close(parked.line, quit));
    }

    /// Open connections, idle ones included.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Open connections by binding, idle ones included.
    pub fn open_by_binding(&self) -> Vec<(BindingName, usize)> {
        let state = self.state.lock();
        state.open.iter().map(|(name, count)| (name.clone(), count.load(Ordering::Relaxed))).collect()
    }

    /// Idle connections.
    pub fn idle(&self) -> usize {
        self.state.lock().lines.values().map(Vec::len).sum()
    }

    fn hash(&self, order: &Order) -> u64 {
        self.hashes.hash_one((&order.binding.name, order.binding.sources(), &order.ehlo, &order.plan.hosts))
    }

    fn close_where(&self, goes: impl Fn(&Parked) -> bool) {
        let (gone, quit) = {
            let mut state = self.state.lock();
            let mut gone = Vec::new();
            for lines in state.lines.values_mut() {
                gone.extend(lines.extract_if(.., |parked| goes(parked)));
            }
            state.lines.retain(|_, lines| !lines.is_empty());
            (gone, state.keep.quit)
        };
        for parked in gone {
            close(parked.line, quit);
        }
    }
}

/// Says QUIT in the background. Outside a runtime the connection is just dropped.
pub(super) fn close(line: Line, limit: Duration) {
    say_quit(line.connection, line.open, limit);
}

/// The same for a connection that never came to carry anything.
pub(super) fn say_quit(connection: Connection<Stream>, open: OpenGuard, limit: Duration) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        runtime.spawn(async move {
            connection.quit(limit).await;
            drop(open);
        });
    }
}

/// Closes what has been idle or has lived too long, until nothing is idle.
async fn sweep(pool: std::sync::Weak<Idle>) {
    loop {
        let Some(strong) = pool.upgrade() else { return };
        let period = (strong.state.lock().keep.idle / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        drop(strong);
        tokio::time::sleep(period).await;
        let Some(strong) = pool.upgrade() else { return };
        let (keep, now) = (strong.state.lock().keep, strong.clock.now().mono);
        strong.close_where(|parked| parked.is_expired(&keep, now));
        let mut state = strong.state.lock();
        if state.lines.is_empty() {
            state.sweeping = false;
            return;
        }
    }
}
