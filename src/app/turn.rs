//! Brings a changed configuration into force in every part of the running program ([`crate::live::Apply`]).
//!
//! What can fail comes first and touches nothing: rule files and key files are read, new listeners are bound, those that look
//! from outside say whether they could follow. Then, in the order in which mail flows against: the queue and what it delivers
//! with (so that nothing is taken in for what the queue does not know), the intake, the listeners, those that look from
//! outside.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::RwLock;

use super::intake::Reception;
use super::ports::Ports;
use super::watching::Watching;
use crate::admin::auth::Auth;
use crate::ingress::smtp::server::Server;
use crate::ingress::users;
use crate::live::{Apply, Change, Work};
use crate::queue::dispatcher::{Dispatcher, WouldStrand};

/// Pools and tenants whose mail would be stranded that are named; of the others there is a number.
const STRANDED_NAMED: usize = 20;

/// Everything that is told.
pub(super) struct Turn {
    pub(super) dispatcher: Arc<Dispatcher>,
    pub(super) reception: Arc<Reception>,
    pub(super) server: Arc<Server>,
    pub(super) watching: Watching,
    pub(super) auth: Arc<Auth>,
    /// Where the listeners are, for whoever asks.
    pub(super) addresses: Arc<RwLock<Vec<SocketAddr>>>,
    pub(super) ports: Arc<Ports>,
}

impl Apply for Turn {
    fn check<'a>(&'a mut self, change: &'a Change) -> Work<'a, Result<Vec<String>, String>> {
        Box::pin(async move {
            let mut wrong = Vec::new();
            wrong.extend(self.dispatcher.check(&change.config).err());
            // Closed again at once: it is only asked whether they could be had.
            wrong.extend(self.server.bind_new(&change.config.listeners).err().map(in_words));
            wrong.extend(users::read(change.config.server.users_file.as_deref()).err().map(|error| error.to_string()));
            let mut warnings = stranded(&self.dispatcher.would_strand(&change.config));
            match self.watching.check(change) {
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
            warnings.extend(self.watching.check(change)?);
            let users = users::read(config.server.users_file.as_deref()).map_err(|error| error.to_string())?;
            let prepared = self.dispatcher.prepare(config)?;
            let new = self.server.bind_new(&config.listeners).map_err(in_words)?;
            let (hostname, grace) = (&config.server.hostname, config.server.shutdown_grace);
            // The last that may fail, and it changes nothing then.
            self.server.change(new, &config.listeners, hostname, grace).map_err(|error| error.to_string())?;
            self.dispatcher.reconfigure(prepared).await;
            self.reception.users().replace(users);
            self.reception.reconfigure();
            self.auth.reconfigure(config);
            let addresses = self.server.addresses();
            self.addresses.write().clone_from(&addresses);
            let certificate = config.admin.tls.as_ref().map(|tls| tls.certificate.as_path());
            if let Err(error) = self.ports.publish(&addresses, None, certificate) {
                tracing::error!(error = error.as_str(), "the new addresses of listeners are not written down");
                warnings.push(error);
            }
            // It was asked before whether it can; a file that goes away in between is no reason to go back.
            if let Err(error) = self.watching.reconfigure(change) {
                tracing::error!(error, "what looks from outside goes on by the old configuration");
                warnings.push(format!("lists, name servers, feeds and alerts go on as before: {error}"));
            }
            Ok(warnings)
        })
    }
}

fn in_words(error: crate::ingress::smtp::server::BindError) -> String {
    format!("{error}; is another program using it, or a listener that this file takes away?")
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
