//! The text files of offsets: a version, a count, then "topic partition offset" per line.

use std::collections::HashMap;
use std::fmt::Write;
use std::fs;
use std::io;
use std::path::Path;

use super::DirError;
use crate::log::StorageError;
use crate::names::TopicPartition;

pub(super) fn read(path: &Path) -> Result<HashMap<TopicPartition, i64>, DirError> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(HashMap::new()),
        Err(e) => return Err(StorageError::of("read", path)(e).into()),
    };
    let malformed = |reason: String| DirError::Malformed { path: path.to_path_buf(), reason };
    let text = std::str::from_utf8(&bytes).map_err(|_| malformed("not a text file".into()))?;
    decode(text).map_err(malformed)
}

pub(super) fn decode(text: &str) -> Result<HashMap<TopicPartition, i64>, String> {
    let mut lines = text.lines();
    match lines.next() {
        Some("0") => {}
        other => return Err(format!("unknown version {:?}", other.unwrap_or_default())),
    }
    let count: usize = lines.next().and_then(|n| n.parse().ok()).ok_or("no count in the second line")?;
    let mut offsets = HashMap::new();
    for line in lines {
        let entry = || {
            let mut parts = line.split(' ');
            let topic = parts.next().filter(|topic| !topic.is_empty())?;
            let partition: i32 = parts.next()?.parse().ok()?;
            let offset: i64 = parts.next()?.parse().ok()?;
            (parts.next().is_none() && partition >= 0)
                .then(|| (TopicPartition::new(topic, partition), offset))
        };
        let (partition, offset) = entry().ok_or_else(|| format!("malformed line {line:?}"))?;
        offsets.insert(partition, offset);
    }
    if offsets.len() != count {
        return Err(format!("{count} lines announced, {} found", offsets.len()));
    }
    Ok(offsets)
}

pub(super) fn encode<'a>(entries: impl IntoIterator<Item = (&'a TopicPartition, i64)>) -> String {
    let mut body = String::new();
    let mut count = 0;
    for (partition, offset) in entries {
        // Writing to a string cannot fail.
        let _ = writeln!(body, "{} {} {offset}", partition.topic, partition.partition);
        count += 1;
    }
    format!("0\n{count}\n{body}")
}
