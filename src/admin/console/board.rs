//! `GET /api/v1/console/board`: what the console shows of pools and bindings, in one answer of one moment.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use super::Answers;
use super::kept::{json, response};
use super::past::BoardMinutes;
use crate::admin::Sources;
use crate::admin::auth::Reader;
use crate::admin::problem::Problem;
use crate::admin::status::{BindingStatus, Status};
use crate::alerts::shown::AlertShown;
use crate::clock::{Wall, rfc3339};
use crate::config::{Binding, Config, EhloName, FailoverReason, Pace, Pool, Spread};
use crate::message::BindingName;
use crate::monitor::Snapshot;
use crate::orders::Order;
use crate::scheduler::PoolUse;
use crate::telemetry::history::{Refusal, RoutePast, Tally};
use crate::telemetry::metrics::OTHER;

/// A board is good for so long: it costs a walk over the queue and the bindings, whoever asks.
const FRESH: Duration = Duration::from_millis(500);

/// Everything but the bindings' minutes.
#[derive(Serialize, ToSchema)]
pub(super) struct Board {
    /// The status, its bindings with more.
    #[serde(flatten)]
    status: Status,
    /// In the order of the configuration.
    herd: Vec<Card>,
    /// In the order of the configuration.
    pools: Vec<BoardPool>,
    /// Providers in the order of the configuration, and `other` for everybody else.
    destinations: Vec<String>,
    /// Of all bindings together.
    minutes: BoardMinutes,
    /// Firing and pending.
    alerts: Vec<AlertShown>,
    /// The operator's orders in force.
    orders_in_force: Vec<Order>,
}

/// One binding.
#[derive(Serialize, ToSchema)]
#[schema(as = BoardCard)]
struct Card {
    #[serde(flatten)]
    status: BindingStatus,
    public_address: String,
    /// That of the other family, where it has both.
    second_public_address: Option<String>,
    ehlo: String,
    region: Option<String>,
    /// By `suspend_delivery` in the file.
    is_off: bool,
    /// Its own daily cap in the configuration in force; the status has today's, which a warm-up may hold lower.
    configured_cap: Option<u64>,
    /// Most connections at the same time; `None` without a limit.
    connections: Option<u32>,
    listings: Listings,
    /// Whether reverse DNS is proven; `None` while nothing is.
    reverse: Option<bool>,
    /// Recipients' attempts of the last hour …
    hour: Tally,
    /// … and by destination.
    past: Vec<RoutePast>,
    refusal: Option<Refusal>,
}

/// What the lists say of one binding.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = BoardListings)]
struct Listings {
    /// Zones that say it is not listed …
    clean: usize,
    /// … and those that say nothing that counts.
    unknown: usize,
    listed: Vec<Listed>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = BoardListed)]
struct Listed {
    zone: String,
    codes: String,
    text: String,
    weight: f64,
    #[serde(with = "rfc3339::option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    since: Option<Wall>,
}

/// One pool.
#[derive(Serialize, ToSchema)]
struct BoardPool {
    name: String,
    spread: &'static str,
    pace: &'static str,
    min_active: usize,
    failover_on: Vec<&'static str>,
    /// Bindings with a weight.
    bindings: usize,
    /// Of them, those that may carry mail.
    eligible: usize,
    /// A backup tier is open for all destinations.
    on_backup: bool,
    /// The others by what keeps them out.
    out: BTreeMap<&'static str, usize>,
    tiers: Vec<Vec<BoardSeat>>,
}

/// A binding in a tier.
#[derive(Serialize, ToSchema)]
struct BoardSeat {
    binding: String,
    weight: u32,
}

/// Pools, bindings, listings, the last hour, orders and alerts of one moment. For the console of the same version.
#[utoipa::path(
    get,
    path = "/api/v1/console/board",
    tag = "console",
    responses(
        (status = 200, description = "The board", body = Board),
        (status = 500, description = "It could not be put together", body = Problem),
    ),
)]
pub(super) async fn board(
    State(sources): State<Sources>,
    Extension(answers): Extension<Arc<Answers>>,
    Reader(_): Reader,
) -> Result<Response, Problem> {
    let now = sources.dispatcher.now().wall;
    let make = || async { json(&Board::of(&sources)) };
    Ok(response(answers.board.get(now, FRESH, make).await?))
}

