//! What receivers say, in the words of those they are modelled on.
//!
//! A model decides what it means ([`Saying`]); here it is put into words that the shipped rules know, with the address
//! that connects where the real text names it. The program must read out of the words what the model meant, as it must
//! with the real ones: a test holds every phrase to that.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::net::IpAddr;

use rand::Rng;
use rand::rngs::SmallRng;

use crate::outcome::Stage;
use crate::simulate::scenario::Voice;

/// What a receiver wants to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Saying {
    /// Taken.
    Accepted,
    /// There is no such recipient.
    UnknownUser,
    /// First contact: come back later.
    Greylisted,
    /// More today than it takes from this address.
    Volume,
    /// The address has a doubtful name: less, please.
    Doubtful,
    /// The address is blocked, for now.
    BlockedNow,
    /// The address is blocked.
    Blocked,
    /// The network of the address is blocked.
    RangeBlocked,
    /// The address is on a DNSBL.
    Listed,
    /// The sender's domain has a doubtful name: less, please.
    DomainDoubtful,
    /// The sender's domain is blocked.
    DomainBlocked,
    /// The message looks like spam.
    Content,
    /// Too many connections from this address.
    Connections,
    /// Some trouble of its own.
    Trouble,
    /// It is going down.
    Down,
}

/// The ways in which `voice` says it, `@` standing for the address that connects; and where in the dialogue. A voice
/// without words of its own speaks plainly.
fn phrases(voice: Voice, saying: Saying) -> (Stage, &'static [&'static str]) {
    match voice {
        Voice::Gmail => gmail(saying),
        Voice::Microsoft => microsoft(saying),
        Voice::Yahoo => yahoo(saying),
        Voice::Plain => None,
    }
    .unwrap_or_else(|| plain(saying))
}

fn gmail(saying: Saying) -> Option<(Stage, &'static [&'static str])> {
    use Saying as S;
    Some(match saying {
        S::Accepted => (Stage::EndOfData, &["250 2.0.0 OK  1750000000 d9443c01a7336-2313de72ebfsi.123 - gsmtp"]),
        S::UnknownUser => (
            Stage::Rcpt,
            &["550 5.1.1 The email account that you tried to reach does not exist. Please try double-checking the \
               recipient's email address for typos or unnecessary spaces. For more information, go to \
               https://support.google.com/mail/?p=NoSuchUser - gsmtp"],
        ),
        S::Volume => (
            Stage::EndOfData,
            &["421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP address \
               [@]. To protect our users from spam, mail sent from your IP address has been temporarily rate limited. \
               For more information, go to https://support.google.com/mail/?p=UnsolicitedRateLimitError - gsmtp"],
        ),
        S::Doubtful | S::BlockedNow => (
            Stage::EndOfData,
            &["421 4.7.0 [@ 15] Gmail has detected that this message is suspicious due to the very low reputation of \
               the sending IP address. To protect our users from spam, mail sent from your IP address has been \
               temporarily rate limited. - gsmtp"],
        ),
        S::Blocked => (
            Stage::EndOfData,
            &["550 5.7.1 [@ 1] Gmail has detected an unusual rate of unsolicited mail originating from your IP \
               address. To protect our users from spam, mail sent from your IP address has been blocked. For more \
               information, go to https://support.google.com/mail/?p=UnsolicitedIPError - gsmtp"],
        ),
        S::RangeBlocked => (
            Stage::EndOfData,
            &["421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your IP Netblock \
               [@]. To protect our users from spam, mail sent from your IP Netblock has been temporarily rate limited. \
               - gsmtp"],
        ),
        S::DomainDoubtful => (
            Stage::EndOfData,
            &["421 4.7.28 Gmail has detected an unusual rate of unsolicited mail originating from your DKIM domain \
               [sender.example 36]. To protect our users from spam, mail sent from your domain has been temporarily \
               rate limited. For more information, go to https://support.google.com/mail/?p=UnsolicitedRateLimitError \
               - gsmtp"],
        ),
        S::DomainBlocked => (
            Stage::EndOfData,
            &["550 5.7.1 [@ 19] Gmail has detected that this message is likely suspicious due to the very low \
               reputation of the sending domain. To best protect our users from spam, the message has been blocked. \
               - gsmtp"],
        ),
        S::Content => (
            Stage::EndOfData,
            &[
                "550 5.7.1 [@ 12] Gmail has detected that this message is likely unsolicited mail. To reduce the amount \
               of spam sent to Gmail, this message has been blocked. For more information, go to \
               https://support.google.com/mail/?p=UnsolicitedMessageError - gsmtp",
            ],
        ),
        _ => return None,
    })
}

