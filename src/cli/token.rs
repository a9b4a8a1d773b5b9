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
    /// What its bearer may: look; act on mail, bindings, pools and tenants; everything; or nothing but send mail over HTTP,
    /// at the address of [injection].
    #[arg(long, value_enum)]
    role: RoleArg,
    /// With --role send: whose mail its bearer sends over HTTP.
    #[arg(long, value_name = "NAME", required_if_eq("role", "send"))]
    tenant: Option<String>,
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum RoleArg {
    Read,
    Operate,
    Admin,
    Send,
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
            eprint!("{}", lines(args, &token));
            ExitCode::SUCCESS
        }
        Err(error) => fail(error),
    }
}

fn lines(Args { name, role, tenant }: &Args, token: &str) -> String {
    let hash = Digest::of(token).written();
    let role = match role {
        RoleArg::Read => Some(Role::Read),
        RoleArg::Operate => Some(Role::Operate),
        RoleArg::Admin => Some(Role::Admin),
        RoleArg::Send => None,
    };
    let table = match role {
        Some(role) => format!("[admin.token.{name}]\nhash = \"{hash}\"\nrole = \"{}\"\n", role.as_str()),
        None => {
            // As TOML writes a text, whatever the name of the tenant.
            let tenant = toml::Value::String(tenant.clone().unwrap_or_default());
            format!("[injection.token.{name}]\ntenant = {tenant}\nhash = \"{hash}\"\n")
        }
    };
    format!(
        "\nThis is the token; it is shown once. Paste into the relay's configuration, then remuda reload:\n\n{table}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_are_toml_and_hold_the_hash_but_not_the_token() {
        let of = |role, tenant: Option<&str>| Args { name: "ci".into(), role, tenant: tenant.map(Into::into) };
        let shown = lines(&of(RoleArg::Operate, None), "abc");
        let (_, toml) = shown.split_once("\n\n[").expect("a table");
        let table: toml::Table = toml::from_str(&format!("[{toml}")).expect("TOML");
        let token = &table["admin"]["token"]["ci"];
        let hash = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!((token["hash"].as_str(), token["role"].as_str()), (Some(hash), Some("operate")));
        let shown = lines(&of(RoleArg::Send, Some("a \"b\"")), "abc");
        let (_, toml) = shown.split_once("\n\n[").expect("a table");
        let table: toml::Table = toml::from_str(&format!("[{toml}")).expect("TOML");
        let token = &table["injection"]["token"]["ci"];
        assert_eq!((token["hash"].as_str(), token["tenant"].as_str()), (Some(hash), Some("a \"b\"")));
        assert!(name("a b").is_err() && name("").is_err() && name("a.b").is_err() && name("ci-1").is_ok());
    }
}
