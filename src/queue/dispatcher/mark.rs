//! What an attempt's mail carries so that reports about it can be attributed.
//!
//! One mark per attempt, sealed afresh each time: it names binding and time, and both change from try to try. It goes
//! where [`crate::feedback::marks`] says. The return path is rewritten only for tenants that opted in, since it moves
//! the bounces, and with them the domain that SPF looks at, away from the sender; and never where it is null, since a
//! report must not be answered (RFC 5321 §4.5.5). What users read, log and reports, keeps naming the original sender.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Wall;
use crate::config::Config;
use crate::feedback::marks::{header_field, return_path};
use crate::feedback::token::{Attempted, Directory};
use crate::message::{BindingName, DestinationName, Domain, Entry, Mailbox, TenantName};

/// Marks outgoing mail.
#[derive(Debug)]
pub struct Marker {
    directory: Arc<Directory>,
    header: String,
    return_paths: HashMap<TenantName, Domain>,
}

/// What goes out with one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marked {
    /// Header field to send before the body; empty without `[feedback]`.
    pub head: Bytes,
    /// Envelope id.
    pub envelope_id: Option<String>,
    /// Reverse path as the receiver sees it.
    pub reverse_path: Option<Mailbox>,
}

impl Marked {
    /// An attempt without a mark.
    pub fn plain(entry: &Entry) -> Self {
        Self { reverse_path: entry.reverse_path.clone(), ..Self::default() }
    }
}

impl Marker {
    /// Marks as `[feedback]` says; `None` without that section.
    pub fn new(directory: Arc<Directory>, config: &Config) -> Option<Self> {
        let rewritten =
            |tenant: &crate::config::Tenant| Some((tenant.name.clone(), tenant.return_path_domain.clone()?));
        Some(Self {
            directory,
            header: config.feedback.as_ref()?.header.clone(),
            return_paths: config.tenants.iter().filter_map(rewritten).collect(),
        })
    }

    /// Keys and names, for reading the marks that come back.
    pub fn directory(&self) -> &Arc<Directory> {
        &self.directory
    }

    /// Marks an attempt to deliver `recipients` of `entry` over `binding` to `destination`.
    pub fn mark(
        &self,
        entry: &Entry,
        recipients: usize,
        binding: &BindingName,
        destination: &DestinationName,
        now: Wall,
    ) -> Marked {
        let mark = self.directory.keys().seal(&Attempted {
            message: entry.message,
            at: now,
            recipients: u8::try_from(recipients).unwrap_or(u8::MAX),
            tenant: entry.tenant.clone(),
            pool: entry.pool.clone(),
            binding: binding.clone(),
            destination: Some(destination.clone()),
        });
        let ours = |_: &Mailbox| self.return_paths.get(&entry.tenant).and_then(|domain| return_path(&mark, domain));
        Marked {
            head: header_field(&self.header, &mark).into(),
            reverse_path: entry.reverse_path.as_ref().and_then(ours).or_else(|| entry.reverse_path.clone()),
            envelope_id: Some(mark),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::feedback::token::Keys;
    use crate::message::{EntryId, EntryState, MessageId};

    const NOW: i64 = 1_795_000_000_000;

    fn config() -> Config {
        Config::from_toml(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [feedback]\naddresses = [\"fbl@relay.example.net\"]\nheader = \"X-Mark\"\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [pool.main]\nactive = [\"m1\"]\n\
             [provider.big]\nmx = [\"*.big.example\"]\n\
             [tenant.acme]\nmatch = { sender_domain = [\"acme.example\"] }\npools = { default = \"main\" }\n\
             return_path_domain = \"bounces.acme.example\"\n\
             [tenant.bolt]\nmatch = { sender_domain = [\"bolt.example\"] }\npools = { default = \"main\" }\n",
        )
        .expect("the configuration is good")
    }

    fn marker() -> Marker {
        let config = config();
        let keys = Keys::parse(&Keys::file_text([7; 32])).expect("a key");
        Marker::new(Arc::new(Directory::new(keys, &config)), &config).expect("[feedback] is there")
    }

    fn entry(tenant: &str, from: &str) -> Entry {
        let arrived = Wall::from_millis(NOW);
        Entry {
            id: EntryId(2),
            message: MessageId((NOW as u64) << 20),
            tenant: tenant.into(),
            stream: "default".into(),
            pool: "main".into(),
            domain: "big.example".parse().expect("a domain"),
            reverse_path: (!from.is_empty()).then(|| from.parse().expect("a mailbox")),
            recipients: Vec::new(),
            arrived,
            expires: arrived,
            size: 20,
            eight_bit: false,
            state: EntryState::default(),
        }
    }

    fn mark(entry: &Entry, recipients: usize, later: u64) -> Marked {
        let now = Wall::from_millis(NOW).plus(Duration::from_secs(later));
        marker().mark(entry, recipients, &"m1".into(), &"big".into(), now)
    }

    #[test]
    fn all_places_hold_one_mark_and_it_names_the_attempt() {
        let entry = entry("acme", "news@acme.example");
        let marked = mark(&entry, 300, 120);
        let id = marked.envelope_id.expect("a mark");
        assert_eq!(marked.head, format!("X-Mark: {id}\r\n"));
        assert_eq!(marked.reverse_path.expect("not null").as_str(), format!("b-{id}@bounces.acme.example"));
        let directory = marker().directory;
        let attempted = directory.resolve(&directory.keys().open(&id).expect("ours"), []).expect("known");
        assert_eq!((attempted.message, attempted.recipients), (entry.message, 255));
        assert_eq!(attempted.at, Wall::from_millis(NOW).plus(Duration::from_secs(120)));
        let names = (attempted.tenant.as_str(), attempted.pool.as_str(), attempted.binding.as_str());
        assert_eq!(names, ("acme", "main", "m1"));
        assert_eq!(attempted.destination, Some("big".into()));
    }

    #[test]
    fn return_paths_stay_where_nobody_asked_and_where_they_are_null() {
        for (tenant, from) in [("bolt", "news@bolt.example"), ("acme", ""), ("bolt", "")] {
            let entry = entry(tenant, from);
            let marked = mark(&entry, 1, 0);
            assert_eq!(marked.reverse_path, entry.reverse_path, "{tenant} {from}");
            assert!(marked.envelope_id.is_some() && !marked.head.is_empty());
        }
    }

    #[test]
    fn every_try_has_a_mark_of_its_own() {
        let entry = entry("acme", "news@acme.example");
        assert_ne!(mark(&entry, 1, 0), mark(&entry, 1, 60));
        assert_ne!(mark(&entry, 2, 0), mark(&entry, 1, 0));
    }

    #[test]
    fn without_feedback_nothing_is_marked() {
        let mut config = config();
        let directory = marker().directory;
        config.feedback = None;
        assert!(Marker::new(directory, &config).is_none());
        let entry = entry("acme", "news@acme.example");
        let plain = Marked::plain(&entry);
        assert_eq!((plain.head.len(), plain.envelope_id, plain.reverse_path), (0, None, entry.reverse_path));
    }
}
