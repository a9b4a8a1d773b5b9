//! Whether a request that changes something comes from our own pages.
//!
//! A cookie goes along whoever had the browser send the request. `SameSite=Strict` keeps other sites' away; a second lock
//! stands here, because other ports of the same host are the same site: what a browser says of where the request comes
//! from (`Sec-Fetch-Site`, `Origin`) must be us, and where a cookie is all there is it must have said something.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName};
use axum::http::request::Parts;

use super::refused::Refused;

const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request of another's page; with `must_say` also one that does not say whose it is.
pub(super) fn check(parts: &Parts, must_say: bool) -> Result<(), Refused> {
    let host = parts.uri.authority().map(|authority| authority.as_str());
    match is_own(&parts.headers, host) {
        Some(true) => Ok(()),
        None if !must_say => Ok(()),
        Some(false) => Err(Refused::origin("this request was made by the page of another site")),
        None => Err(Refused::origin("a request by cookie has to come from the console itself: it has no Origin")),
    }
}

/// Whether the headers say that it comes from us; `None` where they say nothing.
fn is_own(headers: &HeaderMap, authority: Option<&str>) -> Option<bool> {
    let text = |name: &HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let site = text(&FETCH_SITE).map(|site| site == "same-origin");
    let host = authority.or_else(|| text(&header::HOST)).unwrap_or_default();
    let origin = text(&header::ORIGIN).map(|origin| {
        // `null`, and everything that is no page of ours, has no such form.
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        authority.is_some_and(|authority| !host.is_empty() && authority.eq_ignore_ascii_case(host))
    });
    match (site, origin) {
        (None, None) => None,
        (site, origin) => Some(site.unwrap_or(true) && origin.unwrap_or(true)),
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_of_another_site_or_port_is_told_from_ours() {
        for (site, origin, own) in [
            (None, None, None),
            (Some("same-origin"), None, Some(true)),
            (None, Some("http://127.0.0.1:8025"), Some(true)),
            (Some("same-origin"), Some("https://127.0.0.1:8025"), Some(true)),
            (Some("same-site"), Some("http://127.0.0.1:9000"), Some(false)),
            (Some("cross-site"), Some("http://127.0.0.1:8025"), Some(false)),
            (Some("none"), None, Some(false)),
            (None, Some("null"), Some(false)),
            (None, Some("http://127.0.0.1:8025.evil.example"), Some(false)),
            (Some("same-origin"), Some("http://evil.example"), Some(false)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static("127.0.0.1:8025"));
            if let Some(site) = site {
                headers.insert(FETCH_SITE, HeaderValue::from_static(site));
            }
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_own(&headers, None), own, "{site:?} {origin:?}");
        }
    }
}
