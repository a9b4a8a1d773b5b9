//! Which relay is asked, and with which token.
//!
//! The relay of this machine wrote down where it listens; what its file says counts only where that cannot be read. The file
//! may have a mistake by now, or say something that needs a restart: just then somebody has to be able to ask.

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
        let known = known(remote)?;
        let is_here = remote.admin == HERE;
        let address = match (&known, is_here) {
            (_, false) => remote.admin.clone(),
            (Some(known), true) => known.here()?,
            (None, true) => ADDRESS.to_owned(),
        };
        // What the configuration says of TLS holds for the relay that it is of.
        let own = known.as_ref().filter(|_| is_here || remote.config.is_some());
        let certificate = remote.certificate.clone().or_else(|| own.and_then(|known| known.certificate.clone()));
        let has_scheme = address.starts_with("http://") || address.starts_with("https://");
        let scheme = if certificate.is_some() { "https://" } else { "http://" };
        let base = if has_scheme { address.trim_end_matches('/').to_owned() } else { format!("{scheme}{address}") };
        let is_near = is_here || host_of(&base).is_some_and(|host| is_loopback(&host));
        let state_dir = known.filter(|_| is_near).map(|known| known.state_dir);
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

/// What is known of the relay on this machine.
struct Known {
    /// Where it listens; nowhere where that is off.
    address: Option<SocketAddr>,
    /// What it shows, where it speaks TLS.
    certificate: Option<PathBuf>,
    state_dir: PathBuf,
}

impl Known {
    fn of(config: &Config) -> Self {
        let certificate = config.admin.tls.as_ref().map(|tls| tls.certificate.clone());
        Self { address: config.admin.address, certificate, state_dir: config.server.state_dir.clone() }.published()
    }

    /// As far as a file tells that has mistakes, wherever they are.
    fn of_mistaken(path: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(path).ok()?;
        let (file, _) = toml::de::DeTable::parse_recoverable(&text);
        let value = |section: &str, keys: &[&str]| {
            let first = file.get_ref().get(section)?.get_ref();
            keys.iter().try_fold(first, |value, key| value.get(*key).map(toml::Spanned::get_ref))
        };
        let words = |section: &str, keys: &[&str]| value(section, keys).and_then(|value| value.as_str());
        let address = words("admin", &["address"]).and_then(|text| text.parse().ok());
        let is_off = value("admin", &["address"]).and_then(|value| value.as_bool()) == Some(false);
        let beside = path.parent().unwrap_or(Path::new("/"));
        let known = Self {
            address: address.or_else(|| ADDRESS.parse().ok()).filter(|_| !is_off),
            certificate: words("admin", &["tls", "certificate"]).map(|certificate| beside.join(certificate)),
            state_dir: words("server", &["state_dir"])?.into(),
        };
        Some(known.published())
    }

    /// With what the running relay wrote down.
    fn published(mut self) -> Self {
        let ports = std::fs::read(self.state_dir.join("ports.json")).ok();
        let ports: Option<serde_json::Value> = ports.and_then(|ports| serde_json::from_slice(&ports).ok());
        let Some(ports) = ports else { return self };
        if let Some(address) = ports.get("admin").and_then(|address| address.as_str()?.parse().ok()) {
            self.address = Some(address);
            if let Some(certificate) = ports.get("certificate") {
                self.certificate = certificate.as_str().map(PathBuf::from);
            }
        }
        self
    }

    /// Where it listens, for whoever is on the same machine.
    fn here(&self) -> Result<String, Failure> {
        let off = || Failure::from("the configuration has admin.address = false: nobody can be asked".to_owned());
        let address = self.address.ok_or_else(off)?;
        let ip = match address.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
            ip => ip,
        };
        Ok(SocketAddr::new(ip, address.port()).to_string())
    }
}

/// The relay on this machine. A configuration that was named must be good; the usual one may be missing, not be for our
/// eyes, or have mistakes.
fn known(remote: &Remote) -> Result<Option<Known>, Failure> {
    let Some(path) = &remote.config else { return Ok(usual(Path::new(USUAL))) };
    let loaded = Config::load(path).map_err(|why| Failure::from(why.to_string()))?;
    Ok(Some(Known::of(&loaded.config)))
}

fn usual(path: &Path) -> Option<Known> {
    Config::load(path).map_or_else(|_| Known::of_mistaken(path), |loaded| Some(Known::of(&loaded.config)))
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
        std::fs::write(state.join("ports.json"), "{\"admin\":\"127.0.0.1:4321\",\"certificate\":\"/a.crt\"}")
            .expect("written");
        write("[admin]\naddress = \"127.0.0.9:99\"");
        let running = target(HERE).expect("a target").base;
        assert_eq!(running, "https://127.0.0.1:4321", "what runs is not what the file says by now");
        std::fs::remove_file(state.join("ports.json")).expect("removed");
        write("[admin]\naddress = false");
        assert!(target(HERE).expect_err("off").words.contains("admin.address = false"));
        write("[admin]\naddress = 5");
        assert!(target(HERE).expect_err("a mistake").words.contains("admin.address"));
    }

    #[test]
    fn mistakes_in_the_usual_file_keep_nobody_from_asking() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("remuda.toml");
        let server = format!("[server]\nstate_dir = {:?}\nhostnam = 5\n", dir.path().display().to_string());
        let known = |text: &str| {
            std::fs::write(&path, text).expect("written");
            usual(&path)
        };
        let found = known(&format!("{server}[admin]\naddress = \"127.0.0.9:99\"\n[pool\nx = = 3\n")).expect("known");
        assert_eq!((found.state_dir.as_path(), found.here().ok().as_deref()), (dir.path(), Some("127.0.0.9:99")));
        let found = known(&format!("{server}[admin]\ntls = {{ certificate = \"a.crt\" }}\n")).expect("known");
        assert_eq!((found.here().ok().as_deref(), found.certificate), (Some(ADDRESS), Some(dir.path().join("a.crt"))));
        assert!(known(&format!("{server}[admin]\naddress = false\n")).expect("known").here().is_err());
        std::fs::write(dir.path().join("ports.json"), "{\"admin\":\"127.0.0.1:7\",\"certificate\":null}")
            .expect("written");
        let found = known(&format!("{server}[admin]\ntls = {{ certificate = \"a.crt\" }}\n")).expect("known");
        assert_eq!((found.here().ok().as_deref(), found.certificate), (Some("127.0.0.1:7"), None), "what runs counts");
        assert!(known("nonsense").is_none() && usual(&dir.path().join("none")).is_none());
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
