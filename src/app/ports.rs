//! `ports.json` in the state directory: where the relay listens, for whoever started it with port 0, and for the command
//! line, which so finds a relay whose file says something else by now.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

/// The file.
pub(super) struct Ports {
    path: PathBuf,
    admin: Mutex<Option<SocketAddr>>,
    injection: Mutex<Option<SocketAddr>>,
}

impl Ports {
    /// In this state directory; nothing is written yet.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join("ports.json"), admin: Mutex::default(), injection: Mutex::default() }
    }

    /// Where mail comes in over HTTP; for the next time it is written.
    pub(super) fn injection(&self, address: Option<SocketAddr>) {
        *self.injection.lock() = address;
    }

    /// Writes it anew; the HTTP address is that of the last call where none is given. `certificate` is what the HTTP side
    /// shows, where it speaks TLS.
    ///
    /// # Errors
    /// In words.
    pub(super) fn publish(
        &self,
        listeners: &[SocketAddr],
        admin: Option<Option<SocketAddr>>,
        certificate: Option<&Path>,
    ) -> Result<(), String> {
        let mut known = self.admin.lock();
        *known = admin.unwrap_or(*known);
        let mut ports = serde_json::json!({
            "listeners": listeners.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "admin": known.map(|address| address.to_string()),
            "injection": self.injection.lock().map(|address| address.to_string()),
            "certificate": certificate,
            "pid": std::process::id(),
        });
        if let Some(certificate) = certificate {
            ports["certificate"] = certificate.display().to_string().into();
        }
        // Written aside and renamed: a reader never sees half of it.
        let aside = self.path.with_extension("json.new");
        std::fs::write(&aside, ports.to_string())
            .and_then(|()| std::fs::rename(&aside, &self.path))
            .map_err(|error| format!("cannot write {}: {error}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_http_address_stays_where_only_listeners_change() {
        let directory = tempfile::tempdir().expect("directory");
        let ports = Ports::new(directory.path());
        let [one, two]: [SocketAddr; 2] = ["127.0.0.1:1", "127.0.0.1:2"].map(|text| text.parse().expect("valid"));
        ports.publish(&[one], Some(Some(two)), None).expect("written");
        ports.publish(&[two, one], None, Some(Path::new("/a.crt"))).expect("written");
        let text = std::fs::read_to_string(directory.path().join("ports.json")).expect("there");
        let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(json["listeners"], serde_json::json!(["127.0.0.1:2", "127.0.0.1:1"]));
        assert_eq!((&json["admin"], &json["certificate"]), (&"127.0.0.1:2".into(), &"/a.crt".into()));
    }
}
