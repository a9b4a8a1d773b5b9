//! What an attempt's mail carries so that reports about it can be attributed.
//!
//! One mark per attempt, sealed afresh each time: it names binding and time, and both change from try to try. It goes
//! where [`crate::feedback::marks`] says. The return path is rewritten only for tenants that opted in, since it moves
//! the bounces, and with them the domain that SPF looks at, away from the sender; and never where it is null, since a
//! report must not be answered (RFC 5321 §4.5.5). What users read, log and reports, keeps naming the original sender.
//!
//! The mark in the return path is the exception: it is that of the entry's *first* attempt over the binding. A receiver
//! that greylists lets in what it has seen before, and it knows a mail again by client, MAIL FROM and recipient
//! (RFC 6647 §2). With a return path that changes from try to try every retry would be the first one, until the mail expires.
//! So the entry remembers what went into its return path over each binding ([`ReturnPath`]), on disk with the rest of its
//! state; over another binding, which is another client to the receiver, there is another. It counts all who
//! waited at that time and not only those of the attempt, for it stands for all of them: those that a lease had no
//! room for leave with it too. What a crash makes the entry forget costs the receiver's patience once more, no mail.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::clock::Wall;
use crate::config::Config;
use crate::feedback::marks::{header_field, return_path};
use crate::feedback::token::{Attempted, Directory};
use crate::message::{BindingName, DestinationName, Domain, Entry, EntryState, Mailbox, ReturnPath, TenantName};

/// Bindings whose return path an entry remembers. Whoever comes back to one after eight others is a stranger there.
const RETURN_PATHS_KEPT: usize = 8;

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

    /// Marks an attempt to deliver `recipients` of `entry` over `binding` to `destination`, and notes in the entry's
    /// state what a rewritten return path was made of, for the next attempt.
    pub fn mark(
        &self,
        entry: &mut Entry,
        recipients: usize,
        binding: &BindingName,
        destination: &DestinationName,
        now: Wall,
    ) -> Marked {
        let seal = |entry: &Entry, at: Wall, recipients: u8| {
            self.directory.keys().seal(&Attempted {
                message: entry.message,
                at,
                recipients,
                tenant: entry.tenant.clone(),
                pool: entry.pool.clone(),
                binding: binding.clone(),
                destination: Some(destination.clone()),
            })
        };
        let mark = seal(entry, now, count(recipients));
        let domain = entry.reverse_path.as_ref().and_then(|_| self.return_paths.get(&entry.tenant));
        let rewritten = domain.and_then(|domain| {
            let (at, recipients) = first_over(&mut entry.state, binding, count(entry.recipients.len()), now);
            return_path(&seal(entry, at, recipients), domain)
        });
        Marked {
            head: header_field(&self.header, &mark).into(),
            reverse_path: rewritten.or_else(|| entry.reverse_path.clone()),
            envelope_id: Some(mark),
        }
    }
}

/// Time and recipients of the first attempt over `binding`; of this one where none is remembered.
fn first_over(state: &mut EntryState, binding: &BindingName, recipients: u8, now: Wall) -> (Wall, u8) {
    let paths = &mut state.return_paths;
    let known = paths.iter().position(|path| path.binding == *binding).map(|at| paths.remove(at));
    let path = known.unwrap_or_else(|| ReturnPath { binding: binding.clone(), at: now, recipients });
    let first = (path.at, path.recipients);
    if paths.len() >= RETURN_PATHS_KEPT {
        paths.remove(0);
    }
    paths.push(path);
    first
}

