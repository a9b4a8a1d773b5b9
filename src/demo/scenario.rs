//! `remuda demo`: the real relay on loopback, two scripted receivers, a block, a listing, and a sum that must add up.
//!
//! Everything is real but the world around: the daemon's own parts, real sockets from 127.0.0.11–14, a spool on disk.
//! The receivers *alpha* and *beta* and a DNSBL are scripted ([`super::sink`], [`super::zone`]). Three acts: all is well;
//! alpha blocks one binding; a DNSBL lists another. At the end every message that was answered 250 must be accounted
//! for, exactly once, or the exit code is 1.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::injector::Load;
use super::sink::Sink;
use super::zone::{Mood, Zone};
use crate::admin::status::{BindingStatus, Status};
use crate::app::Relay;
use crate::clock::{Clock, Mono, SystemClock};
use crate::config::Config;

/// Bindings: name, last octet of 127.0.0.x and 192.0.2.x, role.
const BINDINGS: [(&str, u8, &str); 4] =
    [("mta1", 11, "active ×1"), ("mta2", 12, "active ×2"), ("mta3", 13, "active ×1"), ("mta4", 14, "backup")];
/// Every hundredth message goes to nobody.
const UNKNOWN_EVERY: u64 = 100;
const LIST: &str = "dnsbl.test";
/// What alpha says to the binding it blocks.
const BLOCK: &str = "550 5.7.1 Service unavailable, client host [192.0.2.12] blocked using local reputation list";

/// Runs the demo. True when everything added up.
pub async fn run(messages: u32) -> Result<bool, String> {
    let messages = u64::from(messages.clamp(300, 200_000));
    let dir = std::env::temp_dir().join(format!("remuda-demo-{}", std::process::id()));
    let result = in_dir(&dir, messages).await;
    // What cannot be removed is a few megabytes in the temporary directory; nothing depends on it.
    drop(std::fs::remove_dir_all(&dir));
    result
}

struct World {
    alpha: Sink,
    beta: Sink,
    senders: Sink,
    names: Zone,
    relay: Relay,
    bar: ProgressBar,
    clock: SystemClock,
    sent: u64,
    acked: u64,
}

async fn in_dir(dir: &Path, messages: u64) -> Result<bool, String> {
    let mut world = World::build(dir, messages).await?;
    println!(
        "remuda demo: the real relay on loopback, {messages} messages, two receivers, three active bindings, one backup\n"
    );

    let act = messages / 3;
    world.send(act).await?;
    world.drained().await?;
    println!("1. All is well. {}", world.shares(&BTreeMap::new()));
    let before = world.carried();

    let failover = world.block_one(act).await?;
    world.drained().await?;
    println!("2. alpha refuses mta2: \"{BLOCK}\"");
    println!("   {failover}");
    println!("   {}", world.shares(&before));
    let before = world.carried();

    let listing = world.list_another(messages - 2 * act).await?;
    world.drained().await?;
    println!("3. A DNSBL lists mta1's address. {listing}");
    println!("   {}", world.shares(&before));
    world.bar.finish_and_clear();

    let good = world.sum_up();
    world.relay.stop().await;
    Ok(good)
}

impl World {
    async fn build(dir: &Path, messages: u64) -> Result<Self, String> {
        let clock = SystemClock::default();
        let text = |e: std::io::Error| e.to_string();
        let at = |last| SocketAddr::from(([127, 0, 1, last], 0));
        let (alpha, beta, senders) = (
            Sink::start(at(1)).await.map_err(text)?,
            Sink::start(at(2)).await.map_err(text)?,
            Sink::start(at(3)).await.map_err(text)?,
        );
        alpha.unknown_user("nobody");
        beta.unknown_user("nobody");
        let names = Zone::start(SocketAddr::from(([127, 0, 1, 4], 0))).await.map_err(text)?;
        names.mood(LIST, Mood::Dnsbl);
        let config = configuration(dir, &alpha, &beta, &senders, &names);
        let config = Config::from_toml(&config).map_err(|mistakes| mistakes.to_string())?;
        let relay = Relay::start(config).await.map_err(|e| e.to_string())?;
        let bar = ProgressBar::new(messages);
        if let Ok(style) = ProgressStyle::with_template("{elapsed_precise} {wide_bar} {pos}/{len} delivered {msg}") {
            bar.set_style(style);
        }
        Ok(Self { alpha, beta, senders, names, relay, bar, clock, sent: 0, acked: 0 })
    }

