//! Which relay is asked, and with which token.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};

use rustls::ClientConfig;

use super::{Failure, HERE, Remote, pinned};
use crate::admin::auth::local;
use crate::config::Config;

/// Where a configuration lies if nobody says otherwise.
const USUAL: &str = "/etc/remuda/remuda.toml";
/// Where a relay listens if nobody says otherwise.
const ADDRESS: &str = "127.0.0.1:8025";
/// Octets of a token's file that are looked at.
const TOKEN_MAX: usize = 4096;

/// A relay that is asked.
#[derive(Debug)]
pub(super) struct Target {
    /// Scheme, host and port.
    pub(super) base: String,
    /// The same for people.
    pub(super) shown: String,
    /// Who asks.
    pub(super) token: Option<String>,
    /// The only certificate that is believed.
    certificate: Option<PathBuf>,
    /// Where a token was looked for in vain.
    looked: Option<PathBuf>,
}

impl Target {
    pub(super) fn of(remote: &Remote) -> Result<Self, Failure> {
        let config = config(remote)?;
        let is_here = remote.admin == HERE;
        let address = match (&config, is_here) {
            (_, false) => remote.admin.clone(),
            (Some(config), true) => here(config)?,
            (None, true) => ADDRESS.to_owned(),
        };
        // What the configuration says of TLS holds for the relay that it is of.
        let own = config.as_ref().filter(|_| is_here || remote.config.is_some());
        let tls = own.and_then(|config| config.admin.tls.as_ref());
        let certificate = remote.certificate.clone().or_else(|| tls.map(|tls| tls.certificate.clone()));
        let has_scheme = address.starts_with("http://") || address.starts_with("https://");
        let scheme = if certificate.is_some() { "https://" } else { "http://" };
        let base = if has_scheme { address.trim_end_matches('/').to_owned() } else { format!("{scheme}{address}") };
        let is_near = is_here || host_of(&base).is_some_and(|host| is_loopback(&host));
        let state_dir = config.as_ref().filter(|_| is_near).map(|config| config.server.state_dir.clone());
        let kept = state_dir.map(|dir| dir.join(local::FILE));
        let token = match given_token(remote)? {
            Some(token) => Some(token),
            None => kept.as_deref().and_then(|path| read_token(path).ok()),
        };
        if token.is_some() && base.starts_with("http://") && !is_near {
            let words =
                format!("a token is not sent to {address} in plain: ask by https://, with --certificate if need be");
            return Err(words.into());
        }
        let certificate = certificate.filter(|_| base.starts_with("https://"));
        Ok(Self { base, shown: address, token, certificate, looked: kept })
    }

    pub(super) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// For somebody who has none.
    pub(super) fn how_to_get_a_token(&self) -> String {
        let tried = self.looked.as_ref().map(|path| format!("{} cannot be read by you. ", path.display()));
        let tried = tried.unwrap_or_default();
        format!(
            "{tried}Give a token by --token-file or REMUDA_TOKEN; root on the relay's machine needs none but --config."
        )
    }

    /// How to know the relay, where that is not the system's affair.
    pub(super) fn trust(&self) -> Result<Option<ClientConfig>, Failure> {
        let Some(path) = &self.certificate else { return Ok(None) };
        let wrong = |why: String| Failure::from(format!("{}: {why}", path.display()));
        let pem = std::fs::read(path).map_err(|error| wrong(error.to_string()))?;
        pinned::believing(&pem).map(Some).map_err(wrong)
    }
}

/// The configuration of the relay on this machine. One that was named must be good; the usual one may be missing, or not
/// be for our eyes.
fn config(remote: &Remote) -> Result<Option<Config>, Failure> {
    match &remote.config {
        Some(path) => Config::load(path).map(|loaded| Some(loaded.config)).map_err(|why| why.to_string().into()),
        None => Ok(Config::load(Path::new(USUAL)).ok().map(|loaded| loaded.config)),
    }
}

/// Where the relay of that configuration listens.
fn here(config: &Config) -> Result<String, Failure> {
    let off = || Failure::from("the configuration has admin.address = false: nobody can be asked".to_owned());
    let address = config.admin.address.ok_or_else(off)?;
    let address = match address.port() {
        0 => published(&config.server.state_dir).unwrap_or(address),
        _ => address,
    };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    Ok(SocketAddr::new(ip, address.port()).to_string())
}

/// The address that a running relay wrote down.
fn published(state_dir: &Path) -> Option<SocketAddr> {
    let ports: serde_json::Value = serde_json::from_slice(&std::fs::read(state_dir.join("ports.json")).ok()?).ok()?;
    ports.get("admin")?.as_str()?.parse().ok()
}

