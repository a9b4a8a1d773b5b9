//! Takes reports in: read, attribute, book, write down, then say `250`.
//!
//! What has been told and what is passed on to the sender go to disk in one commit, before the evidence is observed and
//! before the reporter gets its `250`: what we could not write down, the reporter sends again, and what we wrote down is
//! a duplicate when it comes again. (A crash between the commit and the evidence loses that evidence. The other order
//! could blame twice.) Reports about one message take turns, so that two copies that arrive together count once.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::addresses::{Addressed, Addresses};
use super::aside::Aside;
use super::book::{Booking, Question, Then, Verdict, book};
use super::read::{Kind, Mail, read};
use super::senders::Sender;
use super::token::Directory;
use super::told::Told;
use super::whose::{Whose, find};
use super::{marks, second_hand, shown};
use crate::clock::Wall;
use crate::config::Feedback;
use crate::ingress::{Addressee, Refusal, Transaction};
use crate::message::header::Trace;
use crate::message::{DestinationName, Entry, EntryId, EntryState, Mailbox, MessageId, Recipient};
use crate::queue::dispatcher::Dispatcher;
use crate::reputation::Subject;
use crate::store::{Batch, Op, SpoolError};

/// Turns that reports about different messages take independently of each other.
const TURNS: usize = 64;
/// A receiver may bounce faster than our own note of the delivery reaches the disk. Within this time after the attempt
/// (the mark knows it to the minute) an unknown sender is a reason to ask again later.
const SENDER_SOON_KNOWN: Duration = Duration::from_secs(120);
/// The stream that mail passed on belongs to.
const STREAM: &str = "default";
/// How often old facts are looked for, how many are removed at a time, and the pause where there are more.
const TEND_EVERY: Duration = Duration::from_secs(60);
const REMOVED_AT_A_TIME: usize = 1000;
const TEND_PAUSE: Duration = Duration::from_millis(200);

/// The place where reports are taken in.
pub struct Desk {
    dispatcher: Arc<Dispatcher>,
    directory: Arc<Directory>,
    feedback: Feedback,
    addresses: Addresses,
    aside: Arc<Aside>,
    turns: Vec<tokio::sync::Mutex<()>>,
    /// Octets and the header's name → what they say.
    reader: fn(&[u8], &str) -> Mail,
}

impl Desk {
    /// A desk, where the configuration takes reports.
    pub fn new(dispatcher: &Arc<Dispatcher>) -> Option<Self> {
        let config = dispatcher.config();
        let feedback = config.feedback.clone()?;
        let directory = Arc::clone(dispatcher.directory()?);
        Some(Self {
            addresses: Addresses::new(config),
            aside: Arc::new(Aside::new(&config.server.state_dir, feedback.unattributed_kept)),
            turns: (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect(),
            dispatcher: Arc::clone(dispatcher),
            directory,
            feedback,
            reader: read,
        })
    }

    /// Whom a recipient means, see [`crate::ingress::Admission::addressee`].
    ///
    /// # Errors
    /// The reply to RCPT for what could only be ours and is not.
    pub fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        let no_such = || Err(Refusal::new(550, 1, 1, "no such address"));
        match self.addresses.addressed(to, self.directory.keys()) {
            Addressed::Elsewhere => Ok(Addressee::Elsewhere),
            Addressed::Reports | Addressed::ReturnPath | Addressed::Postmaster => {
                Ok(Addressee::Reports { max_bytes: self.feedback.max_report_bytes })
            }
            Addressed::NoSuchAddress => no_such(),
            Addressed::Forged => {
                shown::refused(&self.dispatcher, to, self.dispatcher.now().wall);
                no_such()
            }
        }
    }

    /// Takes a report in. Returns when everything that follows from it is on disk, with an id for the `250`.
    ///
    /// # Errors
    /// The reply to the reporter: the disk is full or broken, or its mail came before we knew whom it is about. Nothing
    /// counts then.
    pub async fn take(&self, transaction: Transaction) -> Result<MessageId, Refusal> {
        let Some(to) = transaction.recipients.first() else { return Err(Refusal::local()) };
        let now = self.dispatcher.now().wall;
        let addressed = self.addresses.addressed(to, self.directory.keys());
        let mail = self.read(&transaction, addressed).await;
        let mark = marks::of_return_path(to.local_part()).filter(|_| addressed == Addressed::ReturnPath);
        let whose = Whose::of(find(mark, &mail, &self.directory), &self.directory, || self.sites());
        let turn = whose.message().map(|message| &self.turns[message.0 as usize % TURNS]);
        let _turn = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let booking = book(
            Question {
                mail: &mail,
                whose: &whose,
                told: self.told(whose.message())?,
                addresses: &self.addresses_of(&whose),
                accept_for: self.feedback.accept_for,
            },
            self.dispatcher.classifier(),
            now,
        );
        let id = MessageId(self.dispatcher.next_id());
        let done = self.write_down(&transaction, id, &whose, &booking, now).await?;
        for evidence in &booking.evidence {
            self.dispatcher.observe(evidence.clone()).await;
        }
        shown::taken(&self.dispatcher, &mail, &whose, &booking, done, now);
        Ok(id)
    }

