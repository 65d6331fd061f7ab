//! What a node is: roles, id, addresses, directories, quorum; and the rules between keys that Kafka checks
//! when it starts (`KafkaConfig.validateValues`).
//!
//! Nothing is written before these rules hold.

use super::listeners::{Endpoint, ProtocolMap, parse_listeners, protocol_map, protocol_named};
use super::quorum::{Voter, parse_bootstrap_servers, parse_voters};
use super::value::{Value, split_list};
use super::{ConfigError, StaticConfig};

/// A valid configuration of one node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeConfig {
    /// `process.roles` names `broker`.
    pub is_broker: bool,
    /// `process.roles` names `controller`.
    pub is_controller: bool,
    /// `node.id`, not negative.
    pub node_id: i32,
    /// All `listeners`, in order.
    pub listeners: Vec<Endpoint>,
    /// Where clients and brokers reach this broker; empty host: this machine's name.
    pub advertised_listeners: Vec<Endpoint>,
    /// Where other nodes reach this controller, in the order of `controller.listener.names`.
    pub advertised_controller_listeners: Vec<Endpoint>,
    /// `controller.listener.names`, upper case.
    pub controller_listener_names: Vec<String>,
    /// Name of the listener that brokers use among themselves.
    pub inter_broker_listener_name: String,
    /// Protocol of every listener name.
    pub protocols: ProtocolMap,
    /// `log.dirs`, or `log.dir`: at least one, in order.
    pub log_dirs: Vec<String>,
    /// `metadata.log.dir`, or the first log directory.
    pub metadata_log_dir: String,
    /// `controller.quorum.voters`; empty in a dynamic quorum.
    pub voters: Vec<Voter>,
    /// `controller.quorum.bootstrap.servers`.
    pub bootstrap_servers: Vec<(String, u16)>,
    /// What the operator should know, one sentence each.
    pub warnings: Vec<String>,
    /// The properties themselves.
    pub properties: StaticConfig,
}

impl NodeConfig {
    /// Reads and checks a node's properties.
    ///
    /// # Errors
    ///
    /// The first rule that does not hold, in Kafka's words.
    pub fn new(properties: StaticConfig) -> Result<Self, ConfigError> {
        for required in ["process.roles", "node.id"] {
            if properties.original(required).is_none() {
                return invalid(format!(
                    "Missing required configuration \"{required}\" which has no default value."
                ));
            }
        }
        let (is_broker, is_controller) = parse_roles(&list(&properties, "process.roles"))?;
        let controller_listener_names: Vec<String> =
            split_list(&text(&properties, "controller.listener.names").unwrap_or_default())
                .iter()
                .map(|name| name.to_uppercase())
                .collect();
        let protocols = protocol_map(&properties, &controller_listener_names)?;
        let listeners =
            parse_listeners(&text(&properties, "listeners").unwrap_or_default(), &protocols, true)?;
        let advertised = match text(&properties, "advertised.listeners") {
            Some(advertised) => parse_listeners(&advertised, &protocols, false)?,
            None => listeners.clone(),
        };
        let find = |all: &[Endpoint], name: &String| all.iter().find(|e| e.name == *name).cloned();
        let advertised_controller_listeners = controller_listener_names
            .iter()
            .filter_map(|name| find(&advertised, name).or_else(|| find(&listeners, name)))
            .collect();
        let advertised_listeners =
            advertised.into_iter().filter(|e| !controller_listener_names.contains(&e.name)).collect();
        let log_dirs = split_list(
            &text(&properties, "log.dirs").or_else(|| text(&properties, "log.dir")).unwrap_or_default(),
        );
        let config = Self {
            is_broker,
            is_controller,
            node_id: integer(&properties, "node.id") as i32,
            listeners,
            advertised_listeners,
            advertised_controller_listeners,
            inter_broker_listener_name: inter_broker_listener(&properties, &protocols)?,
            controller_listener_names,
            protocols,
            metadata_log_dir: text(&properties, "metadata.log.dir")
                .or_else(|| log_dirs.first().cloned())
                .unwrap_or_default(),
            log_dirs,
            voters: parse_voters(&list(&properties, "controller.quorum.voters"))?,
            bootstrap_servers: parse_bootstrap_servers(&list(
                &properties,
                "controller.quorum.bootstrap.servers",
            ))?,
            warnings: Vec::new(),
            properties,
        };
        config.check_ids()?;
        config.check_values()?;
        config.check_quorum()?;
        config.check_listeners()?;
        Ok(config.with_warnings())
    }

