//! (shell) The users of the relay: the file, its present content, and the check of a password.
//!
//! The file is read at the start, when somebody asks for it ([`Users::reload`], [`read`] and [`Users::replace`]), and by
//! itself before a login when it is not the file it was (its time, size or inode differ): a new user can log in as soon
//! as the line is there. A file that cannot be used leaves the former users in force and says so once. Whether a
//! session's user is still there is asked again at each MAIL ([`Users::has`]).
//!
//! Hashing is slow by design, so it is done on threads for that, [`HASHING`] at once; [`WAITING_MAX`] may wait for their
//! turn, who comes then is put off. What decides is elsewhere: [`list`] reads and compares, [`brake`] knows who has to wait.

pub mod brake;
pub mod list;
pub mod scram;

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rand::{RngCore, SeedableRng};
use tokio::sync::Semaphore;

use self::brake::{Brake, name_key};
use self::list::{BYTES_MAX, BadUsers, List};
use self::scram::Verifier;
use super::{Caller, Credentials, Proof, Refusal};
use crate::clock::Clock;

/// Passwords that are hashed at the same time; each takes some 20 MiB of memory.
const HASHING: usize = 2;
/// Logins that wait for that.
const WAITING_MAX: usize = 64;
/// How long they do.
const WAIT: Duration = Duration::from_secs(15);

/// Why a file of users cannot be used. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be read.
    #[error("server.users_file {path}: cannot be read: {source}; the user that runs remuda must be able to")]
    Read {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: io::Error,
    },
    /// Others can read or write it.
    #[error("server.users_file {path}: its mode is {mode:04o}: others could read or change it; chmod 640 it")]
    Mode {
        /// The file.
        path: PathBuf,
        /// The permissions it has.
        mode: u32,
    },
    /// It holds something else.
    #[error("server.users_file {path}: {source}")]
    Bad {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: BadUsers,
    },
}

/// A file that was read and is not in force yet.
#[derive(Debug)]
pub struct Fresh {
    path: Option<PathBuf>,
    stamp: Option<Stamp>,
    list: Arc<List>,
}

impl Fresh {
    /// The users in it.
    pub fn list(&self) -> &List {
        &self.list
    }
}

/// What tells one state of a file from another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(file: &fs::Metadata) -> Self {
        Self {
            inode: file.ino(),
            size: file.size(),
            modified: (file.mtime(), file.mtime_nsec()),
            changed: (file.ctime(), file.ctime_nsec()),
        }
    }
}

/// Reads the file, without bringing it into force; `None` is no file, so nobody.
///
/// # Errors
/// Where it cannot be used.
pub fn read(path: Option<&Path>) -> Result<Fresh, Error> {
    let Some(path) = path else { return Ok(Fresh { path: None, stamp: None, list: Arc::default() }) };
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = File::open(path).map_err(failed)?;
    let about = file.metadata().map_err(failed)?;
    if !about.is_file() {
        return Err(failed(io::Error::other("not a regular file")));
    }
    // The group may read: the file can belong to root and be read by the relay.
    if about.mode() & 0o037 != 0 {
        return Err(Error::Mode { path: path.to_owned(), mode: about.mode() & 0o7777 });
    }
    let mut text = Vec::new();
    file.take(BYTES_MAX as u64 + 1).read_to_end(&mut text).map_err(failed)?;
    let list = List::parse(&text).map_err(|source| Error::Bad { path: path.to_owned(), source })?;
    Ok(Fresh { path: Some(path.to_owned()), stamp: Some(Stamp::of(&about)), list: Arc::new(list) })
}

/// How a login ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is that user.
    Accepted(String),
    /// There is no such user, or the password is another.
    Refused,
    /// Too many failures before; so long to wait.
    Braked(Duration),
    /// Too many logins at once.
    Busy,
    /// A fault of our own.
    Failed,
}

impl Verdict {
    /// All labels there are.
    pub const LABELS: [&'static str; 5] = ["accepted", "refused", "braked", "busy", "failed"];

    /// In one word, for the metrics.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Accepted(_) => "accepted",
            Self::Refused => "refused",
            Self::Braked(_) => "braked",
            Self::Busy => "busy",
            Self::Failed => "failed",
        }
    }

    /// The user, or the reply (RFC 4954 §6).
    ///
    /// # Errors
    /// Where it is not accepted.
    pub fn answer(self) -> Result<String, Refusal> {
        match self {
            Self::Accepted(user) => Ok(user),
            Self::Refused => Err(Refusal::new(535, 7, 8, "user name or password is wrong")),
            Self::Braked(_) => Err(Refusal::new(454, 7, 0, "too many failed logins, try again later")),
            Self::Busy => Err(Refusal::new(454, 7, 0, "too many logins at once, try again later")),
            Self::Failed => Err(Refusal::new(454, 7, 0, "temporary authentication failure")),
        }
    }
}

