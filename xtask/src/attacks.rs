//! Runs the scripts of `../shared/attacks`, if they are beside the clone, against the program under 1 GiB of address
//! space; none may do harm. `tests/attacks.rs` and `tests/serving/` have short forms of them, run in every build.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

const SCRIPTS: &str = "../shared/attacks";

/// Signs of harm in the output of a script or of the program.
const HARM: [&str; 10] = [
    "panicked",
    "DIED",
    "memory allocation",
    "overflowed its stack",
    "HANG",
    "HUNG",
    "Traceback",
    "stale cache used",
    "rc None",
    "rc -",
];

/// A script, its arguments, and the text that it must print.
struct Script {
    file: &'static str,
    arguments: &'static [&'static str],
    must_print: &'static str,
    /// Further signs of harm.
    harm: &'static [&'static str],
}

const fn script(file: &'static str, must_print: &'static str) -> Script {
    Script {
        file,
        arguments: &[],
        must_print,
        harm: &[],
    }
}

/// All scripts. Those of the server print its exit code.
const ALL: [Script; 14] = [
    script("01_huge_network.sh", "make it smaller"),
    script("02_many_keys.py", "160000 keys"),
    script("03_nonutf8.sh", ""),
    script("04_changing_files.py", "the file changed while it was read"),
    Script {
        harm: &["'rc', 0, 0", "'rc', 1, 1"],
        ..script("05_two_trains.py", "'rc', ")
    },
    script("07_kill_in_claim.sh", "exit 0"),
    script("10_long_name.py", "stop 0"),
    script("12_grpc_bomb.py", "stop 0"),
    Script {
        arguments: &["15.9", "gzip"],
        ..script("12_grpc_bomb.py", "stop 0")
    },
    script("14_index_bomb.py", "stop 0"),
    Script {
        arguments: &["8"],
        ..script("14_index_bomb.py", "stop 0")
    },
    script("16_gzip_name_cpu.py", "stop 0"),
    script("17_scorelog_id.py", "stop 0"),
    script("19_scorelog_disk_full.py", "stop 0"),
];

/// Runs the scripts. Arguments: `--python PATH` (with requests, grpcio and pyarrow; default: `target/clients`, made by
/// `cargo xtask clients`), `--binary PATH` (default: a release build), `--only PREFIX` (of the scripts' names).
///
/// # Errors
/// A script did harm, or their folder cannot be made.
pub(crate) fn run(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let scripts = root.join(SCRIPTS);
    if !scripts.is_dir() {
        println!(
            "nothing to run: {SCRIPTS} is not beside this clone; the short forms are in tests/attacks.rs"
        );
        return Ok(());
    }
    let (mut python, mut binary) = (root.join("target/clients/bin/python"), None);
    let mut only = "";
    for pair in arguments.chunks(2) {
        match *pair {
            ["--python", path] => python = path.into(),
            ["--binary", path] => binary = Some(root.join(path)),
            ["--only", prefix] => only = prefix,
            _ => {
                return Err(
                    "usage: cargo xtask attacks [--python PATH] [--binary PATH] [--only PREFIX]"
                        .to_owned(),
                );
            }
        }
    }
    let binary = match binary {
        Some(binary) => binary,
        None => crate::soak::built(root)?,
    };
    let place = Place::prepare(&scripts, root.join("target/attacks"), &binary, &python)?;
    println!("| script | harm | s |\n|---|---|---:|");
    let mut harm = Vec::new();
    for script in ALL.iter().filter(|script| script.file.starts_with(only)) {
        let start = Instant::now();
        let found = place.run(script)?;
        println!(
            "| {} {} | {} | {} |",
            script.file,
            script.arguments.join(" "),
            found.as_deref().unwrap_or("none"),
            start.elapsed().as_secs()
        );
        harm.extend(found.map(|found| format!("{}: {found}", script.file)));
    }
    for file in damaged(&scripts) {
        let name = file.file_name().unwrap_or_default().display().to_string();
        if !name.starts_with(only) {
            continue;
        }
        let found = place.check_damaged(&file)?;
        println!("| {name} | {} | |", found.as_deref().unwrap_or("none"));
        harm.extend(found.map(|found| format!("{name}: {found}")));
    }
    if harm.is_empty() {
        Ok(())
    } else {
        Err(harm.join("\n"))
    }
}

/// Returns the Parquet files among the scripts, sorted.
fn damaged(scripts: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(scripts).into_iter().flatten().flatten();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "parquet"));
    files.sort();
    files
}

/// The working folder that the scripts expect.
struct Place {
    folder: PathBuf,
    scripts: PathBuf,
    python: PathBuf,
}

impl Place {
    /// Makes `folder`: a program limited to 1 GiB, a log, a model, and the scripts' modules.
    fn prepare(
        scripts: &Path,
        folder: PathBuf,
        binary: &Path,
        python: &Path,
    ) -> Result<Place, String> {
        let failed = |error: std::io::Error| format!("{}: {error}", folder.display());
        let _ = fs::remove_dir_all(&folder);
        for inner in [
            "attack/tools",
            "attack/cases",
            "attack/log",
            "attack/bd",
            "target/release",
        ] {
            fs::create_dir_all(folder.join(inner)).map_err(failed)?;
        }
        let script = format!(
            "#!/bin/sh\nulimit -v 1048576\nexec {:?} \"$@\"\n",
            binary.display().to_string()
        );
        let program = folder.join("target/release/ncs");
        fs::write(&program, script).map_err(failed)?;
        executable(&program).map_err(failed)?;
        let root = folder.join("attack").display().to_string();
        for module in ["common.py", "srv.py"] {
            let text = fs::read_to_string(scripts.join(module)).map_err(failed)?;
            // Paths in a run file start at its folder.
            let text = text.replace("ROOT='attack'", &format!("ROOT={root:?}"));
            // At a low priority the time of other programs would count against a script's deadline.
            let text = text.replace("os.nice(10)", "os.nice(0)");
            fs::write(folder.join("attack/tools").join(module), text).map_err(failed)?;
        }
        let place = Place {
            folder: folder.clone(),
            scripts: scripts.canonicalize().map_err(failed)?,
            python: python.to_owned(),
        };
        place.odd_names().map_err(failed)?;
        place.model()?;
        Ok(place)
    }

