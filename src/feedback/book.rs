//! What a report amounts to: whose fault, told before, and what becomes of the mail.
//!
//! A bounce is believed where it says that delivery failed (`Action: failed`, or an odd word beside a status of class 5);
//! what it quotes is read by the same rules as a live reply. But it is a live reply heard second-hand, and two things
//! follow for the IP. Prose names no code, so it never counts against the IP. And the receiver that had accepted our
//! mail may have offered it to another host, whose refusal blames *that receiver's* address: where the text names
//! addresses and none of them is the binding's, or says that it repeats what a further host said, the IP is not blamed.
//!
//! A complaint is one of the types that accuse somebody of abuse (RFC 5965 §7.3: abuse, fraud, virus). `not-spam` is the
//! opposite, `auth-failure` is for the tenant to mend, `opt-out` a wish: they are shown, and held against nobody.
//!
//! Every attempt has a mark, also one that was refused on the spot, and only the receiver can have seen that one: a
//! report about it repeats what is known and is bounded like all others ([`super::told`]).

use std::net::IpAddr;
use std::time::Duration;

use super::read::{Kind, Mail, Place, Reported};
use super::second_hand::{self, Heard};
use super::token::Attempted;
use super::told::Told;
use super::whose::{Found, Whose};
use crate::clock::Wall;
use crate::message::{Mailbox, ProviderName};
use crate::outcome::{Action, Cause, Classifier, Context, Stage};
use crate::reputation::Evidence;
use crate::reputation::evidence::AttemptResult;

/// What a mail at an address for reports amounted to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// It is evidence.
    Booked,
    /// About an attempt too long ago: counted only.
    Late,
    /// All of it was told before.
    Duplicate,
    /// Its marks are not ours.
    Forged,
    /// It has no mark, or the way it names is no longer configured.
    Unresolvable,
    /// Sent by a machine in answer to the message.
    AutoReply,
    /// Anything else.
    NotABounce,
    /// A report about mail of ours that accuses nobody.
    NoEvidence,
}

impl Verdict {
    /// Stable text, as in logs, events and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Booked => "booked",
            Self::Late => "late",
            Self::Duplicate => "duplicate",
            Self::Forged => "forged",
            Self::Unresolvable => "unresolvable",
            Self::AutoReply => "auto_reply",
            Self::NotABounce => "not_a_bounce",
            Self::NoEvidence => "no_evidence",
        }
    }
}

/// What becomes of the mail itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// It is passed on to the sender of the message it is about; where that is not known, kept aside.
    PassOn,
    /// It is kept aside, for the operator to look at.
    KeepAside,
    /// Everything in it is noted.
    Nothing,
}

/// What is known when a report is booked.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// What it says.
    pub mail: &'a Mail,
    /// Whom it is about.
    pub whose: &'a Whose,
    /// What was told about that message before.
    pub told: Told,
    /// Addresses of the binding as the world sees them; empty where that is not known.
    pub addresses: &'a [IpAddr],
    /// Reports about older attempts are no evidence.
    pub accept_for: Duration,
}

/// What follows from a report.
#[derive(Clone, Debug, PartialEq)]
pub struct Booking {
    /// In a word.
    pub verdict: Verdict,
    /// For reputation.
    pub evidence: Vec<Evidence>,
    /// What is to be remembered about the message, where that changed.
    pub told: Option<Told>,
    /// What becomes of the mail.
    pub then: Then,
    /// For the operator: why nothing was booked, or the type of the complaint. May be empty.
    pub detail: String,
}

impl Booking {
    fn nothing(verdict: Verdict, then: Then, detail: impl Into<String>) -> Self {
        Self { verdict, evidence: Vec::new(), told: None, then, detail: detail.into() }
    }
}

/// Books a report. `classifier` reads what it quotes.
pub fn book(question: Question<'_>, classifier: &Classifier, now: Wall) -> Booking {
    let Question { mail, whose, .. } = &question;
    let at_return_path = whose.found().is_some_and(|found| found.place == Place::Recipient);
    let otherwise = if at_return_path { Then::PassOn } else { Then::KeepAside };
    match mail.kind {
        Kind::AutoReply => return Booking::nothing(Verdict::AutoReply, otherwise, ""),
        Kind::NotABounce => return Booking::nothing(Verdict::NotABounce, otherwise, ""),
        Kind::Dsn | Kind::Arf => {}
    }
    let (found, attempted) = match whose {
        Whose::Nobody => return Booking::nothing(Verdict::Unresolvable, Then::KeepAside, "it brings no mark back"),
        Whose::Forged(_) => return Booking::nothing(Verdict::Forged, Then::KeepAside, "its mark is not ours"),
        Whose::Gone(_, gone) => {
            let then = if mail.kind == Kind::Arf { Then::KeepAside } else { otherwise };
            return Booking::nothing(Verdict::Unresolvable, then, gone.to_string());
        }
        Whose::Known(found, attempted) => (found, attempted),
    };
    if now.since(attempted.at) > question.accept_for {
        return Booking::nothing(Verdict::Late, Then::Nothing, "");
    }
    if found.contradicted {
        let then = if mail.kind == Kind::Arf { Then::KeepAside } else { otherwise };
        return Booking::nothing(Verdict::NoEvidence, then, "its marks name different messages");
    }
    match mail.kind {
        Kind::Arf => complaint(&question, found, attempted),
        _ => bounce(&question, found, attempted, otherwise, classifier),
    }
}

