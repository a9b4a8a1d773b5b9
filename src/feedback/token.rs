//! The sealed mark of one delivering attempt: attempt ↔ 58 letters.
//!
//! Everything needed to attribute a report is inside, so nothing has to be stored per message, a crash forgets nothing,
//! and every node that holds the keys can read the marks of the others. Names are not inside but their keyed hashes
//! ([`Directory`] finds the name again): of fixed length, and meaningless to whoever reads the header. The recipient is
//! not inside at all.
//!
//! ```text
//!   version 1 │ message id 8 │ minutes since its acceptance 2 │ recipients 1 │ tenant, pool, binding, destination 4 × 4 │ seal 8
//! ```
//!
//! 36 octets, in base 32 of lower-case letters and digits (receivers fold the case of local parts). The seal is
//! SipHash-2-4, a MAC made for short inputs, with 64 bits: guessing one is a matter of 2⁶³ mails. A mark can be read off any message
//! that was delivered, so it proves that we sent the message, not that its bearer tells the truth; what one mark can do
//! is bounded where reports are booked.

use std::fmt;
use std::hash::Hasher;
use std::time::Duration;

use siphasher::sip::SipHasher24;

use crate::clock::Wall;
use crate::config::Config;
use crate::message::{BindingName, DestinationName, MessageId, PoolName, TenantName};

/// Letters of a mark.
pub const LENGTH: usize = 58;

const VERSION: u8 = 1;
const SEALED: usize = 28;
const OCTETS: usize = SEALED + 8;
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// One attempt, as far as a report about it must know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempted {
    /// The message.
    pub message: MessageId,
    /// When the attempt was made, to the minute.
    pub at: Wall,
    /// Recipients of the attempt; 255 also stands for more.
    pub recipients: u8,
    /// Whose mail.
    pub tenant: TenantName,
    /// Its pool.
    pub pool: PoolName,
    /// The binding that carried it.
    pub binding: BindingName,
    /// Where to; `None` when it is a site that is not known any more.
    pub destination: Option<DestinationName>,
}

/// A mark that is ours; its names are still hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// The message.
    pub message: MessageId,
    /// When the attempt was made, to the minute.
    pub at: Wall,
    /// Recipients of the attempt; 255 also stands for more.
    pub recipients: u8,
    /// Which of the keys sealed it.
    key: usize,
    tags: [u32; 4],
}

impl Opened {
    /// What stands for the destination: the same for all attempts to reach it.
    pub fn destination_tag(&self) -> u32 {
        self.tags[3]
    }
}

/// Why a text is no mark of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotOurs {
    /// Not the shape of a mark.
    #[error("not a mark")]
    Shape,
    /// The shape of one, but not sealed with a key of ours.
    #[error("forged, or sealed with a key that is gone")]
    Forged,
}

/// A mark whose attempt cannot be told any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("its {0} is no longer configured")]
pub struct Gone(pub &'static str);

/// Why a key file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadKeys {
    /// A line is no key.
    #[error("line {0}: a key is 64 hexadecimal digits")]
    Line(usize),
    /// There is none.
    #[error("holds no key")]
    Empty,
}

#[derive(Clone)]
struct Key {
    seal: [u8; 16],
    names: [u8; 16],
}

impl Key {
    fn new(octets: [u8; 32]) -> Self {
        let (mut seal, mut names) = ([0; 16], [0; 16]);
        seal.copy_from_slice(&octets[..16]);
        names.copy_from_slice(&octets[16..]);
        Self { seal, names }
    }

    fn seal(&self, octets: &[u8]) -> [u8; 8] {
        let mut hasher = SipHasher24::new_with_key(&self.seal);
        hasher.write(octets);
        hasher.finish().to_be_bytes()
    }

    fn tag(&self, kind: u8, name: &str) -> u32 {
        let mut hasher = SipHasher24::new_with_key(&self.names);
        hasher.write(&[kind]);
        hasher.write(name.as_bytes());
        hasher.finish() as u32
    }
}

/// The keys: the first seals, all open.
#[derive(Clone)]
pub struct Keys(Vec<Key>);

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Keys({})", self.0.len())
    }
}

impl Keys {
    /// Reads a key file: one key a line, 64 hexadecimal digits; empty lines and those that begin with `#` do not count.
    ///
    /// # Errors
    /// The first line that is no key, or that there is none.
    pub fn parse(text: &str) -> Result<Self, BadKeys> {
        let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
        let keys = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let keys: Vec<Key> =
            keys.map(|(at, line)| unhex(line).map(Key::new).ok_or(BadKeys::Line(at))).collect::<Result<_, _>>()?;
        if keys.is_empty() { Err(BadKeys::Empty) } else { Ok(Self(keys)) }
    }

    /// The text of a key file with this one key, made of random octets.
    pub fn file_text(random: [u8; 32]) -> String {
        let hex: String = random.iter().map(|octet| format!("{octet:02x}")).collect();
        format!(
            "# Seals the marks by which bounces and complaints are attributed. Secret. To change it, put a new line of 64\n\
             # hexadecimal digits first and keep the old ones for as long as reports may come in.\n{hex}\n"
        )
    }