/// See the module.
pub struct Users {
    clock: Arc<dyn Clock>,
    seed: u64,
    now: Mutex<Now>,
    brake: Mutex<Brake>,
    waiting: Semaphore,
    hashing: Semaphore,
}

struct Now {
    fresh: Fresh,
    /// What was seen when the file was looked at last, good or not.
    seen: Option<Stamp>,
}

impl Users {
    /// Reads the file.
    ///
    /// # Errors
    /// Where it cannot be used.
    pub fn open(path: Option<&Path>, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let fresh = read(path)?;
        Ok(Self {
            clock,
            seed: rand::rngs::StdRng::from_os_rng().next_u64(),
            now: Mutex::new(Now { seen: fresh.stamp, fresh }),
            brake: Mutex::default(),
            waiting: Semaphore::new(WAITING_MAX),
            hashing: Semaphore::new(HASHING),
        })
    }

    /// Brings what was read into force, also where it is another file.
    pub fn replace(&self, fresh: Fresh) {
        let mut now = self.now.lock();
        now.seen = fresh.stamp;
        now.fresh = fresh;
    }

    /// Reads the present file anew; how many users there are now.
    ///
    /// # Errors
    /// Where it cannot be used; the former users stay in force.
    pub fn reload(&self) -> Result<usize, Error> {
        let path = self.now.lock().fresh.path.clone();
        let fresh = read(path.as_deref())?;
        let users = fresh.list.len();
        self.replace(fresh);
        Ok(users)
    }

    /// Whether there is this user now. Blocks for a look at the file's times, and to read it where it is another.
    pub fn has(&self, user: &str) -> bool {
        self.present().contains(user)
    }

    /// Whether all of them can log in with SCRAM. Blocks as [`Users::has`].
    pub fn has_scram(&self) -> bool {
        self.present().has_scram()
    }

    /// What SCRAM needs for somebody as whom `caller` wants to log in, or that they have to wait.
    ///
    /// # Errors
    /// The verdict, where they have to.
    pub fn verifier(&self, user: &str, caller: Caller) -> Result<Verifier, Verdict> {
        let client = caller.ip;
        let pause = self.brake.lock().pause(caller, name_key(user, self.seed), self.clock.now().mono);
        // As below, where the proof comes.
        if !pause.is_zero() && !client.to_canonical().is_loopback() {
            tracing::info!(%client, seconds = pause.as_secs() + 1, "login not tried: too many failed before");
            return Err(Verdict::Braked(pause));
        }
        Ok(self.present().verifier(user, self.seed))
    }

    /// Checks who a client says to be.
    pub async fn verify(self: &Arc<Self>, credentials: Credentials, caller: Caller) -> Verdict {
        let (client, user) = (caller.ip, name_key(&credentials.user, self.seed));
        let pause = self.brake.lock().pause(caller, user, self.clock.now().mono);
        // On loopback all programs of the machine share an address: there the right password counts whatever the others
        // tried. How fast they may try is what the places below allow.
        let is_shared = client.to_canonical().is_loopback();
        if !pause.is_zero() && !is_shared {
            tracing::info!(%client, seconds = pause.as_secs() + 1, "login not tried: too many failed before");
            return Verdict::Braked(pause);
        }
        let Credentials { user: name, proof } = credentials;
        let (checked, name) = match proof {
            Proof::Password(password) => {
                let Ok(_place) = self.waiting.try_acquire() else { return Verdict::Busy };
                let turn = tokio::time::timeout(WAIT, self.hashing.acquire()).await;
                let Ok(Ok(_turn)) = turn else { return Verdict::Busy };
                let this = Arc::clone(self);
                let checked = tokio::task::spawn_blocking(move || {
                    let list = this.present();
                    (list.check(&name, password.expose(), this.seed), name)
                });
                let Ok(checked) = checked.await else { return Verdict::Failed };
                checked
            }
            Proof::Checked(right) => {
                let known = self.has(&name);
                (list::Checked { known, right: right && known }, name)
            }
        };
        let (mut brake, now) = (self.brake.lock(), self.clock.now().mono);
        if checked.right {
            brake.succeeded(client, user, now);
            tracing::debug!(%client, user = name, "logged in");
            return Verdict::Accepted(name);
        }
        if !pause.is_zero() {
            tracing::info!(%client, seconds = pause.as_secs() + 1, "login refused: too many failed before");
            return Verdict::Braked(pause);
        }
        brake.failed(client, user, checked.known, now);
        // A name that nobody has may be a password in the wrong place.
        tracing::info!(%client, user = if checked.known { &name } else { "(unknown)" }, "login refused");
        Verdict::Refused
    }

