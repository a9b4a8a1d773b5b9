//! The file of a scenario as typed: every key there is, and what kind of value each takes.

use std::net::IpAddr;
use std::time::Duration;

use super::forms::{Days, Hours, Knows, Moment, Preset, Weekday, within};
use super::{Death, Outage, Quality, Voice};
use crate::config::mistake::{Findings, Place};
use crate::config::raw::Date;
use crate::config::read::{At, Field, List, Map, OrOff, Readable, table, words};
use crate::config::tree::{Node, Value};

table!(pub(super) File {
    title: String,
    config: String,
    start: Date,
    days: u32,
    seed: u64,
    shift: Duration,
    traffic: List<TrafficTable>,
    receiver: Map<ReceiverTable>,
    list: Map<ListTable>,
    event: List<EventTable>,
    truth: TruthTable,
});

table!(pub(super) TrafficTable {
    tenant: String,
    stream: String,
    per_day: u64,
    days: Days,
    rest_days: List<Weekday>,
    hours: Hours,
    recipients_per_message: u32,
    to: Map<f64>,
    quality: QualityForm,
});

table!(pub(super) ReceiverTable {
    preset: Preset,
    first_day: u64,
    growth: f64,
    complaint_limit: f64,
    invalid_limit: f64,
    defer_below: f64,
    block_below: f64,
    block_for: Duration,
    greylist: OrOff<GreylistTable>,
    max_connections: OrOff<u32>,
    noise: f64,
    latency: Duration,
    voice: Voice,
    newcomer: f64,
    recovery: f64,
    trap_cost: f64,
    domain_weight: f64,
    content_limit: f64,
    blocks_ranges: bool,
    asks: List<String>,
    feedback_loop: bool,
    knows: Knows,
});

table!(pub(super) GreylistTable { share: f64, wait: Duration });

table!(pub(super) ListTable { trap_hits: u32, delay: Duration, delist_after: Duration, code: IpAddr });

table!(pub(super) EventTable {
    at: Moment,
    lasts as "for": Duration,
    block: BlockTable,
    range: BlockTable,
    sour: SourTable,
    decline: DeclineTable,
    outage: OutageForm,
    listing: ListingTable,
    dies: DiesTable,
    suspend: String,
    quality: QualityEvent,
    volume: VolumeTable,
    crash: bool,
});

table!(pub(super) BlockTable { receiver: String, bindings: List<String> });

table!(pub(super) SourTable { binding: String, receivers: List<String>, reputation: f64 });

table!(pub(super) DeclineTable { binding: String, receiver: String, per_day: f64 });

table!(pub(super) OutageTable { receiver: String, how: Outage });

table!(pub(super) DiesTable { list: String, how: Death, receivers_believe: bool });

table!(pub(super) TruthTable {
    bindings: List<String>,
    receivers: List<String>,
    at_risk: List<String>,
    tenants: List<String>,
    from: Moment,
    until: Moment,
});

table!(pub(super) ListingTable { list: String, bindings: List<String> });

table!(pub(super) QualityEvent { tenant: String } flatten figures: QualityTable);

table!(pub(super) VolumeTable { tenant: String, factor: f64 });

words!(Outage {
    "down" => Self::Down,
    "silent" => Self::Silent,
    "busy" => Self::Busy,
    "unknown_users" => Self::UnknownUsers,
});

words!(Death {
    "loud" => Self::Loud,
    "parked" => Self::Parked,
    "silent" => Self::Silent,
    "refusing" => Self::Refusing,
    "unreachable" => Self::Unreachable,
});

words!(Quality { "good" => Self::GOOD, "average" => Self::AVERAGE, "bad" => Self::BAD });

table!(
    /// Single figures of a quality over those of a preset.
    pub(super) QualityTable { preset: Quality, invalid: f64, complaints: f64, traps: f64, spamminess: f64 }
);

impl QualityTable {
    /// The quality, its shares checked. What is not written is as average.
    pub(super) fn quality(&self, out: &mut Findings) -> Quality {
        let base = self.preset.or(Quality::AVERAGE);
        for share in [&self.invalid, &self.complaints, &self.traps, &self.spamminess] {
            within(share, 0.0, 1.0, out);
        }
        let quality = Quality {
            invalid: self.invalid.or(base.invalid),
            complaints: self.complaints.or(base.complaints),
            traps: self.traps.or(base.traps),
            spamminess: self.spamminess.or(base.spamminess),
        };
        if let Some(traps) = self.traps.given().filter(|_| quality.invalid + quality.traps > 1.0) {
            out.mistake(&traps.place, "invalid and traps together are more than all", "");
        }
        quality
    }
}

/// `"bad"`, or a table with a preset and single figures.
#[derive(Clone, Copy, Debug)]
pub(super) struct QualityForm(pub(super) Quality);

impl Readable for QualityForm {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        if matches!(node.value, Value::Text(_)) {
            return Quality::read(node, place, out).map(Self);
        }
        let table = QualityTable::read(node, place, out)?;
        Some(Self(table.quality(out)))
    }
}

/// `"gmail"`, or a table that says what is seen of it.
#[derive(Clone, Debug)]
pub(super) struct OutageForm(pub(super) OutageTable);

impl Readable for OutageForm {
    fn read(node: &Node, place: &Place, out: &mut Findings) -> Option<Self> {
        match &node.value {
            Value::Table(_) => OutageTable::read(node, place, out).map(Self),
            Value::Text(receiver) => {
                let receiver = Field::Given(At { value: receiver.clone(), place: place.clone() });
                Some(Self(OutageTable { place: place.clone(), receiver, how: Field::Missing }))
            }
            other => {
                let hint = "write outage = \"gmail\" or { receiver = \"gmail\", how = \"silent\" }";
                out.mistake(place, format!("expected a receiver or a table, found {}", other.kind()), hint);
                None
            }
        }
    }

    fn keys(path: &str, keys: &mut Vec<String>) {
        OutageTable::keys(path, keys);
    }
}
