//! Starts what looks from outside, and leads what it sees to the dispatcher.
//!
//! A changed configuration comes in two steps: [`Watching::prepare`] does what can fail, while the old one is in force
//! everywhere; [`Watching::follow`] cannot fail, and comes after the core has the new one, since what follows from it (a
//! listing that ends with its list, a word of a feed that is taken back) is for bindings as they are now.

use std::sync::Arc;

use tokio::sync::watch;

use super::{StartError, remember};
use crate::admin::Sources;
use crate::alerts::Alerts;
use crate::clock::Clock;
use crate::config::Config;
use crate::message::BindingName;
use crate::monitor::feeds::{self, Feeds, Word};
use crate::monitor::identity::resolver::Checked;
use crate::monitor::identity::{self, Identity};
use crate::monitor::spf::{self, Around, Cover, SetupError};
use crate::monitor::{self, Monitor};
use crate::queue::dispatcher::Dispatcher;
use crate::reputation::Evidence;
use crate::reputation::evidence::Listing;
use crate::telemetry::events::Kind;

/// What was started.
#[derive(Clone)]
pub(super) struct Watching {
    dispatcher: Arc<Dispatcher>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) identity: Arc<Identity>,
    pub(super) cover: Arc<Cover>,
    pub(super) feeds: Arc<Feeds>,
    pub(super) alerts: Arc<Alerts>,
}

/// Starts everything but alerts, which look at the rest ([`start_alerts`]); it ends when `stopped` turns true.
pub(super) fn start(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    stopped: &watch::Receiver<bool>,
) -> Result<Watching, StartError> {
    let monitor = set_up_monitor(config, clock, dispatcher)?;
    let identity = start_identity(config, clock, dispatcher, &monitor, stopped.clone());
    start_rounds(&monitor, &identity, stopped.clone());
    let cover = start_cover(config, clock, dispatcher, (&monitor, &identity), stopped.clone())?;
    let feeds = start_feeds(config, clock, dispatcher, stopped.clone());
    let alerts = Arc::new(Alerts::new(config, Arc::clone(clock)));
    let dispatcher = Arc::clone(dispatcher);
    Ok(Watching { dispatcher, monitor, identity, cover, feeds, alerts })
}

/// A configuration that everything here is ready for.
pub(super) struct Ready {
    monitor: monitor::Prepared,
    identity: identity::Prepared,
    cover: spf::Prepared,
    feeds: feeds::Prepared,
}

impl Ready {
    /// What the operator should know.
    pub(super) fn into_warnings(self) -> Vec<String> {
        self.feeds.warnings
    }
}

impl Watching {
    /// Does what can fail, and touches nothing: reads the keys of lists, sets up resolvers.
    ///
    /// # Errors
    /// In words, where something cannot be had.
    pub(super) fn prepare(&self, config: &Config) -> Result<Ready, String> {
        let failed = |error: SetupError| error.to_string();
        Ok(Ready {
            monitor: self.monitor.prepare(config).map_err(failed)?,
            identity: self.identity.prepare(config),
            cover: self.cover.prepare(config).map_err(failed)?,
            feeds: self.feeds.prepare(config),
        })
    }

    /// Puts in force what was prepared for `config`, which the core has already.
    pub(super) fn follow(&self, ready: Ready, config: &Config) {
        let Ready { monitor, identity, cover, feeds } = ready;
        let believes_again = self.identity.reconfigure(identity);
        let new = self.monitor.reconfigure(monitor, believes_again);
        if !new.is_empty() {
            let known: Vec<(BindingName, Vec<Listing>)> = self.dispatcher.with_core(|core| {
                let listings = |binding: &BindingName| core.reputation().listings(binding).to_vec();
                new.into_iter().map(|binding| (binding.clone(), listings(&binding))).collect()
            });
            known.iter().for_each(|(binding, listed)| self.monitor.restore(binding, listed));
            self.monitor.settle();
        }
        remember::recall_waiting(&self.cover, &self.dispatcher, cover);
        self.feeds.reconfigure(feeds);
        self.alerts.reconfigure(config);
    }

    /// What the operator should know of a change before it is made, in words.
    ///
    /// # Errors
    /// In words, where it cannot be made.
    pub(super) fn check(&self, config: &Config) -> Result<Vec<String>, String> {
        Ok(self.prepare(config)?.into_warnings())
    }

    /// Takes over a changed configuration, after the core has; all or nothing.
    ///
    /// # Errors
    /// In words; then everything here is as before.
    pub(super) fn reconfigure(&self, config: &Config) -> Result<(), String> {
        let ready = self.prepare(config)?;
        self.follow(ready, config);
        Ok(())
    }
}

