//! What an answer over HTTP means: a document, no data, or why not, and when to ask again.
//!
//! A login page comes with 200 and HTML in the body; that is a credential's problem and never a report. 404 is no data for
//! what was asked, where something else was found under the same address ([`Answer::must_be_there`]). 429 and 503 may say when to come back.

use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use crate::clock::Wall;

/// The least and the longest pause a server may ask for.
const RETRY_BOUNDS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(24 * 3600));

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    /// A report was read.
    Ok,
    /// There is none (yet).
    NoData,
    /// Our credentials are missing, unreadable, or not accepted.
    Credentials,
    /// A page for people came instead of a report.
    LoginPage,
    /// Too many requests.
    Limited,
    /// The server has trouble of its own.
    ServerError,
    /// It refuses what was asked.
    Refused,
    /// It sends us elsewhere.
    Redirected,
    /// No connection.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// More than may be read.
    TooLarge,
    /// Something else than the report.
    Unreadable,
}

impl Outcome {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Ok,
        Self::NoData,
        Self::Credentials,
        Self::LoginPage,
        Self::Limited,
        Self::ServerError,
        Self::Refused,
        Self::Redirected,
        Self::Unreachable,
        Self::Timeout,
        Self::TooLarge,
        Self::Unreadable,
    ];

    /// Stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::NoData => "no_data",
            Self::Credentials => "credentials",
            Self::LoginPage => "login_page",
            Self::Limited => "limited",
            Self::ServerError => "server_error",
            Self::Refused => "refused",
            Self::Redirected => "redirected",
            Self::Unreachable => "unreachable",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Unreadable => "unreadable",
        }
    }

    /// Whether somebody must look after our credentials.
    pub fn is_about_credentials(self) -> bool {
        matches!(self, Self::Credentials | Self::LoginPage)
    }
}

/// Why there is no report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What kind.
    pub outcome: Outcome,
    /// In words: never with a secret or a query.
    pub detail: String,
    /// When the server wants to be asked again.
    pub retry_after: Option<Duration>,
    /// This document may not be seen with credentials that are accepted (403); others may.
    pub is_forbidden: bool,
}

impl Failure {
    /// Whether it is about what was asked and not about whoever asks: the next question may fare better.
    pub fn is_about_one(&self) -> bool {
        matches!(self.outcome, Outcome::Unreadable | Outcome::Refused | Outcome::TooLarge)
    }

    /// With whom it is about in front of its words.
    #[must_use]
    pub fn of(self, whom: &dyn std::fmt::Display) -> Self {
        Self { detail: super::observation::clip(&format!("{whom}: {}", self.detail)), ..self }
    }

    /// A failure without a wish.
    pub fn new(outcome: Outcome, detail: impl Into<String>) -> Self {
        Self { outcome, detail: super::observation::clip(&detail.into()), retry_after: None, is_forbidden: false }
    }
}

/// An answer as it came.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`
    pub content_type: String,
    /// `Retry-After`
    pub retry_after: Option<String>,
    /// The body, whole.
    pub body: Vec<u8>,
}

impl Answer {
    /// The document, or why there is none.
    ///
    /// # Errors
    /// [`Outcome::NoData`] for 404, the fitting one for everything else that is no document.
    pub fn document(self, now: Wall) -> Result<Vec<u8>, Failure> {
        let fail = |outcome, what: &str| {
            let retry_after = self.retry_after.as_deref().and_then(|text| retry_after(text, now));
            let is_forbidden = self.status == 403;
            Err(Failure {
                retry_after,
                is_forbidden,
                ..Failure::new(outcome, format!("answered {}: {what}", self.status))
            })
        };
        match self.status {
            200..=299 if self.is_page() => fail(Outcome::LoginPage, "a page for people, probably to log in"),
            204 => fail(Outcome::NoData, "no content"),
            200..=299 => Ok(self.body),
            404 => fail(Outcome::NoData, "no data"),
            300..=399 => fail(Outcome::Redirected, "leads elsewhere, which is not followed"),
            401 => fail(Outcome::Credentials, "credentials not accepted"),
            // A key that is not, or no more, allowed to ask.
            403 => fail(Outcome::Credentials, "not allowed with these credentials"),
            429 => fail(Outcome::Limited, "too many requests"),
            500.. => fail(Outcome::ServerError, "trouble at the server"),
            _ => fail(Outcome::Refused, "refused"),
        }
    }

