//! `remuda demo --stay`: a world that goes on until somebody has seen enough.
//!
//! The real relay on loopback, five bindings in two pools, three tenants with steady mail ([`traffic`]), receivers with
//! tempers of their own ([`receivers`]), a name server with four DNSBLs, one of them dead and one mad. What happens in it is
//! [wished](Wish) from outside ([`control`]), so that an operator can watch a listing, a fail-over and a recovery, and try
//! every verb where it hurts nobody. Everything lies in one directory ([`place`]): the configuration, to be edited and
//! reloaded, the state, the log, and the addresses. At the end comes the same sum as that of `remuda demo` ([`summary`]).

mod books;
mod control;
mod grant;
mod place;
mod receivers;
mod summary;
mod traffic;
mod wish;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::TcpSocket;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use self::books::Books;
use self::place::Place;
use self::receivers::{Receiver, Temper};
use self::traffic::Traffic;
use crate::admin::Sources;
use crate::app::Relay;
use crate::config::Config;
use crate::demo::sink::Sink;
use crate::demo::zone::{Mood, Zone};

pub use control::{FILE as CONTROL_FILE, wish};
pub use wish::{Answer, FASTEST, Wish};

/// How the world is to be.
#[derive(Clone, Debug)]
pub struct Stay {
    /// Where everything lies; must not hold a demo already. A temporary directory that is removed at the end, without it.
    pub directory: Option<PathBuf>,
    /// HTTP address; port 0 lets the system choose.
    pub admin: SocketAddr,
}

/// Lists that wishes can be about: name in the configuration, DNS name.
const LISTS: [(&str, &str); 2] = [("big", "big.test"), ("minor", "minor.test")];

/// Last octets of 127.0.0.x and 192.0.2.x that have names, those of bindings yet to come among them.
const NAMED: std::ops::RangeInclusive<u8> = 11..=19;

/// Domains of the senders.
const SENDER_DOMAINS: [&str; 3] = ["acme.example", "bolt.example", "coral.example"];

/// How often the logs of the receivers are booked.
const BOOK_EVERY: Duration = Duration::from_secs(1);

/// Everything but the relay.
struct World {
    receivers: Vec<Receiver>,
    elsewhere: Sink,
    names: Zone,
    /// Bound, but nobody listens: who connects is refused, for as long as the world is.
    omega: TcpSocket,
    traffic: Arc<Traffic>,
    books: Mutex<Books>,
    /// Zone and binding of the listings that were wished.
    listed: Mutex<BTreeSet<(String, String)>>,
}

/// Runs the world until SIGINT or SIGTERM. True when everything added up.
pub async fn stay(options: &Stay) -> Result<bool, String> {
    let text = |e: std::io::Error| e.to_string();
    // Before anything starts: a signal that comes early must end it in order too.
    let mut interrupt = signal(SignalKind::interrupt()).map_err(text)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(text)?;
    let place = Place::make(options.directory.as_deref())?;
    let world = Arc::new(World::build().await?);
    let (file, config) = place.configure(&world, options.admin)?;
    place.log(&config)?;
    let mut relay = Relay::start_from(config, Some(file)).await.map_err(|e| e.to_string())?;
    let sources = relay.sources().clone();
    let to = *relay.listeners().first().ok_or("no listener")?;
    let (granting, about) = (Arc::clone(&world), sources.clone());
    let (control, _control) = control::serve(move |wish| granting.grant(wish, &about)).await.map_err(text)?;
    let admin = relay.admin().ok_or("the HTTP side is off")?;
    place.publish(admin, to, control, &world)?;
    println!("{}", place.welcome(admin, to));

    let (stop, stopped) = watch::channel(false);
    let traffic = tokio::spawn(Arc::clone(&world.traffic).run(to, stopped));
    let mut booking = tokio::time::interval(BOOK_EVERY);
    let failure = loop {
        tokio::select! {
            _ = booking.tick() => world.book(&sources),
            _ = interrupt.recv() => break None,
            _ = terminate.recv() => break None,
            why = relay.failed() => break Some(why),
        }
    };
    stop.send_replace(true);
    println!("\nStopping: no more mail, then what is on the wire.");
    // It ends by itself after the loads on the wire; one that went wrong shows in the sum.
    drop(traffic.await);
    relay.stop().await;
    world.book(&sources);
    let good = summary::print(&world, &sources);
    place.leave();
    failure.map_or(Ok(good), Err)
}

impl World {
    async fn build() -> Result<Self, String> {
        let text = |e: std::io::Error| e.to_string();
        let at = |last| SocketAddr::from(([127, 0, 1, last], 0));
        let tempers = [
            ("alpha", Temper::Easy),
            ("beta", Temper::Greylists),
            ("gamma", Temper::Slow),
            ("delta", Temper::Busy(20)),
        ];
        let mut receivers = Vec::new();
        for (last, (name, temper)) in (1..).zip(tempers) {
            receivers.push(Receiver::start(name, temper, at(last)).await.map_err(text)?);
        }
        let elsewhere = Sink::start(at(5)).await.map_err(text)?;
        let omega = TcpSocket::new_v4().map_err(text)?;
        omega.bind(at(6)).map_err(text)?;
        let names = Zone::start(at(7)).await.map_err(text)?;
        name_everything(&names).map_err(|e| e.to_string())?;
        Ok(Self {
            receivers,
            elsewhere,
            names,
            omega,
            traffic: Arc::default(),
            books: Mutex::default(),
            listed: Mutex::default(),
        })
    }

    /// Books what arrived, and which bindings `relay` has now.
    fn book(&self, relay: &Sources) {
        let sent = self.traffic.sent.load(Ordering::SeqCst);
        let config: Arc<Config> = relay.dispatcher.config();
        let bindings = config
            .bindings
            .iter()
            .flat_map(|binding| binding.sources().iter().map(move |source| (source, binding.name.to_string())));
        self.books.lock().take(&self.receivers, &self.elsewhere, bindings, sent);
    }

    fn receiver(&self, name: &str) -> Result<&Receiver, String> {
        let known = self.receivers.iter().map(|receiver| receiver.name).collect::<Vec<_>>().join(", ");
        let found = self.receivers.iter().find(|receiver| receiver.name == name);
        found.ok_or_else(|| format!("there is no receiver {name:?} that does as it is told; there are {known}"))
    }
}

/// The binding of this name in the configuration in force: where it connects from, and what the world knows it as.
fn binding(sources: &Sources, name: &str) -> Result<(IpAddr, IpAddr), String> {
    let config: Arc<Config> = sources.dispatcher.config();
    let found = config.bindings.iter().find(|binding| binding.name.as_str() == name);
    found.map(|binding| (binding.bind_address, binding.public_address)).ok_or_else(|| {
        let known = config.bindings.iter().map(|binding| binding.name.as_str()).collect::<Vec<_>>().join(", ");
        format!("there is no binding {name:?}; there are {known}")
    })
}

fn name_everything(names: &Zone) -> Result<(), crate::demo::zone::BadName> {
    for (_, zone) in LISTS {
        names.mood(zone, Mood::Dnsbl);
    }
    names.mood("dead.test", Mood::Silent);
    names.mood("loud.test", Mood::lists_everything());
    for last in NAMED {
        let (host, address) = (format!("mta{}.example.net", last - 10), IpAddr::V4(Ipv4Addr::new(192, 0, 2, last)));
        names.a(&host, address);
        names.ptr(address, &host)?;
    }
    for domain in SENDER_DOMAINS {
        names.txt(domain, "v=spf1 ip4:192.0.2.0/24 -all");
    }
    Ok(())
}