    /// The listeners of the broker, in order.
    pub fn broker_listeners(&self) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(|e| !self.controller_listener_names.contains(&e.name))
    }

    /// The listeners of the controller, in order.
    pub fn controller_listeners(&self) -> impl Iterator<Item = &Endpoint> {
        self.listeners.iter().filter(|e| self.controller_listener_names.contains(&e.name))
    }

    fn check_ids(&self) -> Result<(), ConfigError> {
        let ids = [integer(&self.properties, "broker.id"), integer(&self.properties, "node.id")];
        require(ids[0] == ids[1], || "You must set `node.id` to the same value as `broker.id`.".to_owned())
    }

    fn check_values(&self) -> Result<(), ConfigError> {
        let value = |key| integer(&self.properties, key);
        let set = |key: &str| self.properties.original(key).map(|_| integer(&self.properties, key));
        let retention_ms = set("log.retention.ms")
            .or_else(|| set("log.retention.minutes").map(|minutes| minutes.saturating_mul(60_000)))
            .unwrap_or_else(|| value("log.retention.hours").saturating_mul(3_600_000));
        require(set("log.roll.ms").is_none_or(|ms| ms >= 1), || {
            "log.roll.ms must be greater than or equal to 1".to_owned()
        })?;
        require(set("log.roll.jitter.ms").is_none_or(|ms| ms >= 0), || {
            "log.roll.jitter.ms must be greater than or equal to 0".to_owned()
        })?;
        require(retention_ms != 0, || {
            "log.retention.ms must be unlimited (-1) or, greater than or equal to 1".to_owned()
        })?;
        require(!self.log_dirs.is_empty(), || {
            "At least one log directory must be defined via log.dirs or log.dir.".to_owned()
        })?;
        require(value("replica.fetch.wait.max.ms") <= value("replica.lag.time.max.ms"), || {
            "replica.fetch.wait.max.ms should always be less than or equal to replica.lag.time.max.ms to \
             prevent frequent changes in ISR"
                .to_owned()
        })?;
        let queued = value("queued.max.request.bytes");
        require(queued <= 0 || queued >= value("socket.request.max.bytes"), || {
            "queued.max.request.bytes must be larger or equal to socket.request.max.bytes".to_owned()
        })?;
        let overrides = text(&self.properties, "max.connections.per.ip.overrides").unwrap_or_default();
        require(value("max.connections.per.ip") != 0 || !overrides.trim().is_empty(), || {
            "max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set."
                .to_owned()
        })?;
        let (idle, delay) =
            (value("connections.max.idle.ms"), value("connection.failed.authentication.delay.ms"));
        require(idle < 0 || delay < idle, || {
            format!(
                "connection.failed.authentication.delay.ms={delay} should always be less than \
                 connections.max.idle.ms={idle} to prevent failed authentication responses from timing out"
            )
        })?;
        let protocols = list(&self.properties, "group.coordinator.rebalance.protocols");
        require(protocols.iter().any(|protocol| protocol == "classic"), || {
            "Disabling the 'classic' protocol is not supported.".to_owned()
        })
    }

    fn check_quorum(&self) -> Result<(), ConfigError> {
        let ids: Vec<i32> = self.voters.iter().map(|voter| voter.id).collect();
        let shown = || format!("Set({})", ids.iter().map(i32::to_string).collect::<Vec<_>>().join(", "));
        require(!self.voters.is_empty() || !self.bootstrap_servers.is_empty(), || {
            "If using process.roles, either controller.quorum.bootstrap.servers must contain the set of \
             bootstrap controllers or controller.quorum.voters must contain a parseable set of controllers."
                .to_owned()
        })?;
        if self.is_controller {
            require(ids.is_empty() || ids.contains(&self.node_id), || {
                format!(
                    "If process.roles contains the 'controller' role, the node id {} must be included in the \
                     set of voters controller.quorum.voters={}",
                    self.node_id,
                    shown()
                )
            })
        } else {
            require(!ids.contains(&self.node_id), || {
                format!(
                    "If process.roles contains just the 'broker' role, the node id {} must not be included \
                     in the set of voters controller.quorum.voters={}",
                    self.node_id,
                    shown()
                )
            })
        }
    }

    fn check_listeners(&self) -> Result<(), ConfigError> {
        if self.is_controller {
            self.check_controller_listeners()?;
        } else {
            self.check_broker_only_listeners()?;
        }
        if self.is_broker {
            self.check_advertised_listeners()?;
        }
        let mut advertised = self.advertised_listeners.iter().chain(&self.advertised_controller_listeners);
        require(advertised.all(|endpoint| endpoint.host != "0.0.0.0"), || {
            "advertised.listeners cannot use the nonroutable meta-address 0.0.0.0. Use a routable IP address."
                .to_owned()
        })
    }

    fn check_controller_listeners(&self) -> Result<(), ConfigError> {
        require(
            self.is_broker || self.advertised_controller_listeners.len() == self.listeners.len(),
            || {
                "The listeners config must only contain KRaft controller listeners from controller.listener.names \
             when process.roles=controller"
                .to_owned()
            },
        )?;
        require(!self.advertised_controller_listeners.is_empty(), || {
            "controller.listener.names must contain at least one value appearing in the 'listeners' \
             configuration when running the KRaft controller role"
                .to_owned()
        })?;
        let listens = |name: &String| self.listeners.iter().any(|endpoint| endpoint.name == *name);
        require(self.controller_listener_names.iter().all(listens), || {
            "controller.listener.names must only contain values appearing in the 'listeners' configuration \
             when running the KRaft controller role"
                .to_owned()
        })
    }

    fn check_broker_only_listeners(&self) -> Result<(), ConfigError> {
        require(!self.controller_listener_names.is_empty(), || {
            "controller.listener.names must contain at least one value when running KRaft with just the \
             broker role"
                .to_owned()
        })?;
        require(self.controller_listeners().next().is_none(), || {
            "controller.listener.names must not contain a value appearing in the 'listeners' configuration \
             when running KRaft with just the broker role"
                .to_owned()
        })?;
        for name in &self.controller_listener_names {
            require(self.protocols.contains_key(name), || {
                format!(
                    "Controller listener with name {name} defined in controller.listener.names not found in \
                     listener.security.protocol.map  (an explicit security mapping for each controller \
                     listener is required if listener.security.protocol.map is non-empty, or if there are \
                     security protocols other than PLAINTEXT in use)"
                )
            })?;
        }
        Ok(())
    }

    fn check_advertised_listeners(&self) -> Result<(), ConfigError> {
        let names = |endpoints: &[Endpoint]| {
            endpoints.iter().map(|endpoint| endpoint.name.clone()).collect::<Vec<_>>().join(",")
        };
        require(!self.advertised_listeners.is_empty(), || {
            "There must be at least one broker advertised listener. Perhaps all listeners appear in \
             controller.listener.names?"
                .to_owned()
        })?;
        let inter_broker = &self.inter_broker_listener_name;
        require(self.advertised_listeners.iter().any(|e| e.name == *inter_broker), || {
            format!(
                "inter.broker.listener.name must be a listener name defined in advertised.listeners. The \
                 valid options based on currently configured listeners are {}",
                names(&self.advertised_listeners)
            )
        })?;
        let listens = |e: &Endpoint| self.listeners.iter().any(|listener| listener.name == e.name);
        require(self.advertised_listeners.iter().all(listens), || {
            format!(
                "advertised.listeners listener names must be equal to or a subset of the ones defined in \
                 listeners. Found {}. The valid options based on the current configuration are {}",
                names(&self.advertised_listeners),
                names(&self.listeners)
            )
        })
    }

    fn with_warnings(mut self) -> Self {
        if !self.is_controller && self.controller_listener_names.len() > 1 {
            self.warnings.push(
                "controller.listener.names has multiple entries; only the first will be used since \
                 process.roles=broker"
                    .to_owned(),
            );
        }
        if self.properties.original("zookeeper.connect").is_some() {
            self.warnings.push(
                "Both process.roles and zookeeper.connect are set; this node runs in KRaft mode and does not \
                 use ZooKeeper"
                    .to_owned(),
            );
        }
        self
    }
}

