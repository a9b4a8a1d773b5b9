//! `remuda token`: a token for the HTTP side, shown once, and the lines of the configuration that know it.

use std::process::ExitCode;

use super::fail;
use crate::admin::auth::token::{self, Digest};
use crate::config::Role;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Who or what it is for; stands in the event of everything that is done with it.
    #[arg(value_parser = name)]
    name: String,
    /// What its bearer may: look; act on mail, bindings, pools and tenants; everything.
    #[arg(long, value_enum)]
    role: RoleArg,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArg {
    Read,
    Operate,
    Admin,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Read => Self::Read,
            RoleArg::Operate => Self::Operate,
            RoleArg::Admin => Self::Admin,
        }
    }
}

/// What goes into a table's header without quotes.
fn name(text: &str) -> Result<String, String> {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if text.is_empty() || text.len() > 64 || !text.chars().all(is_bare) {
        return Err("a name has 1 to 64 letters, digits, - and _".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn main(args: &Args) -> ExitCode {
    match token::random() {
        Ok(token) => {
            // The token alone on standard output, so that it can go into a file without being seen.
            println!("{token}");
            eprint!("{}", lines(&args.name, args.role.into(), &token));
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

fn lines(name: &str, role: Role, token: &str) -> String {
    format!(
        "\nThis is the token; it is shown once. Paste into the relay's configuration, then remuda reload:\n\n\
         [admin.token.{name}]\nhash = \"{}\"\nrole = \"{}\"\n",
        Digest::of(token).written(),
        role.as_str()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_toml_and_hold_the_hash_but_not_the_token() {
        let shown = lines("ci", Role::Operate, "abc");
        let (_, toml) = shown.split_once("\n\n[").expect("a table");
        let table: toml::Table = toml::from_str(&format!("[{toml}")).expect("TOML");
        let token = &table["admin"]["token"]["ci"];
        let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((token["hash"].as_str(), token["role"].as_str()), (Some(hash), Some("operate")));
        assert!(name("a b").is_err() && name("").is_err() && name("a.b").is_err() && name("ci-1").is_ok());
    }
}