fn microsoft(saying: Saying) -> Option<(Stage, &'static [&'static str])> {
    use Saying as S;
    Some(match saying {
        S::Accepted => (
            Stage::EndOfData,
            &[
                "250 2.6.0 <id@sender.example> [InternalId=1234, Hostname=DB8EUR05.prod.outlook.com] Queued mail for delivery",
            ],
        ),
        S::UnknownUser => (
            Stage::Rcpt,
            &[
                "550 5.5.0 Requested action not taken: mailbox unavailable (S2017062302). [DB8EUR05FT045.eop.protection.outlook.com]",
                "550 5.4.1 Recipient address rejected: Access denied. AS(201806281) [DB8EUR05FT045.eop.protection.outlook.com]",
            ],
        ),
        S::Volume => (
            Stage::Mail,
            &["451 4.7.650 The mail server [@] has been temporarily rate limited due to IP reputation. For e-mail \
               delivery information, see https://postmaster.live.com (S775)"],
        ),
        S::Doubtful => (Stage::Mail, &["451 4.7.500 Server busy. Please try again later from [@]. (AS77712)"]),
        S::BlockedNow => (Stage::Mail, &["451 4.7.500 Access denied, please try again later"]),
        S::Blocked => (
            Stage::Mail,
            &[
                "550 5.7.606 Access denied, banned sending IP [@]. To request removal from this list please visit \
               https://sender.office.com/ and follow the directions. (AS16012609)",
                "550 SC-001 (COL004-MC4F12) Unfortunately, messages from @ weren't sent. Please contact your Internet \
               service provider. You can tell them that our systems have put this address on our block list.",
            ],
        ),
        S::RangeBlocked => (
            Stage::Mail,
            &[
                "550 5.7.1 Unfortunately, messages from [@] weren't sent. Please contact your Internet service provider \
               since part of their network is on our block list (S3140). You can also refer your provider to \
               http://mail.live.com/mail/troubleshooting.aspx#errors.",
            ],
        ),
        S::DomainDoubtful | S::DomainBlocked => (Stage::EndOfData, &["550 5.7.501 Access denied, spam abuse detected"]),
        S::Connections => (
            Stage::Banner,
            &["451 4.7.652 The mail server [@] has exceeded the maximum number of connections. (S3115)"],
        ),
        _ => return None,
    })
}

fn yahoo(saying: Saying) -> Option<(Stage, &'static [&'static str])> {
    use Saying as S;
    Some(match saying {
        S::Accepted => (Stage::EndOfData, &["250 ok dirdel"]),
        S::UnknownUser => (
            Stage::EndOfData,
            &[
                "554 delivery error: dd This user doesn't have a yahoo.com account (user@yahoo.com) [0] - mta1012.mail.gq1.yahoo.com",
                "552 1 Requested mail action aborted, mailbox not found",
            ],
        ),
        S::Volume | S::Doubtful => (
            Stage::Mail,
            &["421 4.7.0 [TSS04] Messages from @ temporarily deferred due to unexpected volume or user complaints - \
               4.16.55.1; see https://postmaster.yahooinc.com/error-codes"],
        ),
        S::BlockedNow => (
            Stage::Mail,
            &["421 4.7.0 [TSS05] Messages from @ temporarily deferred due to unexpected volume or user complaints - \
               4.16.55.1; see https://postmaster.yahooinc.com/error-codes"],
        ),
        S::Blocked => (
            Stage::Mail,
            &[
                "421 4.7.1 [TS03] All messages from @ will be permanently deferred; Retrying will NOT succeed. See \
               https://postmaster.yahooinc.com/error-codes",
                "553 5.7.2 [TSS09] All messages from @ will be permanently deferred; Retrying will NOT succeed. See \
               https://postmaster.yahooinc.com/error-codes",
            ],
        ),
        S::Greylisted => (
            Stage::Mail,
            &["421 4.7.0 [GL01] Message from (@) temporarily deferred - 4.16.50. Please refer to \
               https://postmaster.yahooinc.com/error-codes"],
        ),
        S::Content => (
            Stage::EndOfData,
            &["554 5.7.9 Message not allowed - [PH01] Email not accepted for policy reasons. Please visit \
               https://postmaster.yahooinc.com/error-codes"],
        ),
        _ => return None,
    })
}

