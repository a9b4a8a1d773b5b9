//! Takes reports in: read, attribute, book, write down, then say `250`.
//!
//! What has been told and what is passed on to the sender go to disk in one commit, before the evidence is observed and
//! before the reporter gets its `250`: what we could not write down, the reporter sends again, and what we wrote down is
//! a duplicate when it comes again. (A crash between the commit and the evidence loses that evidence. The other order
//! could blame twice.) Reports about one message take turns, so that two copies that arrive together count once.

mod tend;

pub use tend::tend;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::addresses::{Addressed, Addresses};
use super::aside::{Aside, Ring};
use super::book::{Booking, Question, Then, Verdict, book};
use super::read::{Kind, Mail, read};
use super::senders::Sender;
use super::shown::Refused;
use super::token::{Directory, Opened};
use super::told::Told;
use super::whose::{Whose, find};
use super::{marks, shown};
use crate::assignment::Assigner;
use crate::clock::Wall;
use crate::config::Feedback;
use crate::ingress::prepare::removed;
use crate::ingress::{Addressee, Refusal, Room, Transaction};
use crate::message::header::{Trace, rewrite};
use crate::message::{BindingName, DestinationName, Entry, EntryId, EntryState, Mailbox, MessageId, Wishes};
use crate::queue::core::Core;
use crate::queue::dispatcher::Dispatcher;
use crate::store::{Batch, Op, SpoolError};

/// Turns that reports about different messages take independently of each other.
const TURNS: usize = 64;
/// Mails read at the same time: strangers send them, and a large one keeps a processor busy for a while.
const READERS: usize = 2;
/// Octets of reports that strangers may have in memory, all sessions together, in reports of the largest size taken.
const LARGEST_REPORTS_HELD: u64 = 8;
/// A receiver may bounce faster than our own note of the delivery reaches the disk. Within this time after the attempt
/// (the mark knows it to the minute) an unknown sender is a reason to ask again later.
const SENDER_SOON_KNOWN: Duration = Duration::from_secs(120);
/// The stream that mail passed on belongs to.
const STREAM: &str = "default";

/// The place where reports are taken in.
pub struct Desk {
    dispatcher: Arc<Dispatcher>,
    directory: Arc<Directory>,
    feedback: Feedback,
    addresses: Addresses,
    aside: Arc<Aside>,
    room: Arc<Room>,
    readers: Arc<Semaphore>,
    refused: Arc<Refused>,
    /// Fields that do not go out with mail passed on.
    removed: Vec<String>,
    turns: Arc<[tokio::sync::Mutex<()>]>,
    /// Octets and the header's name → what they say.
    reader: fn(&[u8], &str) -> Mail,
}

/// What a report turned out to be.
struct Known<'a> {
    addressed: Addressed,
    whose: &'a Whose,
    sender: Option<Sender>,
    booking: &'a Booking,
}

impl Desk {
    /// A desk, where the configuration takes reports.
    pub fn new(dispatcher: &Arc<Dispatcher>) -> Option<Self> {
        Self::after(dispatcher, None)
    }

    /// A desk that takes over from one of an earlier configuration: reports about one message go on taking turns, those of
    /// strangers go on sharing their room.
    pub fn after(dispatcher: &Arc<Dispatcher>, before: Option<&Self>) -> Option<Self> {
        let config = dispatcher.config();
        let feedback = config.feedback.clone()?;
        let directory = dispatcher.directory()?;
        let room = |feedback: &Feedback| LARGEST_REPORTS_HELD.saturating_mul(feedback.max_report_bytes);
        let same_room = before.filter(|before| room(&before.feedback) == room(&feedback));
        let same_aside = before.filter(|before| before.feedback.unattributed_kept == feedback.unattributed_kept);
        let aside = || Arc::new(Aside::new(&config.server.state_dir, feedback.unattributed_kept));
        let turns = || (0..TURNS).map(|_| tokio::sync::Mutex::new(())).collect();
        Some(Self {
            addresses: Addresses::new(&config),
            aside: same_aside.map_or_else(aside, |before| Arc::clone(&before.aside)),
            room: same_room.map_or_else(|| Arc::new(Room::new(room(&feedback))), |before| Arc::clone(&before.room)),
            readers: before.map_or_else(|| Arc::new(Semaphore::new(READERS)), |before| Arc::clone(&before.readers)),
            refused: before.map_or_else(Arc::default, |before| Arc::clone(&before.refused)),
            removed: removed(&Assigner::new(&config)),
            turns: before.map_or_else(turns, |before| Arc::clone(&before.turns)),
            dispatcher: Arc::clone(dispatcher),
            directory,
            feedback,
            reader: read,
        })
    }

