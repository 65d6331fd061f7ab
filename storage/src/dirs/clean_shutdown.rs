//! `.kafka_cleanshutdown`: there only while no node runs on the directory and the last one stopped cleanly.

use std::fs;
use std::io;
use std::path::Path;

use super::DirError;
use crate::durable;
use crate::log::StorageError;

const FILE: &str = ".kafka_cleanshutdown";

/// What the node that stopped cleanly left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CleanShutdown {
    /// The broker's last epoch, reported at its next registration (KIP-966); -1 if unknown.
    pub broker_epoch: i64,
}

pub(super) fn take(dir: &Path) -> Result<Option<CleanShutdown>, DirError> {
    let path = dir.join(FILE);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(StorageError::of("read", &path)(e).into()),
    };
    fs::remove_file(&path).map_err(StorageError::of("remove", &path))?;
    durable::sync_dir(dir)?;
    // Releases before 3.7 left an empty file; anything unreadable still is a mark, as in Kafka.
    let broker_epoch = serde_json::from_slice::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| value.get("brokerEpoch")?.as_i64())
        .unwrap_or(-1);
    Ok(Some(CleanShutdown { broker_epoch }))
}

pub(super) fn write(dir: &Path, broker_epoch: i64) -> Result<(), DirError> {
    let text = format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}");
    Ok(durable::replace(&dir.join(FILE), text.as_bytes())?)
}