fn plain(saying: Saying) -> (Stage, &'static [&'static str]) {
    use Saying as S;
    match saying {
        S::Accepted => (Stage::EndOfData, &["250 2.0.0 Ok: queued as 4Xk1Zb3Q8Tz9sWq", "250 OK id=1uXyZa-00ABcd-1x"]),
        S::UnknownUser => (
            Stage::Rcpt,
            &[
                "550 5.1.1 <user@receiver.example>: Recipient address rejected: User unknown in virtual mailbox table",
                "550 No such user here",
            ],
        ),
        S::Greylisted => (
            Stage::Rcpt,
            &[
                "450 4.2.0 <user@receiver.example>: Recipient address rejected: Greylisted, see \
               http://postgrey.schweikert.ch/help/receiver.example.html",
                "451 4.7.1 Greylisting in action, please come back later",
            ],
        ),
        S::Volume => {
            (Stage::Mail, &["421 4.7.0 Too many messages from @, slow down", "450 4.7.1 Error: too much mail from @"])
        }
        S::Doubtful => (Stage::Mail, &["421 4.7.1 @ throttled due to user complaints"]),
        S::BlockedNow => {
            (Stage::Banner, &["421 4.7.1 Service unavailable, client host [@] blocked using local reputation list"])
        }
        S::Blocked => (
            Stage::Rcpt,
            &[
                "550 5.7.1 Service unavailable, client host [@] blocked using local reputation list",
                "554 5.7.1 <relay.example[@]>: Client host rejected: Your IP address is blacklisted here",
            ],
        ),
        S::RangeBlocked => (Stage::Rcpt, &["554 5.7.1 Your network [@] is on our local block list"]),
        S::Listed => (
            Stage::Rcpt,
            &["554 5.7.1 Service unavailable; Client host [@] blocked using zen.spamhaus.org; \
               https://www.spamhaus.org/query/ip/@"],
        ),
        S::DomainDoubtful | S::DomainBlocked => {
            (Stage::EndOfData, &["550 5.7.1 Message refused: bad domain reputation of sender.example"])
        }
        S::Content => (
            Stage::EndOfData,
            &["554 5.7.1 Message rejected as spam by content filter", "550 5.7.1 Blocked by SpamAssassin"],
        ),
        S::Connections => (Stage::Banner, &["421 4.7.0 mx.receiver.example Error: too many connections from @"]),
        S::Trouble => (
            Stage::EndOfData,
            &[
                "451 4.3.0 Temporary lookup failure",
                "452 4.3.1 Insufficient system storage",
                "451 4.3.0 Error: queue file write error",
            ],
        ),
        S::Down => (Stage::Banner, &["421 4.3.2 Service shutting down, closing transmission channel"]),
    }
}

/// Says it: the reply, and where in the dialogue.
pub fn say(voice: Voice, saying: Saying, address: IpAddr, random: &mut SmallRng) -> (Cow<'static, str>, Stage) {
    let (stage, phrases) = phrases(voice, saying);
    let phrase = match phrases {
        [only] => only,
        several => several[random.random_range(0..several.len())],
    };
    // A mail address in a phrase has something before its @, the address that connects never has.
    let reply =
        if saying == Saying::Accepted || !phrase.contains('@') { phrase.into() } else { named(phrase, address).into() };
    (reply, stage)
}

