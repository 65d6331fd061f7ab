//! Listeners: `listeners`, `advertised.listeners` and `listener.security.protocol.map`.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::value::split_list;
use super::{ConfigError, StaticConfig};

/// How the bytes of a listener are protected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SecurityProtocol {
    /// Nothing: code 0.
    Plaintext,
    /// TLS: code 1.
    Ssl,
    /// SASL without TLS: code 2.
    SaslPlaintext,
    /// SASL in TLS: code 3.
    SaslSsl,
}

impl SecurityProtocol {
    /// Code in broker registrations.
    pub const fn code(self) -> i16 {
        match self {
            Self::Plaintext => 0,
            Self::Ssl => 1,
            Self::SaslPlaintext => 2,
            Self::SaslSsl => 3,
        }
    }

    /// Name in configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    /// The protocol of that name, in any case.
    pub fn for_name(name: &str) -> Option<Self> {
        let all = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];
        all.into_iter().find(|protocol| protocol.name().eq_ignore_ascii_case(name))
    }
}

/// One address under which a node listens or is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Listener name, upper case.
    pub name: String,
    /// Protection.
    pub protocol: SecurityProtocol,
    /// Host without brackets; empty means every interface, or when advertised this machine's name.
    pub host: String,
    /// Port; 0 lets the system choose.
    pub port: u16,
}

impl Endpoint {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Endpoint {
    /// `NAME://host:port`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.name, self.address())
    }
}

/// Which protocol each listener name stands for.
pub type ProtocolMap = BTreeMap<String, SecurityProtocol>;

/// `listener.security.protocol.map`, to which, if it is not set, the controller listeners are added as
/// PLAINTEXT, unless some listener is named after another protocol.
///
/// # Errors
///
/// An entry without a colon, or a protocol that does not exist.
pub fn protocol_map(
    fixed: &StaticConfig,
    controller_listener_names: &[String],
) -> Result<ProtocolMap, ConfigError> {
    const KEY: &str = "listener.security.protocol.map";
    let text = fixed.value(KEY).map(|value| value.to_string()).unwrap_or_default();
    let mut map = ProtocolMap::new();
    for entry in split_list(&text) {
        let (name, protocol) = entry.rsplit_once(':').ok_or_else(|| {
            ConfigError::Invalid(format!("Error parsing configuration property '{KEY}': {entry} has no ':'"))
        })?;
        map.insert(name.trim().to_uppercase(), protocol_named(protocol.trim(), KEY)?);
    }
    if fixed.original(KEY).is_none() {
        let listeners = fixed.value("listeners").map(|value| value.to_string()).unwrap_or_default();
        let listener_names = split_list(&listeners)
            .into_iter()
            .filter_map(|entry| entry.split_once(':').map(|(name, _)| name.to_uppercase()));
        let secured = |name: &str| matches!(name, "SSL" | "SASL_SSL" | "SASL_PLAINTEXT");
        if !listener_names.chain(controller_listener_names.iter().cloned()).any(|name| secured(&name)) {
            for name in controller_listener_names {
                map.entry(name.clone()).or_insert(SecurityProtocol::Plaintext);
            }
        }
    }
    Ok(map)
}

/// The protocol called `name` in the value of `key`.
///
/// # Errors
///
/// There is none of that name.
pub fn protocol_named(name: &str, key: &str) -> Result<SecurityProtocol, ConfigError> {
    SecurityProtocol::for_name(name)
        .ok_or_else(|| ConfigError::Invalid(format!("Invalid security protocol `{name}` defined in {key}")))
}

/// Parses a list of listeners. Names must differ; ports too if `distinct_ports`, unless they are 0 or one
/// address is IPv4 and the other IPv6.
///
/// # Errors
///
/// An entry that is no `NAME://host:port`, a name without a protocol, or a repetition.
pub fn parse_listeners(
    text: &str,
    map: &ProtocolMap,
    distinct_ports: bool,
) -> Result<Vec<Endpoint>, ConfigError> {
    let refuse =
        |why: String| ConfigError::Invalid(format!("Error creating broker listeners from '{text}': {why}"));
    let mut endpoints: Vec<Endpoint> = Vec::new();
    for entry in split_list(text) {
        let (name, host, port) = split_listener(&entry)
            .ok_or_else(|| refuse(format!("Unable to parse {entry} to a broker endpoint")))?;
        let protocol = *map
            .get(&name)
            .ok_or_else(|| refuse(format!("No security protocol defined for listener {name}")))?;
        if endpoints.iter().any(|endpoint| endpoint.name == name) {
            return Err(ConfigError::Invalid(format!(
                "Each listener must have a different name, listeners: {text}"
            )));
        }
        if distinct_ports && port != 0 {
            let mut same = endpoints.iter().filter(|endpoint| endpoint.port == port);
            if let Some(other) = same.next()
                && (same.next().is_some() || !one_per_stack(&other.host, &host))
            {
                return Err(ConfigError::Invalid(format!(
                    "Each listener must have a different port, listeners: {text}"
                )));
            }
        }
        endpoints.push(Endpoint { name, protocol, host, port });
    }
    Ok(endpoints)
}

fn split_listener(entry: &str) -> Option<(String, String, u16)> {
    let (name, address) = entry.split_once("://")?;
    let (host, port) = address.rsplit_once(':')?;
    let host = host.strip_prefix('[').map_or(Some(host), |bracketed| bracketed.strip_suffix(']'))?;
    if name.is_empty() || !host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-%._:".contains(&b)) {
        return None;
    }
    Some((name.to_uppercase(), host.to_owned(), port.parse().ok()?))
}

fn one_per_stack(a: &str, b: &str) -> bool {
    let v4 = |host: &str| host.parse::<Ipv4Addr>().is_ok();
    let v6 = |host: &str| host.parse::<Ipv6Addr>().is_ok();
    (v4(a) && v6(b)) || (v6(a) && v4(b))
}
