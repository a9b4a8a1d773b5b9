//! What is shipped beside the program: the unit, the Debian package's list, the container's recipe, the examples.
//!
//! No package and no container is built here; what can be judged without is: that every file they name is there, that the
//! unit says what systemd understands and how exposed it leaves the service, that users can be made as the package makes
//! them.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;
use toml::Value;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn manifest() -> Value {
    toml::from_str(&read("Cargo.toml")).unwrap()
}

/// The files that a pattern of the list of assets stands for: a name, or all files of a directory with an ending.
fn matched(path: PathBuf) -> Vec<PathBuf> {
    let name = path.file_name().unwrap().to_str().unwrap().to_owned();
    let Some(ending) = name.strip_prefix('*') else { return vec![path] };
    let directory = fs::read_dir(path.parent().unwrap()).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let paths = directory.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.is_file() && path.to_string_lossy().ends_with(ending)).collect()
}

/// What the program writes about itself, as config/debian/build asks for it.
fn generated() -> TempDir {
    let script = read("config/debian/build");
    let directory = tempfile::tempdir().unwrap();
    let remuda = |arguments: &[&str]| {
        let done = Command::new(env!("CARGO_BIN_EXE_remuda")).args(arguments).output().unwrap();
        assert!(done.status.success(), "{arguments:?}");
        done.stdout
    };
    assert!(script.contains("\"$made/remuda\" man \"$made/generated/man\""), "{script}");
    remuda(&["man", directory.path().join("man").to_str().unwrap()]);
    assert!(script.contains("gzip -9n \"$made\"/generated/man/*\n"), "{script}");
    for page in fs::read_dir(directory.path().join("man")).unwrap() {
        let page = page.unwrap().path();
        fs::rename(&page, page.with_extension("1.gz")).unwrap();
    }
    assert!(script.contains("for shell in bash zsh fish;"), "{script}");
    assert!(script.contains("completions \"$shell\" >\"$made/generated/remuda.$shell\""), "{script}");
    for shell in ["bash", "zsh", "fish"] {
        let completions = remuda(&["completions", shell]);
        fs::write(directory.path().join(format!("remuda.{shell}")), completions).unwrap();
    }
    directory
}

#[test]
fn the_debian_package_lists_files_that_are_there() {
    let (manifest, generated) = (manifest(), generated());
    let deb = &manifest["package"]["metadata"]["deb"];
    let mut installed = BTreeSet::new();
    for asset in deb["assets"].as_array().unwrap() {
        let [from, to, mode] = [0, 1, 2].map(|n| asset[n].as_str().unwrap());
        assert!(!to.starts_with('/') && !to.starts_with("etc/"), "{to}: the operator's files are the operator's");
        if from == "target/release/remuda" {
            assert_eq!((to, mode), ("usr/bin/", "755"));
            continue;
        }
        let files = match from.strip_prefix("target/release/generated/") {
            Some(name) => matched(generated.path().join(name)),
            None => matched(root().join(from)),
        };
        assert!(!files.is_empty() && files.iter().all(|file| file.is_file()), "{from}");
        assert_eq!(mode, "644", "{from}");
        let target = |file: &PathBuf| {
            let name = file.file_name().unwrap().to_str().unwrap();
            if to.ends_with('/') { format!("{to}{name}") } else { to.to_owned() }
        };
        for file in files.iter().map(target) {
            assert!(installed.insert(file.clone()), "{file} comes from two places");
        }
    }
    for file in [
        // cargo-deb has it applied by the name that the file has here.
        "usr/lib/sysusers.d/remuda.conf",
        "usr/share/man/man1/remuda.1.gz",
        "usr/share/man/man1/remuda-queue-retry.1.gz",
        "usr/share/bash-completion/completions/remuda",
        "usr/share/zsh/vendor-completions/_remuda",
        "usr/share/doc/remuda/install.md",
        "usr/share/doc/remuda/examples/remuda.toml",
        "usr/share/doc/remuda/examples/clients/postfix/login.cf",
        "usr/share/doc/remuda/examples/clients/exim/30_remuda_auth",
    ] {
        assert!(installed.contains(file), "{file} is not in {installed:#?}");
    }
    let scripts = root().join(deb["maintainer-scripts"].as_str().unwrap());
    let postinst = fs::read_to_string(scripts.join("postinst")).unwrap();
    assert!(postinst.contains("\n#DEBHELPER#\n"), "cargo-deb puts the unit's part there");
    for script in ["postinst", "build"] {
        assert!(Command::new("sh").arg("-n").arg(scripts.join(script)).status().unwrap().success(), "{script}");
    }
    let unit = format!("{}.service", deb["systemd-units"]["unit-name"].as_str().unwrap());
    assert!(root().join(deb["systemd-units"]["unit-scripts"].as_str().unwrap()).join(unit).is_file());
}

/// Value of a key of a unit; the last where it is there more than once.
fn of_unit<'a>(unit: &'a str, key: &str) -> &'a str {
    let mut found = unit.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.next_back().unwrap_or_else(|| panic!("no {key}"))
}