/// The phrase with the address in place of every `@` that stands alone.
fn named(phrase: &str, address: IpAddr) -> String {
    let mut text = String::with_capacity(phrase.len() + 40);
    let mut parts = phrase.split('@');
    text.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let in_mailbox = text.ends_with(|before: char| before.is_ascii_alphanumeric());
        // Writing to a text cannot fail.
        let _ = if in_mailbox { text.write_char('@') } else { write!(text, "{address}") };
        text.push_str(part);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::{Cause, Classifier, Context, Disposition, Reply, ReplyParser, Scope};
    use bytes::BytesMut;

    const VOICES: [Voice; 4] = [Voice::Gmail, Voice::Microsoft, Voice::Yahoo, Voice::Plain];
    const SAYINGS: [Saying; 15] = [
        Saying::Accepted,
        Saying::UnknownUser,
        Saying::Greylisted,
        Saying::Volume,
        Saying::Doubtful,
        Saying::BlockedNow,
        Saying::Blocked,
        Saying::RangeBlocked,
        Saying::Listed,
        Saying::DomainDoubtful,
        Saying::DomainBlocked,
        Saying::Content,
        Saying::Connections,
        Saying::Trouble,
        Saying::Down,
    ];

    /// What is meant: cause, scope, whether it counts against the IP.
    fn meant(voice: Voice, saying: Saying) -> (Option<Cause>, Scope, bool) {
        let mean = |cause, scope, counts| (Some(cause), scope, counts);
        match (saying, voice) {
            (Saying::Accepted, _) => (None, Scope::Unknown, false),
            (Saying::UnknownUser, _) => mean(Cause::InvalidRecipient, Scope::Recipient, false),
            (Saying::Greylisted, _) => mean(Cause::Greylisted, Scope::Destination, false),
            (Saying::Volume, Voice::Plain) => mean(Cause::RateLimited, Scope::Binding, false),
            (Saying::Volume, _) => mean(Cause::RateLimited, Scope::Binding, true),
            (Saying::Doubtful, Voice::Gmail) => mean(Cause::SpamBlockIp, Scope::Binding, true),
            (Saying::Doubtful, _) => mean(Cause::RateLimited, Scope::Binding, true),
            (Saying::BlockedNow, Voice::Yahoo) => mean(Cause::RateLimited, Scope::Binding, true),
            (Saying::BlockedNow | Saying::Blocked | Saying::Listed, _) => {
                mean(Cause::SpamBlockIp, Scope::Binding, true)
            }
            (Saying::RangeBlocked, Voice::Gmail) => mean(Cause::RateLimited, Scope::Range, true),
            (Saying::RangeBlocked, Voice::Microsoft) => mean(Cause::SpamBlockIp, Scope::Range, true),
            // Others have no words for it that tell the network from the address in it.
            (Saying::RangeBlocked, _) => mean(Cause::SpamBlockIp, Scope::Binding, true),
            (Saying::DomainDoubtful, Voice::Gmail) => mean(Cause::RateLimited, Scope::SenderDomain, false),
            (Saying::DomainDoubtful | Saying::DomainBlocked, _) => {
                mean(Cause::SpamBlockDomain, Scope::SenderDomain, false)
            }
            (Saying::Content, _) => mean(Cause::SpamBlockContent, Scope::Message, false),
            (Saying::Connections, _) => mean(Cause::RateLimited, Scope::Binding, false),
            (Saying::Trouble | Saying::Down, _) => mean(Cause::TransientOther, Scope::Destination, false),
        }
    }

    fn parsed(text: &str) -> Reply {
        let mut input = BytesMut::from(format!("{text}\r\n").as_bytes());
        ReplyParser::default().feed(&mut input).expect("a reply").expect("a whole one")
    }

    #[test]
    fn every_phrase_is_read_as_it_was_meant() {
        let classifier = Classifier::shipped();
        let mut wrong = Vec::new();
        for address in ["192.0.2.25", "2001:db8::25"] {
            let address: IpAddr = address.parse().expect("an address");
            for (voice, saying) in VOICES.iter().flat_map(|voice| SAYINGS.map(|saying| (*voice, saying))) {
                let (stage, texts) = phrases(voice, saying);
                for text in texts {
                    let text = named(text, address);
                    let context = Context { stage, provider: None, own: &[address] };
                    let read = classifier.reply(&parsed(&text), context);
                    let (cause, scope, counts) = meant(voice, saying);
                    if (read.cause, read.scope, read.counts_against_ip) != (cause, scope, counts) {
                        wrong.push(format!(
                            "{voice:?} {saying:?}: {text}\n  read {:?} {:?} {} by {}, meant {cause:?} {scope:?} {counts}",
                            read.cause, read.scope, read.counts_against_ip, read.rule
                        ));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }

    /// A temporary word must leave the mail to be tried again, a block never bounces it, an unknown user is final.
    #[test]
    fn what_is_temporary_defers_and_what_is_final_bounces() {
        let classifier = Classifier::shipped();
        let address: IpAddr = "192.0.2.25".parse().expect("an address");
        for (voice, saying) in VOICES.iter().flat_map(|voice| SAYINGS.map(|saying| (*voice, saying))) {
            let (stage, texts) = phrases(voice, saying);
            for text in texts {
                let text = named(text, address);
                let read = classifier.reply(&parsed(&text), Context { stage, provider: None, own: &[address] });
                let expected = match saying {
                    Saying::Accepted => Disposition::Delivered,
                    Saying::UnknownUser | Saying::DomainBlocked | Saying::Content => Disposition::Bounced,
                    Saying::DomainDoubtful if text.starts_with('5') => Disposition::Bounced,
                    _ => Disposition::Deferred,
                };
                assert_eq!(read.disposition, expected, "{voice:?} {saying:?}: {text}");
            }
        }
    }

    #[test]
    fn the_address_stands_where_the_text_names_it_and_mailboxes_stay() {
        let address: IpAddr = "192.0.2.25".parse().expect("an address");
        assert_eq!(
            named("550 <user@x.example> [@] and @, again", address),
            "550 <user@x.example> [192.0.2.25] and 192.0.2.25, again"
        );
    }
}
