//! Brings a changed configuration into force in every part of the running program ([`crate::live::Apply`]).
//!
//! Of orders nothing can fail: they are applied with the rules, keys, users and listeners that are in force. Of a file,
//! what can fail comes first and touches nothing: rule files and key files are read, on threads that may wait for the disk;
//! new listeners are bound, those that look from outside say whether they could follow. Then, in the order in which mail flows against: the queue and what it delivers
//! with (so that nothing is taken in for what the queue does not know), the intake, the listeners, those that look from
//! outside.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::intake::Reception;
use super::ports::Ports;
use super::watching::Watching;
use crate::admin::auth::Auth;
use crate::config::{Binding, Certificate, Config};
use crate::delivery::Policies;
use crate::ingress::http::{self, Counter};
use crate::ingress::smtp::server::{BindError, Server};
use crate::ingress::{tls, users};
use crate::live::{Apply, Change, Work};
use crate::queue::dispatcher::{Dispatcher, WouldStrand};
use crate::signing::Keys;

/// Pools and tenants whose mail would be stranded that are named; of the others there is a number.
const STRANDED_NAMED: usize = 20;

/// Everything that is told.
pub(super) struct Turn {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) reception: Arc<Reception>,
    pub(super) server: Arc<Server>,
    pub(super) watching: Watching,
    pub(super) auth: Arc<Auth>,
    pub(super) policies: Arc<Policies>,
    /// Where the listeners are, for whoever asks.
    pub(super) addresses: Arc<RwLock<Vec<SocketAddr>>>,
    pub(super) ports: Arc<Ports>,
    /// Mail over HTTP.
    pub(super) counter: Arc<Counter>,
}

impl Apply for Turn {
    fn check<'a>(&'a mut self, change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        Box::pin(async move {
            let config = &change.config;
            if !change.is_file {
                return Ok(stranded(&self.dispatcher.would_strand(config)));
            }
            let mut wrong = Vec::new();
            // Closed again at once, before anybody could connect: it is only asked whether they could be had.
            wrong.extend(self.server.bind_new(&config.listeners).err().map(in_words));
            let (dispatcher, watching) = (Arc::clone(&self.dispatcher), self.watching.clone());
            let (before, after) = (Arc::clone(&change.before), Arc::clone(config));
            let policies = Arc::clone(&self.policies);
            let files = off_runtime(move || {
                let users = users::read(after.server.users_file.as_deref()).err().map(|error| error.to_string());
                let policies = policies.prepare(&after).err().map(|error| error.to_string());
                let keys = Keys::load(&after).err();
                let admin = new_certificate(&before, &after);
                let mut wrong = vec![dispatcher.check(&after).err(), users, policies, keys, admin];
                wrong.extend(new_certificates(&before, &after).into_iter().map(Some));
                (wrong, watching.check(&after))
            });
            let (bad_files, watched) = files.await?;
            wrong.extend(bad_files.into_iter().flatten());
            let mut warnings = stranded(&self.dispatcher.would_strand(config));
            warnings.extend(other_addresses(&change.before, config));
            warnings.extend(tls::loose(&config.certificates));
            match watched {
                Ok(more) => warnings.extend(more),
                Err(why) => wrong.push(why),
            }
            if wrong.is_empty() { Ok(warnings) } else { Err(wrong.join("\n")) }
        })
    }

    fn apply<'a>(&'a mut self, change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        Box::pin(async move {
            let config = &change.config;
            let mut warnings = stranded(&self.dispatcher.would_strand(config));
            if !change.is_file {
                warnings.extend(self.apply_orders(change).await);
                return Ok(warnings);
            }
            warnings.extend(other_addresses(&change.before, config));
            let (dispatcher, watching, after) =
                (Arc::clone(&self.dispatcher), self.watching.clone(), Arc::clone(config));
            let policies = Arc::clone(&self.policies);
            let files = off_runtime(move || {
                let users = users::read(after.server.users_file.as_deref()).map_err(|error| error.to_string())?;
                let policies = policies.prepare(&after).map_err(|error| error.to_string())?;
                let certificates = tls::read(&after.certificates);
                let keys = Keys::load(&after)?;
                let prepared = dispatcher.prepare(&after)?;
                Ok::<_, String>((watching.check(&after)?, users, policies, certificates, keys, prepared))
            });
            let (more, users, policies, certificates, keys, prepared) = files.await??;
            warnings.extend(more);
            warnings.extend(tls::loose(&config.certificates));
            // One that cannot be read is no reason to refuse the rest: its former content stays in force.
            let bad = certificates.iter().filter_map(|(_, _, read)| read.as_ref().err().map(ToString::to_string));
            warnings.extend(bad);
            let new = self.server.bind_new(&config.listeners).map_err(in_words)?;
            let (hostname, grace) = (&config.server.hostname, config.server.shutdown_grace);
            // The last that may fail, and it changes nothing then.
            self.server.change(new, &config.listeners, hostname, grace).map_err(in_words)?;
            self.server.certificates().replace(certificates);
            self.dispatcher.reconfigure(prepared);
            self.policies.reconfigure(policies);
            self.reception.users().replace(users);
            self.reception.signing().replace(keys);
            self.reception.reconfigure();
            self.counter.reconfigure(config);
            self.auth.reconfigure(config);
            let addresses = self.server.addresses();
            self.addresses.write().clone_from(&addresses);
            let certificate = config.admin.tls.as_ref().map(|tls| tls.certificate.as_path());
            if let Err(error) = self.ports.publish(&addresses, None, certificate) {
                tracing::error!(error = error.as_str(), "the new addresses of listeners are not written down");
                warnings.push(error);
            }
            // It was asked before whether it can; a file that goes away in between is no reason to go back.
            if let Err(error) = self.follow_outside(config).await {
                tracing::error!(error, "what looks from outside goes on by the old configuration");
                warnings.push(format!("lists, name servers, feeds and alerts go on as before: {error}"));
            }
            Ok(warnings)
        })
    }
}

