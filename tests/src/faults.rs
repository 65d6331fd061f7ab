//! Disks that fail under a running node: a file system that is too small, and system calls that give an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::output::Output;

const PATIENCE: Duration = Duration::from_secs(60);

/// System calls of a process on the files of a directory fail until this is dropped.
///
/// The kernel itself gives the error (`strace -e inject`), whatever library the call comes from; files that are made
/// later are not concerned.
pub struct Injection {
    strace: Child,
}

impl Injection {
    /// Has `calls` (such as `pwrite64` or `fdatasync,fsync`) on the files in `dir` end with `error` (such as `EIO`).
    pub fn begin(pid: u32, dir: &Path, calls: &str, error: &str) -> Injection {
        let mut command = Command::new("strace");
        command.args(["-f", "-o", "/dev/null", "-e", &format!("trace={calls}")]);
        command.args(["-e", &format!("inject={calls}:error={error}")]);
        for file in files(&fs::canonicalize(dir).expect("the directory is there")) {
            command.arg("-P").arg(file);
        }
        command.args(["-p", &pid.to_string()]).stdin(Stdio::null()).stderr(Stdio::piped());
        let mut strace = command.spawn().expect("strace starts");
        let output = Output::default();
        output.follow(strace.stderr.take().expect("stderr is piped"));
        // All threads are attached when the first line says so.
        let attached = output.wait(0, PATIENCE, |line| line.contains("attached").then_some(()));
        attached.expect("strace attaches");
        Injection { strace }
    }
}

impl Drop for Injection {
    fn drop(&mut self) {
        let pid = rustix::process::Pid::from_child(&self.strace);
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::INT);
        let _ = self.strace.wait();
    }
}

/// The directory and all that is in it.
fn files(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    for entry in fs::read_dir(dir).expect("the directory can be listed").flatten() {
        match entry.path() {
            path if path.is_dir() => all.extend(files(&path)),
            path => all.push(path),
        }
    }
    all
}

/// A file system in memory with a size of its own; unmounted on drop.
pub struct SmallDisk {
    path: PathBuf,
}

impl SmallDisk {
    /// Mounts `mib` MiB at `path`; `None` where that is not allowed.
    pub fn mount(path: &Path, mib: u32) -> Option<SmallDisk> {
        fs::create_dir_all(path).expect("the directory can be made");
        let options = format!("size={mib}m");
        let status = Command::new("mount")
            .args(["-t", "tmpfs", "-o", &options, "minikafka-test"])
            .arg(path)
            .stderr(Stdio::null())
            .status();
        status.is_ok_and(|status| status.success()).then(|| SmallDisk { path: path.to_path_buf() })
    }

    /// Gives it another size; what is in it stays.
    pub fn resize(&self, mib: u32) {
        let options = format!("remount,size={mib}m");
        let status = Command::new("mount").args(["-o", &options]).arg(&self.path).status();
        assert!(status.is_ok_and(|status| status.success()), "the file system takes another size");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: a node that still runs keeps its files open.
        let _ = Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
