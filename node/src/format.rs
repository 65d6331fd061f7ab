//! Formatting the directories of a node: what Kafka's `Formatter` checks and says; `controller::format` writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use controller::format::{FormatArgs, bootstrap_records};
use metadata::config::node::NodeConfig;
use protocol::features::{FEATURES, KRAFT_VERSION, METADATA_VERSION, MetadataVersion, feature};
use protocol::records::Record;
use raft::{Endpoint, ReplicaKey, Voter, VoterSet};
use storage::dirs::MetaProperties;
use uuid::Uuid;

use crate::cli::FormatOptions;
use crate::node::random_id;
use crate::scram;

/// Why directories cannot be formatted.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// The options make no sense, or the directories are another node's.
    #[error("{0}")]
    Refused(String),
    /// A file cannot be read or written.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn refuse<T>(why: impl Into<String>) -> Result<T, FormatError> {
    Err(FormatError::Refused(why.into()))
}

/// Every directory of a node, sorted by name.
pub(crate) fn directories(config: &NodeConfig) -> BTreeSet<&str> {
    config.log_dirs.iter().chain([&config.metadata_log_dir]).map(String::as_str).collect()
}

/// `storage format`. `say` gets the lines to print.
///
/// # Errors
///
/// Nothing is written then, unless the writing itself failed.
pub(crate) fn by_options(
    config: &NodeConfig,
    options: &FormatOptions,
    say: impl Fn(&str),
) -> Result<(), FormatError> {
    let voters = initial_voters(config, options)?;
    let levels = parse_levels(&options.feature)?;
    let version = release(options.release_version.as_deref(), &levels)?;
    check_levels(version, &levels, voters.is_some())?;
    let mut credentials = Vec::new();
    for text in &options.add_scram {
        credentials.push(scram::parse(text, random_id().as_bytes())?);
    }
    if !credentials.is_empty() && !version.is_scram_supported() {
        return refuse("SCRAM is only supported in metadata.version 3.5-IV2 or later.");
    }
    let empty = check_directories(config, &options.cluster_id, options.ignore_formatted)?;
    if empty.is_empty() {
        say("All of the log directories are already formatted.");
        return Ok(());
    }
    let own = voters.as_ref().and_then(|voters| voters.get(config.node_id));
    for directory in &empty {
        let kind = match (&voters, own) {
            _ if **directory != config.metadata_log_dir => "data",
            (None, _) => "metadata",
            (Some(_), Some(_)) => "dynamic metadata voter",
            (Some(_), None) => "dynamic metadata",
        };
        let release = version.name().unwrap_or("unknown");
        say(&format!("Formatting {kind} directory {directory} with metadata.version {release}."));
    }
    let metadata_id = own.and_then(|voter| voter.key.directory_id);
    let bootstrap = bootstrap_records(version, &levels, credentials);
    let plan =
        Plan { cluster_id: &options.cluster_id, metadata_id, bootstrap, voters: voters.as_ref(), sync: true };
    write(config, &empty, &plan)
}

