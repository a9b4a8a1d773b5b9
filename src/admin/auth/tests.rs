//! Who is known by what.

use std::net::SocketAddr;
use std::path::Path;

use axum::extract::ConnectInfo;
use axum::http::Request;

use super::*;
use crate::clock::{Mono, Wall};
use crate::config::{AdminToken, SourceFile, check};

fn config(tokens: &[(&str, Role)], anonymous: Anonymous) -> Config {
    let text = "[server]\nhostname = \"relay.example.net\"\nstate_dir = \"/var/lib/remuda\"\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
         [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
         [pool.main]\nactive = [\"m1\"]\n[tenant.t]\npools = { default = \"main\" }\n";
    let source = SourceFile { path: "remuda.toml".into(), text: text.into() };
    let mut config = check::check(&[source]).unwrap_or_else(|mistakes| panic!("{mistakes}")).config;
    let token = |(name, role): &(&str, Role)| AdminToken {
        name: (*name).into(),
        hash: Digest::of(&format!("secret-{name}")).0,
        role: *role,
    };
    config.admin.tokens = tokens.iter().map(token).collect();
    config.admin.anonymous = anonymous;
    config
}

fn now(seconds: u64) -> Now {
    Now { mono: Mono::from_nanos(seconds * 1_000_000_000), wall: Wall::from_millis(seconds as i64 * 1_000) }
}

fn request(method: &str, from: &str, headers: &[(&str, &str)]) -> Parts {
    let mut builder = Request::builder().method(method).uri("/api/v1/status").header("host", "127.0.0.1:8025");
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    let (mut parts, ()) = builder.body(()).expect("a request").into_parts();
    let local: SocketAddr = "127.0.0.1:8025".parse().expect("an address");
    let address: SocketAddr = from.parse().expect("an address");
    parts.extensions.insert(ConnectInfo(Peer { address, local, is_tls: false }));
    parts
}

const NEAR: &str = "127.0.0.1:1";
const FAR: &str = "192.0.2.1:1";

/// The name of who asks, or the status of the refusal.
fn who(auth: &Auth, at: u64, method: &str, from: &str, headers: &[(&str, &str)]) -> Result<String, u16> {
    let actor = auth.actor(&request(method, from, headers), now(at));
    actor.map(|actor| actor.name).map_err(|refused| refused.status())
}

#[test]
fn a_token_is_known_by_its_hash_and_nothing_else_is() {
    let auth = Auth::new(&config(&[("ci", Role::Operate), ("eye", Role::Read)], Anonymous::None));
    for (header, found) in [
        ("Bearer secret-ci", Ok("ci".to_owned())),
        ("bearer   secret-eye ", Ok("eye".to_owned())),
        ("Bearer secret-c", Err(401)),
        ("Bearer ", Err(401)),
        ("Bearer", Err(401)),
        ("Basic secret-ci", Err(401)),
        ("secret-ci", Err(401)),
    ] {
        assert_eq!(who(&auth, 0, "GET", NEAR, &[("authorization", header)]), found, "{header}");
    }
    assert_eq!(who(&auth, 0, "GET", NEAR, &[]), Err(401), "nobody may look");
    let open = Auth::new(&config(&[], Anonymous::Read));
    assert_eq!(who(&open, 0, "GET", NEAR, &[]), Ok(ANONYMOUS.to_owned()));
    assert_eq!(who(&open, 0, "GET", NEAR, &[("authorization", "Bearer x")]), Err(401), "a wrong token is not nobody");
}

#[test]
fn guessing_is_slowed_and_locks_nobody_out() {
    let auth = Auth::new(&config(&[("ci", Role::Operate)], Anonymous::None));
    let wrong = [("authorization", "Bearer wrong")];
    let right = [("authorization", "Bearer secret-ci")];
    for from in [NEAR, FAR] {
        let told: Vec<_> = (0..12).map(|_| who(&auth, 0, "GET", from, &wrong)).collect();
        assert_eq!(told[..10], [const { Err(401) }; 10]);
        assert_eq!(told[10..], [Err(429), Err(429)]);
    }
    assert_eq!(who(&auth, 0, "GET", NEAR, &right), Ok("ci".into()));
    assert_eq!(who(&auth, 0, "GET", FAR, &right), Ok("ci".into()), "others may share the address");
    assert_eq!(who(&auth, 0, "GET", FAR, &wrong), Err(429), "and are slowed all the same");
    assert_eq!(who(&auth, 0, "GET", "192.0.2.2:1", &right), Ok("ci".into()));
    assert_eq!(who(&auth, 6, "GET", FAR, &right), Ok("ci".into()));
}

#[test]
fn a_session_is_as_good_as_its_token() {
    let tokens = [("ci", Role::Operate)];
    let auth = Auth::new(&config(&tokens, Anonymous::None));
    let peer = Peer { address: NEAR.parse().expect("one"), local: NEAR.parse().expect("one"), is_tls: false };
    let (id, _) = auth.sign_in("secret-ci", Some(&peer), now(0)).expect("known");
    let cookie = format!("a=b; remuda_session={id}");
    let asked = |at, method: &str, more: &[(&str, &str)]| {
        let all: Vec<_> = [("cookie", cookie.as_str())].iter().chain(more).copied().collect();
        who(&auth, at, method, NEAR, &all)
    };
    assert_eq!(asked(1, "GET", &[]), Ok("ci".into()));
    assert_eq!(asked(1, "POST", &[]), Err(403), "who sends it has to be said");
    assert_eq!(asked(1, "POST", &[("origin", "http://127.0.0.1:8025")]), Ok("ci".into()));
    assert_eq!(asked(1, "POST", &[("origin", "http://evil.example")]), Err(403));
    assert_eq!(asked(1, "POST", &[("sec-fetch-site", "same-site")]), Err(403), "another port of this host");
    assert_eq!(asked(12 * 3600, "GET", &[]), Err(401), "it is over");
    auth.reconfigure(&config(&[("ci", Role::Read)], Anonymous::None));
    let parts = request("GET", NEAR, &[("cookie", &cookie)]);
    assert_eq!(auth.actor(&parts, now(2)).expect("still known").role, Role::Read, "what its token may now");
    auth.reconfigure(&config(&[], Anonymous::None));
    assert_eq!(asked(3, "GET", &[]), Err(401), "its token is gone");
    auth.reconfigure(&config(&tokens, Anonymous::None));
    assert_eq!(asked(4, "GET", &[]), Err(401), "and it does not come back");
    let (id, actor) = auth.sign_in("secret-ci", Some(&peer), now(5)).expect("known");
    let parts = request("DELETE", NEAR, &[("cookie", &format!("remuda_session={id}"))]);
    let session = auth.session_of(&parts);
    let is_still = |at| auth.is_still(&actor, session.as_ref(), now(at));
    assert_eq!((is_still(6), is_still(5 + 12 * 3600)), (true, false), "what goes on asks for the session again");
    auth.sign_out(&parts);
    assert!(!is_still(6) && auth.is_still(&actor, None, now(6)), "the token is still good");
    let cookie = format!("remuda_session={id}");
    assert_eq!(who(&auth, 6, "GET", NEAR, &[("cookie", &cookie)]), Err(401));
}

#[test]
fn who_reads_the_state_directory_may_everything_until_the_stop() {
    use std::os::unix::fs::PermissionsExt;
    let auth = Auth::new(&config(&[], Anonymous::None));
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join(local::FILE);
    std::fs::write(dir.path().join("admin.token.new"), "left behind").expect("written");
    let kept = auth.open_locally(dir.path()).expect("written");
    let mode = std::fs::metadata(&path).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let token = std::fs::read_to_string(&path).expect("read");
    let header = format!("Bearer {}", token.trim());
    let parts = request("POST", NEAR, &[("authorization", &header)]);
    let actor = auth.actor(&parts, now(0)).expect("known");
    assert_eq!((actor.name.as_str(), actor.role), (LOCAL, Role::Admin));
    auth.reconfigure(&config(&[], Anonymous::None));
    assert!(auth.actor(&parts, now(0)).is_ok(), "a reload leaves it");
    drop(kept);
    assert!(!path.exists());
    assert!(auth.open_locally(Path::new("/nonexistent")).is_err());
}