fn set_up_monitor(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
) -> Result<Arc<Monitor>, StartError> {
    let (news, mut evidence) = tokio::sync::mpsc::unbounded_channel::<Evidence>();
    // The receiver lives as long as the program; on the way down news may go nowhere.
    let sink = Arc::new(move |evidence| drop(news.send(evidence)));
    let monitor =
        Arc::new(Monitor::new(config, Arc::clone(clock), sink).map_err(|e| StartError::Other(e.to_string()))?);
    dispatcher.with_core(|core| {
        for binding in &config.bindings {
            monitor.restore(&binding.name, core.reputation().listings(&binding.name));
        }
    });
    let looker = Arc::clone(&monitor);
    dispatcher.on_blame(Arc::new(move |refusal| {
        if refusal.counts_against_ip {
            looker.check_now(refusal.binding, refusal.reply);
        }
        looker.check_domains(refusal.binding, refusal.sender, refusal.reply);
    }));
    let teller = Arc::clone(dispatcher);
    monitor.on_note(Arc::new(move |note, at| teller.events().note(Kind::Listing, note.fields(), at)));
    let hearing = Arc::clone(dispatcher);
    tokio::spawn(async move {
        while let Some(item) = evidence.recv().await {
            hearing.observe(item).await;
        }
    });
    let names = Arc::clone(dispatcher);
    monitor.on_names(Arc::new(move |binding, checked| {
        let (check, state) = (checked.check.as_str(), checked.grade.as_str());
        note(&names, [("binding", binding.as_str()), ("check", check), ("state", state), ("detail", &checked.detail)]);
    }));
    Ok(monitor)
}

/// The rounds begin when the resolvers were tested: through a liar the first would list or clear.
fn start_rounds(monitor: &Arc<Monitor>, identity: &Arc<Identity>, mut stopped: watch::Receiver<bool>) {
    let (rounds, tested) = (Arc::clone(monitor), Arc::clone(identity));
    tokio::spawn(async move {
        let stop = async move { drop(stopped.wait_for(|stop| *stop).await) };
        tokio::pin!(stop);
        tokio::select! {
            () = tested.ready() => rounds.run(stop).await,
            () = &mut stop => {}
        }
    });
}

