//! A new connection: host by host and address by address, until one has greeted. [`race`](super::race) has what is special
//! about a host and a binding that both have addresses of both families.
//!
//! A binding that has lost its address of one family is not out as long as it has the other: an address that cannot be
//! bound ends the attempt only where there is no other family, or that one fails as well.

use std::net::SocketAddr;

use super::dial::{Missed, Target, Trace, rank};
use super::race::Race;
use super::{DirectConnector, Settings};
use crate::clock::Clock;
use crate::config::{Family, HostPort};
use crate::delivery::egress::Leg;
use crate::delivery::reuse::Line;
use crate::delivery::tls::demand::{TlsDemand, TlsOutcome};
use crate::delivery::tls::policy::{Asked, Concluded, Demanded};
use crate::delivery::{Answer, Order};
use crate::delivery::{egress, plan};
use crate::message::Domain;
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Stage};

/// Hosts looked up in one attempt, for each address that may be tried: a long list of dead names ends somewhere.
const LOOKUPS_PER_ADDRESS: usize = 2;

/// The answer that tells most so far, and where it came from.
#[derive(Default)]
struct Best(Option<(Trace, Missed)>);

impl Best {
    /// Later ones of equal rank win, but for hosts without an address: the first says as much as the last.
    fn weigh(&mut self, trace: Trace, missed: Missed) {
        let says_no_more = |best: &Missed| missed.rank == best.rank && missed.rank == rank::NO_ADDRESS;
        let stays = |best: &Missed| missed.rank < best.rank || says_no_more(best);
        if !self.0.as_ref().is_some_and(|(_, best)| stays(best)) {
            self.0 = Some((trace, missed));
        }
    }
}

impl DirectConnector {
    /// A new connection, greeted; or the answer that tells most: a reply rather than a failure, the last of its kind.
    pub(super) async fn open(&self, order: &Order, settings: &Settings) -> Result<Line, (Trace, Answer)> {
        let binding = &order.binding;
        let allow_private = order.plan.pinned || settings.delivery.allow_private_mx;
        let domain = domain(order);
        let mut best = Best::default();
        let mut left = settings.delivery.max_addresses.max(1);
        let lookups = left.saturating_mul(LOOKUPS_PER_ADDRESS);
        let mut is_excluded = false;
        let hosts = plan::shuffled(&order.plan.hosts, &mut *self.rng.lock());
        let mut all_asked = hosts.len() <= lookups;
        let mut unbound: Option<Family> = None;
        for host in hosts.into_iter().take(lookups) {
            let name = plan::host_text(&host.host);
            let unreached = Trace { host: Some(name.clone()), ..Trace::default() };
            let addresses = match self.resolver.reached_from(binding, host, allow_private).await {
                Ok(addresses) => addresses,
                Err(detail) => {
                    best.weigh(unreached, no_address(detail));
                    continue;
                }
            };
            if !order.plan.pinned
                && let Some(own) = self.resolver.own_of(&addresses)
            {
                // Neither do those that are not preferred to us get it: they would send it here (RFC 5321 §5.1).
                let route = "a [[destination_route]] says where its mail goes instead";
                best.weigh(unreached, no_address(format!("{name} is this relay itself ({own}); {route}")));
                break;
            }
            let Some(asked) = asked(order, settings, domain.as_ref(), host) else { continue };
            let demand = match self.demands.demand(asked).await {
                Ok(demand) => demand,
                Err(excluded) => {
                    let detail = format!("{name}: {}: {}", excluded.result.as_str(), excluded.detail);
                    let outcome = TlsOutcome::Failed { result: excluded.result, detail: excluded.detail };
                    is_excluded = true;
                    let mut trace = unreached;
                    trace.tls.outcome = outcome;
                    self.tell(asked, None, &trace);
                    let failure = Failure { kind: FailureKind::Tls, stage: Stage::Tls, detail };
                    best.weigh(trace, Answer::Failure(failure).into());
                    continue;
                }
            };
            let usable = |address: &SocketAddr| unbound != Some(Family::of(address.ip()));
            let addresses: Vec<SocketAddr> = addresses.into_iter().filter(usable).collect();
            let mut race = Race::new(addresses, |address| self.leave(order, address, settings));
            loop {
                if let Some(limit) = binding.limits.max_outbound_connections {
                    self.idle.make_room(&binding.name, limit);
                }
                // Two that are under way count as one, for at most one of them stays.
                let open = self.idle.count(&binding.name);
                let Some((address, leg)) = race.next(&mut left).await else { break };
                let target = Target { host, name: &name, address, demand: &demand };
                let mut trace = Trace { remote: Some(address), ..unreached.clone() };
                let dialled = match leg {
                    Ok(leg) => self.dial(order, settings, target, (leg, open), &mut trace).await,
                    Err(failure) => Err(Answer::Failure(failure).into()),
                };
                // In the clear since TLS failed lately: that is no reason not to tell of it.
                if dialled.is_ok() || trace.tls.outcome != TlsOutcome::NotTried {
                    self.tell(asked, Some(&demand), &trace);
                }
                match dialled {
                    Ok(line) => return Ok(line),
                    Err(missed) if missed.is_unbound() && binding.second.is_some() && unbound.is_none() => {
                        let family = Family::of(address.ip());
                        tracing::debug!(binding = %binding.name, %address, "cannot send to addresses of this family");
                        race.give_up(family);
                        unbound = Some(family);
                        // Nobody was asked there.
                        left += 1;
                        best.weigh(trace, missed);
                    }
                    Err(missed) if missed.is_final => return Err((trace, missed.answer)),
                    Err(missed) => best.weigh(trace, missed),
                }
            }
            all_asked &= race.is_over();
        }
        let (mut trace, missed) =
            best.0.unwrap_or_else(|| (Trace::default(), no_address("the destination has no hosts".to_owned())));
        // No address was as good as tried.
        if let (true, None, Some(domain)) = (is_excluded, trace.remote, &domain) {
            trace.tls.is_news = self.memory.lock().is_excluded_news(domain, self.clock.now().mono);
        }
        let answer = if all_asked { missed.answer } else { unless_promised(missed) };
        Err((trace, answer))
    }

