//! The file of users: who may log in, and what their passwords hash to.
//!
//! One line a user, `name:$argon2id$…` (a PHC string, as `remuda user hash` prints it), and behind a space what SCRAM-SHA-256
//! needs ([`super::scram`]), which may be missing; empty lines and lines that begin with `#` say nothing. A file with any line that is not so is refused as a whole, by the number of the line and never
//! by its text: it may hold a password that somebody wrote down as it is.
//!
//! A name that nobody has costs as much time as a wrong password: it is checked against the hash of some user, always the
//! same one for the same name, and found wrong whatever comes out. So neither one answer nor many tell who is a user.

use std::collections::HashMap;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::num::NonZeroU32;

use argon2::password_hash::PasswordHasher;
use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, Params, PasswordVerifier};
use siphasher::sip::SipHasher13;

use super::scram::{self, Verifier};

/// Octets of the file.
pub const BYTES_MAX: usize = 4 << 20;
/// Users in it.
const USERS_MAX: usize = 20_000;
/// Octets of a name.
const NAME_MAX: usize = 128;
/// Octets of a password.
pub const PASSWORD_MAX: usize = 512;
/// What one check may cost: memory in KiB, passes over it, lanes. A hash that asks for more could stop the relay.
const MEMORY_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;
const LANES_MAX: u32 = 16;
/// Stands in where there is no user at all; of the cost that `remuda user hash` chooses.
const NOBODY: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// What is wrong with a file of users.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadUsers {
    /// A line.
    #[error("line {line}: {what}")]
    Line {
        /// Its number, from 1.
        line: usize,
        /// What is wrong, and what to do.
        what: &'static str,
    },
    /// All of it.
    #[error("more than {USERS_MAX} users or {BYTES_MAX} octets")]
    TooBig,
    /// All of it.
    #[error("not UTF-8 text")]
    NotText,
}

/// Why a name or a password cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// The name.
    #[error(
        "a user name has 1 to {NAME_MAX} printable ASCII characters without spaces and colons, and no # at its start"
    )]
    Name,
    /// The password.
    #[error("a password has 1 to {PASSWORD_MAX} octets of UTF-8 without control characters")]
    Password,
    /// The hashing itself.
    #[error("the password could not be hashed")]
    Hash,
}

/// Users by name.
#[derive(Clone, Default)]
pub struct List {
    users: Vec<(String, PasswordHash)>,
    places: HashMap<String, usize>,
    scram: HashMap<String, Verifier>,
}

impl fmt::Debug for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "List of {} users", self.users.len())
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether there is such a user.
    pub known: bool,
    /// Whether that is their password.
    pub right: bool,
}

impl List {
    /// Reads a file's text.
    ///
    /// # Errors
    /// At the first line that is wrong.
    pub fn parse(text: &[u8]) -> Result<Self, BadUsers> {
        if text.len() > BYTES_MAX {
            return Err(BadUsers::TooBig);
        }
        let text = std::str::from_utf8(text).map_err(|_| BadUsers::NotText)?;
        let mut list = Self::default();
        for (n, line) in text.lines().enumerate() {
            let line = line.trim_end();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            list.add(line).map_err(|what| BadUsers::Line { line: n + 1, what })?;
            if list.users.len() > USERS_MAX {
                return Err(BadUsers::TooBig);
            }
        }
        Ok(list)
    }

