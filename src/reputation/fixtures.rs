//! Configurations for the tests of this module and of its users' tests.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use crate::config::{
    Admin, Assignment, Binding, Classify, Config, Day, Delivery, Dns, EhloName, Limits, Log, LogFormat, Member,
    Monitor, Pace, Pool, Queue, Reputation, Server, Spread, Timeouts, UnknownPolicy,
};

const HOUR: Duration = Duration::from_secs(3600);

/// The documented defaults of `[reputation]`.
pub(crate) fn rules() -> Reputation {
    Reputation {
        window: HOUR,
        min_attempts: 100,
        min_events: 10,
        hard_bounce_ratio: 0.05,
        ip_block_count: 3,
        ip_block_window: HOUR,
        hold_count: 3,
        hold_window: Duration::from_secs(3600),
        providers_for_binding: 3,
        suspend_first: HOUR,
        suspend_max: 24 * HOUR,
        forgive_after: 7 * 24 * HOUR,
        probation_start: 20,
        probation_period: HOUR / 4,
        probation_periods: 4,
        pool_guard: 0.5,
    }
}

/// Bindings at 192.0.2.1 and following, pools of one tier each, defaults elsewhere.
pub(crate) fn config(bindings: &[&str], pools: &[(&str, &[&str])]) -> Config {
    let second = Duration::from_secs(1);
    Config {
        server: Server {
            hostname: "relay.example.net".parse().unwrap(),
            state_dir: "state".into(),
            day: Day { timezone: jiff::tz::TimeZone::UTC, starts: jiff::civil::Time::midnight() },
            shutdown_grace: 30 * second,
            low_space_floor: 0,
            seed: Some(1),
        },
        listeners: Vec::new(),
        assignment: Assignment {
            tenant_header: "X-Remuda-Tenant".into(),
            stream_header: "X-Remuda-Stream".into(),
            default_tenant: None,
            unknown: UnknownPolicy::Refuse,
        },
        bindings: bindings.iter().zip(1..).map(|(name, last)| Arc::new(binding(name, last))).collect(),
        pools: pools.iter().map(|(name, members)| pool(name, members)).collect(),
        tenants: Vec::new(),
        providers: ["gmail", "outlook", "yahoo"].map(provider).into(),
        destination_routes: Vec::new(),
        dns: Dns { servers: Vec::new(), timeout: 3 * second, max_in_flight: 200 },
        queue: Queue {
            retry_first: 300 * second,
            retry_factor: 2.0,
            retry_max: 4 * HOUR,
            retry_jitter: 0.1,
            lifetime: 120 * HOUR,
            bounce_lifetime: 24 * HOUR,
            sticky_tries: 3,
            max_attempts_in_flight: 2000,
        },
        delivery: delivery(),
        reputation: rules(),
        monitor: Monitor {
            interval: 900 * second,
            jitter: 0.2,
            timeout: 5 * second,
            confirmations: 2,
            confirm_after: 60 * second,
            throttle_weight: 3.0,
            suspend_weight: 4.0,
            blast_radius: 0.3,
            fcrdns: true,
            servers: Vec::new(),
            zones: Vec::new(),
        },
        admin: Admin { address: None },
        log: Log { format: LogFormat::Text, filter: "info".into() },
        classify: Classify::default(),
        feedback: None,
    }
}

fn delivery() -> Delivery {
    let minute = Duration::from_secs(60);
    Delivery {
        port: 25,
        allow_private_mx: false,
        max_addresses: 5,
        max_outbound_connections: 20,
        messages_per_connection: 100,
        recipients_per_message: 100,
        keep_idle: Duration::from_secs(5),
        max_connection_age: 5 * minute,
        timeouts: Timeouts {
            connect: minute / 2,
            banner: 5 * minute,
            command: 5 * minute,
            mail: 5 * minute,
            rcpt: 5 * minute,
            data: 2 * minute,
            block: 3 * minute,
            end_of_data: 10 * minute,
            quit: minute / 12,
        },
    }
}

fn binding(name: &str, last: u8) -> Binding {
    Binding {
        name: name.into(),
        bind_address: IpAddr::V4(Ipv4Addr::new(127, 0, 0, last)),
        public_address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)),
        ehlo_hostname: EhloName::Hostname,
        limits: Limits::default(),
        provider: BTreeMap::new(),
        warmup: None,
        suspend_delivery: false,
        region: None,
    }
}

fn pool(name: &str, members: &[&str]) -> Pool {
    Pool {
        name: name.into(),
        tiers: vec![members.iter().map(|m| Member { binding: (*m).into(), weight: 1 }).collect()],
        spread: Spread::Weighted,
        pace: Pace::None,
        min_active: 1,
        failover_on: Vec::new(),
        binding_limits: Limits::default(),
    }
}

fn provider(name: &str) -> crate::config::Provider {
    let mx = format!("mx.{name}.example").parse().unwrap();
    crate::config::Provider {
        name: name.into(),
        mx: vec![crate::config::DomainPattern::Exact(mx)],
        binding_limits: Limits::default(),
    }
}