    /// The users in force, read anew where the file is not what it was. Blocks.
    fn present(&self) -> Arc<List> {
        let mut now = self.now.lock();
        let Some(path) = now.fresh.path.clone() else { return Arc::clone(&now.fresh.list) };
        let stamp = fs::metadata(&path).ok().map(|about| Stamp::of(&about));
        if stamp != now.seen {
            now.seen = stamp;
            match read(Some(&path)) {
                Ok(fresh) => {
                    tracing::info!(path = %path.display(), users = fresh.list.len(), "server.users_file read anew");
                    now.seen = fresh.stamp;
                    now.fresh = fresh;
                }
                Err(error) => tracing::error!(%error, "server.users_file changed; the former users stay in force"),
            }
        }
        Arc::clone(&now.fresh.list)
    }
}

impl std::fmt::Debug for Users {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Users({:?})", self.now.lock().fresh.list)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use std::net::IpAddr;

    use super::list::tests::cheap;
    use super::*;
    use crate::clock::{ManualClock, Wall};
    use crate::ingress::Secret;

    struct World {
        directory: tempfile::TempDir,
        clock: ManualClock,
        users: Arc<Users>,
    }

    fn write(path: &Path, text: &str) {
        // Aside and renamed, as one should: it is another file then, whatever the clock of the disk says.
        let aside = path.with_extension("new");
        fs::write(&aside, text).expect("written");
        fs::set_permissions(&aside, fs::Permissions::from_mode(0o640)).expect("changed");
        fs::rename(&aside, path).expect("renamed");
    }

    fn world(text: &str) -> World {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("users");
        write(&path, text);
        let clock = ManualClock::at(Wall::from_millis(0));
        let users = Users::open(Some(&path), Arc::new(clock.clone())).expect("good");
        World { directory, clock, users: Arc::new(users) }
    }

    impl World {
        fn path(&self) -> PathBuf {
            self.directory.path().join("users")
        }

        async fn verdict(&self, user: &str, password: &str) -> Verdict {
            self.from([192, 0, 2, 1], user, password).await
        }

        async fn from(&self, client: [u8; 4], user: &str, password: &str) -> Verdict {
            let proof = Proof::Password(Secret::new(password.as_bytes().to_vec()));
            let credentials = Credentials { user: user.into(), proof };
            self.users.verify(credentials, IpAddr::from(client).into()).await
        }
    }

    #[tokio::test]
    async fn a_user_gets_in_with_the_password_and_nobody_without() {
        let world = world(&cheap("acme", "right"));
        assert_eq!(world.verdict("acme", "right").await, Verdict::Accepted("acme".into()));
        for (user, password) in [("acme", "wrong"), ("nobody", "right"), ("", "")] {
            assert_eq!(world.verdict(user, password).await, Verdict::Refused);
        }
        assert_eq!(format!("{:?}", world.users), "Users(List of 1 users)");
    }

    #[tokio::test]
    async fn a_changed_file_is_read_before_the_next_login_and_a_bad_one_changes_nothing() {
        let world = world(&cheap("acme", "one"));
        write(&world.path(), &cheap("acme", "two"));
        assert_eq!(world.verdict("acme", "one").await, Verdict::Refused);
        assert_eq!(world.verdict("acme", "two").await, Verdict::Accepted("acme".into()));
        write(&world.path(), "acme:two\n");
        assert_eq!(world.verdict("acme", "two").await, Verdict::Accepted("acme".into()));
        assert!(world.users.reload().is_err_and(|error| error.to_string().contains("line 1: no argon2id hash")));
        fs::remove_file(world.path()).expect("removed");
        assert_eq!(world.verdict("acme", "two").await, Verdict::Accepted("acme".into()));
        write(&world.path(), &[cheap("acme", "two"), cheap("b", "x")].join("\n"));
        assert_eq!(world.users.reload().expect("good"), 2);
        world.users.replace(read(None).expect("nobody"));
        assert_eq!(world.verdict("acme", "two").await, Verdict::Refused);
    }

