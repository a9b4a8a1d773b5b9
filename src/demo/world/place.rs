//! The directory of a demo: configuration, state, log, addresses.

use std::fs;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::{CONTROL_FILE, World};
use crate::config::Config;
use crate::telemetry::log;

const TEMPLATE: &str = include_str!("remuda.toml");
const RULES: &str = include_str!("rules.toml");
const CONFIG: &str = "remuda.toml";

/// Octets after which the log begins anew: a demo that is forgotten must not fill the disk.
const LOG_SIZE: u64 = 32 << 20;

/// A directory that holds one demo.
pub(super) struct Place {
    directory: PathBuf,
    /// As it was given, for what is printed.
    shown: String,
    is_temporary: bool,
}

impl Place {
    /// Makes it. One that holds a demo, or did, is refused: its mail belongs to receivers that are gone.
    pub(super) fn make(wanted: Option<&Path>) -> Result<Self, String> {
        let is_temporary = wanted.is_none();
        let temporary = || std::env::temp_dir().join(format!("remuda-demo-{}", std::process::id()));
        let given = wanted.map_or_else(temporary, Path::to_path_buf);
        let shown = given.display().to_string();
        let directory = std::path::absolute(&given).map_err(|e| format!("{shown}: {e}"))?;
        if directory.join(CONFIG).exists() {
            return Err(format!("{shown} holds a demo already; name another directory or remove it"));
        }
        // A temporary one must be new: in a directory that all may write to, an old one may be anybody's.
        let made = fs::DirBuilder::new().recursive(!is_temporary).mode(0o700).create(&directory);
        made.map_err(|e| format!("cannot make {shown}: {e}"))?;
        fs::create_dir_all(directory.join("state")).map_err(|e| format!("cannot make {shown}/state: {e}"))?;
        Ok(Self { directory, shown, is_temporary })
    }

    /// Writes the configuration and reads it back.
    pub(super) fn configure(&self, world: &World, admin: SocketAddr) -> Result<(PathBuf, Config), String> {
        let state = self.directory.join("state").display().to_string();
        if state.contains(['"', '\\', '\n']) {
            return Err(format!("{}: the name of the directory must do without \" and \\", self.shown));
        }
        let omega = world.omega.local_addr().map_err(|e| e.to_string())?;
        let mut text = TEMPLATE.replace("@state@", &state).replace("@admin@", &admin.to_string());
        for receiver in &world.receivers {
            text = text.replace(&format!("@{}@", receiver.name), &receiver.sink.addr().to_string());
        }
        text = text.replace("@omega@", &omega.to_string());
        text = text.replace("@elsewhere@", &world.elsewhere.addr().to_string());
        text = text.replace("@names@", &world.names.addr().to_string());
        let file = self.directory.join(CONFIG);
        self.write("rules.toml", RULES)?;
        self.write(CONFIG, &text)?;
        let loaded = Config::load(&file).map_err(|mistakes| mistakes.to_string())?;
        Ok((file, loaded.config))
    }

    /// Sends the log of the process to a file here.
    pub(super) fn log(&self, config: &Config) -> Result<(), String> {
        let path = self.directory.join("relay.log");
        let file = fs::File::options().create(true).append(true).open(&path);
        let file = file.map_err(|e| format!("{}: {e}", path.display()))?;
        log::init_into(&config.log, Bounded { file, written: 0 })
    }

    /// Says in files where everything is. `env` is the last: whoever finds it finds all.
    pub(super) fn publish(
        &self,
        admin: SocketAddr,
        smtp: SocketAddr,
        control: SocketAddr,
        world: &World,
    ) -> Result<(), String> {
        let addresses = [("admin.address", admin), ("smtp.address", smtp), (CONTROL_FILE, control)];
        for (name, address) in addresses {
            self.write(name, &format!("{address}\n"))?;
        }
        let directory = self.directory.display().to_string().replace('\'', "'\\''");
        let mut env =
            format!("export REMUDA_ADMIN={admin}\nexport REMUDA_DEMO='{directory}'\nexport REMUDA_SMTP={smtp}\n");
        // The token of whoever runs the demo lies in its state directory, and its configuration says where that is.
        env += &format!("export REMUDA_CONFIG='{directory}/{CONFIG}'\n");
        env += &format!("export REMUDA_NAMES={}\n", world.names.addr());
        for receiver in &world.receivers {
            env += &format!("export REMUDA_{}={}\n", receiver.name.to_ascii_uppercase(), receiver.sink.addr());
        }
        self.write("env", &env)
    }

