//! From the file as typed to a scenario.
//!
//! As with the configuration, one run finds every mistake. Receivers and lists that are named but not described get their
//! preset: a receiver that of its own name where there is one, else `plain`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::events::{event, senders_of_events};
use super::forms::{Days, Hours, Knows, within};
use super::raw::{File, GreylistTable, ListTable, QualityForm, ReceiverTable, TrafficTable};
use super::truth::truth;
use super::{Event, Happening, ListModel, Quality, ReceiverModel, Scenario, Traffic, Written};
use crate::config::Mistakes;
use crate::config::mistake::{Findings, Place, join};
use crate::config::raw::Date;
use crate::config::read::{Field, List, OrOff, Readable};
use crate::config::tree::{self, Node, SourceFile, Table, Value};
use crate::message::{StreamName, TenantName, ZoneName};

/// First day where the file names none: a Monday.
const START: jiff::civil::Date = jiff::civil::Date::constant(2026, 11, 2);
/// Longer than anybody waits for.
const DAYS_MAX: u32 = 3660;
/// Beyond this another seed would be another story.
const SHIFT_MAX: Duration = Duration::from_secs(86_400);
/// More than all the mail there is.
const PER_DAY_MAX: u64 = 1_000_000_000_000;

/// Reads a scenario.
pub(super) fn read(path: &Path, text: &str) -> Result<Scenario, Mistakes> {
    let files = [SourceFile { path: path.to_owned(), text: text.to_owned() }];
    let mut out = Findings::default();
    let table = tree::parse(0, &files[0], &mut out);
    let mut written = Written { path: path.to_owned(), text: text.to_owned(), keys: BTreeMap::new() };
    let scenario = if out.is_clean() {
        note_table("", &table, &mut written.keys);
        let node = Node { file: 0, offset: 0, value: Value::Table(table) };
        let file = File::read(&node, &Place::default(), &mut out).unwrap_or_default();
        scenario(&file, written, &mut out)
    } else {
        None
    };
    match scenario {
        Some(scenario) if out.is_clean() => Ok(scenario),
        _ => {
            let (mistakes, warnings) = out.locate(&files);
            Err(Mistakes { mistakes, warnings, named: Box::default() })
        }
    }
}

/// Where every key and every item of a list stands.
fn note_table(path: &str, table: &Table, keys: &mut BTreeMap<String, usize>) {
    for entry in &table.0 {
        note(join(path, &entry.key), &entry.node, entry.offset, keys);
    }
}

fn note(path: String, node: &Node, offset: usize, keys: &mut BTreeMap<String, usize>) {
    match &node.value {
        Value::Table(table) => note_table(&path, table, keys),
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                note(format!("{path}[{index}]"), item, item.offset, keys);
            }
        }
        _ => {}
    }
    keys.insert(path, offset);
}

fn scenario(file: &File, written: Written, out: &mut Findings) -> Option<Scenario> {
    let place = Place::default();
    let days = file.days.required(&place, "days", "how many days it lasts, such as 30", out).map_or(1, |at| at.value);
    if let Some(at) = file.days.given().filter(|at| !(1..=DAYS_MAX).contains(&at.value)) {
        out.mistake(&at.place, format!("{} is out of range", at.value), format!("from 1 to {DAYS_MAX}"));
    }
    let start = file.start.or(Date(START)).0;
    if let Some(at) = file.start.given().filter(|_| !(1970..=9000).contains(&start.year())) {
        out.mistake(&at.place, "too far away", "from 1970 to 9000");
    }
    if let Some(at) = file.shift.given().filter(|at| at.value > SHIFT_MAX) {
        out.mistake(&at.place, "longer than a day", "what is meant to move by days is another scenario");
    }
    if file.traffic.is_missing() || file.traffic.value().is_some_and(List::is_written_empty) {
        out.mistake(&place.key("traffic"), "no traffic", "add [[traffic]] with tenant, per_day and to");
    }
    let traffic: Vec<Traffic> = file.traffic.items().iter().filter_map(|at| traffic(&at.value, days, out)).collect();
    let events: Vec<Event> = file.event.items().iter().filter_map(|at| event(&at.value, days, out)).collect();
    let tenants: Vec<&str> = traffic.iter().map(|traffic| traffic.tenant.as_str()).collect();
    for at in file.event.items() {
        senders_of_events(&at.value, &tenants, out);
    }
    let mut receivers = receivers(file, out);
    let mut lists = lists(file, out);
    add_unwritten(&traffic, &events, &mut receivers, &mut lists);
    Some(Scenario {
        title: file.title.or(String::new()),
        config: file.config.value().map(PathBuf::from),
        start,
        days,
        seed: file.seed.or(1),
        shift: file.shift.or(Duration::ZERO),
        traffic,
        receivers,
        lists,
        events,
        truth: truth(file, days, out),
        written,
    })
}

