//! The files of the console, compiled in.
//!
//! Each has a route of its own: what is not in [`FILES`] does not exist, so there is no path to walk out of. A browser
//! asks again each time and is answered `304` while it has the content of this version (the `ETag` is a hash of it).

use std::sync::Arc;

use aws_lc_rs::digest;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use utoipa_axum::router::OpenApiRouter;

use crate::admin::Sources;

/// What the page may load, and who may show it: itself, from here, and nobody. Nothing inline.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
                      manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One file.
struct File {
    path: &'static str,
    kind: &'static str,
    content: &'static [u8],
}

const HTML: &str = "text/html; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

macro_rules! files {
    ($($path:literal $kind:ident $file:literal)+) => {
        [$(File { path: $path, kind: $kind, content: include_bytes!(concat!("assets/", $file)) }),+]
    };
}

/// All there are.
const FILES: &[File] = &files! {
    "/" HTML "index.html"
    "/assets/icon.svg" PICTURE "icon.svg"
    "/assets/base.css" STYLE "base.css"
    "/assets/parts.css" STYLE "parts.css"
    "/assets/screens.css" STYLE "screens.css"
    "/assets/theme.js" SCRIPT "theme.js"
    "/assets/app.js" SCRIPT "app.js"
    "/assets/frame.js" SCRIPT "frame.js"
    "/assets/dom.js" SCRIPT "dom.js"
    "/assets/api.js" SCRIPT "api.js"
    "/assets/live.js" SCRIPT "live.js"
    "/assets/words.js" SCRIPT "words.js"
    "/assets/icons.js" SCRIPT "icons.js"
    "/assets/parts.js" SCRIPT "parts.js"
    "/assets/states.js" SCRIPT "states.js"
    "/assets/acts.js" SCRIPT "acts.js"
    "/assets/ask.js" SCRIPT "ask.js"
    "/assets/pools.js" SCRIPT "pools.js"
    "/assets/card.js" SCRIPT "card.js"
    "/assets/matrix.js" SCRIPT "matrix.js"
    "/assets/route.js" SCRIPT "route.js"
    "/assets/binding.js" SCRIPT "binding.js"
    "/assets/queue.js" SCRIPT "queue.js"
    "/assets/entry.js" SCRIPT "entry.js"
    "/assets/orders.js" SCRIPT "orders.js"
    "/assets/events.js" SCRIPT "events.js"
    "/assets/monitor.js" SCRIPT "monitor.js"
    "/assets/explain.js" SCRIPT "explain.js"
    "/assets/session.js" SCRIPT "session.js"
};

/// Their routes; anybody may have them.
pub(super) fn routes() -> OpenApiRouter<Sources> {
    FILES.iter().fold(OpenApiRouter::new(), |router, file| {
        let tag: Arc<str> = tag(file.content).into();
        router.route(file.path, get(move |headers: HeaderMap| async move { answer(file, &tag, &headers) }))
    })
}

/// A strong validator (RFC 9110 §8.8.3): half a SHA-256.
fn tag(content: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, content);
    let hex: String = hash.as_ref().iter().take(16).map(|octet| format!("{octet:02x}")).collect();
    format!("\"{hex}\"")
}

fn answer(file: &'static File, tag: &str, asked: &HeaderMap) -> Response {
    let known = asked.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
    let is_known = known.is_some_and(|tags| {
        tags.split(',').any(|known| matches!(known.trim().trim_start_matches("W/"), same if same == tag || same == "*"))
    });
    let mut answer = match is_known {
        true => StatusCode::NOT_MODIFIED.into_response(),
        false => file.content.into_response(),
    };
    let headers = answer.headers_mut();
    let mut set = |name, value| headers.insert(name, HeaderValue::from_static(value));
    set(header::CONTENT_TYPE, file.kind);
    set(header::CACHE_CONTROL, "no-cache");
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::CONTENT_SECURITY_POLICY, POLICY);
    // Made of quotes and hexadecimal digits.
    if let Ok(tag) = HeaderValue::from_str(tag) {
        headers.insert(header::ETAG, tag);
    }
    answer
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;

    fn asked(tag: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(tag))])
    }

    #[test]
    fn what_a_browser_has_is_not_sent_again() {
        let file = &FILES[0];
        let tag = tag(file.content);
        let of = |asked: HeaderMap| answer(file, &tag, &asked).status();
        assert_eq!(of(HeaderMap::new()), StatusCode::OK);
        assert_eq!(of(asked("\"other\"")), StatusCode::OK);
        assert_eq!(of(asked("\"other\", *")), StatusCode::NOT_MODIFIED);
        for known in [tag.clone(), format!("\"other\", W/{tag}")] {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, known.parse().unwrap())]);
            assert_eq!(of(headers), StatusCode::NOT_MODIFIED, "{known}");
        }
    }

    #[test]
    fn every_file_in_the_directory_is_served_and_nothing_twice() {
        let paths: BTreeSet<String> = FILES.iter().map(|file| file.path.replace("/assets/", "")).collect();
        assert_eq!(paths.len(), FILES.len());
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/admin/console/assets");
        let there = std::fs::read_dir(directory).unwrap();
        let there = there.map(|entry| entry.unwrap().file_name().into_string().unwrap().replace("index.html", "/"));
        assert_eq!(there.collect::<BTreeSet<_>>(), paths);
    }

    #[test]
    fn nothing_is_inline_or_from_elsewhere_and_no_data_becomes_markup() {
        for file in FILES {
            let text = std::str::from_utf8(file.content).unwrap();
            let foreign = text.lines().filter(|line| {
                let known = ["http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"];
                line.contains("://") && !known.iter().any(|known| line.contains(known))
            });
            assert_eq!(foreign.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", file.path);
            for never in
                ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=\"", "onclick=\""]
            {
                assert!(!text.contains(never), "{never} in {}", file.path);
            }
        }
    }
}