    /// A connection to `address` from the binding's address of that family.
    pub(super) async fn leave(&self, order: &Order, address: SocketAddr, settings: &Settings) -> Result<Leg, Failure> {
        let (binding, deadline) = (&order.binding, settings.delivery.timeouts.connect);
        let Some(source) = binding.sources().of(Family::of(address.ip())) else {
            // Nobody asks for addresses of a family that the binding has not.
            let detail = format!("{address} is not of the binding's address family");
            return Err(Failure { kind: FailureKind::NoAddress, stage: Stage::Connect, detail });
        };
        egress::leave(binding.via.as_ref(), source, address, &self.resolver, deadline).await
    }

    /// What is demanded of `host` for `order` now; `None` where the order says nothing that could be asked about.
    pub(super) async fn demanded(&self, order: &Order, settings: &Settings, host: &HostPort) -> Option<Demanded> {
        let domain = domain(order);
        Some(self.demands.demand(asked(order, settings, domain.as_ref(), host)?).await)
    }

    fn tell(&self, asked: Asked<'_>, demand: Option<&TlsDemand>, trace: &Trace) {
        let (local, remote) = (trace.local, trace.remote);
        self.demands.concluded(&Concluded { asked, demand, local, remote, outcome: &trace.tls.outcome });
    }
}

/// The domain of the recipients: an entry has those of one domain.
fn domain(order: &Order) -> Option<Domain> {
    order.recipients.first().map(|recipient| recipient.address.domain())
}

fn asked<'a>(order: &Order, settings: &Settings, domain: Option<&'a Domain>, host: &'a HostPort) -> Option<Asked<'a>> {
    let domain = domain?;
    let configured = settings.configured.towards(&order.plan, domain);
    Some(Asked { domain, host, pinned: order.plan.pinned, configured, wish: order.wishes.tls })
}

/// A promise that some hosts cannot keep is no reason to give the mail up while others were not asked.
fn unless_promised(missed: Missed) -> Answer {
    match missed.answer {
        Answer::Reply(_, reply) if missed.rank == rank::PROMISE => {
            let detail = format!("{reply}; not all hosts were asked");
            Answer::Failure(Failure { kind: FailureKind::Tls, stage: Stage::Tls, detail })
        }
        answer => answer,
    }
}

fn no_address(detail: String) -> Missed {
    let failure = Failure { kind: FailureKind::NoAddress, stage: Stage::Connect, detail };
    Missed { answer: Answer::Failure(failure), rank: rank::NO_ADDRESS, is_final: false }
}