    /// The mark of an attempt.
    pub fn seal(&self, attempted: &Attempted) -> String {
        let Some(key) = self.0.first() else { return String::new() };
        let mut octets = [0u8; OCTETS];
        octets[0] = VERSION;
        octets[1..9].copy_from_slice(&attempted.message.0.to_be_bytes());
        let minutes = attempted.at.since(attempted.message.time()).as_secs() / 60;
        octets[9..11].copy_from_slice(&u16::try_from(minutes).unwrap_or(u16::MAX).to_be_bytes());
        octets[11] = attempted.recipients;
        let destination = attempted.destination.as_ref().map_or("", |name| name.as_str());
        let names = [attempted.tenant.as_str(), attempted.pool.as_str(), attempted.binding.as_str(), destination];
        for (kind, name) in names.iter().enumerate() {
            octets[12 + kind * 4..16 + kind * 4].copy_from_slice(&key.tag(kind as u8, name).to_be_bytes());
        }
        let seal = key.seal(&octets[..SEALED]);
        octets[SEALED..].copy_from_slice(&seal);
        encode(&octets)
    }

    /// Opens a mark.
    ///
    /// # Errors
    /// Where it is none, or none of ours.
    pub fn open(&self, text: &str) -> Result<Opened, NotOurs> {
        let octets = decode(text).ok_or(NotOurs::Shape)?;
        if octets[0] != VERSION {
            return Err(NotOurs::Shape);
        }
        let (sealed, seal) = octets.split_at(SEALED);
        let key = self.0.iter().position(|key| key.seal(sealed) == seal).ok_or(NotOurs::Forged)?;
        let message = MessageId(u64::from_be_bytes(array(&octets[1..9])));
        let minutes = u16::from_be_bytes(array(&octets[9..11]));
        let tags = [0, 1, 2, 3].map(|kind: usize| u32::from_be_bytes(array(&octets[12 + kind * 4..16 + kind * 4])));
        Ok(Opened {
            message,
            at: message.time().plus(Duration::from_secs(u64::from(minutes) * 60)),
            recipients: octets[11],
            key,
            tags,
        })
    }
}

/// Finds names by their hashes.
#[derive(Clone, Debug)]
pub struct Directory {
    keys: Keys,
    tenants: Vec<TenantName>,
    pools: Vec<PoolName>,
    bindings: Vec<BindingName>,
    providers: Vec<DestinationName>,
}

impl Directory {
    /// The names of a configuration.
    pub fn new(keys: Keys, config: &Config) -> Self {
        Self {
            keys,
            tenants: config.tenants.iter().map(|tenant| tenant.name.clone()).collect(),
            pools: config.pools.iter().map(|pool| pool.name.clone()).collect(),
            bindings: config.bindings.iter().map(|binding| binding.name.clone()).collect(),
            providers: config.providers.iter().map(|p| DestinationName::new(p.name.as_str())).collect(),
        }
    }

    /// The keys.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The attempt of an opened mark. `sites` are destinations known besides the providers.
    ///
    /// # Errors
    /// Where tenant, pool or binding are no longer configured. A destination that is not known any more is none.
    pub fn resolve<'a>(
        &self,
        opened: &Opened,
        sites: impl IntoIterator<Item = &'a DestinationName>,
    ) -> Result<Attempted, Gone> {
        let Some(key) = self.keys.0.get(opened.key) else { return Err(Gone("key")) };
        let is = |kind: usize, name: &str| key.tag(kind as u8, name) == opened.tags[kind];
        Ok(Attempted {
            message: opened.message,
            at: opened.at,
            recipients: opened.recipients,
            tenant: self.tenants.iter().find(|name| is(0, name.as_str())).cloned().ok_or(Gone("tenant"))?,
            pool: self.pools.iter().find(|name| is(1, name.as_str())).cloned().ok_or(Gone("pool"))?,
            binding: self.bindings.iter().find(|name| is(2, name.as_str())).cloned().ok_or(Gone("binding"))?,
            destination: match self.providers.iter().find(|name| is(3, name.as_str())) {
                Some(provider) => Some(provider.clone()),
                None => sites.into_iter().find(|name| is(3, name.as_str())).cloned(),
            },
        })
    }
}

fn array<const N: usize>(octets: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(octets);
    out
}