impl Board {
    fn of(sources: &Sources) -> Self {
        let (config, now) = (sources.dispatcher.config(), sources.dispatcher.now());
        let mut status = Status::of(sources);
        let (uses, windows) = sources.dispatcher.with_core(|core| {
            let scheduler = core.scheduler();
            (scheduler.pool_uses(), scheduler.in_use(now))
        });
        let windows: HashMap<BindingName, Option<u32>> =
            windows.into_iter().map(|used| (used.binding, used.limit)).collect();
        let mut seen = Seen::of(&sources.monitor.snapshot());
        // By name: another configuration may have come into force since.
        let configured: HashMap<&str, &Arc<Binding>> =
            config.bindings.iter().map(|binding| (binding.name.as_str(), binding)).collect();
        let herd = std::mem::take(&mut status.bindings).into_iter().filter_map(|status| {
            let binding = *configured.get(status.name.as_str())?;
            Some((binding, status))
        });
        let herd = herd.map(|(binding, status)| {
            let name = &binding.name;
            let (hour, past, refusal) = sources.dispatcher.with_history(|history| {
                (history.hour(name, now.wall), history.routes(name, now.wall), history.refusal(name).cloned())
            });
            Card {
                public_address: binding.public_address.to_string(),
                second_public_address: binding.publics().second().map(|second| second.to_string()),
                ehlo: ehlo(&config, binding),
                region: binding.region.clone(),
                is_off: binding.suspend_delivery,
                configured_cap: binding.limits.daily_cap,
                connections: windows.get(name).copied().flatten(),
                listings: seen.take(name),
                reverse: seen.reverse.get(name).copied().flatten(),
                hour,
                past,
                refusal,
                status,
            }
        });
        let herd = herd.collect();
        let destinations = config.providers.iter().map(|provider| provider.name.to_string());
        Self {
            herd,
            pools: pools(&config, uses),
            destinations: destinations.chain([OTHER.to_owned()]).collect(),
            minutes: BoardMinutes::of(&sources.dispatcher.with_history(|history| history.all(now.wall))),
            alerts: sources.alerts.snapshot().alerts,
            orders_in_force: sources.live.orders().all().to_vec(),
            status,
        }
    }
}

fn ehlo(config: &Config, binding: &Binding) -> String {
    match &binding.ehlo_hostname {
        EhloName::Literal(name) => name.to_string(),
        EhloName::Hostname => config.server.hostname.to_string(),
        EhloName::Message => "(domain of the sender)".to_owned(),
    }
}

/// What the monitor says, by binding: there may be thousands.
struct Seen {
    listings: HashMap<BindingName, Listings>,
    reverse: HashMap<BindingName, Option<bool>>,
}

impl Seen {
    fn of(snapshot: &Snapshot) -> Self {
        let mut listings: HashMap<BindingName, Listings> = HashMap::new();
        for of in &snapshot.listings {
            let listings = listings.entry(of.binding.clone()).or_default();
            match of.state {
                0 => listings.clean += 1,
                1 => listings.listed.push(Listed {
                    zone: of.zone.to_string(),
                    codes: of.codes.clone(),
                    text: of.text.clone(),
                    weight: of.weight,
                    since: of.confirmed_at.or(of.first_seen),
                }),
                _ => listings.unknown += 1,
            }
        }
        let reverse = snapshot.reverse.iter().map(|reverse| (reverse.binding.clone(), reverse.confirmed));
        Self { listings, reverse: reverse.collect() }
    }

    /// Each is asked for once.
    fn take(&mut self, binding: &BindingName) -> Listings {
        self.listings.remove(binding).unwrap_or_default()
    }
}

fn pools(config: &Config, uses: Vec<PoolUse>) -> Vec<BoardPool> {
    let mut uses: HashMap<_, PoolUse> = uses.into_iter().map(|used| (used.pool.clone(), used)).collect();
    let shown = |pool: &Pool| {
        let used = uses.remove(&pool.name);
        let seat = |seat: &crate::config::Member| BoardSeat { binding: seat.binding.to_string(), weight: seat.weight };
        BoardPool {
            name: pool.name.to_string(),
            spread: match pool.spread {
                Spread::Weighted => "weighted",
                Spread::Headroom => "headroom",
                Spread::Reputation => "reputation",
            },
            pace: match pool.pace {
                Pace::None => "none",
                Pace::Even => "even",
                Pace::Hours(_) => "hours",
            },
            min_active: pool.min_active,
            failover_on: pool.failover_on.iter().map(|reason| failover(*reason)).collect(),
            bindings: used.as_ref().map_or(0, |used| used.bindings),
            eligible: used.as_ref().map_or(0, |used| used.eligible),
            on_backup: used.as_ref().is_some_and(|used| used.on_backup),
            out: used.map(|used| used.out).unwrap_or_default(),
            tiers: pool.tiers.iter().map(|tier| tier.iter().map(seat).collect()).collect(),
        }
    };
    config.pools.iter().map(shown).collect()
}

fn failover(reason: FailoverReason) -> &'static str {
    match reason {
        FailoverReason::Suspended => "suspended",
        FailoverReason::Capped => "capped",
        FailoverReason::Warmup => "warmup",
        FailoverReason::RateLimited => "rate_limited",
        FailoverReason::WindowFull => "window_full",
    }
}
