//! From a complete SMTP transaction to durable entries: joins ingress, assignment and queue; reports go to their desk.
//!
//! What it goes by is replaced as a whole when the configuration changes: a message is assigned, marked and written down by
//! one configuration, the one in force when its last dot came.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::assignment::Assigner;
use crate::config::{Config, UnknownPolicy};
use crate::feedback::desk::Desk;
use crate::ingress::http::{Injecting, Note, Remembering};
use crate::ingress::prepare::{Prepared, Rules, complete, prepare, removed};
use crate::ingress::users::{Users, Verdict};
use crate::ingress::{
    Accepting, Addressee, Admission, Authenticating, Caller, Credentials, Fetching, Intake, Refusal, Room, Transaction,
};
use crate::message::{Mailbox, TenantName};
use crate::queue::dispatcher::Dispatcher;
use crate::signing::Signing;
use crate::store::SpoolError;
use crate::store::space::low_space;

/// The [`Intake`] of the running program.
pub struct Reception {
    dispatcher: Arc<Dispatcher>,
    state_dir: PathBuf,
    stopping: AtomicBool,
    in_force: RwLock<Arc<InForce>>,
    users: Arc<Users>,
    signing: Arc<Signing>,
}

struct InForce {
    config: Arc<Config>,
    assigner: Assigner,
    removed: Vec<String>,
    desk: Option<Arc<Desk>>,
    /// What all messages share while they are received.
    memory: Arc<Room>,
}

impl InForce {
    fn new(dispatcher: &Arc<Dispatcher>, before: Option<&Self>) -> Self {
        let config = dispatcher.config();
        let assigner = Assigner::new(&config);
        let desk = Desk::after(dispatcher, before.and_then(|before| before.desk.as_deref())).map(Arc::new);
        let memory = match before.filter(|before| before.config.server.memory == config.server.memory) {
            Some(before) => Arc::clone(&before.memory),
            // Messages that are being received keep their share of the old one.
            None => Arc::new(Room::undivided(config.server.memory)),
        };
        Self { removed: removed(&assigner), assigner, desk, memory, config }
    }
}

impl Reception {
    /// Takes mail in for `dispatcher`, from strangers only where they are one of `users`, and has it signed.
    pub fn new(dispatcher: Arc<Dispatcher>, users: Arc<Users>, signing: Arc<Signing>) -> Self {
        // A first failure is then a rise that a rule can see.
        for label in Verdict::LABELS {
            dispatcher.metrics().logins.with_label_values(&[label]).inc_by(0);
        }
        Self {
            state_dir: dispatcher.config().server.state_dir.clone(),
            stopping: AtomicBool::new(false),
            in_force: RwLock::new(Arc::new(InForce::new(&dispatcher, None))),
            dispatcher,
            users,
            signing,
        }
    }

    /// Goes by the configuration that the dispatcher has now. Transactions that wait for their answer go on as they began.
    pub fn reconfigure(&self) {
        let before = self.in_force();
        let next = InForce::new(&self.dispatcher, Some(&before));
        *self.in_force.write() = Arc::new(next);
    }

    /// Who may log in; read anew by [`Users::replace`].
    pub fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// What signs the mail; its keys are replaced by [`Signing::replace`].
    pub fn signing(&self) -> &Arc<Signing> {
        &self.signing
    }

    /// From now on new mail is put off.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// Where reports are taken in, if they are.
    pub fn desk(&self) -> Option<Arc<Desk>> {
        self.in_force().desk.clone()
    }

    fn in_force(&self) -> Arc<InForce> {
        Arc::clone(&self.in_force.read())
    }

    /// Puts the signatures on top; all entries have one tenant.
    async fn sign(&self, prepared: &mut Prepared) {
        let Some(tenant) = prepared.entries.first().map(|entry| entry.tenant.clone()) else { return };
        let body = std::mem::take(&mut prepared.body);
        prepared.body = self.signing.sign(&tenant, body, self.dispatcher.metrics()).await;
        let size = prepared.body.len() as u64;
        prepared.entries.iter_mut().for_each(|entry| entry.size = size);
    }

    fn refused(&self, reason: &str, refusal: Refusal) -> Refusal {
        self.dispatcher.metrics().refused_messages.with_label_values(&[reason]).inc();
        refusal
    }
}

impl Admission for Reception {
    fn ready(&self) -> Result<(), Refusal> {
        if self.stopping.load(Ordering::Relaxed) {
            return Err(Refusal::stopping());
        }
        match low_space(&self.state_dir, self.in_force().config.server.low_space_floor) {
            Ok(false) => Ok(()),
            Ok(true) => Err(self.refused("disk_full", Refusal::storage())),
            Err(error) => {
                tracing::error!(%error, "free space of server.state_dir cannot be read");
                Err(self.refused("disk_error", Refusal::local()))
            }
        }
    }

