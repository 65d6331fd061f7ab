//! `meta.properties`: which cluster and node a log directory belongs to.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::DirError;
use crate::log::StorageError;

pub(super) const FILE: &str = "meta.properties";

/// The content of `meta.properties`, version 1 (KRaft) or 0 (ZooKeeper).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetaProperties {
    /// 1, or 0 for a directory formatted by a ZooKeeper-mode broker.
    pub version: i32,
    /// As given at formatting; 22 characters as a rule, but any text is taken.
    pub cluster_id: Option<String>,
    /// `node.id`, or `broker.id` in version 0.
    pub node_id: Option<i32>,
    /// `directory.id`, where there is one (Kafka 3.7 and later).
    pub directory_id: Option<Uuid>,
    /// Keys that we do not know, kept when the file is written again.
    pub other: BTreeMap<String, String>,
}

impl MetaProperties {
    /// Reads the file in `dir`; `None` if it is missing.
    pub(super) fn read(dir: &Path) -> Result<Option<MetaProperties>, DirError> {
        let path = dir.join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StorageError::of("read", &path)(e).into()),
        };
        Self::parse(&text).map(Some).map_err(|reason| DirError::Malformed { path, reason })
    }

    /// Reads the text of a properties file.
    pub fn parse(text: &[u8]) -> Result<MetaProperties, String> {
        let pairs = crate::properties::read(text).map_err(|e| format!("not a properties file: {e}"))?;
        let mut properties = MetaProperties::default();
        let mut version = None;
        for (key, value) in pairs {
            let number =
                || value.trim().parse::<i32>().map_err(|_| format!("{key} must be a number, not {value:?}"));
            match &*key {
                "version" => version = Some(number()?),
                "cluster.id" => properties.cluster_id = Some(value),
                "node.id" | "broker.id" => properties.node_id = Some(number()?),
                "directory.id" => {
                    let id = protocol_id(&value)
                        .ok_or_else(|| format!("directory.id {value:?} is not a Kafka UUID"))?;
                    properties.directory_id = Some(id);
                }
                _ => {
                    properties.other.insert(key, value);
                }
            }
        }
        properties.version = match version {
            Some(version @ (0 | 1)) => version,
            Some(other) => return Err(format!("unknown version {other}")),
            None => return Err("no version".into()),
        };
        if properties.version == 1 && (properties.cluster_id.is_none() || properties.node_id.is_none()) {
            return Err("version 1 needs cluster.id and node.id".into());
        }
        Ok(properties)
    }

    /// The file's text, a comment line as Java writes it left out.
    pub fn to_text(&self) -> String {
        let mut text = String::from("#\n");
        let mut line = |key: &str, value: &dyn std::fmt::Display| {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "{key}={value}");
        };
        if let Some(cluster_id) = &self.cluster_id {
            line("cluster.id", &escape(cluster_id));
        }
        if let Some(directory_id) = self.directory_id {
            line("directory.id", &id_text(directory_id));
        }
        if let Some(node_id) = self.node_id {
            line(if self.version == 0 { "broker.id" } else { "node.id" }, &node_id);
        }
        for (key, value) in &self.other {
            line(&escape(key), &escape(value));
        }
        line("version", &self.version);
        text
    }
}

/// As Java's `Properties.store`: a properties file is Latin-1, so that what is not ASCII is written by its UTF-16 units.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match u8::try_from(unit) {
            Ok(c @ (b'\\' | b'=' | b':' | b'#' | b'!' | b' ')) => escaped.extend(['\\', char::from(c)]),
            Ok(c @ b'!'..=b'~') => escaped.push(char::from(c)),
            _ => {
                // Writing to a string cannot fail.
                let _ = write!(escaped, "\\u{unit:04X}");
            }
        }
    }
    escaped
}

/// Kafka's 22 characters: URL-safe base64 without padding.
pub(super) fn id_text(id: Uuid) -> String {
    protocol::base64_id(id)
}

pub(super) fn protocol_id(text: &str) -> Option<Uuid> {
    protocol::parse_base64_id(text)
}