/// Does what waits for the disk where nobody else waits for it.
async fn off_runtime<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())
}

/// What is wrong with a certificate that the change names. One that is in force already is watched by the listener, and no
/// reason to refuse anything else.
fn new_certificate(before: &Config, config: &Config) -> Option<String> {
    let is_new = config.admin.tls != before.admin.tls;
    let tls = config.admin.tls.as_ref().filter(|_| is_new && config.admin.address.is_some());
    let admin = tls.and_then(|tls| crate::admin::listener::tls::load(tls).err().map(|error| error.to_string()));
    let is_new = config.injection.tls != before.injection.tls;
    let tls = config.injection.tls.as_ref().filter(|_| is_new && config.injection.address.is_some());
    let injection = tls.and_then(|tls| http::check_certificate(tls).err());
    let wrong: Vec<String> = admin.into_iter().chain(injection).collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

/// What is wrong with certificates of listeners that the change names; as with that of the HTTP side.
fn new_certificates(before: &Config, config: &Config) -> Vec<String> {
    let is_new = |wanted: &&Certificate| !before.certificates.contains(wanted);
    let new: Vec<Certificate> = config.certificates.iter().filter(is_new).cloned().collect();
    tls::read(&new).into_iter().filter_map(|(_, _, read)| read.err().map(|error| error.to_string())).collect()
}

impl Turn {
    /// Orders change bindings, pools and tenants and nothing else: listeners, users, rules and keys stay as they are in
    /// force, and no file can stand in the way.
    async fn apply_orders(&self, change: &Change) -> Option<String> {
        self.dispatcher.reconfigure(self.dispatcher.prepare_of_same_file(&change.config));
        self.reception.reconfigure();
        if watched(&change.before) == watched(&change.config) {
            return None;
        }
        let error = self.follow_outside(&change.config).await.err()?;
        tracing::error!(error, "what looks from outside goes on by the old configuration");
        Some(format!("lists, name servers, feeds and alerts go on as before until a reload succeeds: {error}"))
    }

    /// Has those follow that look from outside; they read the keys of lists.
    async fn follow_outside(&self, config: &Arc<Config>) -> Result<(), String> {
        let (watching, config) = (self.watching.clone(), Arc::clone(config));
        off_runtime(move || watching.reconfigure(&config)).await?
    }
}

/// What those that look from outside look at, as far as orders can change it: which bindings there are, where they stand,
/// and where tenants' mail goes. A cap or a hold is nothing to them.
fn watched(config: &Config) -> String {
    let bindings: Vec<_> = config.bindings.iter().map(|binding| &binding.name).collect();
    let pools: Vec<_> = config.pools.iter().map(|pool| (&pool.name, &pool.tiers)).collect();
    let tenants: Vec<_> = config.tenants.iter().map(|tenant| (&tenant.name, &tenant.pools, &tenant.split)).collect();
    format!("{bindings:?} {pools:?} {tenants:?}")
}

/// Bindings that have another address than before: what is known of the name is known of the old address.
fn other_addresses(before: &Config, config: &Config) -> Vec<String> {
    let known = |binding: &Binding| before.bindings.iter().find(|known| known.name == binding.name);
    let is_other = |binding: &&Arc<Binding>| {
        known(binding).is_some_and(|known| known.sources() != binding.sources() || known.publics() != binding.publics())
    };
    let line = |binding: &Arc<Binding>| {
        let name = &binding.name;
        format!(
            "{name} has another address and keeps the warm-up stage and the health of the old one: where the new one is not \
             warm, remuda binding set-stage {name} 0; where it was suspended for the old one's sake, remuda binding resume {name}"
        )
    };
    config.bindings.iter().filter(is_other).map(line).collect()
}

fn in_words(error: BindError) -> String {
    match error {
        BindError::Address { .. } => format!("{error}; is another program using it, or another listener of this file?"),
        BindError::Stopping => error.to_string(),
    }
}

/// What the operator should know before: mail that would wait for a pool or tenant that is gone.
fn stranded(would: &WouldStrand) -> Vec<String> {
    let line = |((pool, tenant), (entries, recipients)): (&(_, _), &(u64, u64))| {
        format!(
            "{entries} messages with {recipients} recipients of tenant {tenant} wait in pool {pool}, of which one is gone: they stay on disk \
             until a configuration names both again; move them before by: remuda queue move --pool {pool} --tenant {tenant} --to POOL"
        )
    };
    let mut lines: Vec<String> = would.iter().take(STRANDED_NAMED).map(line).collect();
    if would.len() > STRANDED_NAMED {
        let rest: u64 = would.values().skip(STRANDED_NAMED).map(|(entries, _)| entries).sum();
        lines.push(format!("{rest} messages of {} further pools and tenants as well", would.len() - STRANDED_NAMED));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_another_address_is_told_with_its_remedy() {
        let config = |address: &str, public: &str| {
            Config::from_toml(&format!(
                "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
                 [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
                 [binding.m1]\nbind_address = \"{address}\"\npublic_address = \"{public}\"\n\
                 [binding.m2]\nbind_address = \"10.0.0.9\"\n[pool.main]\nactive = [\"m1\", \"m2\"]\n\
                 [tenant.acme]\nmatch = {{ client = [\"127.0.0.0/8\"] }}\npools = {{ default = \"main\" }}\n"
            ))
            .expect("good")
        };
        let before = config("10.0.0.1", "192.0.2.1");
        assert!(other_addresses(&before, &before).is_empty());
        for after in [config("10.0.0.2", "192.0.2.1"), config("10.0.0.1", "192.0.2.2")] {
            let warnings = other_addresses(&before, &after);
            let [one] = &warnings[..] else { panic!("{warnings:?}") };
            assert!(one.contains("remuda binding set-stage m1 0") && one.contains("remuda binding resume m1"), "{one}");
        }
        assert_eq!(watched(&before), watched(&config("10.0.0.2", "192.0.2.2")), "only a file changes addresses");
    }
}