fn note<const N: usize>(dispatcher: &Dispatcher, fields: [(&'static str, &str); N]) {
    let fields = fields.map(|(name, text)| (name, text.to_owned()));
    dispatcher.events().note(Kind::Note, fields, dispatcher.now().wall);
}

fn start_identity(
    config: &Config,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    monitor: &Arc<Monitor>,
    stopped: watch::Receiver<bool>,
) -> Arc<Identity> {
    let hearing = Arc::clone(dispatcher);
    let sink = Arc::new(move |purpose: &str, checked: &Checked| {
        let (check, state) = (checked.check.as_str(), checked.grade.as_str());
        note(&hearing, [("resolver", purpose), ("check", check), ("state", state), ("detail", &checked.detail)]);
    });
    let identity = Arc::new(Identity::new(config, Arc::clone(clock), Arc::clone(monitor), sink));
    let running = Arc::clone(&identity);
    tokio::spawn(async move { running.run(stopped).await });
    identity
}

fn start_cover(
    config: &Arc<Config>,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    (monitor, identity): (&Arc<Monitor>, &Arc<Identity>),
    mut stopped: watch::Receiver<bool>,
) -> Result<Arc<Cover>, StartError> {
    let (hearing, knowing) = (Arc::clone(dispatcher), Arc::clone(dispatcher));
    let (looking, testing) = (Arc::clone(monitor), Arc::clone(monitor));
    let around = Around {
        sink: Arc::new(move |heard| hearing.heard_of_spf(heard)),
        waits: Arc::new(move |domain| knowing.with_core(|core| core.waits_from(domain))),
        is_believed: Arc::new(move || looking.distrusted().is_none()),
        is_tested: Arc::new(move || !testing.is_waiting_for_test()),
    };
    let cover = Cover::new(config, Arc::clone(clock), around).map_err(|e| StartError::Other(e.to_string()))?;
    let cover = Arc::new(cover);
    // Before the first attempt: waiting mail keeps to what was proven in the last run.
    remember::recall_cover(&cover, dispatcher);
    let seeing = Arc::clone(&cover);
    dispatcher.on_sender(Arc::new(move |tenant, domain| seeing.seen(tenant, domain)));
    let (running, tested) = (Arc::clone(&cover), Arc::clone(identity));
    tokio::spawn(async move {
        // Through a resolver that lies the first evaluations would say that nobody has a record.
        let is_ready = tokio::select! {
            () = tested.ready() => true,
            _ = stopped.wait_for(|stop| *stop) => false,
        };
        if is_ready {
            running.run(stopped).await;
        }
    });
    Ok(cover)
}

fn start_feeds(
    config: &Config,
    clock: &Arc<dyn Clock>,
    dispatcher: &Arc<Dispatcher>,
    stopped: watch::Receiver<bool>,
) -> Arc<Feeds> {
    let (news, mut words) = tokio::sync::mpsc::unbounded_channel::<Word>();
    // The receiver lives as long as the program; on the way down news may go nowhere.
    let sink = Arc::new(move |word| drop(news.send(word)));
    let feeds = Arc::new(Feeds::new(config, Arc::clone(clock), sink));
    let hearing = Arc::clone(dispatcher);
    tokio::spawn(async move {
        while let Some(word) = words.recv().await {
            match word {
                Word::Evidence(evidence) => hearing.observe(evidence).await,
                Word::Event(fields) => hearing.events().note(Kind::Feed, fields, hearing.now().wall),
            }
        }
    });
    tokio::spawn(Arc::clone(&feeds).run(stopped));
    feeds
}

/// Starts to tell people: last, since it looks at everything else.
pub(super) fn start_alerts(sources: &Sources, stopped: watch::Receiver<bool>) {
    tokio::spawn(Arc::clone(&sources.alerts).run(sources.clone(), stopped));
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;
    use crate::app::Relay;
    use crate::demo::zone::Zone;

    const CODE: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);

    /// Bindings `a` and `b` at 192.0.2.1 and .2; further lines of `[monitor]` and of its tables.
    fn config(directory: &std::path::Path, dns: &Zone, monitor: &str, tables: &str) -> Config {
        let (state, server) = (directory.display(), dns.addr());
        Config::from_toml(&format!(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"{state}\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [dns]\nservers = [\"{server}\"]\n[reputation]\ndwell = \"0s\"\n\
             [monitor]\nservers = [\"{server}\"]\ntimeout = \"1s\"\ninterval = \"200ms\"\nconfirm_after = \"20ms\"\n\
             spf_interval = \"200ms\"\nfcrdns = false\nself_check = false\n{monitor}\n\
             [binding.a]\nbind_address = \"127.0.0.11\"\npublic_address = \"192.0.2.1\"\n\
             [binding.b]\nbind_address = \"127.0.0.12\"\npublic_address = \"192.0.2.2\"\n\
             [pool.p]\nactive = [\"a\", \"b\"]\n\
             [tenant.acme]\nmatch = {{ sender_domain = [\"acme.test\"] }}\npools = {{ default = \"p\" }}\n{tables}"
        ))
        .unwrap_or_else(|error| panic!("{error}"))
    }

    fn of(relay: &Relay) -> Watching {
        let from = relay.sources();
        Watching {
            dispatcher: Arc::clone(&from.dispatcher),
            monitor: Arc::clone(&from.monitor),
            identity: Arc::clone(&from.identity),
            cover: Arc::clone(&from.cover),
            feeds: Arc::clone(&from.feeds),
            alerts: Arc::clone(&from.alerts),
        }
    }

    async fn until(what: &str, is_so: impl Fn() -> bool) {
        for _ in 0..2_000 {
            if is_so() {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        panic!("not within 20 s: {what}");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn everything_that_looks_goes_by_the_changed_configuration() {
        let (directory, dns) =
            (tempfile::tempdir().unwrap(), Zone::start("127.0.0.1:0".parse().unwrap()).await.unwrap());
        dns.listed("z.example", [192, 0, 2, 1].into(), CODE);
        dns.txt("acme.test", "v=spf1 ip4:192.0.2.1 -all");
        let zone = "[monitor.zone.z]\nzone = \"z.example\"\nweight = 4.0\n";
        let first = config(directory.path(), &dns, "", zone);
        let relay = Relay::start(first.clone()).await.unwrap();
        let watching = of(&relay);
        let health = |binding: &str| {
            let subject = crate::reputation::Subject::Binding(binding.into());
            watching.dispatcher.with_core(|core| core.reputation().health(&subject).as_str())
        };
        let domain = "acme.test".parse().unwrap();
        let barred = || {
            let row = watching.cover.view(&domain)?;
            Some(row.bindings.iter().filter(|cell| cell.state.as_str() == "not_covered").count())
        };
        until("a is out and b barred", || health("a") == "suspended" && barred() == Some(1)).await;

        // What cannot be had refuses it, and touches nothing.
        let keyed = "[monitor.zone.k]\nzone = \"{key}.example\"\nkey_file = \"/nonexistent/key\"\n";
        let bad = config(directory.path(), &dns, "spf = \"off\"", keyed);
        for error in [watching.check(&bad).unwrap_err(), watching.reconfigure(&bad).unwrap_err()] {
            assert!(error.contains("zone k") && error.contains("/nonexistent/key"), "{error}");
        }
        assert_eq!((health("a"), barred()), ("suspended", Some(1)));

        let feed = "[feed.f]\nkind = \"wqs\"\nsecret_file = \"/nonexistent/secret\"\n";
        let warned = config(directory.path(), &dns, "", &format!("{zone}{feed}"));
        let warnings = watching.check(&warned).unwrap();
        assert!(
            matches!(&warnings[..], [one] if one.contains("feed.f: secret_file /nonexistent/secret")),
            "{warnings:?}"
        );
        assert!(watching.feeds.states().is_empty());

        // The list goes, and nobody asks for SPF any more.
        let second = config(directory.path(), &dns, "spf = \"off\"", "");
        watching.reconfigure(&second).unwrap();
        until("a is let go", || health("a") != "suspended").await;
        assert_eq!((barred(), watching.monitor.snapshot().zones.len()), (None, 0));
        watching.reconfigure(&first).unwrap();
        until("all is as it was", || health("a") == "suspended" && barred() == Some(1)).await;
        relay.stop().await;
    }
}
