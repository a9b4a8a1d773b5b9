//! What a report amounts to: whose fault, told before, and what becomes of the mail.
//!
//! A bounce is believed where it says that delivery failed (`Action: failed`, or an odd word beside a status of class 5);
//! what it quotes is read by the same rules as a live reply. But it is a live reply heard second-hand, and two things
//! follow for the IP. Prose names no code, so it never counts against the IP. And the receiver that had accepted our
//! mail may have offered it to another host, whose refusal blames *that receiver's* address, name or network: what was
//! said to the reporter or about another's address ([`second_hand`]) is believed about the recipient and the message, and
//! blames nobody else.
//!
//! What is evidence and what is passed on are two questions. A report that is late, or one more than there were
//! recipients, is no evidence, but its reader still wants it; only what was heard before is dropped.
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
use super::told::{News, Told};
use super::whose::{Found, Whose};
use crate::clock::Wall;
use crate::message::{Mailbox, ProviderName, TenantName};
use crate::outcome::{Action, Cause, Classifier, Context, Scope, Stage};
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
    /// A report about mail of ours that accuses nobody, or more than can be believed.
    NoEvidence,
    /// More than is passed on about one message.
    TooMany,
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
            Self::TooMany => "too_many",
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
    /// It was understood; it is kept for those who work with complaints and bounces.
    KeepReport,
    /// It was heard before.
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
    /// Addresses of the binding.
    pub addresses: &'a [IpAddr],
    /// Whose mail the message was, where that was written down.
    pub sender: Option<&'a TenantName>,
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

const MORE_THAN_PASSED_ON: &str = "more came back about its message than is passed on";

/// Books a report. `classifier` reads what it quotes.
pub fn book(question: Question<'_>, classifier: &Classifier, now: Wall) -> Booking {
    let Question { mail, whose, .. } = &question;
    let verdict = match mail.kind {
        Kind::AutoReply => Some(Verdict::AutoReply),
        Kind::NotABounce => Some(Verdict::NotABounce),
        Kind::Dsn | Kind::Arf => None,
    };
    let Some(found) = whose.found() else {
        let (none, detail) = match whose {
            Whose::Forged(_) => (Verdict::Forged, "its mark is not ours"),
            _ => (Verdict::Unresolvable, "it brings no mark back"),
        };
        let detail = if verdict.is_some() { "" } else { detail };
        return Booking::nothing(verdict.unwrap_or(none), Then::KeepAside, detail);
    };
    let is_late = now.since(found.opened.at) > question.accept_for;
    if let Some(verdict) = verdict {
        return other_mail(&question, found, verdict, is_late);
    }
    let believed = believed(&question, is_late);
    match mail.kind {
        Kind::Arf => complaint(&question, found, believed),
        _ => bounce(&question, found, believed, classifier),
    }
}

/// Why a report with a mark of ours is no evidence.
type Doubt = (Verdict, String);

/// The attempt that a report may be evidence about.
fn believed<'a>(question: &Question<'a>, is_late: bool) -> Result<&'a Attempted, Doubt> {
    let attempted = match question.whose {
        Whose::Known(_, attempted) => attempted,
        Whose::Gone(_, gone) => return Err((Verdict::Unresolvable, gone.to_string())),
        Whose::Nobody | Whose::Forged(_) => return Err((Verdict::Unresolvable, String::new())),
    };
    if question.sender.is_some_and(|tenant| *tenant != attempted.tenant) {
        return Err((Verdict::Unresolvable, "it was sent for another tenant".into()));
    }
    if is_late {
        return Err((Verdict::Late, String::new()));
    }
    if question.whose.found().is_some_and(|found| found.contradicted) {
        return Err((Verdict::NoEvidence, "its marks name different messages".into()));
    }
    Ok(attempted)
}

