//! `minikafka start`: one node by its properties.
//!
//! Exit codes are those of Apache Kafka: 1 if the node does not start or fails, 143 after SIGTERM and 130 after
//! SIGINT, although it stopped in good order.

use std::collections::BTreeMap;
use std::process::ExitCode;

use broker::RACK_AWARE_SELECTOR;
use metadata::config::listeners::SecurityProtocol;
use metadata::config::node::NodeConfig;
use metadata::config::{ConfigError, StaticConfig};

use crate::cli::StartOptions;
use crate::format::FormatError;
use crate::log_dirs::{self, OpenError};
use crate::node::{self, NodeError};
use crate::observe::{self, MetricsListener, ObserveError};
use crate::properties::{self, SourceError};
use crate::telemetry;

/// Why a node did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    /// The properties cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The properties make no sense.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// They ask for something that is not there yet.
    #[error("{0}")]
    Unsupported(String),
    /// The metrics cannot be shown where they are asked for.
    #[error(transparent)]
    Observe(#[from] ObserveError),
    /// The directories cannot be formatted.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The directories cannot be used.
    #[error(transparent)]
    Dirs(#[from] OpenError),
    /// The node failed.
    #[error(transparent)]
    Node(#[from] NodeError),
}

/// Runs the command.
pub(crate) fn run(options: &StartOptions) -> ExitCode {
    telemetry::init(&options.log);
    match start(options) {
        Ok(code) => ExitCode::from(code),
        Err(e) => fail(&e),
    }
}

/// Reports a fatal error as Kafka does.
pub(crate) fn fail(error: &StartError) -> ExitCode {
    tracing::error!(target: "kafka.Kafka$", "Exiting Kafka due to fatal exception: {error}");
    ExitCode::FAILURE
}

fn start(options: &StartOptions) -> Result<u8, StartError> {
    let environment = properties::process_environment();
    let mut properties = properties::load(&[], Some(&options.file), environment, &options.overrides)?;
    let metrics = metrics_listener(&mut properties, options.metrics.as_ref())?;
    let config = configure(properties)?;
    let dirs = log_dirs::open(&config, None, node::random_id)?;
    Ok(node::run(config, dirs, metrics, None)?.exit_code())
}

/// Where metrics are asked for: by `--metrics`, else by the properties, from which it is taken out.
///
/// # Errors
///
/// It is no address.
pub(crate) fn metrics_listener(
    properties: &mut BTreeMap<String, String>,
    option: Option<&String>,
) -> Result<Option<MetricsListener>, StartError> {
    if let Some(listener) = option {
        properties.insert(observe::KEY.to_owned(), listener.clone());
    }
    Ok(observe::take_listener(properties)?)
}

/// Checks the properties, and says what of them is ignored.
///
/// # Errors
///
/// They make no sense, or ask for what is not there yet. Nothing was written then.
pub(crate) fn configure(properties: BTreeMap<String, String>) -> Result<NodeConfig, StartError> {
    if !properties.contains_key("process.roles") && properties.contains_key("zookeeper.connect") {
        return Err(StartError::Unsupported(
            "zookeeper.connect is set and process.roles is not: the ZooKeeper mode is not supported yet. Set \
             process.roles, node.id, controller.listener.names and controller.quorum.voters (KRaft mode)"
                .to_owned(),
        ));
    }
    let config = NodeConfig::new(StaticConfig::new(properties)?)?;
    refuse_unsupported(&config)?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Some(warning) = without_effect(&config.properties) {
        tracing::warn!("{warning}");
    }
    Ok(config)
}

/// Names the keys that are accepted and change nothing, those first that Kafka knows.
fn without_effect(properties: &StaticConfig) -> Option<String> {
    let unused: Vec<&str> = properties.unused().collect();
    let unknown: Vec<&str> = properties.unknown().collect();
    let unused = (!unused.is_empty()).then(|| unused.join(", "));
    let unknown = (!unknown.is_empty()).then(|| format!("unknown to Kafka: {}", unknown.join(", ")));
    let named: Vec<String> = unused.into_iter().chain(unknown).collect();
    (!named.is_empty()).then(|| format!("Configuration keys that have no effect here: {}", named.join("; ")))
}

/// What would not be as safe, or as large, as the properties ask for.
fn refuse_unsupported(config: &NodeConfig) -> Result<(), StartError> {
    let refuse = |what: String| Err(StartError::Unsupported(format!("{what} not supported yet")));
    let secured = config.listeners.iter().find(|e| e.protocol != SecurityProtocol::Plaintext);
    if let Some(endpoint) = secured {
        return refuse(format!("Listener {endpoint}: {} is", endpoint.protocol.name()));
    }
    let value = |key| config.properties.value(key).map(|value| value.to_string()).unwrap_or_default();
    if !value("authorizer.class.name").is_empty() {
        return refuse("authorizer.class.name: access control is".to_owned());
    }
    let selector = value("replica.selector.class");
    if !selector.is_empty() && selector != RACK_AWARE_SELECTOR {
        let what =
            format!("replica.selector.class: {selector} is unknown; another than {RACK_AWARE_SELECTOR} is");
        return refuse(what);
    }
    if value("remote.log.storage.system.enable") == "true" {
        return refuse("remote.log.storage.system.enable: tiered storage is".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(change: &[(&str, &str)], without: &[&str]) -> String {
        let good = [
            ("process.roles", "broker,controller"),
            ("node.id", "1"),
            ("controller.listener.names", "CONTROLLER"),
            ("listeners", "PLAINTEXT://127.0.0.1:29800,CONTROLLER://127.0.0.1:29801"),
            ("controller.quorum.voters", "1@127.0.0.1:29801"),
            ("log.dirs", "good"),
        ];
        let mut properties: BTreeMap<String, String> = good
            .iter()
            .chain(change)
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect();
        properties.retain(|name, _| !without.contains(&name.as_str()));
        configure(properties).map_or_else(|e| e.to_string(), |_| "good".to_owned())
    }

    #[test]
    fn asks_for_what_there_is() {
        assert_eq!(message(&[("some.key", "x")], &[]), "good");
        assert!(message(&[("zookeeper.connect", "z:1")], &["process.roles"]).contains("not supported yet"));
        assert_eq!(message(&[("zookeeper.connect", "z:1")], &[]), "good");
        assert!(message(&[], &["process.roles"]).contains("\"process.roles\""));
        let secured = [
            ("listener.security.protocol.map", "PLAINTEXT:SSL,CONTROLLER:PLAINTEXT"),
            ("inter.broker.listener.name", "PLAINTEXT"),
        ];
        assert!(message(&secured, &[]).contains("SSL is not supported yet"));
        assert!(message(&[("authorizer.class.name", "a.B")], &[]).starts_with("authorizer.class.name"));
        let refused = message(&[("replica.selector.class", "org.example.Near")], &[]);
        assert!(refused.starts_with("replica.selector.class: org.example.Near is unknown"), "{refused}");
        assert_eq!(message(&[("replica.selector.class", RACK_AWARE_SELECTOR)], &[]), "good");
        let voters = "1@127.0.0.1:29801,2@127.0.0.1:29802";
        assert_eq!(message(&[("controller.quorum.voters", voters)], &[]), "good");
    }
}