    /// As it is, where this is the one document there is: then 404 is no "no data" but a wrong address.
    ///
    /// # Errors
    /// [`Outcome::Refused`] for 404.
    pub fn must_be_there(self) -> Result<Self, Failure> {
        match self.status {
            404 => Err(Failure::new(Outcome::Refused, "answered 404: nothing is there; is the url right?")),
            _ => Ok(self),
        }
    }

    fn is_page(&self) -> bool {
        let start = self.body.iter().position(|byte| !byte.is_ascii_whitespace() && ![0xef, 0xbb, 0xbf].contains(byte));
        self.content_type.to_ascii_lowercase().starts_with("text/html")
            || start.is_some_and(|at| self.body.get(at) == Some(&b'<'))
    }
}

/// How long to wait (RFC 9110 §10.2.3): seconds or a date, kept within bounds.
pub fn retry_after(text: &str, now: Wall) -> Option<Duration> {
    let text = text.trim();
    let asked = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        // A number that fits into no integer is still a long time.
        Err(_) if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) => RETRY_BOUNDS.1,
        Err(_) => {
            let at = DateTime::strptime("%a, %d %b %Y %H:%M:%S GMT", text).ok()?.to_zoned(TimeZone::UTC).ok()?;
            Wall::from(at.timestamp()).since(now)
        }
    };
    Some(asked.clamp(RETRY_BOUNDS.0, RETRY_BOUNDS.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Wall = Wall::from_millis(1_795_334_400_000); // 2026-11-22 08:00:00 UTC, a Sunday

    fn answered(status: u16, body: &str) -> Result<Vec<u8>, Outcome> {
        let answer = Answer { status, body: body.into(), ..Answer::default() };
        answer.document(NOW).map_err(|failure| failure.outcome)
    }

    #[test]
    fn every_status_means_something_on_purpose() {
        assert_eq!(answered(200, "[]"), Ok(b"[]".to_vec()));
        assert_eq!(answered(200, ""), Ok(Vec::new()), "an empty report may be good news");
        for (status, body, outcome) in [
            (200, " \r\n<!DOCTYPE html><html>", Outcome::LoginPage),
            (200, "\u{feff}<html>", Outcome::LoginPage),
            (204, "", Outcome::NoData),
            (404, "<html>", Outcome::NoData),
            (302, "", Outcome::Redirected),
            (400, "", Outcome::Refused),
            (401, "", Outcome::Credentials),
            (403, "", Outcome::Credentials),
            (429, "", Outcome::Limited),
            (500, "", Outcome::ServerError),
            (503, "<html>", Outcome::ServerError),
        ] {
            assert_eq!(answered(status, body), Err(outcome), "{status} {body:?}");
        }
        let page = Answer { status: 200, content_type: "Text/HTML; charset=utf-8".into(), ..Answer::default() };
        assert_eq!(page.document(NOW).unwrap_err().outcome, Outcome::LoginPage);
    }

    #[test]
    fn a_wish_to_wait_is_seconds_or_a_date_within_bounds() {
        let wait = |text: &str| retry_after(text, NOW).map(|span| span.as_secs());
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sun, 22 Nov 2026 08:10:00 GMT"), Some(600));
        assert_eq!(wait("Sun, 22 Nov 2026 07:00:00 GMT"), Some(1), "gone by");
        assert_eq!(wait("0"), Some(1));
        assert_eq!(wait("999999999999999999999999"), Some(86_400));
        assert_eq!(wait("31536000"), Some(86_400), "nobody sends us away for a year");
        for odd in ["", "soon", "-5"] {
            assert_eq!(wait(odd), None, "{odd:?}");
        }
    }
}