/// The cluster id of the first of these directories that is formatted, else a new one.
///
/// # Errors
///
/// A file cannot be read, or is none of ours.
pub(crate) fn cluster_id(directories: &[PathBuf]) -> Result<String, FormatError> {
    for directory in directories {
        let file = directory.join("meta.properties");
        match std::fs::read(&file) {
            Ok(text) => {
                let properties = MetaProperties::parse(&text)
                    .map_err(|reason| FormatError::Refused(format!("{}: {reason}", file.display())))?;
                if let Some(id) = properties.cluster_id {
                    return Ok(id);
                }
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(protocol::base64_id(random_id()))
}

/// Formats a node that has no formatted directory, with the newest features; `sync` is false for directories that do
/// not outlive the process.
///
/// # Errors
///
/// A file cannot be written.
pub(crate) fn if_new(config: &NodeConfig, cluster_id: &str, sync: bool) -> Result<(), FormatError> {
    let all = directories(config);
    if all.iter().any(|directory| Path::new(directory).join("meta.properties").exists()) {
        return Ok(());
    }
    let bootstrap = bootstrap_records(MetadataVersion::LATEST_PRODUCTION, &BTreeMap::new(), []);
    let plan = Plan { cluster_id, metadata_id: None, bootstrap, voters: None, sync };
    write(config, &all.into_iter().collect::<Vec<_>>(), &plan)
}

/// What is written.
struct Plan<'a> {
    cluster_id: &'a str,
    /// Id of the metadata directory, where the options name it.
    metadata_id: Option<Uuid>,
    bootstrap: Vec<Record>,
    voters: Option<&'a VoterSet>,
    sync: bool,
}

fn write(config: &NodeConfig, empty: &[&str], plan: &Plan<'_>) -> Result<(), FormatError> {
    let log_dirs: Vec<(PathBuf, Uuid)> = empty
        .iter()
        .map(|directory| {
            let given = plan.metadata_id.filter(|_| **directory == config.metadata_log_dir);
            (PathBuf::from(directory), given.unwrap_or_else(random_id))
        })
        .collect();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    // A metadata directory that is formatted keeps its snapshot.
    let has_metadata_dir = empty.contains(&config.metadata_log_dir.as_str());
    controller::format::format(&FormatArgs {
        cluster_id: plan.cluster_id,
        node_id: config.node_id,
        log_dirs: &log_dirs,
        metadata_log_dir: Path::new(&config.metadata_log_dir),
        bootstrap: &plan.bootstrap,
        voters: plan.voters.filter(|_| has_metadata_dir),
        now_ms: i64::try_from(now.as_millis()).unwrap_or(0),
        sync: plan.sync,
    })?;
    Ok(())
}

fn initial_voters(config: &NodeConfig, options: &FormatOptions) -> Result<Option<VoterSet>, FormatError> {
    let begins_quorum = options.standalone || options.initial_controllers.is_some();
    if begins_quorum && !config.voters.is_empty() {
        return refuse(
            "You cannot specify controller.quorum.voters and format the node with --initial-controllers or \
             --standalone. If you want to use dynamic quorum, please remove controller.quorum.voters and specify \
             controller.quorum.bootstrap.servers instead.",
        );
    }
    let Some(name) = config.controller_listener_names.first() else {
        return refuse("You must specify the name of the initial controller listener.");
    };
    if let Some(text) = &options.initial_controllers {
        return parse_voters(text, name).map(Some);
    }
    if options.standalone {
        if !config.is_controller {
            return refuse("You can only use --standalone on a controller.");
        }
        let Some(endpoint) = config.advertised_controller_listeners.first() else {
            return refuse("No controller listeners found.");
        };
        let host = if endpoint.host.is_empty() { "localhost" } else { &endpoint.host };
        return Ok(Some(VoterSet::new([voter(config.node_id, host, endpoint.port, random_id(), name)])));
    }
    if config.is_controller && config.voters.is_empty() && !options.no_initial_controllers {
        return refuse(
            "Because controller.quorum.voters is not set on this controller, you must specify one of the following: \
             --standalone, --initial-controllers, or --no-initial-controllers.",
        );
    }
    Ok(None)
}

fn voter(id: i32, host: &str, port: u16, directory_id: Uuid, listener: &str) -> Voter {
    Voter {
        key: ReplicaKey { id, directory_id: Some(directory_id) },
        endpoints: vec![Endpoint { name: listener.to_owned(), host: host.to_owned(), port }],
        min_kraft_version: 0,
        max_kraft_version: 1,
    }
}

/// `id@host:port:directory,...`.
fn parse_voters(text: &str, listener: &str) -> Result<VoterSet, FormatError> {
    let mut voters: Vec<Voter> = Vec::new();
    for entry in text.trim().split(',').map(str::trim).filter(|entry| !entry.is_empty()) {
        let parsed = parse_voter(entry, listener).map_err(|why| FormatError::Refused(why.to_owned()))?;
        if voters.iter().any(|other| other.key.id == parsed.key.id) {
            return refuse(format!("Node id {} was specified more than once.", parsed.key.id));
        }
        voters.push(parsed);
    }
    if voters.is_empty() {
        return refuse("No voters given.");
    }
    Ok(VoterSet::new(voters))
}

fn parse_voter(entry: &str, listener: &str) -> Result<Voter, &'static str> {
    let (id, rest) = entry.split_once('@').ok_or("No @ found in dynamic voter string.")?;
    let id: i32 = id.parse().map_err(|_| "Failed to parse node id in dynamic voter string.")?;
    if id < 0 {
        return Err("Invalid negative node id in dynamic voter string.");
    }
    let (host, rest) = match rest.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest
                .split_once(']')
                .ok_or("Hostname began with left bracket, but no right bracket was found.")?;
            (host, rest.strip_prefix(':').ok_or("Port section must start with a colon.")?)
        }
        None => rest.split_once(':').ok_or("No colon following hostname could be found.")?,
    };
    if host.is_empty() {
        return Err("No hostname found after node id.");
    }
    let (port, directory) = rest.split_once(':').ok_or("No colon following port could be found.")?;
    let port: u16 = port.parse().map_err(|_| "Failed to parse port in dynamic voter string.")?;
    let directory = protocol::parse_base64_id(directory)
        .ok_or("Failed to parse directory ID in dynamic voter string.")?;
    Ok(voter(id, host, port, directory, listener))
}

