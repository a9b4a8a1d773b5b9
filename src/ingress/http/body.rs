//! The body of a request: in which form it comes, how large it may be, and how it is read.
//!
//! It is read frame by frame, and memory is asked for as it comes ([`super::room`]), in steps of 64 KiB.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use bytes::{Bytes, BytesMut};
use tokio_stream::StreamExt;

use super::gate::Turned;
use super::messages::turned;
use super::problem::Problem;
use super::room::Share;
use super::{Counter, Rules, compose};

/// Octets of a description beyond those of the message it makes, at most: names, quotes, what JSON escapes.
const BESIDE: u64 = 1 << 20;

/// Octets that are asked for at a time.
const STEP: u64 = 64 << 10;

/// What a value of a description takes besides its text, roughly.
const VALUE: u64 = 128;

/// How long a request that came whole waits for memory.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// As it is to be sent.
    Whole,
    /// Described in JSON.
    Described,
}

impl Form {
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let kind = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
        let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        match kind.as_str() {
            "message/rfc822" | "message/global" => Some(Self::Whole),
            "application/json" => Some(Self::Described),
            _ => None,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Whole => "whole",
            Self::Described => "described",
        }
    }

    /// Octets of a body for a message of at most `message`; base64 makes four of three.
    pub(super) fn most(self, message: u64) -> u64 {
        match self {
            Self::Whole => message,
            Self::Described => message / 3 * 4 + BESIDE.min(message),
        }
    }

    /// Octets it takes at most to make a message of a body of `octets`, the body among them.
    fn cost(self, octets: u64, max_recipients: usize) -> u64 {
        match self {
            // Itself, and with other line ends.
            Self::Whole => octets.saturating_mul(3),
            // Its texts, the parts made of them, and the message as it grows. A value has one octet and a comma at least.
            Self::Described => {
                let values = (octets / 2).min(compose::most_values(max_recipients) as u64);
                octets.saturating_mul(4).saturating_add(values.saturating_mul(VALUE))
            }
        }
    }
}

/// Octets that a message takes at most on its way to the disk: as it was made, with its trace field, signed.
fn on_its_way(message: &[u8]) -> u64 {
    (message.len() as u64).saturating_mul(3)
}

fn busy() -> Turned {
    turned("busy")(Problem::busy("too much mail is coming in at once, try again later"))
}

/// The body, within its limit and what room there is.
pub(super) async fn read(
    counter: &Counter,
    rules: &Rules,
    form: Form,
    token: &str,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, Share), Turned> {
    let most = form.most(rules.max_message_bytes);
    let too_large = || turned("invalid")(Problem::too_large(rules.max_message_bytes));
    let said = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if said.is_some_and(|said| said > most) {
        return Err(too_large());
    }
    let mut share = Share::new(&counter.room, token);
    // Nothing is kept free for what is announced; but who cannot be served is told before it sends.
    if !share.fits(said.unwrap_or_default()) {
        return Err(busy());
    }
    let (mut whole, mut frames) = (BytesMut::new(), body.into_data_stream());
    while let Some(frame) = frames.next().await {
        let cut = |_| turned("invalid")(Problem::new(StatusCode::BAD_REQUEST, "the body did not come whole"));
        let frame = frame.map_err(cut)?;
        let octets = (whole.len() as u64).saturating_add(frame.len() as u64);
        if octets > most {
            return Err(too_large());
        }
        if !share.grow(octets.next_multiple_of(STEP).min(most)) {
            return Err(busy());
        }
        whole.extend_from_slice(&frame);
    }
    let cost = form.cost(whole.len() as u64, rules.max_recipients);
    if share.hold(cost, PATIENCE).await { Ok((whole.freeze(), share)) } else { Err(busy()) }
}

/// Keeps what a message needs from when it is made until it is on disk.
pub(super) async fn keep(share: &mut Share, message: &[u8]) -> Result<(), Turned> {
    if share.hold(on_its_way(message), PATIENCE).await { Ok(()) } else { Err(busy()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_form_is_what_content_type_says_and_nothing_else() {
        for (kind, form) in [
            ("application/json", Some(Form::Described)),
            ("Application/JSON; charset=utf-8", Some(Form::Described)),
            ("message/rfc822", Some(Form::Whole)),
            ("text/plain", None),
            ("application/jsonx", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, kind.parse().expect("a value"));
            assert_eq!(Form::of(&headers), form, "{kind}");
        }
        assert_eq!(Form::of(&HeaderMap::new()), None);
    }

    #[test]
    fn many_small_values_cost_more_than_their_octets_and_no_more_than_there_may_be() {
        assert_eq!(Form::Whole.cost(1_000, 1), 3_000);
        assert_eq!(Form::Described.cost(1_000, 1), 4_000 + 500 * VALUE);
        let most = compose::most_values(1) as u64;
        assert_eq!(Form::Described.cost(1 << 20, 1), (4 << 20) + most * VALUE);
    }
}
