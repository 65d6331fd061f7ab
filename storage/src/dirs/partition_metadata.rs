//! `partition.metadata` in the folder of a replica: the id of its topic.

use std::fs;
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::DirError;
use super::meta_properties::{id_text, protocol_id};
use crate::durable;
use crate::log::StorageError;

const FILE: &str = "partition.metadata";

/// The topic id that the replica in `dir` was made for; `None` if it has none yet.
pub fn read_partition_metadata(dir: &Path) -> Result<Option<Uuid>, DirError> {
    let path = dir.join(FILE);
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StorageError::of("read", &path)(e).into()),
    };
    let id = || {
        let mut lines = text.lines();
        lines.next().filter(|line| line.trim_end() == "version: 0")?;
        protocol_id(lines.next()?.strip_prefix("topic_id: ")?.trim_end())
    };
    match id() {
        Some(id) => Ok(Some(id)),
        None => Err(DirError::Malformed { path, reason: "not a version and a topic id".into() }),
    }
}

/// Writes the file durably; to be called before the first record is written.
pub fn write_partition_metadata(dir: &Path, topic_id: Uuid) -> Result<(), DirError> {
    let text = format!("version: 0\ntopic_id: {}", id_text(topic_id));
    Ok(durable::replace(&dir.join(FILE), text.as_bytes())?)
}
