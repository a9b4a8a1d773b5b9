//! What a text tells one recipient, among others.
//!
//! A bounce on several recipients says something of each: what stands below an address is about that one, and what
//! another was told proves nothing. So the lines of a recipient decide. The rest of the text is asked where there is
//! no other recipient, or where a reply in it names this one. A reply that names another recipient only is never taken,
//! and a list of addresses shares what follows it as long as that is one reply.

use std::collections::BTreeSet;

use super::find::Mention;
use super::reply::{self, Quoted};
use super::{address, speaker};

/// What a recipient was told, and by whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reason {
    pub text: String,
    /// The host that is named as the speaker of a reply.
    pub said_by: Option<String>,
}

/// A text that tells recipients why.
pub(super) struct Reasons<'l, 'a> {
    lines: &'l [&'a str],
    /// The replies of the whole text.
    replies: Vec<Quoted>,
    /// All recipients, in lower case.
    recipients: BTreeSet<String>,
    /// There is one recipient, whatever it is called.
    sole: bool,
}

impl<'l, 'a> Reasons<'l, 'a> {
    /// `known` are the recipients of the report's header.
    pub(super) fn new(lines: &'l [&'a str], mentions: &[Mention<'_>], known: &[String]) -> Self {
        let lower = |addresses: &mut dyn Iterator<Item = &String>| -> BTreeSet<String> {
            addresses.map(|address| address.to_lowercase()).collect()
        };
        let mut recipients = lower(&mut mentions.iter().map(|mention| &mention.address));
        let listed = lower(&mut known.iter());
        // The header and the text may call one recipient by two names.
        let sole = recipients.len() <= 1 && listed.len() <= 1;
        recipients.extend(listed);
        Self { lines, replies: reply::all(lines), recipients, sole }
    }

    /// The reply that the recipient's lines quote; the one that answers it in a transcript; a reason: in the lines that
    /// follow the address at once, behind a label, or in what comes next.
    pub(super) fn of(&self, about: &Mention<'_>) -> Option<Reason> {
        let block = &about.block[..];
        let own: Vec<Quoted> =
            reply::all(block).into_iter().filter(|quoted| self.may_be(&quoted.text, about)).collect();
        let in_block = || pick(&own, about).map(|quoted| self.told(block, quoted));
        let answer = || reply::to_command(self.lines, &about.address).map(|quoted| self.told(self.lines, &quoted));
        let anywhere = || self.anywhere(about).map(|quoted| self.told(self.lines, quoted));
        let found = if about.shared && !self.sole {
            let named = own.iter().any(|quoted| is_about(&quoted.text, about));
            let one = own.iter().all(|quoted| quoted.text.get(..3) == own[0].text.get(..3));
            let found = answer().or_else(&anywhere).or_else(|| in_block().filter(|_| named || one));
            if found.is_none() && !own.is_empty() {
                return None;
            }
            found
        } else {
            in_block().or_else(answer).or_else(anywhere)
        };
        let reason = found.or_else(|| self.in_words(about).map(|text| Reason { text, said_by: None }))?;
        let bare = reason.text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')).map(str::to_owned);
        let text = bare.unwrap_or(reason.text);
        (!text.is_empty()).then_some(Reason { text, said_by: reason.said_by })
    }

    /// A reason without a reply.
    fn in_words(&self, about: &Mention<'_>) -> Option<String> {
        let block = &about.block[..];
        let adjacent = block.iter().take(2).any(|line| !line.trim().is_empty());
        let next = || Some(reply::paragraph(block)).filter(|text| !text.is_empty() && self.may_be(text, about));
        reply::with_enhanced(block)
            .filter(|text| self.may_be(text, about))
            .or_else(|| reply::labelled(block).filter(|text| self.may_be(text, about)))
            .or_else(|| next().filter(|_| adjacent))
            .or_else(|| reply::labelled(self.lines).filter(|_| self.sole))
            .or_else(next)
    }

    fn anywhere(&self, about: &Mention<'_>) -> Option<&Quoted> {
        let named = self.replies.iter().find(|quoted| is_about(&quoted.text, about));
        named.or_else(|| self.replies.first().filter(|_| self.sole))
    }

    fn told(&self, lines: &[&str], quoted: &Quoted) -> Reason {
        Reason { text: quoted.text.clone(), said_by: speaker::of(lines, quoted, self.lines) }
    }

    /// Whether a text can be about the recipient: it names it, or no other one.
    fn may_be(&self, text: &str, about: &Mention<'_>) -> bool {
        self.sole
            || is_about(text, about)
            || !address::all(text).iter().any(|found| self.recipients.contains(&found.text.to_lowercase()))
    }
}

/// The reply that names the recipient, or else the first.
fn pick<'q>(replies: &'q [Quoted], about: &Mention<'_>) -> Option<&'q Quoted> {
    replies.iter().find(|quoted| is_about(&quoted.text, about)).or(replies.first())
}

fn is_about(text: &str, about: &Mention<'_>) -> bool {
    let text = text.to_lowercase();
    address::is_named(&text, &about.address)
        || about.alias.as_ref().is_some_and(|alias| address::is_named(&text, alias))
}
