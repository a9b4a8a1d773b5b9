//! Whose mail a report is about: the marks it brings → the attempt that delivered.
//!
//! The address it was sent to is the best witness, since the mark in it was sealed by us and nothing else brings a mail
//! there. Next come the places inside the report, in the order of the reader's trust. A mark at a less trusted place that
//! names another message means nothing: a sender may have written an old `Return-Path:` into its mail, a report may quote
//! another. Where two marks of the *same* place name different messages, somebody has put together what does not belong
//! together (a mail forwarded by hand, a forger with two mails of ours): the first still says to whom the report may be
//! passed on, but nobody is held to account by it.
//!
//! A return path may stay the same from attempt to attempt, so that a greylisting receiver knows it again; then the header
//! or the envelope id knows better when the attempt was made. Of marks of the same message and binding the latest tells.

use super::read::{Mail, Place};
use super::token::{Attempted, Directory, Gone, NotOurs, Opened};
use super::told;
use crate::message::{BindingName, DestinationName, MessageId};

/// Marks of one mail that are looked at: more than there are places for one.
const MARKS_MAX: usize = 16;

/// A mark of ours, opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// Where it was.
    pub place: Place,
    /// Its text.
    pub text: String,
    /// What it says.
    pub opened: Opened,
    /// Another mark of ours at the same place names another message.
    pub contradicted: bool,
}

/// What the marks of a mail say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Marks {
    /// There is none.
    None,
    /// There are some, all with seals that are not ours; where the first was.
    Forged(Place),
    /// One of ours.
    Ours(Found),
}

/// Looks for the mark that counts. `envelope` is the one in the address the mail was sent to.
pub fn find(envelope: Option<&str>, mail: &Mail, directory: &Directory) -> Marks {
    let envelope = envelope.map(|text| (Place::Recipient, text));
    let inside = mail.marks.iter().map(|(place, text)| (*place, text.as_str()));
    let mut forged = None;
    let mut ours: Vec<(Place, &str, Opened)> = Vec::new();
    for (place, text) in envelope.into_iter().chain(inside).take(MARKS_MAX) {
        match directory.keys().open(text) {
            Ok(opened) => ours.push((place, text, opened)),
            Err(NotOurs::Forged) => forged = forged.or(Some(place)),
            Err(NotOurs::Shape) => {}
        }
    }
    // The first of the most trusted place.
    let Some(&(place, text, opened)) = ours.iter().min_by_key(|(place, ..)| *place) else {
        return forged.map_or(Marks::None, Marks::Forged);
    };
    let contradicted = ours.iter().any(|(at, _, other)| *at == place && other.message != opened.message);
    let binding = |opened: &Opened| directory.resolve(opened, []).ok().map(|attempted| attempted.binding);
    let way = |opened: &Opened| (opened.message, opened.destination_tag(), binding(opened));
    let same = |other: &&Opened| way(other) == way(&opened);
    let opened =
        ours.iter().map(|(.., other)| other).filter(same).max_by_key(|other| other.at).copied().unwrap_or(opened);
    Marks::Ours(Found { place, text: text.to_owned(), opened, contradicted })
}

/// To whom a report is attributed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Nobody: no mark.
    Nobody,
    /// Nobody: marks that are not ours.
    Forged(Place),
    /// A message of ours, by a way that is no longer configured.
    Gone(Found, Gone),
    /// This attempt.
    Known(Found, Attempted),
}

impl Whose {
    /// The attempt the marks name. `site` finds the destination of a binding's attempt; it is only asked where the
    /// providers do not say.
    pub fn of(
        marks: Marks,
        directory: &Directory,
        site: impl FnOnce(&Opened, &BindingName) -> Option<DestinationName>,
    ) -> Self {
        let found = match marks {
            Marks::None => return Self::Nobody,
            Marks::Forged(place) => return Self::Forged(place),
            Marks::Ours(found) => found,
        };
        match directory.resolve(&found.opened, []) {
            Ok(mut attempted) => {
                attempted.destination =
                    attempted.destination.take().or_else(|| site(&found.opened, &attempted.binding));
                Self::Known(found, attempted)
            }
            Err(gone) => Self::Gone(found, gone),
        }
    }

    /// The mark, where it is ours.
    pub fn found(&self) -> Option<&Found> {
        match self {
            Self::Gone(found, _) | Self::Known(found, _) => Some(found),
            Self::Nobody | Self::Forged(_) => None,
        }
    }

    /// The attempt, where it is known.
    pub fn attempted(&self) -> Option<&Attempted> {
        match self {
            Self::Known(_, attempted) => Some(attempted),
            Self::Nobody | Self::Forged(_) | Self::Gone(..) => None,
        }
    }

    /// The message, where it is ours.
    pub fn message(&self) -> Option<MessageId> {
        self.found().map(|found| found.opened.message)
    }