    /// Reads the mail, off the async threads: it may have megabytes. What the postmaster gets is for people.
    async fn read(&self, transaction: &Transaction, addressed: Addressed) -> Mail {
        let nothing = Mail { kind: Kind::NotABounce, recipients: Vec::new(), complaint: None, marks: Vec::new() };
        if addressed == Addressed::Postmaster {
            return nothing;
        }
        let (body, header) = (transaction.body.clone(), self.feedback.header.clone());
        let reader = self.reader;
        let reading = tokio::task::spawn_blocking(move || reader(&body, &header));
        reading.await.unwrap_or_else(|gone| {
            tracing::error!(target: "feedback", %gone, "a report could not be read");
            nothing
        })
    }

    /// Destinations that something is known about.
    fn sites(&self) -> Vec<DestinationName> {
        self.dispatcher.with_core(|core| {
            let route = |(subject, _)| match subject {
                Subject::Route(_, destination) => Some(destination),
                Subject::Binding(_) => None,
            };
            core.reputation().all().filter_map(route).collect()
        })
    }

    fn addresses_of(&self, whose: &Whose) -> Vec<std::net::IpAddr> {
        let bindings = &self.dispatcher.config().bindings;
        let binding = whose.attempted().and_then(|a| bindings.iter().find(|binding| binding.name == a.binding));
        binding.map_or_else(Vec::new, |b| second_hand::seen_by_the_world(b.public_address, b.bind_address))
    }

    fn told(&self, message: Option<MessageId>) -> Result<Told, Refusal> {
        let Some(message) = message else { return Ok(Told::default()) };
        match self.dispatcher.spool().fact(&Told::key(message)) {
            Ok(stored) => Ok(Told::read(stored.as_deref())),
            Err(error @ SpoolError::Corrupt { .. }) => {
                tracing::error!(target: "feedback", %error, "what was told about a message is unreadable; it counts as all told");
                Ok(Told::unreadable())
            }
            Err(error) => Err(self.refused(&error)),
        }
    }

    fn refused(&self, error: &SpoolError) -> Refusal {
        tracing::error!(target: "feedback", %error, "report not taken; its sender will try again");
        let reason = if matches!(error, SpoolError::Full(_)) { "disk_full" } else { "disk_error" };
        self.dispatcher.metrics().refused_messages.with_label_values(&[reason]).inc();
        Refusal::from(error)
    }

