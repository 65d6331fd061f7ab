//! Dynamic configurations by resource.

use imbl::OrdMap;

/// Resource types as they are in records and requests.
pub mod resource_type {
    /// A topic, by name.
    pub const TOPIC: i8 = 2;
    /// A broker, by id; the empty name is the default of all brokers.
    pub const BROKER: i8 = 4;
    /// The log levels of a broker; never stored.
    pub const BROKER_LOGGER: i8 = 8;
    /// A client metrics subscription (KIP-714).
    pub const CLIENT_METRICS: i8 = 16;
    /// A consumer or share group (KIP-848).
    pub const GROUP: i8 = 32;
}

/// What a configuration belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConfigResource {
    /// One of [`resource_type`].
    pub kind: i8,
    /// Name within the type.
    pub name: String,
}

impl ConfigResource {
    /// The resource of the topic `name`.
    pub fn topic(name: impl Into<String>) -> Self {
        Self { kind: resource_type::TOPIC, name: name.into() }
    }

    /// The resource of broker `id`.
    pub fn broker(id: i32) -> Self {
        Self { kind: resource_type::BROKER, name: id.to_string() }
    }

    /// The resource that holds what is set for all brokers.
    pub fn cluster_default() -> Self {
        Self { kind: resource_type::BROKER, name: String::new() }
    }
}

/// Every resource that has a dynamic configuration.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigsImage {
    /// Key and value per resource; a resource without any is absent.
    pub resources: OrdMap<ConfigResource, OrdMap<String, String>>,
}

impl ConfigsImage {
    /// What is set for `resource`; empty if nothing is.
    pub fn of(&self, resource: &ConfigResource) -> OrdMap<String, String> {
        self.resources.get(resource).cloned().unwrap_or_default()
    }

    /// The value of one key, if it is set for `resource` itself.
    pub fn value(&self, resource: &ConfigResource, key: &str) -> Option<&str> {
        self.resources.get(resource)?.get(key).map(String::as_str)
    }

    /// Sets the key, or removes it with `None`; drops the resource with its last key.
    pub(crate) fn set(&mut self, resource: &ConfigResource, key: &str, value: Option<&str>) {
        let mut keys = self.of(resource);
        match value {
            Some(value) => keys.insert(key.to_owned(), value.to_owned()),
            None => keys.remove(key),
        };
        if keys.is_empty() {
            self.resources.remove(resource);
        } else {
            self.resources.insert(resource.clone(), keys);
        }
    }
}