fn names(reported: &Reported) -> Vec<&str> {
    [&reported.original_recipient, &reported.final_recipient].into_iter().flatten().map(String::as_str).collect()
}

/// Whether delivery to this recipient failed for good.
fn has_failed(reported: &Reported) -> bool {
    match reported.action.as_deref().map(str::trim) {
        Some(action) if action.eq_ignore_ascii_case("failed") => true,
        Some(action)
            if ["delayed", "delivered", "relayed", "expanded"].iter().any(|w| action.eq_ignore_ascii_case(w)) =>
        {
            false
        }
        // RFC 3464 §2.3.3 knows five words; real reporters know more ("failure", "expired"), or forget it.
        _ => reported.status.as_deref().is_some_and(|status| status.trim().starts_with("5.")),
    }
}

fn bounce(
    question: &Question<'_>,
    found: &Found,
    attempted: &Attempted,
    otherwise: Then,
    classifier: &Classifier,
) -> Booking {
    let mut told = question.told.clone();
    let (mut evidence, mut news, mut again) = (Vec::new(), 0, 0);
    for reported in question.mail.recipients.iter().filter(|reported| has_failed(reported)) {
        if !told.bounce(&found.mark(), &names(reported)) {
            again += 1;
            continue;
        }
        news += 1;
        evidence.extend(late_bounce(reported, attempted, question.addresses, classifier));
    }
    let (verdict, detail) = match (evidence.is_empty(), news, again) {
        (false, ..) => (Verdict::Booked, ""),
        (true, 0, 1..) => (Verdict::Duplicate, ""),
        (true, 0, 0) => (Verdict::NoEvidence, "it reports no failure"),
        (true, ..) => (Verdict::NoEvidence, "it gives no reason"),
    };
    let then = match (verdict, otherwise) {
        (Verdict::Duplicate, _) | (Verdict::Booked, Then::KeepAside) => Then::Nothing,
        _ => otherwise,
    };
    Booking { verdict, evidence, told: (news > 0).then_some(told), then, detail: detail.into() }
}

fn late_bounce(
    reported: &Reported,
    attempted: &Attempted,
    addresses: &[IpAddr],
    classifier: &Classifier,
) -> Option<Evidence> {
    let Heard { reply, from_us_to_them } = second_hand::reply(reported, addresses)?;
    let provider = attempted.destination.as_ref().map(|name| ProviderName::new(name.as_str()));
    // Where in the dialogue it came is not said; no rule for bounces hangs on it.
    let outcome = classifier.reply(&reply, Context { stage: Stage::Rcpt, provider: provider.as_ref(), own: &[] });
    let domain = names(reported).into_iter().find_map(|name| name.parse::<Mailbox>().ok());
    Some(Evidence::LateBounce {
        binding: attempted.binding.clone(),
        destination: attempted.destination.clone(),
        tenant: attempted.tenant.clone(),
        domain: domain.map(|mailbox| mailbox.domain()),
        at: attempted.at,
        result: AttemptResult::Refused {
            cause: outcome.cause.unwrap_or(Cause::Unknown),
            scope: outcome.scope,
            hard: outcome.hard,
            counts_against_ip: outcome.counts_against_ip && from_us_to_them,
            // Hours have passed: what the rule asks for at once is not asked for any more.
            action: Action::None,
            rule: outcome.rule,
            text: reply.to_string(),
        },
    })
}

fn complaint(question: &Question<'_>, found: &Found, attempted: &Attempted) -> Booking {
    let Some(complaint) = &question.mail.complaint else {
        return Booking::nothing(Verdict::NoEvidence, Then::KeepAside, "it does not say what it is about");
    };
    let kind: String = complaint.feedback_type.chars().take(40).collect();
    if !["abuse", "fraud", "virus"].iter().any(|accuses| kind.trim().eq_ignore_ascii_case(accuses)) {
        return Booking::nothing(Verdict::NoEvidence, Then::Nothing, kind);
    }
    let mut told = question.told.clone();
    let named: Vec<&str> = question.mail.recipients.iter().flat_map(names).collect();
    let incidents = told.complaints(&found.mark(), &named, complaint.incidents);
    if incidents == 0 {
        return Booking::nothing(Verdict::Duplicate, Then::Nothing, kind);
    }
    let evidence = Evidence::Complaint {
        binding: attempted.binding.clone(),
        destination: attempted.destination.clone(),
        tenant: attempted.tenant.clone(),
        at: attempted.at,
        incidents,
    };
    Booking { verdict: Verdict::Booked, evidence: vec![evidence], told: Some(told), then: Then::Nothing, detail: kind }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
