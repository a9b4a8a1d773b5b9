//! One message over one connection: made fit for the host, in as many transactions as it wants.

use bytes::Bytes;

use crate::config::Delivery;
use crate::delivery::convert::seven_bit;
use crate::delivery::reuse::Line;
use crate::delivery::session::{Lost, Mail, Parts};
use crate::delivery::{Answer, Order};
use crate::outcome::{EnhancedCode, Failure, FailureKind, Reply, Stage};

/// What a connection made of a message.
#[derive(Debug)]
pub(super) struct Carried {
    /// To the recipients, as far as they were reached.
    pub(super) answers: Vec<Answer>,
    /// The connection was dead or of no use before anything was answered.
    pub(super) stale: bool,
    /// What the host offers and could not bear: nothing has happened.
    pub(super) lost: Option<Lost>,
    /// The host took what was said in terms of DSN, in all transactions in which it took the mail.
    pub(super) dsn_passed: bool,
    /// The host had enough of the connection: it is to be asked for no more.
    pub(super) is_enough: bool,
}

/// Sends the message. Each transaction counts as one of the connection's messages.
pub(super) async fn carry(line: &mut Line, order: &Order, delivery: &Delivery) -> Carried {
    let offers = line.connection.offers();
    let (body, eight_bit) = match fit(order, offers.eight_bit_mime, delivery).await {
        Ok(fit) => fit,
        Err(answer) => return unsent(vec![answer; order.recipients.len()]),
    };
    let whole = Mail {
        reverse_path: order.reverse_path.as_ref(),
        recipients: &order.recipients,
        head: &order.head,
        body: &body,
        envelope_id: order.envelope_id.as_deref(),
        eight_bit,
        wishes: &order.wishes,
    };
    let most =
        offers.mail_max.map_or(order.messages_per_connection, |most| most.get().min(order.messages_per_connection));
    let mut parts = Parts::of(&whole, offers, most.saturating_sub(line.messages).max(1));
    let mut carried = unsent(Vec::new());
    let mut is_first = true;
    let mut dsn_passed = None;
    while let Some(part) = parts.following() {
        let mail = Mail { reverse_path: parts.reverse_path(), recipients: &part.recipients, ..whole };
        line.messages += 1;
        let transacted = line.connection.transact(mail, &delivery.timeouts).await;
        if is_first {
            (carried.stale, carried.lost) = (transacted.stale, transacted.lost);
        } else if transacted.stale || transacted.lost.is_some() {
            // Nothing has happened to these: they are left for the next attempt.
            break;
        }
        // Only where somebody got the mail there is a success to report.
        if transacted.answers.iter().any(is_taken) {
            dsn_passed = Some(dsn_passed.unwrap_or(true) && transacted.dsn_passed);
        }
        is_first = false;
        parts.took(&part, transacted.answers, line.connection.is_usable());
    }
    carried.dsn_passed = dsn_passed.unwrap_or(false) && !parts.has_dropped_wishes();
    carried.answers = parts.finish();
    carried
}

fn is_taken(answer: &Answer) -> bool {
    matches!(answer, Answer::Reply(Stage::EndOfData, reply) if reply.code / 100 == 2)
}

fn unsent(answers: Vec<Answer>) -> Carried {
    Carried { answers, stale: false, lost: None, dsn_passed: false, is_enough: false }
}

/// The body as this host can take it, and whether it is eight-bit. To convert a large one and sign it again takes a while:
/// that is done off the runtime's threads.
async fn fit(order: &Order, takes_eight_bit: bool, delivery: &Delivery) -> Result<(Bytes, bool), Answer> {
    if takes_eight_bit || !order.eight_bit {
        return Ok((order.body.clone(), order.eight_bit));
    }
    let (body, convert, resign) = (order.body.clone(), delivery.convert, order.resign.clone());
    let converting = tokio::task::spawn_blocking(move || seven_bit(&body, convert, resign.as_deref()));
    match converting.await {
        Ok(Ok(converted)) => Ok((converted.into(), false)),
        Ok(Err(error)) => {
            let enhanced = Some(EnhancedCode { class: 5, subject: 6, detail: 3 });
            Err(Answer::Reply(Stage::Mail, Reply { code: 554, enhanced, text: error.to_string() }))
        }
        // The runtime is about to end.
        Err(_) => {
            let detail = "conversion abandoned".to_owned();
            Err(Answer::Failure(Failure { kind: FailureKind::Aborted, stage: Stage::Mail, detail }))
        }
    }
}