/// Receivers and lists that are named, but have no table of their own.
fn add_unwritten(
    traffic: &[Traffic],
    events: &[Event],
    receivers: &mut BTreeMap<String, ReceiverModel>,
    lists: &mut BTreeMap<ZoneName, ListModel>,
) {
    let named = events.iter().flat_map(|event| event.what.receivers()).map(|receiver| receiver.as_str());
    for name in traffic.iter().flat_map(|traffic| traffic.to.keys().map(String::as_str)).chain(named) {
        receivers.entry(name.to_owned()).or_insert_with(|| by_name(name));
    }
    let asked = receivers.values().flat_map(|model| model.asks.clone());
    let listings = events.iter().filter_map(|event| match &event.what {
        Happening::Listing { zone, .. } | Happening::Dies { zone, .. } => Some(zone.clone()),
        _ => None,
    });
    for zone in asked.chain(listings) {
        lists.entry(zone).or_insert(ListModel::TYPICAL);
    }
}

fn by_name(name: &str) -> ReceiverModel {
    ReceiverModel::preset(name).unwrap_or_else(ReceiverModel::plain)
}

fn traffic(table: &TrafficTable, days: u32, out: &mut Findings) -> Option<Traffic> {
    let place = &table.place;
    let tenant = table.tenant.required(place, "tenant", "whose mail it is", out).map(|at| TenantName::new(&at.value));
    let per_day = table.per_day.required(place, "per_day", "recipients a day", out).map(|at| at.value);
    if let Some(at) = table.per_day.given().filter(|at| at.value > PER_DAY_MAX) {
        out.mistake(&at.place, format!("{} is out of range", at.value), format!("from 0 to {PER_DAY_MAX}"));
    }
    if let Some(at) = table.recipients_per_message.given().filter(|at| !(1..=1000).contains(&at.value)) {
        out.mistake(&at.place, format!("{} is out of range", at.value), "from 1 to 1000");
    }
    Some(Traffic {
        days: span(&table.days, days, out),
        to: shares(table, out),
        tenant: tenant?,
        stream: StreamName::new(table.stream.or("default".to_owned())),
        per_day: per_day?,
        rest_days: table.rest_days.values().iter().map(|day| day.0).collect(),
        hours: table.hours.or(Hours::EVEN).0,
        recipients_per_message: table.recipients_per_message.or(1),
        quality: table.quality.or(QualityForm(Quality::AVERAGE)).0,
    })
}

/// The days of some traffic, of which the scenario has `days`.
fn span(field: &Field<Days>, days: u32, out: &mut Findings) -> Range<u32> {
    let Some(at) = field.given() else { return 0..days };
    if at.value.first >= days {
        let what = format!("the scenario ends before day {}", at.value.first);
        out.mistake(&at.place, what, format!("its last day is {}", days.saturating_sub(1)));
    }
    at.value.first..at.value.last.map_or(days, |last| last.saturating_add(1).min(days))
}

/// Share per receiver.
fn shares(table: &TrafficTable, out: &mut Findings) -> BTreeMap<String, f64> {
    let hint = "write { gmail = 0.4, other = 0.6 }";
    let Some(to) = table.to.required(&table.place, "to", hint, out) else { return BTreeMap::new() };
    let mut shares = BTreeMap::new();
    let mut all_good = true;
    for entry in &to.value.0 {
        if let Some(share) = entry.value.filter(|share| (0.0..=1.0).contains(share)) {
            shares.insert(entry.name.clone(), share);
            continue;
        }
        all_good = false;
        if let Some(share) = entry.value {
            out.mistake(&entry.place, format!("{share} is out of range"), "from 0 to 1");
        }
    }
    let sum: f64 = shares.values().sum();
    if all_good && (sum - 1.0).abs() > 0.001 {
        out.mistake(&to.place, format!("the shares add up to {:.3}, not 1", sum), hint);
    }
    // What is left of rounding must not become mail that goes nowhere.
    shares.values_mut().for_each(|share| *share /= sum.max(f64::MIN_POSITIVE));
    shares
}

fn receivers(file: &File, out: &mut Findings) -> BTreeMap<String, ReceiverModel> {
    let written = file.receiver.entries().iter();
    written.filter_map(|entry| Some((entry.name.clone(), receiver(&entry.name, entry.value.as_ref()?, out)))).collect()
}