    /// What the operator reads at first.
    pub(super) fn welcome(&self, admin: SocketAddr, smtp: SocketAddr) -> String {
        let (shown, env) = (&self.shown, format!(". {}/env", self.shown));
        format!(
            "\
remuda demo: the real relay on loopback with a made-up world around it, until Ctrl-C.

  console and API  http://{admin}/
  SMTP             {smtp}
  configuration    {shown}/remuda.toml (what waits long elsewhere waits short here; each such line says so)
  log              {shown}/relay.log

In another terminal:

  {env:<39} tells the verbs where this relay is
  remuda status                           bindings, health, what waits and why
  remuda demo do list mta1                a DNSBL lists mta1: it goes out, mta3 steps in
  remuda demo do unlist mta1              and it comes back by a trickle
  remuda demo do block mta2 --at alpha    one receiver refuses mta2: it is out there and nowhere else
  remuda demo do unblock mta2 --at alpha
  remuda demo do rate 50                  more mail (pause-traffic, resume-traffic)
  remuda demo do show                     who got what from whom
  remuda events                           what happened lately

docs/tour.md has the whole tour.
"
        )
    }

    /// Says what stays.
    pub(super) fn leave(&self) {
        if !self.is_temporary {
            println!("   {} stays; remove it when you have seen enough.", self.shown);
        }
    }

    /// Written aside and renamed: whoever waits for the file finds it whole.
    fn write(&self, name: &str, text: &str) -> Result<(), String> {
        let (path, aside) = (self.directory.join(name), self.directory.join(format!(".{name}.new")));
        fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path)).map_err(|e| format!("{}: {e}", path.display()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_temporary {
            // What cannot be removed is a few megabytes in the temporary directory; nothing depends on it.
            drop(fs::remove_dir_all(&self.directory));
        }
    }
}

/// A log that begins anew instead of growing without end.
struct Bounded {
    file: fs::File,
    written: u64,
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written >= LOG_SIZE {
            self.file.set_len(0)?;
            self.written = 0;
        }
        let count = self.file.write(bytes)?;
        self.written += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_holds_one_demo() {
        let above = tempfile::tempdir().unwrap();
        let wanted = above.path().join("a/b");
        let place = Place::make(Some(&wanted)).unwrap();
        place.write(CONFIG, "").unwrap();
        assert!(Place::make(Some(&wanted)).err().unwrap().contains("holds a demo already"));
        drop(place);
        assert!(wanted.exists(), "what the operator named is the operator's to remove");
        let place = Place::make(None).unwrap();
        let made = place.directory.clone();
        assert!(made.exists());
        drop(place);
        assert!(!made.exists(), "what nobody named is gone, also after a start that failed");
    }

    #[test]
    fn the_configuration_has_a_mark_for_every_address_and_says_where_it_is_shorter_than_usual() {
        let marks = ["state", "admin", "alpha", "beta", "gamma", "delta", "omega", "elsewhere", "names"];
        let mut text = TEMPLATE.to_owned();
        for mark in marks {
            let by = if mark == "state" { "/tmp/state" } else { "127.0.0.1:9" };
            assert!(text.contains(&format!("\"@{mark}@\"")), "{mark}");
            text = text.replace(&format!("@{mark}@"), by);
        }
        assert!(!text.contains('@') || text.lines().filter(|l| l.contains('@')).all(|l| l.contains("sender = ")));
        // Without the file of rules, which stands beside it.
        Config::from_toml(text.split("[classify]").next().unwrap()).unwrap();
        let spans = TEMPLATE.lines().filter(|line| line.contains("short; default \""));
        assert!(spans.count() >= 15);
    }
}