    /// Puts everything that follows on disk; gives what became of the mail, in a word.
    async fn write_down(
        &self,
        transaction: &Transaction,
        id: MessageId,
        whose: &Whose,
        booking: &Booking,
        now: Wall,
    ) -> Result<&'static str, Refusal> {
        let mut facts = Batch::new();
        if let (Some(told), Some(message)) = (&booking.told, whose.message()) {
            facts.push(Op::PutFact(Told::key(message), told.to_json()));
        }
        let sender = match booking.then {
            Then::PassOn => self.sender(whose, now)?,
            Then::KeepAside | Then::Nothing => None,
        };
        let done = match (&sender, booking.then) {
            (Some(sender), _) => {
                let entry = self.entry_for(sender, transaction, id, now);
                if let Some((entry, body)) = entry {
                    let taken = self.dispatcher.accept_with(id, body, vec![entry], facts).await;
                    return taken.map(|()| "passed_on").map_err(|error| self.refused(&error));
                }
                "kept_aside"
            }
            (None, Then::Nothing) => "noted",
            (None, _) => "kept_aside",
        };
        if done == "kept_aside" {
            self.keep_aside(transaction, id, booking.verdict, now).await?;
        }
        if !facts.is_empty() {
            self.dispatcher.note(facts).await.map_err(|error| self.refused(&error))?;
        }
        Ok(done)
    }

    /// The sender of the message a mail at a return path is about; `None` where that is not known any more.
    fn sender(&self, whose: &Whose, now: Wall) -> Result<Option<Sender>, Refusal> {
        let Some(found) = whose.found() else { return Ok(None) };
        let stored = match self.dispatcher.spool().fact(&Sender::key(found.opened.message)) {
            Ok(stored) => stored,
            Err(SpoolError::Corrupt { .. }) => return Ok(None),
            Err(error) => return Err(self.refused(&error)),
        };
        if stored.is_none() && now.since(found.opened.at) < SENDER_SOON_KNOWN {
            return Err(Refusal::new(451, 3, 0, "too early, try again in some minutes"));
        }
        Ok(stored.as_deref().and_then(Sender::read))
    }

    /// The mail as it goes on to the sender, with the null reverse path, whatever its own was: nobody is told when it
    /// cannot be delivered, as of any bounce. `None` where it would come back to us, or its tenant is gone.
    fn entry_for(
        &self,
        sender: &Sender,
        transaction: &Transaction,
        id: MessageId,
        now: Wall,
    ) -> Option<(Entry, bytes::Bytes)> {
        if self.addresses.addressed(&sender.address, self.directory.keys()) != Addressed::Elsewhere {
            return None;
        }
        let config = self.dispatcher.config();
        let tenant = config.tenants.iter().find(|tenant| tenant.name == sender.tenant)?;
        let (stream, pool) = tenant.pools.get_key_value(STREAM).or_else(|| tenant.pools.iter().next())?;
        let mut body = self.trace(transaction, id, now).into_bytes();
        body.extend_from_slice(&transaction.body);
        let entry = Entry {
            id: EntryId(self.dispatcher.next_id()),
            message: id,
            tenant: tenant.name.clone(),
            stream: stream.clone(),
            pool: pool.clone(),
            domain: sender.address.domain(),
            reverse_path: None,
            recipients: vec![Recipient { address: sender.address.clone(), state: Default::default() }],
            arrived: now,
            expires: now.plus(config.queue.bounce_lifetime),
            size: body.len() as u64,
            eight_bit: transaction.eight_bit,
            state: EntryState::default(),
        };
        Some((entry, body.into()))
    }

    /// Our `Received:` line: by it a mail that goes in circles is known at the door.
    fn trace(&self, transaction: &Transaction, id: MessageId, now: Wall) -> String {
        let trace = Trace {
            helo: &transaction.helo,
            client: transaction.client.ip(),
            by: &self.dispatcher.config().server.hostname,
            protocol: if transaction.esmtp { "ESMTP" } else { "SMTP" },
            id,
            recipient: transaction.recipients.first(),
            at: now,
        };
        trace.to_line()
    }

    async fn keep_aside(
        &self,
        transaction: &Transaction,
        id: MessageId,
        verdict: Verdict,
        now: Wall,
    ) -> Result<(), Refusal> {
        let from = transaction.reverse_path.as_ref().map_or("", Mailbox::as_str);
        let trace = self.trace(transaction, id, now);
        let head = format!("Return-Path: <{from}>\r\nX-Remuda-Verdict: {}\r\n{trace}", verdict.as_str());
        self.aside.keep(head, transaction.body.clone(), id, now).await.map_err(|error| {
            tracing::error!(target: "feedback", %error, "report not kept aside; its sender will try again");
            Refusal::local()
        })
    }

    /// Forgets what was told about, and who sent, messages that no report is accepted about any more. Runs until
    /// `stopped`.
    pub async fn tend(self: Arc<Self>, mut stopped: watch::Receiver<bool>) {
        let all = async {
            let mut places = [(Told::PREFIX, String::new()), (Sender::PREFIX, String::new())];
            loop {
                tokio::time::sleep(TEND_EVERY).await;
                for (prefix, after) in &mut places {
                    // All that is due, but in small steps: mail goes first.
                    while self.forget_old(prefix, after).await == REMOVED_AT_A_TIME {
                        tokio::time::sleep(TEND_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = all => {}
            _ = stopped.wait_for(|stop| *stop) => {}
        }
    }

    /// Removes the oldest facts of one kind, behind `after`, which moves on: what was removed before lies in the engine
    /// for a while and need not be stepped over again. How many were removed.
    async fn forget_old(&self, prefix: &'static str, after: &mut String) -> usize {
        let now = self.dispatcher.now().wall;
        // An attempt, from which the time for reports runs, may have been made as late as the end of the lifetime.
        let kept = self.feedback.accept_for + self.dispatcher.config().queue.lifetime;
        let (dispatcher, from) = (Arc::clone(&self.dispatcher), after.clone());
        let looking = tokio::task::spawn_blocking(move || {
            let first = dispatcher.spool().facts_first(prefix, &from, REMOVED_AT_A_TIME)?;
            let keys = first.into_iter().map(|(key, _)| key);
            Ok::<_, SpoolError>(keys.take_while(|key| is_over(key, prefix, kept, now)).collect::<Vec<_>>())
        });
        let old = match looking.await {
            Ok(Ok(old)) => old,
            Ok(Err(error)) => {
                tracing::warn!(target: "feedback", %error, "old facts not looked for");
                return 0;
            }
            Err(_) => return 0,
        };
        let Some(last) = old.last().cloned() else { return 0 };
        let count = old.len();
        match self.dispatcher.note(old.into_iter().map(Op::RemoveFact).collect()).await {
            Ok(()) => {
                *after = last;
                count
            }
            Err(error) => {
                tracing::warn!(target: "feedback", %error, "old facts not removed");
                0
            }
        }
    }
}

/// Whether the message of this fact was accepted longer ago than `kept`. A key without a message is of no use to anybody.
fn is_over(key: &str, prefix: &str, kept: Duration, now: Wall) -> bool {
    let message = key.strip_prefix(prefix).and_then(|id| id.parse::<MessageId>().ok());
    message.is_none_or(|message| now.since(message.time()) > kept)
}

#[cfg(test)]
#[path = "desk_tests.rs"]
mod tests;