fn receiver(name: &str, table: &ReceiverTable, out: &mut Findings) -> ReceiverModel {
    for share in [
        &table.complaint_limit,
        &table.invalid_limit,
        &table.defer_below,
        &table.block_below,
        &table.noise,
        &table.newcomer,
        &table.recovery,
        &table.trap_cost,
        &table.domain_weight,
        &table.content_limit,
    ] {
        within(share, 0.0, 1.0, out);
    }
    within(&table.growth, 1.0, 1000.0, out);
    if let Some(at) = table.latency.given().filter(|at| at.value > Duration::from_secs(600)) {
        out.mistake(&at.place, "longer than anybody waits", "at most \"10m\"");
    }
    let preset = table.preset.value().map_or_else(|| by_name(name), |preset| preset.0.clone());
    let model = ReceiverModel {
        first_day: table.first_day.or(preset.first_day),
        growth: table.growth.or(preset.growth),
        complaint_limit: table.complaint_limit.or(preset.complaint_limit),
        invalid_limit: table.invalid_limit.or(preset.invalid_limit),
        defer_below: table.defer_below.or(preset.defer_below),
        block_below: table.block_below.or(preset.block_below),
        block_for: table.block_for.or(preset.block_for),
        greylist: greylist(&table.greylist, preset.greylist, out),
        max_connections: match table.max_connections.value() {
            None => preset.max_connections,
            Some(OrOff::Off) => None,
            Some(OrOff::On(most)) => Some(*most),
        },
        noise: table.noise.or(preset.noise),
        latency: table.latency.or(preset.latency),
        voice: table.voice.or(preset.voice),
        newcomer: table.newcomer.or(preset.newcomer),
        recovery: table.recovery.or(preset.recovery),
        trap_cost: table.trap_cost.or(preset.trap_cost),
        domain_weight: table.domain_weight.or(preset.domain_weight),
        content_limit: table.content_limit.or(preset.content_limit),
        blocks_ranges: table.blocks_ranges.or(preset.blocks_ranges),
        asks: table.asks.values().iter().map(ZoneName::new).collect(),
        feedback_loop: table.feedback_loop.or(preset.feedback_loop),
        knows: table.knows.or(Knows(preset.knows)).0,
    };
    let written = table.block_below.given().or(table.defer_below.given());
    if let Some(at) = written.filter(|_| model.block_below > model.defer_below) {
        let what = format!("blocks below {}, but defers only below {}", model.block_below, model.defer_below);
        out.mistake(&at.place, what, "block_below must not be above defer_below");
    }
    if let Some(at) = table.max_connections.given().filter(|_| model.max_connections == Some(0)) {
        out.mistake(&at.place, "takes no connection at all", "write false for no limit");
    }
    model
}

fn greylist(
    field: &Field<OrOff<GreylistTable>>,
    preset: Option<(f64, Duration)>,
    out: &mut Findings,
) -> Option<(f64, Duration)> {
    match field.value() {
        None => preset,
        Some(OrOff::Off) => None,
        Some(OrOff::On(table)) => {
            within(&table.share, 0.0, 1.0, out);
            let (share, wait) = preset.unwrap_or((1.0, Duration::from_secs(300)));
            Some((table.share.or(share), table.wait.or(wait)))
        }
    }
}

fn lists(file: &File, out: &mut Findings) -> BTreeMap<ZoneName, ListModel> {
    let written = file.list.entries().iter();
    written.filter_map(|entry| Some((ZoneName::new(&entry.name), list(entry.value.as_ref()?, out)))).collect()
}

fn list(table: &ListTable, out: &mut Findings) -> ListModel {
    let typical = ListModel::TYPICAL;
    if let Some(at) = table.trap_hits.given().filter(|at| !(1..=10_000).contains(&at.value)) {
        out.mistake(&at.place, format!("{} is out of range", at.value), "from 1 to 10000");
    }
    if let Some(at) = table.delist_after.given().filter(|at| at.value.is_zero()) {
        out.mistake(&at.place, "must be longer than 0", "");
    }
    let is_code = |address: IpAddr| matches!(address, IpAddr::V4(code) if code.octets()[0] == 127);
    if let Some(at) = table.code.given().filter(|at| !is_code(at.value)) {
        out.mistake(&at.place, format!("{} is no return code", at.value), "write one such as \"127.0.0.2\"");
    }
    let code = match table.code.value() {
        Some(IpAddr::V4(code)) => *code,
        _ => Ipv4Addr::new(127, 0, 0, 2),
    };
    ListModel {
        trap_hits: table.trap_hits.or(typical.trap_hits),
        delay: table.delay.or(typical.delay),
        delist_after: table.delist_after.or(typical.delist_after),
        code,
    }
}
