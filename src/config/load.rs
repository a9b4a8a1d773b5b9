//! (shell) Reads the configuration from disk; everything it means is decided in [`super::check`].

use std::io;
use std::path::Path;

use super::Config;
use super::check::{self, Files, Loaded, Mistakes};

/// The real file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct Disk;

impl Files for Disk {
    fn read(&mut self, path: &Path) -> io::Result<String> {
        std::fs::read_to_string(path)
    }

    fn list(&mut self, directory: &Path) -> io::Result<Vec<String>> {
        // The directory of a bare file name is the empty path, which no system opens.
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let entry = entry?;
            // A name that is no UTF-8 matches no pattern of a TOML file.
            if let (true, Ok(name)) = (entry.path().is_file(), entry.file_name().into_string()) {
                names.push(name);
            }
        }
        Ok(names)
    }
}

impl Config {
    /// Reads the file at `path` and what it includes.
    ///
    /// # Errors
    /// All mistakes there are, those of reading included.
    pub fn load(path: &Path) -> Result<Loaded, Mistakes> {
        check::load(path, &mut Disk)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAIN: &str = r#"
        include = ["conf.d/*.toml"]
        [server]
        hostname = "relay.example.net"
        state_dir = "/var/lib/remuda"
        [[listener]]
        address = "127.0.0.1:0"
        trust = ["127.0.0.0/8"]
    "#;

    #[test]
    fn includes_are_read_beside_the_file_and_sorted_by_name() {
        let directory = tempfile::tempdir().expect("directory");
        let write = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).expect("written");
        std::fs::create_dir(directory.path().join("conf.d")).expect("made");
        write("remuda.toml", MAIN);
        write("conf.d/20-pools.toml", "[pool.p]\nactive = [\"a\", \"b\"]\n[tenant.t]\npools = { default = \"p\" }\n");
        write("conf.d/10-a.toml", "[binding.a]\nbind_address = \"192.0.2.1\"\n");
        write("conf.d/11-b.toml", "[binding.b]\nbind_address = \"192.0.2.2\"\n");
        write("conf.d/off.toml.bak", "nonsense");
        let loaded = Config::load(&directory.path().join("remuda.toml")).expect("a good configuration");
        let names: Vec<_> = loaded.config.bindings.iter().map(|binding| binding.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert_eq!(loaded.files.len(), 4);
        let at = loaded.config.origins.get("binding.b.bind_address").expect("written");
        assert!(at.file.ends_with("conf.d/11-b.toml"), "{at}");
        assert_eq!(at.line, 2);
    }

    #[test]
    fn a_file_that_is_not_there_is_the_only_mistake() {
        let error = Config::load(Path::new("/nonexistent/remuda.toml")).expect_err("no such file");
        assert_eq!(error.mistakes.len(), 1, "{error}");
        assert!(error.to_string().contains("cannot read /nonexistent/remuda.toml"), "{error}");
    }
}