    fn add(&mut self, line: &str) -> Result<(), &'static str> {
        let (name, hash) =
            line.split_once(':').ok_or("no colon; write name:hash, as `remuda user hash NAME` prints it")?;
        check_name(name).map_err(|_| "the name is no user name: printable ASCII without spaces and colons")?;
        let (hash, scram) = hash.split_once(' ').map_or((hash, None), |(hash, scram)| (hash, Some(scram.trim())));
        let hash = read_hash(hash)?;
        if let Some(scram) = scram {
            const NONE: &str =
                "what stands behind the hash is none of SCRAM-SHA-256; make the line with `remuda user hash NAME`";
            self.scram.insert(name.to_owned(), Verifier::parse(scram).ok_or(NONE)?);
        }
        if self.places.insert(name.to_owned(), self.users.len()).is_some() {
            return Err("this user is there already, in a line before; keep one of the two");
        }
        self.users.push((name.to_owned(), hash));
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.users.len()
    }

    /// Whether nobody can log in.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    /// Their names, in the order of the file.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.users.iter().map(|(name, _)| name.as_str())
    }

    /// Whether there is such a user.
    pub fn contains(&self, name: &str) -> bool {
        self.places.contains_key(name)
    }

    /// Whether every user can log in with SCRAM, and there is one.
    pub fn has_scram(&self) -> bool {
        !self.users.is_empty() && self.scram.len() == self.users.len()
    }

    /// What SCRAM needs of a user; of one who is not there something that looks alike.
    pub fn verifier(&self, name: &str, seed: u64) -> Verifier {
        self.scram.get(name).cloned().unwrap_or_else(|| {
            let stand_in = self.stand_in(name, seed).and_then(|place| self.users.get(place));
            let alike = stand_in.and_then(|(name, _)| self.scram.get(name));
            Verifier::of_nobody(name, seed, alike.map_or(scram::ITERATIONS, |alike| alike.iterations))
        })
    }

    /// Checks a password. Takes as long as hashing takes, for whichever name; `seed` is one number of the process's own
    /// that nobody can guess.
    pub fn check(&self, name: &str, password: &[u8], seed: u64) -> Checked {
        let place = self.places.get(name).copied();
        let nobody = PasswordHash::new(NOBODY);
        let hash = match place.or_else(|| self.stand_in(name, seed)).and_then(|place| self.users.get(place)) {
            Some((_, hash)) => hash,
            // The text above is one; were it not, nobody could log in, which is right where there is nobody.
            None => match &nobody {
                Ok(hash) => hash,
                Err(_) => return Checked { known: false, right: false },
            },
        };
        // One that is too long costs no more than one that is not.
        let fits = (1..=PASSWORD_MAX).contains(&password.len());
        let password = if fits { password } else { b"-" };
        let right = Argon2::default().verify_password(password, hash).is_ok();
        Checked { known: place.is_some(), right: right && fits && place.is_some() }
    }

    fn stand_in(&self, name: &str, seed: u64) -> Option<usize> {
        let mut hasher = SipHasher13::new_with_keys(seed, !seed);
        name.hash(&mut hasher);
        let count = u64::try_from(self.users.len()).unwrap_or(u64::MAX);
        usize::try_from(hasher.finish().checked_rem(count)?).ok()
    }
}

fn check_name(name: &str) -> Result<(), Unfit> {
    let fits = (1..=NAME_MAX).contains(&name.len())
        && !name.starts_with('#')
        && name.bytes().all(|octet| octet.is_ascii_graphic() && octet != b':');
    if fits { Ok(()) } else { Err(Unfit::Name) }
}

fn read_hash(text: &str) -> Result<PasswordHash, &'static str> {
    const NONE: &str = "no argon2id hash; make the line with `remuda user hash NAME`";
    let hash = PasswordHash::new(text).map_err(|_| NONE)?;
    let params = Params::try_from(&hash).map_err(|_| NONE)?;
    let whole = hash.salt.is_some() && hash.hash.as_ref().is_some_and(|output| output.len() >= 16);
    if hash.algorithm.as_str() != "argon2id" || !matches!(hash.version, None | Some(19)) || !whole {
        return Err(NONE);
    }
    if params.m_cost() > MEMORY_MAX || params.t_cost() > PASSES_MAX || params.p_cost() > LANES_MAX {
        return Err("this hash costs too much to check: at most m=262144 (KiB), t=16, p=16");
    }
    Ok(hash)
}

/// The line of a user; `salt` is random.
///
/// # Errors
/// Where the name or the password cannot be used.
pub fn line(name: &str, password: &[u8], salt: &[u8; 16]) -> Result<String, Unfit> {
    line_at((Params::DEFAULT, PASSES), name, password, salt)
}

/// Of SCRAM, at the usual cost.
const PASSES: NonZeroU32 = NonZeroU32::new(scram::ITERATIONS).unwrap();

