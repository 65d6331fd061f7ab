//! Golden scripts of the decision core: commands, and the records and answers that follow.
//!
//! A script is blocks of commands, `---`, and what they print; comments start with `#`. With `UPDATE_SCRIPTS=1` the
//! files are written anew from what the code does.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

#[path = "decide/script.rs"]
mod script;

use std::path::Path;

use script::World;

#[test]
fn scripts() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/decide/scripts");
    let mut failed = Vec::new();
    let mut count = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let actual = run(&text);
        count += 1;
        if actual == text {
            continue;
        }
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            std::fs::write(&path, actual).unwrap();
        } else {
            failed.push(format!("{}:\n{}", path.display(), difference(&text, &actual)));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert!(count >= 5, "{count}");
}

fn run(text: &str) -> String {
    let mut world = World::new();
    let mut out = Vec::new();
    for block in text.trim_end().split("\n\n") {
        let commands: Vec<&str> = block.lines().take_while(|line| *line != "---").collect();
        out.extend(commands.iter().map(|line| (*line).to_owned()));
        let commands: Vec<&&str> = commands.iter().filter(|line| !line.starts_with('#')).collect();
        if !commands.is_empty() {
            out.push("---".to_owned());
            for command in commands {
                out.extend(world.run(command));
            }
        }
        out.push(String::new());
    }
    let mut joined = out.join("\n");
    joined.truncate(joined.trim_end().len());
    joined.push('\n');
    joined
}

fn difference(expected: &str, actual: &str) -> String {
    let mut lines = Vec::new();
    let (expected, actual): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    for i in 0..expected.len().max(actual.len()) {
        let (expected, actual) = (expected.get(i), actual.get(i));
        if expected != actual {
            lines.push(format!("{:4} - {}", i + 1, expected.unwrap_or(&"")));
            lines.push(format!("     + {}", actual.unwrap_or(&"")));
        }
    }
    lines.truncate(40);
    lines.join("\n")
}
