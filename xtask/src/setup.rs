//! Fetches what the tests need and is not part of the Rust tool chain, by each language's ordinary client.
//!
//! Everything but Debian packages goes below `target/test-setup`. A part whose inputs did not change is skipped: its
//! stamp file holds them.

use std::fs;
use std::path::Path;

use crate::shell::{Failed, Shell, has};

/// A program that must be there, and the Debian package that brings it.
const PROGRAMS: &[(&str, &str)] = &[
    ("kcat", "kcat"),
    ("strace", "strace"),
    ("setpriv", "util-linux"),
    ("ip", "iproute2"),
    ("make", "make"),
    ("cc", "gcc"),
    ("c++", "g++"),
    ("javac", "default-jdk-headless"),
    ("mvn", "maven"),
    ("go", "golang"),
    ("npm", "npm"),
    ("python3", "python3-venv"),
];

/// Maven artifacts of each Kafka version: the tools and the node, and an old client.
const KAFKA: &[(&str, &[&str], &[&str])] = &[
    (
        "4.1.2",
        &[
            "org.apache.kafka:kafka_2.13:4.1.2",
            "org.apache.kafka:kafka-tools:4.1.2",
            "org.apache.kafka:kafka-shell:4.1.2",
            "org.apache.logging.log4j:log4j-slf4j-impl:2.24.3",
            "org.apache.logging.log4j:log4j-core:2.24.3",
        ],
        &["Client.java", "Tools.java"],
    ),
    (
        "2.8.2",
        &[
            "org.apache.kafka:kafka-clients:2.8.2",
            "com.fasterxml.jackson.core:jackson-databind:2.16.2",
            "org.slf4j:slf4j-nop:1.7.36",
        ],
        &["Client.java"],
    ),
];

/// Brings everything up to date.
pub(crate) fn run(shell: &Shell) -> Result<(), Failed> {
    fs::create_dir_all(shell.setup_dir())
        .map_err(|e| Failed(format!("{}: {e}", shell.setup_dir().display())))?;
    debian(shell)?;
    python(shell)?;
    node(shell)?;
    go(shell)?;
    for (version, artifacts, sources) in KAFKA {
        java(shell, version, artifacts, sources)?;
    }
    rust(shell)
}

fn debian(shell: &Shell) -> Result<(), Failed> {
    let missing: Vec<&str> =
        PROGRAMS.iter().filter(|(program, _)| !has(program)).map(|(_, package)| *package).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let mut install = vec!["install", "-y", "-q", "--no-install-recommends"];
    install.extend(missing);
    let env = [("DEBIAN_FRONTEND", "noninteractive")];
    // Package lists may be absent or too old; only then are they fetched.
    if shell.run_with(&env, "apt-get", &install).is_err() {
        shell.run("apt-get", &["update", "-q"])?;
        shell.run_with(&env, "apt-get", &install)?;
    }
    Ok(())
}

fn python(shell: &Shell) -> Result<(), Failed> {
    virtual_environment(shell, &shell.setup_dir().join("python"), "tests/clients/python/requirements.txt")
}

/// A Python of its own in `dir`, with what the file `requirements` of the repository names.
pub(crate) fn virtual_environment(shell: &Shell, dir: &Path, requirements: &str) -> Result<(), Failed> {
    let requirements = shell.root().join(requirements);
    unless_stamped(dir, &[&requirements], "", || {
        let (dir, requirements) = (dir.display().to_string(), requirements.display().to_string());
        shell.run("python3", &["-m", "venv", &dir])?;
        let python = format!("{dir}/bin/python");
        shell
            .run(&python, &["-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", &requirements])
    })
}

/// The program stays where it is; `NODE_PATH` leads it to the modules.
fn node(shell: &Shell) -> Result<(), Failed> {
    let dir = shell.setup_dir().join("node");
    let package = shell.root().join("tests/clients/kafkajs/package.json");
    unless_stamped(&dir, &[&package], "", || {
        copy(&package, &dir.join("package.json"))?;
        let words = ["install", "--no-audit", "--no-fund", "--no-package-lock", "--ignore-scripts"];
        shell.run_in(&dir, &[], "npm", &words)
    })
}

