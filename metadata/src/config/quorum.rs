//! Addresses of the controller quorum: `controller.quorum.voters` and `controller.quorum.bootstrap.servers`.

use super::ConfigError;

const VOTERS: &str = "controller.quorum.voters";
const BOOTSTRAP_SERVERS: &str = "controller.quorum.bootstrap.servers";

/// A voter of a static quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Node id.
    pub id: i32,
    /// Host name or address, without brackets.
    pub host: String,
    /// Port of the controller listener.
    pub port: u16,
}

/// Parses entries `id@host:port`.
///
/// # Errors
///
/// Names the entry that has another form.
pub fn parse_voters(entries: &[String]) -> Result<Vec<Voter>, ConfigError> {
    let form = "Each entry should be in the form `{id}@{host}:{port}`.";
    let mut voters: Vec<Voter> = Vec::new();
    for entry in entries {
        let Some((id, address)) = entry.split_once('@') else {
            return Err(ConfigError::Invalid(format!(
                "Invalid configuration value for {VOTERS}: {entry}. {form}"
            )));
        };
        let id = id.parse::<i32>().map_err(|_| {
            ConfigError::Invalid(format!("Failed to parse voter ID as an integer from {entry}"))
        })?;
        let Some((host, port)) = parse_host_port(address) else {
            let part = if address.rsplit_once(':').is_none_or(|(host, _)| host.is_empty()) {
                "host name"
            } else {
                "host port"
            };
            return Err(ConfigError::Invalid(format!(
                "Failed to parse {part} from entry {entry} for the configuration {VOTERS}. {form}"
            )));
        };
        voters.retain(|voter| voter.id != id);
        voters.push(Voter { id, host, port });
    }
    Ok(voters)
}

/// Parses entries `host:port`.
///
/// # Errors
///
/// Names the entry that has another form.
pub fn parse_bootstrap_servers(entries: &[String]) -> Result<Vec<(String, u16)>, ConfigError> {
    let refuse = |entry: &String| {
        ConfigError::Invalid(format!(
            "Failed to parse host name from {entry} for the configuration {BOOTSTRAP_SERVERS}. Each \
             entry should be in the form \"{{host}}:{{port}}\""
        ))
    };
    entries.iter().map(|entry| parse_host_port(entry).ok_or_else(|| refuse(entry))).collect()
}

/// Splits `host:port` or `[v6 address]:port`; `None` unless both are there.
pub fn parse_host_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(bracketed) => bracketed.strip_suffix(']')?,
        None => host,
    };
    if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "[]/@,".contains(c)) {
        return None;
    }
    Some((host.to_owned(), port.parse().ok()?))
}