fn unhex(line: &str) -> Option<[u8; 32]> {
    let mut out = [0u8; 32];
    if line.len() != 64 || !line.is_ascii() {
        return None;
    }
    for (octet, pair) in out.iter_mut().zip(line.as_bytes().chunks(2)) {
        *octet = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

fn encode(octets: &[u8; OCTETS]) -> String {
    let mut text = String::with_capacity(LENGTH);
    let (mut bits, mut count) = (0u32, 0);
    for octet in octets {
        bits = (bits << 8) | u32::from(*octet);
        count += 8;
        while count >= 5 {
            count -= 5;
            text.push(ALPHABET[(bits >> count) as usize & 31] as char);
        }
    }
    if count > 0 {
        text.push(ALPHABET[(bits << (5 - count)) as usize & 31] as char);
    }
    text
}

/// The one text of each mark only: the two bits left over must be zero.
fn decode(text: &str) -> Option<[u8; OCTETS]> {
    if text.len() != LENGTH {
        return None;
    }
    let mut octets = [0u8; OCTETS];
    let (mut bits, mut count, mut at) = (0u32, 0, 0);
    for byte in text.bytes() {
        let digit = ALPHABET.iter().position(|&letter| letter == byte.to_ascii_lowercase())?;
        bits = (bits << 5) | digit as u32;
        count += 5;
        if count >= 8 {
            count -= 8;
            *octets.get_mut(at)? = (bits >> count) as u8;
            at += 1;
        }
    }
    (at == OCTETS && bits & ((1 << count) - 1) == 0).then_some(octets)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use self::fixtures::*;
    use super::*;

    pub(crate) mod fixtures {
        use super::*;

        pub fn keys(octet: u8) -> Keys {
            Keys::parse(&Keys::file_text([octet; 32])).expect("a key")
        }

        pub fn attempted() -> Attempted {
            let message = MessageId(0x0001_9f00_1234_5678);
            Attempted {
                message,
                at: message.time().plus(Duration::from_secs(120)),
                recipients: 3,
                tenant: "acme".into(),
                pool: "main".into(),
                binding: "mta1".into(),
                destination: Some("gmail".into()),
            }
        }

        pub fn directory(keys: Keys) -> Directory {
            Directory {
                keys,
                tenants: vec!["bolt".into(), "acme".into()],
                pools: vec!["main".into()],
                bindings: vec!["mta2".into(), "mta1".into()],
                providers: vec!["outlook".into(), "gmail".into()],
            }
        }
    }

    #[test]
    fn a_mark_comes_back_as_the_attempt_it_was_made_of() {
        let directory = directory(keys(7));
        let text = directory.keys().seal(&attempted());
        assert_eq!(text.len(), LENGTH);
        let opened = directory.keys().open(&text.to_ascii_uppercase()).expect("ours, in whatever case");
        assert_eq!(directory.resolve(&opened, []), Ok(attempted()));
    }

    #[test]
    fn a_changed_letter_or_another_key_is_a_forgery() {
        let keys = keys(7);
        let text = keys.seal(&attempted());
        for at in 2..LENGTH {
            let mut changed = text.clone().into_bytes();
            changed[at] = if changed[at] == b'0' { b'1' } else { b'0' };
            let changed = String::from_utf8(changed).expect("ASCII");
            assert!(keys.open(&changed).is_err(), "letter {at}");
        }
        assert_eq!(fixtures::keys(8).open(&text), Err(NotOurs::Forged));
        assert_eq!(keys.open("b-tooshort"), Err(NotOurs::Shape));
    }

    #[test]
    fn marks_of_an_old_key_stay_good_while_it_is_in_the_file() {
        let old = keys(1).seal(&attempted());
        let both = Keys::parse(&format!("{}{}", Keys::file_text([2; 32]), Keys::file_text([1; 32]))).expect("two");
        let directory = directory(both);
        let opened = directory.keys().open(&old).expect("known");
        assert_eq!(directory.resolve(&opened, []), Ok(attempted()));
        assert_ne!(directory.keys().seal(&attempted()), old);
    }

    #[test]
    fn what_is_no_longer_configured_is_named() {
        let directory = directory(keys(7));
        let sealed = |attempted: Attempted| directory.keys().open(&directory.keys().seal(&attempted)).expect("ours");
        let gone = sealed(Attempted { binding: "mta9".into(), ..attempted() });
        assert_eq!(directory.resolve(&gone, []), Err(Gone("binding")));
        let site: DestinationName = "site:mx.example.org".into();
        let elsewhere = Attempted { destination: Some(site.clone()), ..attempted() };
        let opened = sealed(elsewhere.clone());
        assert_eq!(directory.resolve(&opened, []).expect("known").destination, None);
        assert_eq!(directory.resolve(&opened, [&site]), Ok(elsewhere));
    }

    #[test]
    fn key_files_say_where_they_are_wrong() {
        assert_eq!(Keys::parse("# nothing\n\n").map(|_| ()), Err(BadKeys::Empty));
        assert_eq!(Keys::parse("# x\nabc\n").map(|_| ()), Err(BadKeys::Line(2)));
        assert!(!format!("{:?}", keys(7)).contains("07"));
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange_to_be_opened(text in "\\PC{0,80}") {
            prop_assert!(keys(7).open(&text).is_err());
        }

        #[test]
        fn base_32_is_one_to_one(octets in proptest::array::uniform32(any::<u8>()), rest in any::<u32>()) {
            let mut all = [0u8; OCTETS];
            all[..32].copy_from_slice(&octets);
            all[32..].copy_from_slice(&rest.to_be_bytes());
            prop_assert_eq!(decode(&encode(&all)), Some(all));
        }
    }
}