/// The token that was given, in a file or in the environment.
fn given_token(remote: &Remote) -> Result<Option<String>, Failure> {
    if let Some(path) = &remote.token_file {
        let token = read_token(path).map_err(|why| Failure::from(format!("{}: {why}", path.display())))?;
        return Ok(Some(token));
    }
    let token = std::env::var("REMUDA_TOKEN").ok().map(|token| token.trim().to_owned());
    Ok(token.filter(|token| !token.is_empty()))
}

fn read_token(path: &Path) -> Result<String, String> {
    let text = std::fs::read(path).map_err(|error| error.to_string())?;
    let text = String::from_utf8(text).ok().filter(|text| text.len() <= TOKEN_MAX).ok_or("is no token")?;
    let token = text.lines().next().unwrap_or_default().trim();
    let is_token = !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic());
    is_token.then(|| token.to_owned()).ok_or_else(|| "has no token on its first line".to_owned())
}

fn host_of(base: &str) -> Option<String> {
    reqwest::Url::parse(base).ok()?.host_str().map(str::to_owned)
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn remote(admin: &str, token_file: Option<PathBuf>, config: Option<PathBuf>) -> Remote {
        Remote { admin: admin.into(), token_file, config, certificate: None, json: false }
    }

    #[test]
    fn the_configuration_says_where_the_relay_is_and_its_state_who_asks() {
        let dir = tempfile::tempdir().expect("a directory");
        let state = dir.path().join("state");
        std::fs::create_dir(&state).expect("made");
        std::fs::write(state.join(local::FILE), "remuda_abc\n").expect("written");
        let path = dir.path().join("remuda.toml");
        let rest = format!(
            "[server]\nhostname = \"relay.example.net\"\nstate_dir = {:?}\n\
             [[listener]]\naddress = \"127.0.0.1:0\"\ntrust = [\"127.0.0.0/8\"]\n\
             [binding.m1]\nbind_address = \"127.0.0.11\"\nehlo_hostname = \"m1.example.net\"\n\
             [pool.main]\nactive = [\"m1\"]\n[tenant.t]\npools = {{ default = \"main\" }}\n",
            state.display().to_string()
        );
        let write = |admin: &str| std::fs::write(&path, format!("{admin}\n{rest}")).expect("written");
        let target = |admin: &str| Target::of(&remote(admin, None, Some(path.clone())));

        write("[admin]\naddress = \"127.0.0.9:99\"");
        let here = target(HERE).expect("a target");
        assert_eq!((here.base.as_str(), here.token.as_deref()), ("http://127.0.0.9:99", Some("remuda_abc")));
        let near = target("127.0.0.1:1").expect("a target");
        assert_eq!((near.base.as_str(), near.token.as_deref()), ("http://127.0.0.1:1", Some("remuda_abc")));
        let far = target("192.0.2.1:1").expect("a target");
        assert_eq!(far.token, None, "the token of this machine is not sent elsewhere");

        write("[admin]\naddress = \"127.0.0.1:0\"");
        std::fs::write(state.join("ports.json"), "{\"admin\":\"127.0.0.1:4321\"}").expect("written");
        assert_eq!(target(HERE).expect("a target").base, "http://127.0.0.1:4321");
        write("[admin]\naddress = false");
        assert!(target(HERE).expect_err("off").words.contains("admin.address = false"));
        write("[admin]\naddress = 5");
        assert!(target(HERE).expect_err("a mistake").words.contains("admin.address"));
    }

    #[test]
    fn a_token_never_goes_out_in_plain() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("token");
        std::fs::write(&file, "remuda_abc\nsecond line\n").expect("written");
        let config = Some(dir.path().join("none"));
        let target = |admin: &str| Target::of(&remote(admin, Some(file.clone()), None));
        assert!(target("relay.example.net:8025").expect_err("refused").words.contains("in plain"));
        assert!(target("http://relay.example.net").expect_err("refused").words.contains("in plain"));
        let by_tls = target("https://relay.example.net/").expect("a target");
        assert_eq!((by_tls.base.as_str(), by_tls.token.as_deref()), ("https://relay.example.net", Some("remuda_abc")));
        assert!(target("[::1]:8025").is_ok() && target("localhost:8025").is_ok());
        assert!(target("localhost.evil.example:8025").is_err());
        assert!(Target::of(&remote(HERE, None, config)).is_err(), "a file that was named has to be there");
        std::fs::write(&file, "\n").expect("written");
        assert!(target("127.0.0.1:1").expect_err("empty").words.contains("no token"));
    }
}