fn line_at(
    (params, passes): (Params, NonZeroU32),
    name: &str,
    password: &[u8],
    salt: &[u8; 16],
) -> Result<String, Unfit> {
    check_name(name)?;
    let text = std::str::from_utf8(password).map_err(|_| Unfit::Password)?;
    if !(1..=PASSWORD_MAX).contains(&text.len()) || text.chars().any(char::is_control) {
        return Err(Unfit::Password);
    }
    let argon2 = Argon2::from(params);
    let hash: PasswordHash = argon2.hash_password_with_salt(password, salt).map_err(|_| Unfit::Hash)?;
    let scram = Verifier::of(password, salt, passes).map(|verifier| format!(" {}", verifier.to_text()));
    Ok(format!("{name}:{hash}{}", scram.unwrap_or_default()))
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A line whose check costs next to nothing.
    pub(crate) fn cheap(name: &str, password: &str) -> String {
        let params = Params::new(8, 1, 1, None).expect("valid");
        line_at((params, NonZeroU32::new(4096).expect("not 0")), name, password.as_bytes(), &[7; 16]).expect("a line")
    }

    #[test]
    fn a_line_made_here_lets_its_user_in_and_nobody_else() {
        let text = format!("# users\n\n{}\n{}\r\n", cheap("acme", "s3cret pass"), cheap("b@example.org", "p\u{e4}ss"));
        let list = List::parse(text.as_bytes()).expect("good");
        assert_eq!((list.len(), list.contains("acme"), list.contains("Acme")), (2, true, false));
        for (name, password, known, right) in [
            ("acme", "s3cret pass", true, true),
            ("b@example.org", "p\u{e4}ss", true, true),
            ("acme", "s3cret pas", true, false),
            ("acme", "", true, false),
            ("acme", "p\u{e4}ss", true, false),
            ("ACME", "s3cret pass", false, false),
            ("", "s3cret pass", false, false),
            ("nobody", "p\u{e4}ss", false, false),
        ] {
            assert_eq!(list.check(name, password.as_bytes(), 1), Checked { known, right }, "{name} {password}");
        }
        assert!(!list.check("acme", &[b'x'; 4096], 1).right);
        assert_eq!(format!("{list:?}"), "List of 2 users");
    }

    #[test]
    fn what_scram_needs_stands_behind_the_hash_and_is_offered_where_all_have_it() {
        let (both, umlaut) = (cheap("acme", "s3cret pass"), cheap("b", "p\u{e4}ss"));
        assert!(both.contains(" SCRAM-SHA-256$4096:") && !umlaut.contains("SCRAM"), "{both} {umlaut}");
        let list = List::parse(both.as_bytes()).expect("good");
        assert!(list.has_scram() && list.verifier("acme", 1).known && !list.verifier("nobody", 1).known);
        let list = List::parse(format!("{both}\n{umlaut}\n").as_bytes()).expect("good");
        assert!(!list.has_scram() && !List::default().has_scram() && !list.verifier("b", 1).known);
        let said = List::parse(both.replace("$4096:", "$1:").as_bytes()).expect_err("bad").to_string();
        assert!(said.starts_with("line 1: what stands behind the hash is none of SCRAM-SHA-256"), "{said}");
    }

    #[test]
    fn the_password_of_a_stand_in_opens_nothing() {
        // With one user every unknown name is checked against that one's hash.
        let list = List::parse(cheap("acme", "open").as_bytes()).expect("good");
        assert!((0..20).all(|seed| !list.check("ghost", b"open", seed).right));
        let (first, again) = (list.stand_in("ghost", 5), list.stand_in("ghost", 5));
        assert_eq!(first, again, "always the same for the same name");
        assert_eq!(List::default().check("ghost", b"x", 1), Checked { known: false, right: false });
        assert!(read_hash(NOBODY).is_ok(), "where there is nobody, a hash of the usual cost stands in");
    }

    #[test]
    fn a_bad_file_is_refused_by_line_and_repeats_nothing() {
        let good = cheap("a", "x");
        let dear = NOBODY.replace("m=19456", "m=4194304");
        let slow = NOBODY.replace("t=2", "t=1000");
        for (text, says) in [
            ("a hunter2\n".to_owned(), "line 1: no colon"),
            ("\n# x\na:hunter2\n".to_owned(), "line 3: no argon2id hash; make the line with `remuda user hash NAME`"),
            (format!("{good}\n{good}\n"), "line 2: this user is there already"),
            (format!(" {good}\n"), "line 1: the name is no user name"),
            (format!(":{NOBODY}\n"), "line 1: the name is no user name"),
            ("a:$2y$10$hunter2\n".to_owned(), "line 1: no argon2id hash"),
            (format!("a:{}", NOBODY.replace("argon2id", "argon2i")), "line 1: no argon2id hash"),
            (format!("a:{}", NOBODY.replace("v=19", "v=16")), "line 1: no argon2id hash"),
            (format!("a:{}", &NOBODY[..53]), "line 1: no argon2id hash"),
            (format!("a:{dear}"), "line 1: this hash costs too much"),
            (format!("a:{slow}"), "line 1: this hash costs too much"),
            ("x".repeat(BYTES_MAX + 1), "more than"),
        ] {
            let said = List::parse(text.as_bytes()).expect_err("bad").to_string();
            assert!(said.starts_with(says) && !said.contains("hunter2"), "{said}");
        }
        assert_eq!(List::parse(b"\xff").map(|_| ()), Err(BadUsers::NotText));
        assert!(List::parse(b"").expect("good").is_empty());
    }

    #[test]
    fn names_and_passwords_that_no_client_could_send_are_refused() {
        for name in ["", "a b", "a:b", "\u{e4}", "#a", "a\n", &"x".repeat(129)] {
            assert_eq!(line(name, b"password", &[0; 16]), Err(Unfit::Name), "{name:?}");
        }
        for password in [&b""[..], b"a\0b", b"line\n", b"\xff", &[b'x'; 513]] {
            assert_eq!(line("a", password, &[0; 16]), Err(Unfit::Password), "{password:?}");
        }
    }

    proptest! {
        #[test]
        fn any_file_is_read_or_refused(text in "[a:$=, #\\n0-9argonid{}v]{0,200}") {
            let _ = List::parse(text.as_bytes());
        }
    }
}
