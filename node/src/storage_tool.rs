//! `minikafka storage`: Kafka's storage tool, with its options and words.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::ExitCode;

use metadata::config::StaticConfig;
use metadata::config::node::NodeConfig;
use storage::dirs::MetaProperties;

use crate::cli::StorageCommand;
use crate::format::{self, directories};
use crate::node;
use crate::properties;
use crate::start::StartError;

/// Runs the command.
pub(crate) fn run(command: &StorageCommand) -> ExitCode {
    let result = match command {
        StorageCommand::RandomUuid => {
            println!("{}", protocol::base64_id(node::random_id()));
            return ExitCode::SUCCESS;
        }
        StorageCommand::Info { config } => read_config(config).map(|config| info(&config)),
        StorageCommand::Format(options) => read_config(&options.config).and_then(|config| {
            format::by_options(&config, options, |line| println!("{line}"))?;
            Ok(ExitCode::SUCCESS)
        }),
    };
    match result {
        Ok(code) => code,
        Err(e) => {
            eprintln!("{e}");
            ExitCode::FAILURE
        }
    }
}

fn read_config(file: &Path) -> Result<NodeConfig, StartError> {
    let properties = properties::load(&[], Some(file), properties::process_environment(), &[])?;
    Ok(NodeConfig::new(StaticConfig::new(properties)?)?)
}

/// Prints what is in the directories: code 1 if something is wrong with them.
fn info(config: &NodeConfig) -> ExitCode {
    let mut problems: Vec<String> = Vec::new();
    let mut found: Vec<&str> = Vec::new();
    let mut first: Option<MetaProperties> = None;
    for directory in directories(config) {
        let path = Path::new(directory);
        if !path.is_dir() {
            let why = if path.exists() { "is not a directory" } else { "does not exist" };
            problems.push(format!("{directory} {why}"));
            continue;
        }
        found.push(directory);
        let file = path.join("meta.properties");
        match std::fs::read(&file) {
            Err(_) if !file.exists() => problems.push(format!("{directory} is not formatted.")),
            Err(e) => problems.push(format!("Error loading {}: {e}", file.display())),
            Ok(text) => match (MetaProperties::parse(&text), &first) {
                (Err(e), _) => problems.push(format!("Error loading {}: {e}", file.display())),
                (Ok(properties), None) => first = Some(properties),
                (Ok(properties), Some(first)) if properties.cluster_id != first.cluster_id => {
                    problems.push("Mismatched cluster IDs between storage directories.".to_owned());
                }
                (Ok(properties), Some(first)) if properties.node_id != first.node_id => {
                    problems.push("Mismatched node IDs between storage directories.".to_owned());
                }
                (Ok(_), Some(_)) => {}
            },
        }
    }
    if first.as_ref().is_some_and(|first| first.version == 0) {
        problems.push(
            "The kafka configuration file appears to be for a cluster in KRaft mode, but the directories are \
             formatted for legacy mode."
                .to_owned(),
        );
    }
    print_list("Found log director", ["y", "ies"], &found);
    if let Some(first) = &first {
        println!("Found metadata: {}\n", shown(first));
    }
    print_list("Found problem", ["", "s"], &problems);
    if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print_list<T: AsRef<str>>(title: &str, [one, many]: [&str; 2], lines: &[T]) {
    if lines.is_empty() {
        return;
    }
    println!("{title}{}:", if lines.len() == 1 { one } else { many });
    for line in lines {
        println!("  {}", line.as_ref());
    }
    println!();
}

/// The properties as Java prints a sorted map.
fn shown(properties: &MetaProperties) -> String {
    let text = properties.to_text();
    let pairs: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let pairs: Vec<String> = pairs.iter().map(|(key, value)| format!("{key}={value}")).collect();
    format!("{{{}}}", pairs.join(", "))
}