    /// Sends the next `count` messages; every second one to alpha, the others to beta.
    async fn send(&mut self, count: u64) -> Result<(), String> {
        let to = *self.relay.listeners().first().ok_or("no listener")?;
        let injected = Load::new(to, count)
            .first(self.sent)
            .sessions(20)
            .size(2048)
            .reverse_path(|n| format!("news@{}.example", if n % 3 == 0 { "bolt" } else { "acme" }))
            .recipients(|n| {
                let user = if n % UNKNOWN_EVERY == UNKNOWN_EVERY - 1 { "nobody".into() } else { format!("user{n}") };
                vec![format!("{user}@{}.example", if n % 2 == 0 { "alpha" } else { "beta" })]
            })
            .run()
            .await;
        self.sent += count;
        self.acked += injected.accepted.len() as u64;
        match injected.refused.first() {
            Some((n, reply)) => Err(format!("message {n} was refused: {reply}")),
            None => Ok(()),
        }
    }

    /// Waits until nothing is queued any more; a minute at most.
    async fn drained(&self) -> Result<(), String> {
        let began = self.clock.now().mono;
        loop {
            let (entries, _) = self.relay.sources().dispatcher.with_core(|core| core.index().depth());
            self.bar.set_position(self.delivered());
            if entries == 0 {
                return Ok(());
            }
            if self.clock.now().mono.since(began) > Duration::from_secs(60) {
                return Err(format!("{entries} entries still wait after a minute: {}", self.waiting()));
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Act 2: alpha starts to refuse mta2 while mail flows.
    async fn block_one(&mut self, count: u64) -> Result<String, String> {
        let blocked = address(12);
        self.alpha.block(blocked, BLOCK);
        let watch = async {
            let first = self.until(|| self.alpha.source(blocked).refusals > 0).await?;
            let out = self.until(|| !self.routes_out("mta2").is_empty()).await?;
            Ok::<_, String>(out.since(first))
        };
        let watched = tokio::time::timeout(Duration::from_secs(20), watch);
        // First a trickle that meets the block and can be watched closely, then the rest.
        let (head, rest) = (count.min(40), count.saturating_sub(40));
        let to = *self.relay.listeners().first().ok_or("no listener")?;
        let trickle = Load::new(to, head)
            .first(self.sent)
            .sessions(1)
            .reverse_path(|_| "news@acme.example".into())
            .recipients(|n| vec![format!("user{n}@alpha.example")])
            .run();
        let (took, trickled) = tokio::join!(watched, trickle);
        let took = took.map_err(|_| "mta2 was not taken out within 20 s")??;
        self.sent += head;
        self.acked += trickled.accepted.len() as u64;
        let refused = self.alpha.source(blocked).refusals;
        self.send(rest).await?;
        let later = self.alpha.source(blocked).refusals - refused;
        Ok(format!(
            "mta2 was out at alpha {:.1} ms after its first refusal (looked at every millisecond), after {refused} refused \
             recipients; {later} more were refused later. At beta it kept working.",
            took.as_secs_f64() * 1e3
        ))
    }

    /// Act 3: the DNSBL lists mta1; the monitor finds out by itself.
    async fn list_another(&mut self, count: u64) -> Result<String, String> {
        self.names.listed(LIST, IpAddr::V4(Ipv4Addr::new(192, 0, 2, 11)), Ipv4Addr::new(127, 0, 0, 2));
        let began = self.clock.now().mono;
        let out = self.until(|| self.binding("mta1").is_some_and(|b| b.health == "suspended")).await?;
        self.send(count).await?;
        let why = self.binding("mta1").and_then(|b| b.evidence).unwrap_or_default();
        Ok(format!("It was out everywhere {:.1} s later ({why}).", out.since(began).as_secs_f64()))
    }

    fn sum_up(&self) -> bool {
        let status = Status::of(self.relay.sources());
        let c = &status.counts;
        println!("\n   binding  role       alpha   beta  health now");
        for (name, last, role) in BINDINGS {
            let b = self.binding(name);
            let health = b.as_ref().map(health_words).unwrap_or_default();
            let (alpha, beta) = (self.alpha.source(address(last)).messages, self.beta.source(address(last)).messages);
            println!("   {name:<8} {role:<9} {alpha:>6} {beta:>6}  {health}");
        }
        let once = self.once();
        let lost = self.acked.saturating_sub(once.0 + c.bounced + status.queue.recipients);
        println!(
            "\n   accepted {} = delivered {} + bounced {} + queued {}; lost {lost}, delivered twice {}",
            self.acked, once.0, c.bounced, status.queue.recipients, once.1
        );
        println!("   reports of failed delivery: {} sent, {} arrived at the senders", c.dsn, self.senders.messages());
        println!("   {} messages in {:.1} s", self.sent, self.clock.now().mono.since(Mono::default()).as_secs_f64());
        let adds_up = self.acked == self.sent
            && self.acked == once.0 + c.bounced + status.queue.recipients
            && once.1 == 0
            && c.dsn == self.senders.messages()
            && c.accepted_recipients == self.acked;
        println!("   {}", if adds_up { "Everything adds up." } else { "THIS DOES NOT ADD UP." });
        adds_up
    }

    /// Messages that arrived, and how many of them more than once.
    fn once(&self) -> (u64, u64) {
        let mut seen = self.alpha.ids();
        for (id, n) in self.beta.ids() {
            *seen.entry(id).or_default() += n;
        }
        (seen.len() as u64, seen.values().filter(|n| **n > 1).count() as u64)
    }

    fn delivered(&self) -> u64 {
        self.relay.sources().dispatcher.counts().delivered.load(Ordering::Relaxed)
    }

    fn carried(&self) -> BTreeMap<&'static str, u64> {
        let of = |last| self.alpha.source(address(last)).messages + self.beta.source(address(last)).messages;
        BINDINGS.iter().map(|(name, last, _)| (*name, of(*last))).collect()
    }

    /// What each binding carried since `before`.
    fn shares(&self, before: &BTreeMap<&'static str, u64>) -> String {
        let mut text = String::from("Carried:");
        for (name, n) in self.carried() {
            // Writing to a String cannot fail.
            let _ = write!(text, " {name} {}", n - before.get(name).copied().unwrap_or(0));
        }
        text
    }

    fn binding(&self, name: &str) -> Option<BindingStatus> {
        Status::of(self.relay.sources()).bindings.into_iter().find(|b| b.name == name)
    }

    fn routes_out(&self, name: &str) -> Vec<String> {
        let routes = self.binding(name).map(|b| b.routes).unwrap_or_default();
        routes.into_iter().filter(|r| r.health == "suspended").map(|r| r.destination).collect()
    }

    /// Looks every millisecond until `holds`, twenty seconds at most, and says when it did.
    async fn until(&self, holds: impl Fn() -> bool) -> Result<Mono, String> {
        for _ in 0..20_000 {
            if holds() {
                return Ok(self.clock.now().mono);
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        Err("waited 20 s for something that did not happen".into())
    }

    fn waiting(&self) -> String {
        let waiting = Status::of(self.relay.sources()).queue.waiting;
        waiting
            .iter()
            .map(|w| format!("{} × {} for {}", w.count, w.destination, w.reason))
            .collect::<Vec<_>>()
            .join(", ")
    }
}

fn health_words(b: &BindingStatus) -> String {
    let mut text = b.health.clone();
    if let Some(reason) = &b.reason {
        let _ = write!(text, " ({reason})");
    }
    for route in &b.routes {
        let _ = write!(text, ", {} at {} ({})", route.health, route.destination, route.reason.as_deref().unwrap_or(""));
    }
    text
}

fn address(last: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, last))
}

fn configuration(dir: &Path, alpha: &Sink, beta: &Sink, senders: &Sink, names: &Zone) -> String {
    let state: PathBuf = dir.join("state");
    let mut text = format!(
        r#"
[server]
hostname = "relay.example.net"
state_dir = "{state}"
low_space_floor = "1MiB"

[[listener]]
address = "127.0.0.1:0"
trust = ["127.0.0.0/8"]

[pool.main]
active = ["mta1", {{ binding = "mta2", weight = 2 }}, "mta3"]
backup = [["mta4"]]

[tenant.acme]
match = {{ sender_domain = ["acme.example"] }}
pools = {{ default = "main" }}

[tenant.bolt]
match = {{ sender_domain = ["bolt.example"] }}
pools = {{ default = "main" }}

[provider.alpha]
mx = ["mx.alpha.example"]

[provider.beta]
mx = ["mx.beta.example"]

[[destination_route]]
domain = "alpha.example"
hosts = ["{alpha}"]
provider = "alpha"

[[destination_route]]
domain = "beta.example"
hosts = ["{beta}"]
provider = "beta"

[[destination_route]]
domain = "*"
hosts = ["{senders}"]

[dns]
servers = ["{names}"]

[monitor]
interval = "1s"
confirm_after = "200ms"
timeout = "1s"
fcrdns = false
spf = "off"

[monitor.zone.demo]
zone = "{LIST}"
weight = 4

[admin]
address = "127.0.0.1:0"

[log]
filter = "warn"
"#,
        state = state.display(),
        alpha = alpha.addr(),
        beta = beta.addr(),
        senders = senders.addr(),
        names = names.addr(),
    );
    for (name, last, _) in BINDINGS {
        let _ = write!(
            text,
            "[binding.{name}]\nbind_address = \"127.0.0.{last}\"\npublic_address = \"192.0.2.{last}\"\n\
             ehlo_hostname = \"{name}.example.net\"\n\n"
        );
    }
    text
}
