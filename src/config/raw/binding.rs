//! As typed: `[binding.NAME]`, `[ladder.NAME]`, `[warmup]`, and the limits that stand in many tables.

use std::net::IpAddr;
use std::time::Duration;

use super::{Date, Family};
use crate::config::Rate;
use crate::config::read::{List, Map, OneOrMore, table};

table!(pub(in crate::config) Limits {
    daily_cap: u64,
    max_outbound_connections: u32,
    rate_limit: Rate,
    messages_per_connection: u32,
    recipients_per_message: u32,
});

table!(pub(in crate::config) Binding {
    bind_address: OneOrMore<IpAddr>,
    public_address: OneOrMore<IpAddr>,
    prefer: Family,
    ehlo_hostname: String,
    suspend_delivery: bool,
    region: String,
    via: Via,
    warmup: Warmup,
    provider: Map<Towards>,
} flatten limits: Limits);

table!(pub(in crate::config) Via { socks5: super::Host, proxy_v2: super::Host, source: IpAddr, user: String, password_file: String });

table!(pub(in crate::config) Towards { warmup: Warmup } flatten limits: Limits);

table!(pub(in crate::config) Warmup { ladder: String, started: Date, stage: usize, age: Duration });

table!(pub(in crate::config) WarmupRules {
    advance_used: f64,
    advance_delivered: f64,
    step_back_blamed: f64,
    cool_after: Duration,
    growth_beyond: f64,
});

table!(pub(in crate::config) Ladder { stages: List<u64>, });
