//! Signatures on outgoing mail: DKIM (RFC 6376, RFC 8301, RFC 8463).
//!
//! A message is signed when it is taken in, behind its trace field and before it is stored: what waits is what was
//! promised. Which keys sign is decided by [`choice`] (pure) from whose mail it is and what it says in `From:`; [`dkim`] is
//! the one place that knows the library; [`keys`] reads the files. A set of keys ([`Keys`]) is made as a whole and replaced
//! as a whole at a reload; [`Signing`] is what the running program holds.
//!
//! A signature costs a fraction of a millisecond of one core with RSA. So it is made on threads that may be busy, at most
//! as many at a time as there are cores, and who takes in mail waits for them without holding up others.
//!
//! Who converts a message on the way takes our own signatures off and has it signed again ([`Signing::anew`]), by the keys
//! that are in force then. So a key may be exchanged while mail waits that it signed: leave its record in the DNS until all
//! of that mail is gone and judged, which is the lifetime of the queue and some days.

mod anew;
pub mod choice;
pub mod dkim;
pub mod keygen;
pub mod keys;

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use parking_lot::RwLock;
use tokio::sync::Semaphore;

use self::anew::Anew;
use self::choice::Author;
use self::keys::Loaded;
use crate::clock::Clock;
use crate::config::Config;
use crate::delivery::convert::Resign;
use crate::message::TenantName;
use crate::message::header::Headers;
use crate::telemetry::Metrics;

/// Name of the field.
pub const FIELD: &str = "DKIM-Signature";

/// Keys that are ready to sign, and whose mail they sign. Never shown: `Debug` has names only.
#[derive(Debug, Default)]
pub struct Keys {
    keys: Vec<Loaded>,
    /// Keys that sign all mail of a tenant: tenant and numbers of keys.
    house: Vec<(TenantName, Vec<usize>)>,
}

/// One signature that was asked for.
#[derive(Debug)]
pub struct Signed {
    /// Name of the key.
    pub key: String,
    /// The whole field with its CRLF; an error in words that hold nothing of the key.
    pub field: Result<String, String>,
}

impl Keys {
    /// Reads the files of all keys that `config` names. Blocks.
    ///
    /// # Errors
    /// All that is wrong with any of them, one a line.
    pub fn load(config: &Config) -> Result<Self, String> {
        let (mut loaded, mut wrong) = (Vec::new(), Vec::new());
        for key in &config.dkim {
            match keys::load(key) {
                Ok(key) => loaded.push(key),
                Err(error) => wrong.push(error.to_string()),
            }
        }
        if !wrong.is_empty() {
            return Err(wrong.join("\n"));
        }
        let number = |name: &String| config.dkim.iter().position(|key| key.name == *name);
        let house = config.tenants.iter().filter(|tenant| !tenant.dkim.is_empty());
        let house = house.map(|tenant| (tenant.name.clone(), tenant.dkim.iter().filter_map(number).collect()));
        Ok(Self { keys: loaded, house: house.collect() })
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys.
    pub fn all(&self) -> &[Loaded] {
        &self.keys
    }

    /// The keys that sign this message of `tenant`.
    fn chosen(&self, tenant: &TenantName, message: &[u8]) -> Vec<&Loaded> {
        let house = self.house.iter().find(|(name, _)| name == tenant).map_or(&[][..], |(_, keys)| keys);
        if house.is_empty() && !self.keys.iter().any(|key| key.rules().tenants.contains(tenant)) {
            return Vec::new();
        }
        let author = Author::of(Headers::of(message));
        let is_chosen =
            |(number, key): &(usize, &Loaded)| choice::signs(key.rules(), house.contains(number), tenant, &author);
        self.keys.iter().enumerate().filter(is_chosen).map(|(_, key)| key).collect()
    }

    /// The signatures of a message of `tenant`, as it is going to be sent (dots not stuffed). None where no key signs it.
    /// Takes a fraction of a millisecond for each.
    pub fn sign(&self, tenant: &TenantName, message: &[u8]) -> Vec<Signed> {
        let sign = |key: &Loaded| Signed { key: key.rules().name.clone(), field: dkim::sign(key, message) };
        self.chosen(tenant, message).into_iter().map(sign).collect()
    }
}

/// The message with its signatures on top, the first key's first. The same octets where there is none.
pub fn with(signed: &[Signed], message: &Bytes) -> Bytes {
    let fields: Vec<&str> = signed.iter().filter_map(|signed| signed.field.as_deref().ok()).collect();
    if fields.is_empty() {
        return message.clone();
    }
    let octets: usize = fields.iter().map(|field| field.len()).sum();
    let mut all = BytesMut::with_capacity(octets + message.len());
    fields.iter().for_each(|field| all.put_slice(field.as_bytes()));
    all.put_slice(message);
    all.freeze()
}

/// The keys in force, and the threads that sign.
pub struct Signing {
    keys: RwLock<Arc<Keys>>,
    /// One for each core.
    hands: Arc<Semaphore>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Signing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Signing").field(&self.keys()).finish()
    }
}

impl Signing {
    /// Signs with `keys`; by `clock` it is told how long that takes.
    pub fn new(keys: Keys, clock: Arc<dyn Clock>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self { keys: RwLock::new(Arc::new(keys)), hands: Arc::new(Semaphore::new(cores)), clock }
    }

    /// From now on signs with these.
    pub fn replace(&self, keys: Keys) {
        *self.keys.write() = Arc::new(keys);
    }

    /// The keys in force.
    pub fn keys(&self) -> Arc<Keys> {
        Arc::clone(&self.keys.read())
    }

    /// Who signs mail of `tenant` again that has to be changed on the way.
    pub fn anew(&self, tenant: &TenantName) -> Arc<dyn Resign> {
        Arc::new(Anew::new(self.keys(), tenant.clone()))
    }

    /// The message with its signatures. One that cannot be made is logged and counted, and the mail goes without it: whoever
    /// receives it judges it as mail that is not signed by that domain.
    pub async fn sign(&self, tenant: &TenantName, message: Bytes, metrics: &Metrics) -> Bytes {
        let keys = self.keys();
        if keys.is_empty() {
            return message;
        }
        let chosen: Vec<String> =
            keys.chosen(tenant, &message).into_iter().map(|key| key.rules().name.clone()).collect();
        if chosen.is_empty() {
            return message;
        }
        // Closed never; without a permit it would only be less fair.
        let permit = Arc::clone(&self.hands).acquire_owned().await;
        let (tenant, unsigned, clock) = (tenant.clone(), message.clone(), Arc::clone(&self.clock));
        let work = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            let started = clock.now().mono;
            let signed = keys.sign(&tenant, &unsigned);
            (with(&signed, &unsigned), signed, clock.now().mono.since(started))
        });
        let (message, signed, took) = match work.await {
            Ok((message, signed, took)) => (message, signed, Some(took)),
            Err(_) => {
                let failed = |key| Signed { key, field: Err("the thread that makes it broke off".to_owned()) };
                (message, chosen.into_iter().map(failed).collect(), None)
            }
        };
        if let Some(took) = took {
            metrics.signing.seconds.observe(took.as_secs_f64());
        }
        for Signed { key, field } in &signed {
            let result = if field.is_ok() { "signed" } else { "failed" };
            metrics.signing.signatures.with_label_values(&[key, result]).inc();
            if let Err(error) = field {
                tracing::error!(key, error, "a signature could not be made; the mail goes without it");
            }
        }
        message
    }
}

#[cfg(test)]
mod tests;
