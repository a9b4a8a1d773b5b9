//! One message over one connection: made fit for the host, in as many transactions as it wants.

use std::borrow::Cow;

use crate::config::Delivery;
use crate::delivery::convert::seven_bit;
use crate::delivery::reuse::Line;
use crate::delivery::session::{Lost, Mail, Parts};
use crate::delivery::{Answer, Order};
use crate::outcome::{EnhancedCode, Reply, Stage};

/// What a connection made of a message.
#[derive(Debug)]
pub(super) struct Carried {
    /// To the recipients, as far as they were reached.
    pub(super) answers: Vec<Answer>,
    /// The connection was dead or of no use before anything was answered.
    pub(super) stale: bool,
    /// What the host offers and could not bear: nothing has happened.
    pub(super) lost: Option<Lost>,
    /// The host took what was said in terms of DSN.
    pub(super) dsn_passed: bool,
    /// The host had enough of the connection: it is to be asked for no more.
    pub(super) is_enough: bool,
}

/// Sends the message. Each transaction counts as one of the connection's messages.
pub(super) async fn carry(line: &mut Line, order: &Order, delivery: &Delivery) -> Carried {
    let offers = line.connection.offers();
    let (body, eight_bit) = match fit(order, offers.eight_bit_mime, delivery) {
        Ok(fit) => fit,
        Err(reply) => return unsent(vec![Answer::Reply(Stage::Mail, reply); order.recipients.len()]),
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
    while let Some(part) = parts.next() {
        let mail = Mail { reverse_path: parts.reverse_path(), recipients: &part.recipients, ..whole };
        line.messages += 1;
        let transacted = line.connection.transact(mail, &delivery.timeouts).await;
        if is_first {
            (carried.stale, carried.lost) = (transacted.stale, transacted.lost);
            carried.dsn_passed = transacted.dsn_passed;
        } else if transacted.stale || transacted.lost.is_some() {
            // Nothing has happened to these: they are left for the next attempt.
            break;
        }
        carried.dsn_passed &= transacted.dsn_passed;
        is_first = false;
        parts.took(&part, transacted.answers, line.connection.is_usable());
    }
    carried.dsn_passed &= !parts.has_dropped_wishes();
    carried.answers = parts.finish();
    carried
}

fn unsent(answers: Vec<Answer>) -> Carried {
    Carried { answers, stale: false, lost: None, dsn_passed: false, is_enough: false }
}

/// The body as this host can take it, and whether it is eight-bit.
fn fit<'a>(order: &'a Order, takes_eight_bit: bool, delivery: &Delivery) -> Result<(Cow<'a, [u8]>, bool), Reply> {
    if takes_eight_bit || !order.eight_bit {
        return Ok((Cow::Borrowed(&order.body), order.eight_bit));
    }
    let converted = seven_bit(&order.body, delivery.convert, order.resign.as_deref()).map_err(|error| Reply {
        code: 554,
        enhanced: Some(EnhancedCode { class: 5, subject: 6, detail: 3 }),
        text: error.to_string(),
    })?;
    Ok((Cow::Owned(converted), false))
}