#[test]
fn the_unit_runs_the_program_as_it_wants_to_be_run() {
    let unit = read("config/systemd/remuda.service");
    let command: Vec<&str> = of_unit(&unit, "ExecStart").split(' ').collect();
    assert_eq!(command[0], "/usr/bin/remuda");
    // With a file that is not there it says so, and not that it does not know an option.
    let missing = command[1..].iter().map(|word| if word.starts_with('/') { "/nowhere/remuda.toml" } else { word });
    let output = Command::new(env!("CARGO_BIN_EXE_remuda")).args(missing).output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && said.contains("/nowhere/remuda.toml"), "{said}");
    let state = format!("/var/lib/{}", of_unit(&unit, "StateDirectory"));
    let example: Value = toml::from_str(&read("config/remuda.toml")).unwrap();
    assert_eq!(example["server"]["state_dir"].as_str(), Some(&*state));
    assert_eq!(of_unit(&unit, "User"), "remuda");
    assert!(read("config/systemd/sysusers.d/remuda.conf").contains("\nu remuda "));
}

#[test]
fn the_container_is_made_of_files_that_are_there_by_the_compiler_that_is_asked_for() {
    let recipe = read("Dockerfile");
    let wanted = manifest()["package"]["rust-version"].as_str().unwrap().to_owned();
    assert!(recipe.contains(&format!("\nFROM rust:{wanted}.")), "rust-version is {wanted}");
    let let_in: BTreeSet<String> =
        read(".dockerignore").lines().filter_map(|line| line.strip_prefix('!')).map(str::to_owned).collect();
    let mut copied = BTreeSet::new();
    for line in recipe.lines().filter(|line| line.starts_with("COPY ") && !line.contains("--from=")) {
        let words: Vec<&str> = line.split(' ').collect();
        copied.extend(words[1..words.len() - 1].iter().map(|name| (*name).to_owned()));
    }
    assert_eq!(copied, let_in, "what is copied is what is not left out");
    assert!(copied.iter().all(|name| root().join(name).exists()), "{copied:?}");
    for bench in manifest()["bench"].as_array().unwrap() {
        let name = format!("benches/{}", bench["name"].as_str().unwrap());
        assert!(root().join(format!("{name}.rs")).exists() || root().join(&name).is_dir(), "{name}");
    }
    let user = recipe.lines().rfind(|line| line.starts_with("USER ")).unwrap();
    assert!(!user.contains("root") && !user.starts_with("USER 0"), "{user}");
}

/// Copies the unit with the program of this build in it.
fn unit_of_this_build(directory: &Path, change: impl Fn(String) -> String) -> PathBuf {
    let unit = directory.join("remuda.service");
    // A path below the temporary directory, since the unit hides others; systemd only asks whether it can be executed.
    let program = directory.join("remuda");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let text = read("config/systemd/remuda.service").replace("/usr/bin/remuda", program.to_str().unwrap());
    fs::write(&unit, change(text)).unwrap();
    unit
}

fn analyze(arguments: &[&str], unit: &Path) -> (Option<i32>, String) {
    let output = Command::new("systemd-analyze").args(arguments).arg("--no-pager").arg(unit).output();
    let output = output.expect("systemd-analyze");
    (output.status.code(), String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned())
}

#[test]
#[ignore = "needs systemd-analyze; tests/run installs it"]
fn systemd_understands_every_line_of_the_unit() {
    let directory = tempfile::tempdir().unwrap();
    let unit = unit_of_this_build(directory.path(), |text| text);
    assert_eq!(analyze(&["verify", "--man=no"], &unit), (Some(0), String::new()));
    let wrong = unit_of_this_build(directory.path(), |text| text + "ProtectSysten=strict\nRestartSec=soon\n");
    let said = analyze(&["verify", "--man=no"], &wrong).1;
    assert!(said.contains("ProtectSysten") || said.contains("RestartSec"), "it would say so: {said}");
}

#[test]
#[ignore = "needs systemd-analyze; tests/run installs it"]
fn the_unit_leaves_the_service_little_exposed() {
    let directory = tempfile::tempdir().unwrap();
    let unit = unit_of_this_build(directory.path(), |text| text);
    // 1.4 by systemd 252; other versions weigh a little differently.
    let (code, said) = analyze(&["security", "--offline=true", "--threshold=20"], &unit);
    assert_eq!(code, Some(0), "{said}");
    let bare = unit_of_this_build(directory.path(), |text| {
        text.lines().filter(|line| !line.starts_with("Protect")).map(|line| format!("{line}\n")).collect()
    });
    let (code, said) = analyze(&["security", "--offline=true", "--threshold=20"], &bare);
    assert_ne!(code, Some(0), "a unit that protects less does not pass: {said}");
}

#[test]
#[ignore = "needs systemd-sysusers and root; tests/run installs it"]
fn the_package_can_make_its_user() {
    let elsewhere = tempfile::tempdir().unwrap();
    fs::create_dir(elsewhere.path().join("etc")).unwrap();
    let output = Command::new("systemd-sysusers")
        .arg(format!("--root={}", elsewhere.path().display()))
        .arg("--replace=/usr/lib/sysusers.d/remuda.conf")
        .arg(root().join("config/systemd/sysusers.d/remuda.conf"))
        .output()
        .expect("systemd-sysusers");
    let users = fs::read_to_string(elsewhere.path().join("etc/passwd")).unwrap_or_default();
    assert!(users.contains("remuda:x:") && users.contains(":/var/lib/remuda:/usr/sbin/nologin"), "{users}{output:?}");
}