    fn addressee(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        self.desk().map_or(Ok(Addressee::Elsewhere), |desk| desk.addressee(to))
    }

    fn addressee_of_stranger(&self, to: &Mailbox) -> Result<Addressee, Refusal> {
        self.desk().map_or(Ok(Addressee::Elsewhere), |desk| desk.addressee_of_stranger(to))
    }

    fn has_user(&self, user: &str) -> bool {
        self.users.has(user)
    }

    fn memory(&self) -> Option<Arc<Room>> {
        Some(Arc::clone(&self.in_force().memory))
    }

    fn max_sessions(&self) -> u64 {
        self.in_force().config.server.max_sessions as u64
    }

    fn scram(&self) -> bool {
        self.users.has_scram()
    }

    fn sender(&self, user: &str, reverse_path: Option<&Mailbox>) -> Result<(), Refusal> {
        let in_force = self.in_force();
        let allowed = in_force.assigner.may_user_send(user, reverse_path);
        allowed.map_err(|why| self.refused("unassigned", Refusal::unassigned(&why, UnknownPolicy::Refuse)))
    }

    fn room(&self) -> Option<Arc<Room>> {
        self.desk().map(|desk| Arc::clone(desk.room()))
    }
}

impl Intake for Reception {
    fn accept(&self, transaction: Transaction) -> Accepting<'_> {
        self.accept_noting(transaction, None, Box::new(|_| Vec::new()))
    }

    fn authenticate(&self, credentials: Credentials, client: Caller) -> Authenticating<'_> {
        Box::pin(async move {
            let verdict = self.users.verify(credentials, client).await;
            self.dispatcher.metrics().logins.with_label_values(&[verdict.label()]).inc();
            verdict.answer()
        })
    }

    fn verifier<'a>(&'a self, user: &'a str, client: Caller) -> Fetching<'a> {
        Box::pin(async move {
            let fetched = self.users.verifier(user, client);
            fetched.map_err(|verdict| {
                self.dispatcher.metrics().logins.with_label_values(&[verdict.label()]).inc();
                verdict.answer().err().unwrap_or_else(Refusal::local)
            })
        })
    }
}

impl Injecting for Reception {
    fn accept_noting(&self, mut transaction: Transaction, owner: Option<TenantName>, note: Note) -> Accepting<'_> {
        Box::pin(async move {
            let in_force = self.in_force();
            if transaction.report {
                return match &in_force.desk {
                    Some(desk) => desk.take(transaction).await,
                    // Begun when reports were taken. Never relayed: its sender may be anybody.
                    None => Err(Refusal::local()),
                };
            }
            let config = &in_force.config;
            let rules = Rules {
                assigner: &in_force.assigner,
                removed: &in_force.removed,
                unknown: config.assignment.unknown,
                hostname: &config.server.hostname,
                queue: &config.queue,
            };
            let now = self.dispatcher.now().wall;
            if transaction.submission
                && let Some(body) = complete(&transaction.body, &config.server.hostname, self.dispatcher.next_id(), now)
            {
                transaction.body = body;
            }
            let mut prepared = prepare(&transaction, rules, &mut || self.dispatcher.next_id(), now)
                .map_err(|refusal| self.refused("unassigned", refusal))?;
            if owner.is_some_and(|owner| prepared.entries.iter().any(|entry| entry.tenant != owner)) {
                // Who was let in by another configuration than the one in force asks again.
                return Err(self.refused("unassigned", Refusal::local()));
            }
            // It was copied: a large one need not be there twice while it is signed and written.
            drop(transaction);
            self.sign(&mut prepared).await;
            let id = prepared.message;
            self.dispatcher.accept_with(id, prepared.body, prepared.entries, note(id)).await.map_err(|error| {
                let reason = if matches!(error, SpoolError::Full(_)) { "disk_full" } else { "disk_error" };
                tracing::error!(%error, id = %id, "message not accepted: it could not be written to disk");
                self.refused(reason, Refusal::from(&error))
            })?;
            Ok(id)
        })
    }

    fn remembered(&self, key: String) -> Remembering<'_> {
        let dispatcher = Arc::clone(&self.dispatcher);
        Box::pin(async move {
            // The disk may take its time.
            let found = tokio::task::spawn_blocking(move || dispatcher.spool().fact(&key)).await;
            found.map_err(|_| Refusal::local())?.map_err(|error| {
                tracing::error!(%error, "what was answered before cannot be read");
                Refusal::from(&error)
            })
        })
    }
}