fn parse_roles(names: &[String]) -> Result<(bool, bool), ConfigError> {
    require(!names.is_empty(), || {
        "Missing required configuration \"process.roles\" which has no default value.".to_owned()
    })?;
    let count = |role: &str| names.iter().filter(|name| *name == role).count();
    require(count("broker") <= 1 && count("controller") <= 1, || {
        format!("Duplicate role names found in `process.roles`: {}", names.join(", "))
    })?;
    Ok((count("broker") == 1, count("controller") == 1))
}

fn inter_broker_listener(properties: &StaticConfig, map: &ProtocolMap) -> Result<String, ConfigError> {
    const NAME: &str = "inter.broker.listener.name";
    const PROTOCOL: &str = "security.inter.broker.protocol";
    match text(properties, NAME) {
        Some(_) if properties.original(PROTOCOL).is_some() => {
            invalid(format!("Only one of {NAME} and {PROTOCOL} should be set."))
        }
        Some(name) => {
            let name = name.to_uppercase();
            require(map.contains_key(&name), || {
                format!(
                    "Listener with name {name} defined in {NAME} not found in listener.security.protocol.map."
                )
            })?;
            Ok(name)
        }
        None => {
            let protocol = protocol_named(&text(properties, PROTOCOL).unwrap_or_default(), PROTOCOL)?;
            Ok(protocol.name().to_owned())
        }
    }
}

fn text(properties: &StaticConfig, key: &str) -> Option<String> {
    properties.value(key).map(|value| value.to_string())
}

fn list(properties: &StaticConfig, key: &str) -> Vec<String> {
    match properties.value(key) {
        Some(Value::List(items)) => items,
        _ => Vec::new(),
    }
}

fn integer(properties: &StaticConfig, key: &str) -> i64 {
    match properties.value(key) {
        Some(Value::Integer(number)) => number,
        _ => -1,
    }
}

fn require(holds: bool, message: impl FnOnce() -> String) -> Result<(), ConfigError> {
    if holds { Ok(()) } else { Err(ConfigError::Invalid(message())) }
}

fn invalid<T>(message: String) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid(message))
}
