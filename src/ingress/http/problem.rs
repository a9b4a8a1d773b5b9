//! What went wrong: RFC 9457 problem details, with the field that is meant and the reply that SMTP would have had.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::wrong::Wrong;
use crate::ingress::Refusal;

/// Media type of a problem (RFC 9457 §3).
pub(super) const MEDIA_TYPE: &str = "application/problem+json";

/// Seconds after which mail that is put off is worth another try.
const LATER: u64 = 30;

/// An answer that is none (RFC 9457).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub(super) struct Problem {
    /// The HTTP status code.
    pub status: u16,
    /// The same in words.
    pub title: String,
    /// What is wrong and what to do.
    pub detail: String,
    /// The field of the request that is meant, such as `to[2]`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub field: Option<String>,
    /// What a client of SMTP would have been told, such as `550 5.7.1 …`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reply: Option<String>,
    /// Seconds after which to try again; goes out as `Retry-After`.
    #[serde(skip)]
    pub retry_after: Option<u64>,
}

impl Problem {
    pub(super) fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        let title = status.canonical_reason().unwrap_or("error").to_owned();
        let (status, detail) = (status.as_u16(), detail.into());
        Self { status, title, detail, field: None, reply: None, retry_after: None }
    }

    pub(super) fn unauthorised(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::UNAUTHORIZED, detail)
    }

    pub(super) fn too_many(detail: impl Into<String>, retry_after: u64) -> Self {
        Self { retry_after: Some(retry_after), ..Self::new(StatusCode::TOO_MANY_REQUESTS, detail) }
    }

    /// It cannot be done now, and perhaps soon.
    pub(super) fn busy(detail: impl Into<String>) -> Self {
        Self { retry_after: Some(LATER), ..Self::new(StatusCode::SERVICE_UNAVAILABLE, detail) }
    }

    pub(super) fn too_large(limit: u64) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("a message has at most {limit} octets"))
    }
}

impl From<Wrong> for Problem {
    fn from(Wrong { field, detail }: Wrong) -> Self {
        Self { field: Some(field), ..Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail) }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let reply = Some(reply(&refusal));
        let problem = match refusal.code {
            400..500 => Self::busy(refusal.text),
            552 => Self::new(StatusCode::PAYLOAD_TOO_LARGE, refusal.text),
            _ => Self::new(StatusCode::UNPROCESSABLE_ENTITY, refusal.text),
        };
        Self { reply, ..problem }
    }
}

/// `550 5.7.1 text`
pub(super) fn reply(refusal: &Refusal) -> String {
    let text: String = refusal.text.chars().map(|c| if c.is_control() { '?' } else { c }).collect();
    format!("{} {} {text}", refusal.code, refusal.enhanced)
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after;
        let mut answer = (status, Json(self)).into_response();
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"remuda\""));
        }
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        answer
    }
}

/// For all other paths.
pub(super) async fn nothing_here() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "there is nothing here but POST /api/v1/messages and GET /api/v1/openapi.json")
}
