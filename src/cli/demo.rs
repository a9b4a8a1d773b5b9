//! `remuda demo`: the play of three acts, the world that stays, and what may be wished of it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use super::{fail, terminal};
use crate::demo::scenario;
use crate::demo::world::{self, Stay, Wish};

/// Options.
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(super) struct Args {
    #[command(subcommand)]
    what: Option<What>,
    /// Messages to send.
    #[arg(long, default_value_t = 6000, conflicts_with = "stay")]
    messages: u32,
    /// Go on until Ctrl-C, with a made-up world around the relay to play with: see remuda demo do.
    #[arg(long)]
    stay: bool,
    /// With --stay: where configuration, state, log and addresses lie. Default: a temporary directory.
    #[arg(long, value_name = "DIRECTORY", requires = "stay")]
    dir: Option<PathBuf>,
    /// With --stay: HTTP address. Default: a free port of 127.0.0.1.
    #[arg(long, value_name = "ADDRESS", requires = "stay")]
    admin: Option<SocketAddr>,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make something happen in a demo that stays.
    Do(Do),
}

#[derive(Debug, clap::Args)]
struct Do {
    /// Directory of the demo.
    #[arg(long, value_name = "DIRECTORY", env = "REMUDA_DEMO", hide_env_values = true, global = true)]
    dir: Option<PathBuf>,
    #[command(subcommand)]
    wish: Wish,
}

pub(super) fn main(args: &Args) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    if let Some(What::Do(wanted)) = &args.what {
        return runtime.block_on(wish(wanted));
    }
    let done = runtime.block_on(async {
        if args.stay {
            let admin = args.admin.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
            world::stay(&Stay { directory: args.dir.clone(), admin }).await
        } else {
            scenario::run(args.messages).await
        }
    });
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(error),
    }
}

async fn wish(wanted: &Do) -> ExitCode {
    let Some(dir) = &wanted.dir else {
        return fail("which demo? Say --dir DIRECTORY, or read its env file first: . DIRECTORY/env");
    };
    match world::wish(dir, &wanted.wish).await {
        Ok(done) => {
            for line in done.lines() {
                println!("{}", terminal::visible(line));
            }
            ExitCode::SUCCESS
        }
        Err(no) => fail(terminal::visible(&no)),
    }
}
