//! `remuda user`: lines for the file of users that may log in (`server.users_file`).

use std::io::{self, BufRead, IsTerminal, Read, Write};
use std::os::fd::AsRawFd;
use std::process::ExitCode;

use rand::TryRngCore;
use rand::rngs::OsRng;
use zeroize::Zeroizing;

use super::fail;
use crate::ingress::users::list::{PASSWORD_MAX, line};

/// Fewer characters than this are worth a word.
const SHORT: usize = 12;

/// Options.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, clap::Subcommand)]
enum Act {
    /// Read a password and print the user's line for the file that server.users_file names.
    ///
    /// On a terminal the password is asked for twice and not shown; otherwise the first line of standard input is it.
    /// The line holds a salted argon2id hash, not the password: remuda user hash acme >> /etc/remuda/users
    Hash {
        /// Name the user logs in with; tenant.NAME.match.auth_user names it too.
        name: String,
    },
}

pub(super) fn main(args: &Args) -> ExitCode {
    let Act::Hash { name } = &args.act;
    match hash(name) {
        Ok(line) => {
            println!("{line}");
            ExitCode::SUCCESS
        }
        Err(problem) => fail(problem),
    }
}

fn hash(name: &str) -> Result<String, String> {
    let password = if io::stdin().is_terminal() { asked()? } else { first_line(&mut io::stdin().lock())? };
    let mut salt = [0; 16];
    OsRng.try_fill_bytes(&mut salt).map_err(|error| format!("no random numbers: {error}"))?;
    let line = line(name, &password, &salt).map_err(|error| error.to_string())?;
    if String::from_utf8_lossy(&password).chars().count() < SHORT {
        eprintln!("warning: fewer than {SHORT} characters are guessed soon; let a program choose the password");
    }
    Ok(line)
}

/// The first line of what is piped in, without its end.
fn first_line(input: &mut dyn BufRead) -> Result<Zeroizing<Vec<u8>>, String> {
    // Room for all of it at once: what grows leaves copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(PASSWORD_MAX + 8));
    let read = input.take(PASSWORD_MAX as u64 + 3).read_until(b'\n', &mut text);
    read.map_err(|error| format!("the password cannot be read: {error}"))?;
    while text.last().is_some_and(|octet| matches!(octet, b'\n' | b'\r')) {
        text.pop();
    }
    if text.is_empty() { Err("no password on standard input".into()) } else { Ok(text) }
}

fn asked() -> Result<Zeroizing<Vec<u8>>, String> {
    let _silence = Silence::begin()?;
    let ask = |question: &str| {
        // Standard output is for the line.
        eprint!("{question}");
        let _ = io::stderr().flush();
        let answer = first_line(&mut io::stdin().lock());
        eprintln!();
        answer
    };
    let (first, second) = (ask("Password: ")?, ask("Again: ")?);
    if first == second { Ok(first) } else { Err("the two are not the same; nothing was made".into()) }
}

/// Signals that end the program while it asks.
const ENDING: [libc::c_int; 4] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT];

/// While it lives, the terminal shows nothing of what is typed. Where a signal ends the program first (Ctrl-C), the terminal
/// is as it was before that.
struct Silence {
    before: libc::termios,
    /// Signals that were held back before.
    held: libc::sigset_t,
}

impl Silence {
    fn begin() -> Result<Self, String> {
        let terminal = io::stdin().as_raw_fd();
        let failed = || format!("the terminal cannot be told to be silent: {}", io::Error::last_os_error());
        // SAFETY: all-zero octets are a valid value of this plain C struct, and the call below fills it.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the pointer is to a live struct of that type; the descriptor is only read from.
        if unsafe { libc::tcgetattr(terminal, &raw mut before) } != 0 {
            return Err(failed());
        }
        let held = on_signal(before)?;
        let silence = Self { before, held };
        let mut silent = before;
        silent.c_lflag &= !libc::ECHO;
        // SAFETY: as above.
        if unsafe { libc::tcsetattr(terminal, libc::TCSAFLUSH, &raw const silent) } != 0 {
            return Err(failed());
        }
        Ok(silence)
    }
}

/// Has a thread wait for the signals of [`ENDING`], which are held back from all others: it makes the terminal as `before`
/// and lets the signal do what it does. What was held back until now is the answer.
fn on_signal(before: libc::termios) -> Result<libc::sigset_t, String> {
    // SAFETY: all-zero octets are valid values of these plain C types; the calls fill them.
    let (mut ending, mut held): (libc::sigset_t, libc::sigset_t) = unsafe { (std::mem::zeroed(), std::mem::zeroed()) };
    // SAFETY: the pointers are to live sets, the signals exist.
    let failed = unsafe {
        libc::sigemptyset(&raw mut ending);
        for signal in ENDING {
            libc::sigaddset(&raw mut ending, signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, &raw const ending, &raw mut held)
    };
    if failed != 0 {
        return Err(format!("signals cannot be held back: {}", io::Error::from_raw_os_error(failed)));
    }
    let wait = move || {
        let mut signal = 0;
        // SAFETY: the set and the number are live; the terminal's settings are those the system gave; the process is ours.
        unsafe {
            if libc::sigwait(&raw const ending, &raw mut signal) != 0 {
                return;
            }
            libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSANOW, &raw const before);
            libc::pthread_sigmask(libc::SIG_UNBLOCK, &raw const ending, std::ptr::null_mut());
            libc::kill(libc::getpid(), signal);
        }
    };
    std::thread::Builder::new().spawn(wait).map_err(|error| format!("no thread: {error}"))?;
    Ok(held)
}

impl Drop for Silence {
    fn drop(&mut self) {
        // SAFETY: the struct is the one the system gave. Where it fails the terminal stays silent; nothing can be done.
        unsafe { libc::tcsetattr(io::stdin().as_raw_fd(), libc::TCSAFLUSH, &raw const self.before) };
        // SAFETY: the set is the one the system gave.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.held, std::ptr::null_mut()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password() {
        for (input, password) in [
            ("secret\n", Some("secret")),
            ("secret", Some("secret")),
            ("secret\r\nmore\n", Some("secret")),
            (" a b \n", Some(" a b ")),
            ("", None),
            ("\n", None),
        ] {
            let read = first_line(&mut input.as_bytes()).ok().map(|text| String::from_utf8_lossy(&text).into_owned());
            assert_eq!(read.as_deref(), password, "{input:?}");
        }
    }
}