    /// Writes the files of script 03. Its run file is in `attack/cases`, where its paths start.
    #[cfg(unix)]
    fn odd_names(&self) -> std::io::Result<()> {
        use std::os::unix::ffi::OsStrExt;
        let odd = std::ffi::OsStr::from_bytes(b"attack/bd/nonutf\xff");
        let folder = self.folder.join(odd);
        fs::create_dir_all(&folder)?;
        let rows: String = (0..40).map(|i| format!("u{i},{i},a,{}\n", i % 2)).collect();
        let file = folder.join(std::ffi::OsStr::from_bytes(b"a\xfe.csv"));
        fs::write(file, format!("user,price,tags,click\n{rows}"))?;
        fs::copy(
            self.scripts.join("03.toml"),
            self.folder.join("attack/bd/run.toml"),
        )?;
        std::os::unix::fs::symlink("..", self.folder.join("attack/cases/attack"))
    }

    #[cfg(not(unix))]
    fn odd_names(&self) -> std::io::Result<()> {
        Ok(())
    }

    /// Generates a log in `attack/syn` and trains a model on it.
    fn model(&self) -> Result<(), String> {
        let synth = "synth --rows 6000 --click-rate 0.3 --conversion-rate 0.3 --out attack/syn";
        let train = "train attack/syn/run.toml --out attack/models/feed/3 --set training.epochs=1 \
                     --set network.hidden=[16,8] --set evaluation.bootstrap=5";
        for words in [synth, train] {
            let mut command = Command::new("target/release/ncs");
            command
                .arg("--quiet")
                .args(words.split(' '))
                .stdout(Stdio::null());
            let status = command.current_dir(&self.folder).status();
            if !status.as_ref().is_ok_and(|status| status.success()) {
                return Err(format!("ncs {words}: {status:?}"));
            }
        }
        Ok(())
    }

    /// Runs a script or a command and returns its output, both streams.
    fn output(&self, program: &Path, arguments: &[&str]) -> Result<String, String> {
        let mut command = Command::new("timeout");
        command
            .args(["-s", "KILL", "900"])
            .arg(program)
            .args(arguments);
        command
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::null());
        let output = command.current_dir(&self.folder).output();
        let output = output.map_err(|error| format!("{}: {error}", program.display()))?;
        let (out, err) = (output.stdout, output.stderr);
        Ok(String::from_utf8_lossy(&[out, err].concat()).into_owned())
    }

    /// Runs a script and returns the harm that it did, if any. A script whose requirements this machine lacks counts
    /// as not run.
    fn run(&self, script: &Script) -> Result<Option<String>, String> {
        let file = self.scripts.join(script.file).display().to_string();
        let program = if script.file.ends_with(".sh") {
            Path::new("sh")
        } else {
            &self.python
        };
        let printed = self.output(program, &[&[file.as_str()], script.arguments].concat())?;
        let log = self.folder.join("attack/log").join(script.file);
        fs::write(&log, &printed).map_err(|error| format!("{}: {error}", log.display()))?;
        for lack in [
            "ModuleNotFoundError",
            "mount: ",
            "returned non-zero exit status 32",
        ] {
            if let Some(line) = printed.lines().find(|line| line.contains(lack)) {
                return Ok(Some(format!("not run: {line}")));
            }
        }
        let harm = HARM.iter().chain(script.harm);
        let found = harm.into_iter().find(|word| printed.contains(**word));
        Ok(match found {
            Some(word) => Some(format!("{word:?}, see {}", log.display())),
            None if !printed.contains(script.must_print) => {
                Some(format!("no {:?}, see {}", script.must_print, log.display()))
            }
            None => None,
        })
    }

    /// Checks that a damaged Parquet file gives an error of one line; returns the output otherwise.
    fn check_damaged(&self, file: &Path) -> Result<Option<String>, String> {
        let run = format!(
            "[data]\ntrain = {:?}\nsplit = {{ by = \"row\", valid = 0.2 }}\n[columns]\nuser = \"categorical\"\n\
             price = \"numeric\"\ntags = {{ kind = \"list\" }}\n[tasks.ctr]\nlabel = \"click\"\n",
            file.display().to_string()
        );
        let path = self.folder.join("attack/cases/damaged.toml");
        fs::write(&path, run).map_err(|error| format!("{}: {error}", path.display()))?;
        let printed = self.output(
            Path::new("target/release/ncs"),
            &["check", "attack/cases/damaged.toml"],
        )?;
        let is_one_error = printed.contains("damaged") && printed.lines().count() == 1;
        Ok((!is_one_error).then_some(printed))
    }
}

#[cfg(unix)]
fn executable(path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

#[cfg(not(unix))]
fn executable(_: &Path) -> std::io::Result<()> {
    Ok(())
}