fn go(shell: &Shell) -> Result<(), Failed> {
    let out = shell.setup_dir().join("go");
    fs::create_dir_all(&out).map_err(|e| Failed(format!("{}: {e}", out.display())))?;
    let out = format!("{}/", out.display());
    let sources = shell.root().join("tests/clients/go");
    shell.run_in(&sources, &[], "go", &["build", "-buildvcs=false", "-o", &out, "./..."])
}

fn java(shell: &Shell, version: &str, artifacts: &[&str], sources: &[&str]) -> Result<(), Failed> {
    let dir = shell.setup_dir().join(format!("kafka-{version}"));
    let pom = pom(artifacts);
    unless_stamped(&dir, &[], &pom, || {
        fs::write(dir.join("pom.xml"), &pom).map_err(|e| Failed(format!("pom.xml: {e}")))?;
        let words = ["-q", "-B", "dependency:copy-dependencies", "-DoutputDirectory=libs"];
        shell.run_in(&dir, &[], "mvn", &words)
    })?;
    let classes = dir.join("classes");
    let paths: Vec<_> = sources.iter().map(|s| shell.root().join("tests/clients/java").join(s)).collect();
    let files: Vec<&Path> = paths.iter().map(|p| p.as_path()).collect();
    unless_stamped(&classes, &files, "", || {
        let class_path = format!("{}/libs/*", dir.display());
        let out = classes.display().to_string();
        let mut words = vec!["-nowarn", "-Xlint:none", "-cp", &class_path, "-d", &out];
        let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
        words.extend(names.iter().map(String::as_str));
        shell.run("javac", &words)
    })
}

fn rust(shell: &Shell) -> Result<(), Failed> {
    let manifest = shell.root().join("tests/clients/rdkafka/Cargo.toml").display().to_string();
    let target = shell.setup_dir().join("rdkafka").display().to_string();
    shell.run("cargo", &["build", "-q", "--locked", "--manifest-path", &manifest, "--target-dir", &target])
}

/// A project that only names what Maven should fetch.
fn pom(artifacts: &[&str]) -> String {
    let mut text = String::from(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\"><modelVersion>4.0.0</modelVersion>\
         <groupId>minikafka</groupId><artifactId>tests</artifactId><version>1</version><packaging>pom</packaging>\n\
         <dependencies>\n",
    );
    for artifact in artifacts {
        let mut parts = artifact.split(':');
        let mut part = || parts.next().unwrap_or_default();
        text.push_str(&format!(
            "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>\n",
            part(),
            part(),
            part()
        ));
    }
    text.push_str("</dependencies></project>\n");
    text
}

/// Runs `make` in a fresh `dir` unless the stamp there says that it succeeded with these inputs before.
pub(crate) fn unless_stamped(
    dir: &Path,
    inputs: &[&Path],
    more: &str,
    make: impl FnOnce() -> Result<(), Failed>,
) -> Result<(), Failed> {
    let mut wanted = format!("{}\n{more}", dir.display());
    for input in inputs {
        wanted.push_str(&fs::read_to_string(input).map_err(|e| Failed(format!("{}: {e}", input.display())))?);
    }
    let stamp = dir.join(".stamp");
    if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    let _ = fs::remove_dir_all(dir);
    fs::create_dir_all(dir).map_err(|e| Failed(format!("{}: {e}", dir.display())))?;
    make()?;
    fs::write(&stamp, wanted).map_err(|e| Failed(format!("{}: {e}", stamp.display())))
}

fn copy(from: &Path, to: &Path) -> Result<(), Failed> {
    fs::copy(from, to).map(drop).map_err(|e| Failed(format!("{}: {e}", from.display())))
}
