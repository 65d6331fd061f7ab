//! Running commands: printed, from the repository's root, their failure an error.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Why a task ended early.
pub(crate) struct Failed(pub(crate) String);

/// Where commands run.
pub(crate) struct Shell {
    root: PathBuf,
    target: PathBuf,
}

impl Shell {
    /// Finds the repository's root and cargo's target directory from the running program.
    pub(crate) fn new() -> Shell {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask/ lies in the repository");
        let exe = std::env::current_exe().expect("the path of the running program");
        let target = exe.ancestors().nth(2).expect("the program lies two levels under the target directory");
        Shell { root: root.to_path_buf(), target: target.to_path_buf() }
    }

    /// The repository's root.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target directory.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// What the tests need lies below this directory.
    pub(crate) fn setup_dir(&self) -> PathBuf {
        self.target.join("test-setup")
    }

    /// A program that cargo built, by its place below the target directory.
    pub(crate) fn program(&self, relative: &str) -> String {
        self.target.join(relative).display().to_string()
    }

    /// Runs a command; its output goes where ours goes.
    pub(crate) fn run(&self, program: &str, arguments: &[&str]) -> Result<(), Failed> {
        self.run_with(&[], program, arguments)
    }

    /// As [`Shell::run`], with more environment variables.
    pub(crate) fn run_with(
        &self,
        env: &[(&str, &str)],
        program: &str,
        arguments: &[&str],
    ) -> Result<(), Failed> {
        self.run_in(&self.root, env, program, arguments)
    }

    /// As [`Shell::run_with`], in another directory.
    pub(crate) fn run_in(
        &self,
        dir: &Path,
        env: &[(&str, &str)],
        program: &str,
        args: &[&str],
    ) -> Result<(), Failed> {
        let set: String = env.iter().map(|(k, v)| format!("{k}={v} ")).collect();
        eprintln!("$ {set}{program} {}", args.join(" "));
        let status = Command::new(program).args(args).envs(env.iter().copied()).current_dir(dir).status();
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failed(format!("{program} ended with {status}"))),
            Err(e) => Err(Failed(format!("{program} cannot be run: {e}"))),
        }
    }

    /// What a command prints, without showing the command.
    pub(crate) fn read(&self, program: &str, arguments: &[&str]) -> Result<String, Failed> {
        let output =
            Command::new(program).args(arguments).current_dir(&self.root).stderr(Stdio::inherit()).output();
        match output {
            Ok(o) if o.status.success() => Ok(String::from_utf8_lossy(&o.stdout).into_owned()),
            Ok(o) => Err(Failed(format!("{program} ended with {}", o.status))),
            Err(e) => Err(Failed(format!("{program} cannot be run: {e}"))),
        }
    }
}

/// Whether a program can be found on the path.
pub(crate) fn has(program: &str) -> bool {
    std::env::var_os("PATH").is_some_and(|p| std::env::split_paths(&p).any(|dir| dir.join(program).is_file()))
}
