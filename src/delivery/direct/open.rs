//! A new connection: host by host and address by address, until one has greeted. [`race`](super::race) has what is special
//! about a host and a binding that both have addresses of both families.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;

use tokio::net::TcpStream;

use super::DirectConnector;
use super::race::Race;
use crate::clock::Clock;
use crate::config::Delivery;
use crate::delivery::client::Connection;
use crate::delivery::plan;
use crate::delivery::reuse::{Line, OpenGuard, close};
use crate::delivery::{Answer, Order};
use crate::outcome::failure::FailureKind;
use crate::outcome::{Failure, Stage};

/// Hosts looked up in one attempt, for each address that may be tried: a long list of dead names ends somewhere.
const LOOKUPS_PER_ADDRESS: usize = 2;

/// Where an attempt got to.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub(super) local: Option<SocketAddr>,
    pub(super) remote: Option<SocketAddr>,
    pub(super) host: Option<String>,
}

impl DirectConnector {
    /// A new connection, greeted; or the answer that tells most: a reply rather than a failure, the last of its kind.
    pub(super) async fn open(&self, order: &Order, delivery: &Delivery) -> Result<Line, (Trace, Answer)> {
        let binding = &order.binding;
        let allow_private = order.plan.pinned || delivery.allow_private_mx;
        let mut best: Option<(Trace, Answer)> = None;
        let mut left = delivery.max_addresses.max(1);
        let lookups = left.saturating_mul(LOOKUPS_PER_ADDRESS);
        let hosts = plan::shuffled(&order.plan.hosts, &mut *self.rng.lock());
        for host in hosts.into_iter().take(lookups) {
            let name = plan::host_text(&host.host);
            let addresses = match self.resolver.reached_from(binding, host, allow_private).await {
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
            let mut race = Race::new(binding.sources(), addresses, delivery.timeouts.connect);
            loop {
                if let Some(limit) = binding.limits.max_outbound_connections {
                    self.idle.make_room(&binding.name, limit);
                }
                // Two that are under way count as one, for at most one of them stays.
                let open = self.idle.count(&binding.name);
                let Some((address, connected)) = race.next(&mut left).await else { break };
                let mut trace = Trace { local: None, remote: Some(address), host: Some(name.clone()) };
                let opened = match connected {
                    Ok(stream) => self.greet(order, delivery, &mut trace, stream, open).await,
                    Err(failure) => Err(Answer::Failure(failure)),
                };
                match opened {
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

    /// The greeting on a new connection to `trace.remote`.
    async fn greet(
        &self,
        order: &Order,
        delivery: &Delivery,
        trace: &mut Trace,
        stream: TcpStream,
        open: OpenGuard,
    ) -> Result<Line, Answer> {
        let binding = &order.binding;
        trace.local = stream.local_addr().ok();
        // `connect` has read both once already.
        let nowhere = || SocketAddr::new(binding.bind_address, 0);
        let (local, remote) = (trace.local.unwrap_or_else(nowhere), trace.remote.unwrap_or_else(nowhere));
        let line = |connection, local| Line {
            connection,
            host: trace.host.as_deref().unwrap_or_default().into(),
            local,
            remote,
            messages: 0,
            opened: self.clock.now().mono,
            binding: binding.name.clone(),
            ehlo: order.ehlo.clone(),
            plan: order.plan.clone(),
            open,
        };
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

/// Whether asking another host makes no sense.
fn is_final(answer: &Answer) -> bool {
    match answer {
        Answer::Reply(_, reply) => reply.code / 100 == 5,
        Answer::Failure(failure) => matches!(failure.kind, FailureKind::Bind | FailureKind::Aborted),
    }
}