    #[tokio::test]
    async fn failures_are_braked_without_hashing_until_the_pause_is_over() {
        let world = world(&cheap("acme", "right"));
        for _ in 0..6 {
            assert_eq!(world.verdict("acme", "wrong").await, Verdict::Refused);
        }
        assert_eq!(world.verdict("acme", "right").await, Verdict::Braked(Duration::from_secs(1)), "not even looked at");
        world.clock.advance(Duration::from_secs(1));
        assert_eq!(world.verdict("acme", "right").await, Verdict::Accepted("acme".into()));
    }

    #[tokio::test]
    async fn a_proof_is_booked_and_braked_as_a_password_is() {
        let world = world(&cheap("acme", "right"));
        let client = Caller::from(IpAddr::from([192, 0, 2, 1]));
        let proven = async |user: &str, right| {
            let credentials = Credentials { user: user.into(), proof: Proof::Checked(right) };
            world.users.verify(credentials, client).await
        };
        assert!(world.users.has_scram() && world.users.verifier("acme", client).expect("free").known);
        assert_eq!(proven("acme", true).await, Verdict::Accepted("acme".into()));
        assert_eq!(proven("nobody", true).await, Verdict::Refused, "a user who went meanwhile");
        for _ in 0..6 {
            assert_eq!(proven("acme", false).await, Verdict::Refused);
        }
        let second = Duration::from_secs(1);
        assert_eq!(world.users.verifier("acme", client), Err(Verdict::Braked(second)));
        assert_eq!(
            proven("acme", true).await,
            Verdict::Braked(second),
            "whoever began before does not get through either"
        );
        assert!(world.users.verifier("acme", IpAddr::from([192, 0, 2, 2]).into()).is_ok(), "another client");
    }

    #[tokio::test]
    async fn on_loopback_the_right_password_goes_through_whatever_others_tried() {
        let world = world(&cheap("acme", "right"));
        let near = [127, 0, 0, 1];
        for _ in 0..6 {
            assert_eq!(world.from(near, "acme", "wrong").await, Verdict::Refused);
        }
        assert_eq!(world.from(near, "acme", "wrong").await, Verdict::Braked(Duration::from_secs(1)));
        assert_eq!(world.from(near, "acme", "right").await, Verdict::Accepted("acme".into()));
    }

    #[tokio::test]
    async fn more_logins_than_can_wait_are_put_off() {
        let world = world(&cheap("acme", "right"));
        let _all = world.users.waiting.try_acquire_many(WAITING_MAX as u32).expect("free");
        assert_eq!(world.verdict("acme", "right").await, Verdict::Busy);
    }

    #[test]
    fn a_file_that_others_can_read_or_change_is_refused() {
        let world = world(&cheap("acme", "right"));
        for (mode, good) in
            [(0o600, true), (0o640, true), (0o400, true), (0o644, false), (0o660, false), (0o604, false)]
        {
            fs::set_permissions(world.path(), fs::Permissions::from_mode(mode)).expect("changed");
            let said = read(Some(&world.path())).map_err(|error| error.to_string());
            assert_eq!(said.is_ok(), good, "{mode:o}");
            assert!(said.err().is_none_or(|said| said.contains("chmod 640") && said.contains(&format!("{mode:04o}"))));
        }
        assert!(read(Some(world.directory.path())).is_err(), "a directory");
        assert!(
            read(Some(&world.directory.path().join("none"))).is_err_and(|e| e.to_string().contains("cannot be read"))
        );
    }

    #[test]
    fn every_verdict_has_its_reply() {
        let shown = |verdict: Verdict| match verdict.clone().answer() {
            Ok(user) => format!("{} {user}", verdict.label()),
            Err(refusal) => format!("{} {} {}", verdict.label(), refusal.code, refusal.enhanced),
        };
        let all = [
            Verdict::Accepted("a".into()),
            Verdict::Refused,
            Verdict::Braked(Duration::from_secs(1)),
            Verdict::Busy,
            Verdict::Failed,
        ];
        assert_eq!(all.each_ref().map(Verdict::label), Verdict::LABELS);
        assert_eq!(
            all.map(shown),
            ["accepted a", "refused 535 5.7.8", "braked 454 4.7.0", "busy 454 4.7.0", "failed 454 4.7.0"]
        );
    }
}