/// What people and their machines answer. Later than reports are accepted, and beyond the bound, it does not reach the
/// sender by us: an old return path must not become an open way to somebody.
fn other_mail(question: &Question<'_>, found: &Found, verdict: Verdict, is_late: bool) -> Booking {
    if found.place != Place::Recipient || is_late {
        return Booking::nothing(verdict, Then::KeepAside, "");
    }
    let mut told = question.told.clone();
    if !told.passes_on(&found.mark(), false) {
        return Booking::nothing(Verdict::TooMany, Then::KeepAside, MORE_THAN_PASSED_ON);
    }
    Booking { told: Some(told), ..Booking::nothing(verdict, Then::PassOn, "") }
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
    believed: Result<&Attempted, Doubt>,
    classifier: &Classifier,
) -> Booking {
    let mut told = question.told.clone();
    let mark = found.mark();
    let mut evidence = Vec::new();
    let (mut news, mut again, mut too_many, mut beyond) = (0, 0, 0, 0);
    for reported in question.mail.recipients.iter().filter(|reported| has_failed(reported)) {
        match told.hears(&mark, &names(reported), &words(reported)) {
            News::New => news += 1,
            News::Known => {
                again += 1;
                continue;
            }
            News::TooMany => {
                too_many += 1;
                continue;
            }
        }
        let Ok(attempted) = believed else { continue };
        let bounce = late_bounce(reported, attempted, question.addresses, classifier);
        if bounce.is_some() && !told.believes(&mark) {
            beyond += 1;
        } else {
            evidence.extend(bounce);
        }
    }
    let (verdict, detail) = match believed {
        Ok(_) if !evidence.is_empty() => (Verdict::Booked, String::new()),
        _ if news == 0 && too_many > 0 => (Verdict::TooMany, MORE_THAN_PASSED_ON.into()),
        _ if news == 0 && again > 0 => (Verdict::Duplicate, String::new()),
        Err(doubt) => doubt,
        Ok(_) if news == 0 => (Verdict::NoEvidence, "it reports no failure".into()),
        Ok(_) if beyond > 0 => (Verdict::NoEvidence, "more bounces than its message had recipients".into()),
        Ok(_) => (Verdict::NoEvidence, "it gives no reason".into()),
    };
    let mut booking = Booking { verdict, evidence, told: None, then: Then::KeepAside, detail };
    booking.then = match verdict {
        Verdict::Duplicate => Then::Nothing,
        Verdict::TooMany => Then::KeepAside,
        _ if found.place == Place::Recipient => {
            if told.passes_on(&mark, true) {
                Then::PassOn
            } else {
                booking.detail = MORE_THAN_PASSED_ON.into();
                if verdict != Verdict::Booked {
                    booking.verdict = Verdict::TooMany;
                }
                Then::KeepAside
            }
        }
        Verdict::Booked | Verdict::Late => Then::KeepReport,
        _ => Then::KeepAside,
    };
    booking.told = (told != question.told).then_some(told);
    booking
}

/// What a bounce without a recipient is known again by.
fn words(reported: &Reported) -> String {
    let all = [&reported.status, &reported.diagnostic];
    all.map(|text| text.as_deref().unwrap_or_default()).join(" ")
}

fn late_bounce(
    reported: &Reported,
    attempted: &Attempted,
    addresses: &[IpAddr],
    classifier: &Classifier,
) -> Option<Evidence> {
    let Heard { reply, from_us_to_them, about_others } = second_hand::reply(reported, addresses)?;
    let provider = attempted.destination.as_ref().map(|name| ProviderName::new(name.as_str()));
    // Where in the dialogue it came is not said; no rule for bounces hangs on it.
    let outcome = classifier.reply(&reply, Context { stage: Stage::Rcpt, provider: provider.as_ref(), own: addresses });
    // A forwarder's next host refuses the forwarder: its address, its name, or our domain for coming from there.
    let blames_others = about_others
        && matches!(outcome.scope, Scope::Binding | Scope::Range | Scope::SenderDomain | Scope::Tenant | Scope::Us);
    let domain = names(reported).into_iter().find_map(|name| name.parse::<Mailbox>().ok());
    Some(Evidence::LateBounce {
        binding: attempted.binding.clone(),
        destination: attempted.destination.clone(),
        tenant: attempted.tenant.clone(),
        domain: domain.map(|mailbox| mailbox.domain()),
        at: attempted.at,
        result: AttemptResult::Refused {
            cause: outcome.cause.filter(|_| !blames_others).unwrap_or(Cause::Unknown),
            scope: if blames_others { Scope::Unknown } else { outcome.scope },
            hard: outcome.hard && !blames_others,
            counts_against_ip: outcome.counts_against_ip && from_us_to_them,
            // Hours have passed: what the rule asks for at once is not asked for any more.
            action: Action::None,
            rule: outcome.rule,
            text: reply.to_string(),
        },
    })
}

fn complaint(question: &Question<'_>, found: &Found, believed: Result<&Attempted, Doubt>) -> Booking {
    let attempted = match believed {
        Ok(attempted) => attempted,
        Err((Verdict::Late, detail)) => return Booking::nothing(Verdict::Late, Then::KeepReport, detail),
        Err((verdict, detail)) => return Booking::nothing(verdict, Then::KeepAside, detail),
    };
    let Some(complaint) = &question.mail.complaint else {
        return Booking::nothing(Verdict::NoEvidence, Then::KeepAside, "it does not say what it is about");
    };
    let kind: String = complaint.feedback_type.chars().take(40).collect();
    if !["abuse", "fraud", "virus"].iter().any(|accuses| kind.trim().eq_ignore_ascii_case(accuses)) {
        return Booking::nothing(Verdict::NoEvidence, Then::KeepReport, kind);
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
    let then = Then::KeepReport;
    Booking { verdict: Verdict::Booked, evidence: vec![evidence], told: Some(told), then, detail: kind }
}

#[cfg(test)]
#[path = "book_tests.rs"]
mod tests;