fn count(recipients: usize) -> u8 {
    u8::try_from(recipients).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::feedback::marks::of_return_path;
    use crate::feedback::token::Keys;
    use crate::message::{EntryId, MessageId, Wishes};

    const NOW: i64 = 1_795_000_000_000;

    fn config() -> Config {
        Config::from_toml(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [feedback]\naddresses = [\"fbl@relay.example.net\"]\nheader = \"X-Mark\"\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [binding.m2]\nbind_address = \"127.0.0.12\"\nehlo_hostname = \"m2.example.net\"\n\
             [pool.main]\nactive = [\"m1\", \"m2\"]\n\
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
            wishes: Wishes::NONE,
            state: EntryState::default(),
        }
    }

    fn with_recipients(mut entry: Entry, count: usize) -> Entry {
        let address: Mailbox = "ann@big.example".parse().expect("a mailbox");
        entry.recipients = vec![address.into(); count];
        entry
    }

    fn mark_over(binding: &str, entry: &mut Entry, recipients: usize, later: u64) -> Marked {
        let now = Wall::from_millis(NOW).plus(Duration::from_secs(later));
        marker().mark(entry, recipients, &binding.into(), &"big".into(), now)
    }

    fn mark(entry: &mut Entry, recipients: usize, later: u64) -> Marked {
        mark_over("m1", entry, recipients, later)
    }

    fn sealed_in(path: Option<Mailbox>) -> Attempted {
        let directory = marker().directory;
        let path = path.expect("not null");
        let opened = directory.keys().open(of_return_path(path.local_part()).expect("a mark")).expect("ours");
        directory.resolve(&opened, []).expect("known")
    }

    #[test]
    fn all_places_hold_one_mark_and_it_names_the_attempt() {
        let mut entry = with_recipients(entry("acme", "news@acme.example"), 300);
        let marked = mark(&mut entry, 300, 120);
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
            let mut entry = entry(tenant, from);
            let marked = mark(&mut entry, 1, 0);
            assert_eq!(marked.reverse_path, entry.reverse_path, "{tenant} {from}");
            assert_eq!(entry.state, EntryState::default(), "nothing to remember");
            assert!(marked.envelope_id.is_some() && !marked.head.is_empty());
        }
    }

    #[test]
    fn every_try_has_a_mark_of_its_own_and_the_return_path_of_the_first() {
        let mut entry = with_recipients(entry("acme", "news@acme.example"), 3);
        let first = mark(&mut entry, 3, 0);
        entry.recipients.truncate(2);
        let json = serde_json::to_string(&entry).expect("serialises");
        let mut entry: Entry = serde_json::from_str(&json).expect("an entry");
        let later = mark(&mut entry, 2, 600);
        assert_ne!(later.envelope_id, first.envelope_id);
        assert_ne!(later.head, first.head);
        assert_eq!(later.reverse_path, first.reverse_path);
        assert_eq!(sealed_in(later.reverse_path).recipients, 3, "it stands for all of them");
        assert_eq!(entry.state.return_paths.len(), 1);
    }

    #[test]
    fn each_binding_has_a_return_path_of_its_own_and_is_known_again() {
        let mut entry = with_recipients(entry("acme", "news@acme.example"), 1);
        let one = mark_over("m1", &mut entry, 1, 0);
        let two = mark_over("m2", &mut entry, 1, 60);
        assert_ne!(one.reverse_path, two.reverse_path);
        assert_eq!(sealed_in(two.reverse_path.clone()).binding, "m2".into());
        assert_eq!(mark_over("m1", &mut entry, 1, 120).reverse_path, one.reverse_path);
        assert_eq!(mark_over("m2", &mut entry, 1, 180).reverse_path, two.reverse_path);
    }

    #[test]
    fn those_a_lease_had_no_room_for_leave_by_the_same_return_path_and_are_counted() {
        let mut entry = with_recipients(entry("acme", "news@acme.example"), 5);
        let marked = mark(&mut entry, 2, 0);
        assert_eq!(sealed_in(marked.reverse_path).recipients, 5);
        let directory = marker().directory;
        assert_eq!(directory.keys().open(&marked.envelope_id.expect("a mark")).expect("ours").recipients, 2);
    }

    #[test]
    fn only_the_bindings_used_last_are_remembered() {
        let mut entry = with_recipients(entry("acme", "news@acme.example"), 1);
        for n in 0..20 {
            mark_over("m1", &mut entry, 1, n);
            mark_over(&format!("x{n}"), &mut entry, 1, n);
        }
        let names: Vec<&str> = entry.state.return_paths.iter().map(|path| path.binding.as_str()).collect();
        assert_eq!(names, ["x13", "x14", "x15", "x16", "x17", "x18", "m1", "x19"]);
        assert_eq!(entry.state.return_paths[6].at, Wall::from_millis(NOW), "still that of its first attempt");
    }

    #[test]
    fn entries_of_before_have_no_return_paths_and_write_none() {
        let entry = entry("bolt", "news@bolt.example");
        let json = serde_json::to_string(&entry).expect("serialises");
        assert!(!json.contains("return_paths"), "{json}");
        assert_eq!(serde_json::from_str::<Entry>(&json).expect("an entry"), entry);
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
