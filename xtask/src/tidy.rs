//! What the compiler does not check: sizes, headers and the direction of dependencies; with rustfmt, clippy and rustdoc.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::shell::{Failed, Shell};

/// Lines of a Rust file; tests in files of their own are exempt.
const FILE_CAP: usize = 1000;
/// Lines of a function; a flat dispatch (its `=>` lines) is not counted.
const FUNCTION_CAP: usize = 70;
/// Each crate and the crates of the workspace that it may use; `tests`, `sim` and `xtask` stand outside.
const LAYERS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("planted", &[]),
    ("metadata", &["protocol", "planted"]),
    ("raft", &["protocol", "planted"]),
    ("storage", &["protocol"]),
    ("net", &["protocol", "metadata", "raft", "storage"]),
    ("broker", &["protocol", "planted", "metadata", "raft", "storage", "net"]),
    ("controller", &["protocol", "planted", "metadata", "raft", "storage", "net"]),
    ("node", &["protocol", "metadata", "raft", "storage", "net", "broker", "controller"]),
    ("xtask", &[]),
];
/// Crates without clock, randomness and asynchrony.
const PURE: &[&str] = &["protocol", "metadata", "raft", "storage"];
/// What a pure crate may not depend on, except in its tests.
const IMPURE: &[&str] = &["tokio", "tokio-util", "getrandom", "rand", "mio"];

/// Runs every check; all complaints of the cheap ones are printed before the task fails.
pub(crate) fn run(shell: &Shell) -> Result<(), Failed> {
    let mut complaints = layers(shell)?;
    for (path, text) in sources(shell.root()) {
        complaints.extend(file(&path, &text));
    }
    for complaint in &complaints {
        eprintln!("tidy: {complaint}");
    }
    if !complaints.is_empty() {
        return Err(Failed(format!("{} complaints of tidy", complaints.len())));
    }
    shell.run("cargo", &["fmt", "--all", "--check"])?;
    shell.run("cargo", &["clippy", "-q", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    let env = [("RUSTDOCFLAGS", "-D warnings -A rustdoc::private_intra_doc_links")];
    shell.run_with(&env, "cargo", &["doc", "-q", "--workspace", "--no-deps", "--document-private-items"])
}

/// Arrows between the crates, and what the pure ones may not use.
fn layers(shell: &Shell) -> Result<Vec<String>, Failed> {
    let text = shell.read("cargo", &["metadata", "--format-version", "1", "--no-deps"])?;
    let metadata: Value = serde_json::from_str(&text).map_err(|e| Failed(format!("cargo metadata: {e}")))?;
    let mut complaints = Vec::new();
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let name = package["name"].as_str().unwrap_or_default().trim_start_matches("minikafka-");
        let allowed = LAYERS.iter().find(|(layer, _)| *layer == name).map(|(_, below)| *below);
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let full = dependency["name"].as_str().unwrap_or_default();
            if let (Some(used), Some(allowed)) = (full.strip_prefix("minikafka-"), allowed)
                && !allowed.contains(&used)
            {
                complaints.push(format!("{name} may not use {used}: a layer uses what is below it"));
            }
            if PURE.contains(&name) && IMPURE.contains(&full) && dependency["kind"].is_null() {
                complaints.push(format!("{name} is pure and may not use {full}"));
            }
        }
    }
    Ok(complaints)
}

/// Every Rust file of the repository with its path from the root.
fn sources(root: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open = vec![root.to_path_buf()];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() {
                if !name.starts_with('.') && name != "target" && name != "node_modules" {
                    open.push(path);
                }
            } else if name.ends_with(".rs")
                && let Ok(text) = fs::read_to_string(&path)
            {
                let relative = path.strip_prefix(root).unwrap_or(&path).display().to_string();
                found.push((relative, text));
            }
        }
    }
    found.sort();
    found
}

/// Header and sizes of one file.
fn file(path: &str, text: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    if !text.starts_with("//!") {
        complaints.push(format!("{path}: begins without `//!`: say what the file is for"));
    }
    let is_test = path.contains("/tests/") || path.ends_with("/tests.rs") || path.ends_with("_tests.rs");
    // Beside integration tests cargo would take `support.rs` for one more of them.
    if path.ends_with("/mod.rs") && !is_test {
        complaints.push(format!("{path}: name it after the module, beside its directory"));
    }
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() > FILE_CAP && !is_test {
        complaints.push(format!("{path}: {} lines, more than {FILE_CAP}", lines.len()));
    }
    if !is_test {
        complaints.extend(long_functions(path, &lines));
    }
    complaints
}

/// In formatted code a function ends at the brace that stands in the column where it began.
fn long_functions(path: &str, lines: &[&str]) -> Vec<String> {
    let mut complaints = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        // Test modules stand at the end of a file.
        if line.trim() == "#[cfg(test)]" {
            break;
        }
        let code = line.trim_start();
        let words = code.split("fn ").next().unwrap_or_default();
        let is_function = code.contains("fn ")
            && words.split_whitespace().all(|w| {
                w.starts_with("pub") || ["const", "async", "unsafe", "crate)", "super)"].contains(&w)
            });
        if !is_function || code.ends_with(';') {
            continue;
        }
        let indent = &line[..line.len() - code.len()];
        let end = lines[start..].iter().position(|l| l.strip_prefix(indent) == Some("}")).unwrap_or(0);
        let body = &lines[start..=start + end];
        let counted = body.iter().filter(|l| !l.contains("=>")).count();
        if counted > FUNCTION_CAP {
            complaints.push(format!(
                "{path}:{}: a function of {counted} lines, more than {FUNCTION_CAP}",
                start + 1
            ));
        }
    }
    complaints
}