/// `feature=level` of every `--feature`.
fn parse_levels(options: &[String]) -> Result<BTreeMap<String, i16>, FormatError> {
    let mut levels = BTreeMap::new();
    for text in options {
        let parsed = text.split_once('=').and_then(|(name, level)| Some((name, level.trim().parse().ok()?)));
        let Some((name, level)) = parsed else {
            return refuse(format!("Can't parse feature=level string {text}: expected feature=level."));
        };
        if levels.insert(name.trim().to_owned(), level).is_some() {
            return refuse(format!("Feature {name} was specified more than once."));
        }
    }
    Ok(levels)
}

fn release(named: Option<&str>, levels: &BTreeMap<String, i16>) -> Result<MetadataVersion, FormatError> {
    let supported = |version: MetadataVersion| match version.name() {
        Some(_) if version.is_supported() => Ok(version),
        Some(name) if version > MetadataVersion::LATEST_PRODUCTION => {
            refuse(format!("metadata.version {name} is not yet stable."))
        }
        name => refuse(format!("metadata.version {} is too old to be supported.", name.unwrap_or("unknown"))),
    };
    match (named, levels.get(METADATA_VERSION)) {
        (Some(_), Some(_)) => {
            refuse("Use --release-version instead of --feature metadata.version=X to avoid ambiguity.")
        }
        (Some(name), None) => match MetadataVersion::parse(name) {
            Some(version) => supported(version),
            None => refuse(format!(
                "Unknown release version '{name}'. Supported versions are: 3.3-IV3 to 4.1-IV1"
            )),
        },
        (None, Some(level)) => supported(MetadataVersion(*level)),
        (None, None) => Ok(MetadataVersion::LATEST_PRODUCTION),
    }
}

fn check_levels(
    version: MetadataVersion,
    levels: &BTreeMap<String, i16>,
    dynamic_quorum: bool,
) -> Result<(), FormatError> {
    for (name, &level) in levels {
        if name == METADATA_VERSION {
            continue;
        }
        let Some(known) = feature(name) else {
            let mut names: Vec<&str> = FEATURES.iter().map(|feature| feature.name).collect();
            names.retain(|name| *name != METADATA_VERSION);
            names.sort_unstable();
            return refuse(format!(
                "Unsupported feature: {name}. Supported features are: {}",
                names.join(", ")
            ));
        };
        if level < known.min || level > known.max {
            return refuse(format!("No feature:{name} with feature level {level}"));
        }
        let needed = MetadataVersion(known.needs_metadata_version(level));
        if version < needed {
            return refuse(format!(
                "{name} could not be set to {level} because it depends on metadata.version level {}",
                needed.0
            ));
        }
        if name == KRAFT_VERSION && (level > 0) != dynamic_quorum {
            let condition = if dynamic_quorum { "if" } else { "unless" };
            return refuse(format!(
                "Cannot set kraft.version to {level} {condition} KIP-853 configuration is present. Try removing the \
                 --feature flag for kraft.version."
            ));
        }
    }
    Ok(())
}

/// The directories that are not formatted; formatted ones must be this node's, and `ignore` them.
fn check_directories<'a>(
    config: &'a NodeConfig,
    cluster_id: &str,
    ignore: bool,
) -> Result<Vec<&'a str>, FormatError> {
    let (mut empty, mut formatted) = (Vec::new(), None);
    for directory in directories(config) {
        let file = Path::new(directory).join("meta.properties");
        let text = match std::fs::read(&file) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                empty.push(directory);
                continue;
            }
            Err(e) => return refuse(format!("{}: {e}", file.display())),
        };
        let properties = MetaProperties::parse(&text)
            .map_err(|reason| FormatError::Refused(format!("{}: {reason}", file.display())))?;
        if let Some(read) = properties.cluster_id.filter(|read| read != cluster_id) {
            return refuse(format!(
                "Invalid cluster.id in: {}. Expected {cluster_id}, but read {read}",
                file.display()
            ));
        }
        if let Some(stored) = properties.node_id.filter(|stored| *stored != config.node_id) {
            return refuse(format!(
                "Stored node id {stored} doesn't match previous node id {} in {}. If you moved your data, make sure \
                 your configured node id matches. If you intend to create a new node, you should remove all data in \
                 your data directories.",
                config.node_id,
                file.display()
            ));
        }
        formatted = formatted.or(Some(directory));
    }
    match formatted {
        Some(directory) if !ignore => refuse(format!(
            "Log directory {directory} is already formatted. Use --ignore-formatted to ignore this directory and \
             format the others."
        )),
        _ => Ok(empty),
    }
}