    /// Where the mark was.
    pub fn place(&self) -> Option<Place> {
        match self {
            Self::Forged(place) => Some(*place),
            other => other.found().map(|found| found.place),
        }
    }
}

impl Found {
    /// On whose word something is told.
    pub fn mark(&self) -> told::Mark<'_> {
        let Opened { message, recipients, .. } = self.opened;
        told::Mark { text: &self.text, message, destination: self.opened.destination_tag(), recipients }
    }
}

#[cfg(test)]
mod tests {
    use super::super::read::Kind;
    use super::super::token::tests::fixtures::{attempted, directory, keys};
    use super::*;

    fn mail(marks: &[(Place, &str)]) -> Mail {
        let marks = marks.iter().map(|(place, text)| (*place, (*text).to_owned())).collect();
        Mail { kind: Kind::Dsn, recipients: Vec::new(), complaint: None, marks }
    }

    fn other() -> Attempted {
        Attempted { message: MessageId(attempted().message.0 + 1), ..attempted() }
    }

    #[test]
    fn the_envelope_wins_and_a_contradiction_is_seen() {
        let directory = directory(keys(7));
        let (one, two) = (keys(7).seal(&attempted()), keys(7).seal(&other()));
        let forged = keys(8).seal(&attempted());
        for (envelope, inside, place, contradicted) in [
            (Some(&one), vec![(Place::Header, &*one)], Place::Recipient, false),
            // What a sender or another report may have written there.
            (Some(&one), vec![(Place::Header, &*two), (Place::ReturnPath, &*two)], Place::Recipient, false),
            (None, vec![(Place::ReturnPath, &*two), (Place::Header, &*one)], Place::Header, false),
            (None, vec![(Place::Header, &*one), (Place::Header, &*two)], Place::Header, true),
            (Some(&one), vec![(Place::Header, &*forged)], Place::Recipient, false),
            (None, vec![(Place::EnvelopeId, &*forged), (Place::Header, &*one)], Place::Header, false),
            (None, vec![(Place::EnvelopeId, &*one), (Place::Header, &*two)], Place::EnvelopeId, false),
        ] {
            let Marks::Ours(found) = find(envelope.map(String::as_str), &mail(&inside), &directory) else {
                panic!("{inside:?}")
            };
            assert_eq!((found.place, found.contradicted), (place, contradicted), "{inside:?}");
            assert_eq!(found.text, one);
        }
        assert_eq!(find(None, &mail(&[(Place::Header, &forged)]), &directory), Marks::Forged(Place::Header));
        assert_eq!(find(None, &mail(&[(Place::Header, "rubbish")]), &directory), Marks::None);
    }

    #[test]
    fn sites_are_asked_for_only_where_no_provider_is_meant() {
        let directory = directory(keys(7));
        let whose = |attempted: &Attempted, site: &dyn Fn(&Opened, &BindingName) -> Option<DestinationName>| {
            let mark = keys(7).seal(attempted);
            Whose::of(find(Some(&mark), &mail(&[]), &directory), &directory, site)
        };
        let known = whose(&attempted(), &|_, _| panic!("not asked"));
        assert_eq!(known.attempted(), Some(&attempted()));
        let site: DestinationName = "site:mx.example.org".into();
        let elsewhere = Attempted { destination: Some(site.clone()), ..attempted() };
        let asked = |opened: &Opened, binding: &BindingName| {
            assert_eq!(binding, &attempted().binding);
            directory.resolve(opened, [&site]).ok()?.destination
        };
        assert_eq!(whose(&elsewhere, &asked).attempted(), Some(&elsewhere));
        let nowhere = |_: &Opened, _: &BindingName| None;
        assert_eq!(whose(&elsewhere, &nowhere).attempted().map(|a| a.destination.clone()), Some(None));
        let gone = whose(&Attempted { pool: "closed".into(), ..attempted() }, &nowhere);
        assert!(matches!(gone, Whose::Gone(_, Gone("pool"))) && gone.message() == Some(attempted().message));
    }

    #[test]
    fn the_latest_mark_of_the_same_message_and_binding_tells_the_time() {
        let directory = directory(keys(7));
        let hour = std::time::Duration::from_secs(3600);
        let later = Attempted { at: attempted().at.plus(hour), recipients: 1, ..attempted() };
        let elsewhere = Attempted { at: attempted().at.plus(2 * hour), binding: "mta9".into(), ..attempted() };
        let another = Attempted { at: attempted().at.plus(3 * hour), ..other() };
        let sealed = [&later, &elsewhere, &another].map(|attempted| keys(7).seal(attempted));
        let inside: Vec<_> = sealed.iter().map(|mark| (Place::Header, mark.as_str())).collect();
        let one = keys(7).seal(&attempted());
        let Marks::Ours(found) = find(Some(&one), &mail(&inside), &directory) else { panic!("ours") };
        assert_eq!((found.place, found.opened.at, found.contradicted), (Place::Recipient, later.at, false));
    }
}
