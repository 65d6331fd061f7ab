//! Where things are: the target directory, the binary under test and what `cargo xtask test` fetched.

use std::path::{Path, PathBuf};

/// The version of Apache Kafka whose tools judge us and which the tests can run against.
pub const KAFKA: &str = "4.1.2";
/// The old Java client.
pub const OLD_KAFKA: &str = "2.8.2";

/// The root of the repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the repository").to_path_buf()
}

/// Cargo's target directory: a program lies in `<target>/<profile>`, a test binary in `<target>/<profile>/deps`, an
/// example in `<target>/<profile>/examples`.
pub fn target() -> PathBuf {
    let exe = std::env::current_exe().expect("the path of the running program");
    let is_below = exe.parent().is_some_and(|dir| dir.ends_with("deps") || dir.ends_with("examples"));
    let levels = if is_below { 3 } else { 2 };
    exe.ancestors().nth(levels).expect("programs lie under the target directory").to_path_buf()
}

/// A file or directory that `cargo xtask test` prepares; panics with what to do when it is not there.
pub fn fetched(relative: &str) -> PathBuf {
    let path = target().join("test-setup").join(relative);
    assert!(path.exists(), "{} is missing: run `cargo xtask setup` once", path.display());
    path
}

/// The release binary of the node; `MINIKAFKA_BIN` names another one.
pub fn minikafka() -> PathBuf {
    let path =
        std::env::var_os("MINIKAFKA_BIN").map_or_else(|| target().join("release/minikafka"), PathBuf::from);
    assert!(path.exists(), "{} is missing: run `cargo build --release` first", path.display());
    path
}

/// A program of ours under `tests/clients`.
pub fn client(relative: &str) -> PathBuf {
    root().join("tests/clients").join(relative)
}

/// The class path of Apache Kafka `version` with the classes of `tests/clients/java` in front.
pub fn class_path(version: &str) -> String {
    let home = fetched(&format!("kafka-{version}"));
    format!("{}/classes:{}/libs/*", home.display(), home.display())
}
