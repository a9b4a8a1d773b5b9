//! `remuda dkim`: keys that sign mail, and the records that go with them.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use super::fail;
use crate::message::Domain;
use crate::signing::keygen::{self, Kind, Made};
use crate::signing::keys;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Make a key: a file with the private one, and the record to publish on standard output.
    ///
    /// The file is named SELECTOR.DOMAIN.pem unless --out says otherwise, readable by its owner only, and never written over
    /// another.
    Keygen {
        /// The domain that signs.
        domain: Domain,
        /// The selector: a name of your choice for this key, such as 2026-11.
        #[arg(value_parser = selector)]
        selector: String,
        /// Ed25519 (RFC 8463): short and quick, but many receivers do not know it yet; sign with RSA as well.
        #[arg(long, conflicts_with = "rsa")]
        ed25519: bool,
        /// RSA of so many bits: 2048, 3072 or 4096.
        #[arg(long, value_name = "BITS", default_value_t = 2048, value_parser = bits)]
        rsa: u16,
        /// The file to make.
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Print the record of a key that is there.
    Record {
        /// The domain that signs.
        domain: Domain,
        /// The selector.
        #[arg(value_parser = selector)]
        selector: String,
        /// The file with the private key.
        file: PathBuf,
    },
}

fn selector(text: &str) -> Result<String, String> {
    let is_name = !text.starts_with('[') && text.parse::<Domain>().is_ok();
    if is_name { Ok(text.to_ascii_lowercase()) } else { Err("a selector has letters, digits, hyphens and dots".into()) }
}

fn bits(text: &str) -> Result<u16, String> {
    let bits = text.parse().ok().filter(|bits| [2048, 3072, 4096].contains(bits));
    bits.ok_or_else(|| "a key has 2048, 3072 or 4096 bit".to_owned())
}

pub(super) fn main(args: &Args) -> ExitCode {
    let done = match &args.act {
        Act::Keygen { domain, selector, ed25519, rsa, out } => {
            let kind = if *ed25519 { Kind::Ed25519 } else { Kind::Rsa(*rsa) };
            make(domain, selector, kind, out.as_deref())
        }
        Act::Record { domain, selector, file } => record(domain, selector, file),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(problem) => fail(problem),
    }
}

fn make(domain: &Domain, selector: &str, kind: Kind, out: Option<&Path>) -> Result<(), String> {
    let path = out.map_or_else(|| PathBuf::from(format!("{selector}.{domain}.pem")), Path::to_owned);
    let Made { pem, record } = keygen::make(kind)?;
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(wrong)?;
    let written = file.write_all(pem.as_bytes()).and_then(|()| file.sync_all()).and_then(|()| sync_beside(&path));
    if let Err(error) = written {
        // Half of a key is worse than none.
        let _ = fs::remove_file(&path);
        return Err(wrong(error));
    }
    println!("{}", keygen::zone_line(selector, domain.as_str(), &record));
    // The configuration would look beside itself, not here.
    let path = fs::canonicalize(&path).unwrap_or(path);
    eprintln!("\n{}", advice(domain, selector, &path));
    Ok(())
}

/// What is left to do, with lines to paste. One domain may have many selectors and one selector many domains, so the name
/// has both.
fn advice(domain: &Domain, selector: &str, path: &Path) -> String {
    let name = format!("{domain}-{selector}").replace('.', "-");
    let shown = path.display();
    // As TOML writes a text.
    let file = toml::Value::String(shown.to_string());
    format!(
        "The private key is in {shown}; you alone may read it. Where the relay runs as another user, give it the file\n\
         (chown remuda, or chown root:remuda and chmod 640), in a directory that it sees: /etc/remuda, not below /home.\n\
         Publish the record above, paste into the relay's configuration, write your tenant, then remuda reload:\n\n\
         [dkim.{name}]\ndomain = \"{domain}\"\nselector = \"{selector}\"\nkey = {file}\ntenants = [\"TENANT\"]\n"
    )
}

fn sync_beside(path: &Path) -> std::io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(directory)?.sync_all()
}

fn record(domain: &Domain, selector: &str, path: &Path) -> Result<(), String> {
    let pem = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let pem = zeroize::Zeroizing::new(pem);
    let key = keys::read(&pem).map_err(|what| format!("{}: {what}", path.display()))?;
    println!("{}", keygen::zone_line(selector, domain.as_str(), &keygen::record(key.kind(), &key.published())));
    Ok(())
}