    /// Room for the reports of strangers, see [`crate::ingress::Admission::room`].
    pub fn room(&self) -> &Arc<Room> {
        &self.room
    }

    /// Whom a recipient means, see [`crate::ingress::Admission::addressee`].
    ///
    /// # Errors
    /// The reply to RCPT for what could only be ours and is not.
    pub fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        self.answer(self.addresses.addressed(to, self.directory.keys()))
    }

    /// The same for somebody who may not relay, see [`crate::ingress::Admission::addressee_of_stranger`].
    ///
    /// # Errors
    /// As [`Desk::addressee`].
    pub fn addressee_of_stranger(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        self.answer(self.addresses.addressed_by_stranger(to, self.directory.keys()))
    }

    fn answer(&self, addressed: Addressed) -> Result<Addressee, Refusal> {
        let reports = Ok(Addressee::Reports { max_bytes: self.feedback.max_report_bytes });
        let forged = match addressed {
            Addressed::Elsewhere => return Ok(Addressee::Elsewhere),
            Addressed::Reports | Addressed::ReturnPath => return reports,
            // Nobody would read it.
            Addressed::Postmaster if self.aside.keeps() => return reports,
            Addressed::Postmaster | Addressed::NoSuchAddress => false,
            Addressed::Forged => true,
        };
        self.refused.note(&self.dispatcher, forged, self.dispatcher.now().wall);
        Err(Refusal::new(550, 1, 1, "no such address"))
    }

    /// Takes a report in. Returns when everything that follows from it is on disk, with an id for the `250`.
    ///
    /// # Errors
    /// The reply to the reporter: the disk is full or broken, or its mail came before we knew whom it is about. Nothing
    /// counts then.
    pub async fn take(&self, transaction: Transaction) -> Result<MessageId, Refusal> {
        let Some(to) = transaction.recipients.first().map(|to| &to.address) else { return Err(Refusal::local()) };
        let now = self.dispatcher.now().wall;
        let addressed = self.addresses.addressed_by_stranger(to, self.directory.keys());
        let mail = self.read(&transaction, addressed).await;
        let mark = marks::of_return_path(to.local_part()).filter(|_| addressed == Addressed::ReturnPath);
        let whose = Whose::of(find(mark, &mail, &self.directory), &self.directory, |opened, by| self.site(opened, by));
        let turn = whose.message().map(|message| &self.turns[message.0 as usize % TURNS]);
        let _turn = match turn {
            Some(turn) => Some(turn.lock().await),
            None => None,
        };
        let sender = self.sender(whose.message())?;
        let booking = book(
            Question {
                mail: &mail,
                whose: &whose,
                told: self.told(whose.message())?,
                addresses: &self.addresses_of(&whose),
                sender: sender.as_ref().map(|sender| &sender.tenant),
                accept_for: self.feedback.accept_for,
            },
            &self.dispatcher.classifier(),
            now,
        );
        let id = MessageId(self.dispatcher.next_id());
        let done = self
            .write_down(&transaction, id, Known { addressed, whose: &whose, sender, booking: &booking }, now)
            .await?;
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
        // It is never closed.
        let _reader = self.readers.acquire().await.ok();
        let (body, header) = (transaction.body.clone(), self.feedback.header.clone());
        let reader = self.reader;
        let reading = tokio::task::spawn_blocking(move || reader(&body, &header));
        reading.await.unwrap_or_else(|gone| {
            tracing::error!(target: "feedback", %gone, "a report could not be read");
            nothing
        })
    }

    /// The destination of an attempt over this binding that went to no provider, as long as it is remembered.
    fn site(&self, opened: &Opened, by: &BindingName) -> Option<DestinationName> {
        let core = |core: &Core| {
            let resolved = self.directory.resolve(opened, core.reputation().destinations(by));
            resolved.ok()?.destination
        };
        self.dispatcher.with_core(core)
    }

    fn addresses_of(&self, whose: &Whose) -> Vec<std::net::IpAddr> {
        let bindings = &self.dispatcher.config().bindings;
        let binding = whose.attempted().and_then(|a| bindings.iter().find(|binding| binding.name == a.binding));
        binding.map_or_else(Vec::new, |b| b.own_addresses())
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
        known: Known<'_>,
        now: Wall,
    ) -> Result<&'static str, Refusal> {
        let Known { addressed, whose, sender, booking } = known;
        let mut facts = Batch::new();
        if let (Some(told), Some(message)) = (&booking.told, whose.message()) {
            facts.push(Op::PutFact(Told::key(message), told.to_json()));
        }
        let concerns_us = whose.found().is_some() || addressed == Addressed::Postmaster;
        let ring = match booking.then {
            Then::Nothing => None,
            Then::KeepReport => Some(Ring::Reports),
            Then::KeepAside => Some(if concerns_us { Ring::Ours } else { Ring::Strangers }),
            Then::PassOn => {
                let age = whose.found().map_or(Duration::MAX, |found| now.since(found.opened.at));
                // The mark of a return path knows the first try only; what is still in the spool was delivered just now.
                let in_spool = || {
                    let message = whose.found().map(|found| found.opened.message);
                    message.is_some_and(|message| !matches!(self.dispatcher.spool().body(message), Ok(None)))
                };
                if sender.is_none() && (age < SENDER_SOON_KNOWN || in_spool()) {
                    return Err(Refusal::new(451, 3, 0, "too early, try again in some minutes"));
                }
                if let Some((entry, body)) = sender.and_then(|sender| self.entry_for(&sender, transaction, id, now)) {
                    let taken = self.dispatcher.accept_with(id, body, vec![entry], facts).await;
                    return taken.map(|()| "passed_on").map_err(|error| self.refused(&error));
                }
                Some(if booking.verdict == Verdict::Booked { Ring::Reports } else { Ring::Ours })
            }
        };
        let done = match ring {
            None => "noted",
            Some(ring) => match (self.keep(ring, transaction, id, booking.verdict, now).await?, ring) {
                (false, _) => "dropped",
                (true, Ring::Reports) => "kept",
                (true, Ring::Ours | Ring::Strangers) => "kept_aside",
            },
        };
        if !facts.is_empty() {
            self.dispatcher.note(facts).await.map_err(|error| self.refused(&error))?;
        }
        Ok(done)
    }

    /// The sender of a message, where it is known.
    fn sender(&self, message: Option<MessageId>) -> Result<Option<Sender>, Refusal> {
        let Some(message) = message else { return Ok(None) };
        match self.dispatcher.spool().fact(&Sender::key(message)) {
            Ok(stored) => Ok(stored.as_deref().and_then(Sender::read)),
            Err(SpoolError::Corrupt { .. }) => Ok(None),
            Err(error) => Err(self.refused(&error)),
        }
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
        let body = rewrite(&transaction.body, self.trace(transaction, id, now).as_bytes(), &self.removed);
        let entry = Entry {
            id: EntryId(self.dispatcher.next_id()),
            message: id,
            tenant: tenant.name.clone(),
            stream: stream.clone(),
            pool: pool.clone(),
            domain: sender.address.domain(),
            reverse_path: None,
            recipients: vec![sender.address.clone().into()],
            arrived: now,
            expires: now.plus(config.queue.bounce_lifetime),
            size: body.len() as u64,
            eight_bit: transaction.eight_bit,
            wishes: Wishes::NONE,
            state: EntryState::default(),
        };
        Some((entry, body))
    }

    /// Our `Received:` line: by it a mail that goes in circles is known at the door.
    fn trace(&self, transaction: &Transaction, id: MessageId, now: Wall) -> String {
        let trace = Trace {
            helo: &transaction.helo,
            client: transaction.client.ip(),
            tls: transaction.tls.as_deref(),
            by: &self.dispatcher.config().server.hostname,
            protocol: transaction.protocol(),
            id,
            recipient: transaction.recipients.first().map(|to| &to.address),
            at: now,
        };
        trace.to_line()
    }

    /// Keeps a mail; whether it is kept.
    async fn keep(
        &self,
        ring: Ring,
        transaction: &Transaction,
        id: MessageId,
        verdict: Verdict,
        now: Wall,
    ) -> Result<bool, Refusal> {
        let from = transaction.reverse_path.as_ref().map_or("", Mailbox::as_str);
        let trace = self.trace(transaction, id, now);
        let head = format!("Return-Path: <{from}>\r\nX-Remuda-Verdict: {}\r\n{trace}", verdict.as_str());
        self.aside.keep(ring, head, transaction.body.clone(), id, now).await.map_err(|error| {
            tracing::error!(target: "feedback", %error, "report not kept aside; its sender will try again");
            Refusal::local()
        })
    }
}

#[cfg(test)]
mod tests;
