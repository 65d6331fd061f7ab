//! Formatting: the files that make directories those of one node of one cluster, as `storage format` writes them.
//!
//! ```text
//!   every log directory     meta.properties, bootstrap.checkpoint
//!   metadata.log.dir        __cluster_metadata-0/00000000000000000000-0000000000.checkpoint (dynamic quorum)
//! ```
//! meta.properties is written last, since a directory with one counts as formatted.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use protocol::features::{FEATURES, KRAFT_VERSION, METADATA_VERSION, MetadataVersion};
use protocol::records::{FeatureLevelRecord, Record};
use raft::VoterSet;
use storage::dirs::{CLUSTER_METADATA_DIR, MetaProperties};
use storage::durable;
use uuid::Uuid;

use crate::snapshot_file::{self, Header};

/// Name of the file with the first records of an empty log.
pub const BOOTSTRAP_FILE: &str = "bootstrap.checkpoint";

/// What to format.
#[derive(Clone, Debug)]
pub struct FormatArgs<'a> {
    /// Cluster id.
    pub cluster_id: &'a str,
    /// `node.id`.
    pub node_id: i32,
    /// Every directory to format, with its new `directory.id`; those that are formatted already are left out.
    pub log_dirs: &'a [(PathBuf, Uuid)],
    /// `metadata.log.dir`.
    pub metadata_log_dir: &'a Path,
    /// The records of `bootstrap.checkpoint`: see [`bootstrap_records`].
    pub bootstrap: &'a [Record],
    /// The first voters of a dynamic quorum; `None` writes no snapshot.
    pub voters: Option<&'a VoterSet>,
    /// Now, in ms since 1970.
    pub now_ms: i64,
    /// Whether the files are made durable. Not needed for a directory that does not outlive the process.
    pub sync: bool,
}

/// The records of `bootstrap.checkpoint`: `metadata.version`, then the other features above level 0 by name, then
/// `more` (SCRAM credentials).
///
/// Features that `levels` does not name get the default of `version`. `kraft.version` is never among them.
pub fn bootstrap_records(
    version: MetadataVersion,
    levels: &BTreeMap<String, i16>,
    more: impl IntoIterator<Item = Record>,
) -> Vec<Record> {
    let record = |name: &str, feature_level| {
        Record::FeatureLevel(FeatureLevelRecord { name: name.to_owned(), feature_level })
    };
    let mut others: Vec<_> = FEATURES
        .iter()
        .filter(|feature| feature.name != METADATA_VERSION && feature.name != KRAFT_VERSION)
        .map(|feature| {
            let level = levels.get(feature.name).copied();
            (feature.name, level.unwrap_or_else(|| feature.default_level(version)))
        })
        .filter(|(_, level)| *level > 0)
        .collect();
    others.sort_unstable();
    let mut records = vec![record(METADATA_VERSION, version.0)];
    records.extend(others.into_iter().map(|(name, level)| record(name, level)));
    records.extend(more);
    records
}

/// Writes the files.
///
/// # Errors
/// A file that cannot be written. What was written stays, but no directory counts as formatted before it is whole.
pub fn format(args: &FormatArgs<'_>) -> io::Result<()> {
    if let Some(voters) = args.voters {
        let dir = args.metadata_log_dir.join(CLUSTER_METADATA_DIR);
        fs::create_dir_all(&dir)?;
        let header = Header {
            epoch: 0,
            timestamp_ms: args.now_ms,
            last_contained_log_timestamp_ms: args.now_ms,
            kraft_version: 1,
            voters: Some(voters),
        };
        let bytes = snapshot_file::encode(header, &[], 0).map_err(io::Error::other)?;
        write(args, &dir.join(raft::snapshot::file_name(raft::snapshot::BOOTSTRAP_ID)), &bytes)?;
    }
    let header = Header {
        epoch: 0,
        timestamp_ms: args.now_ms,
        last_contained_log_timestamp_ms: 0,
        kraft_version: 0,
        voters: None,
    };
    let bootstrap = snapshot_file::encode(header, args.bootstrap, MetadataVersion::LATEST_PRODUCTION.0)
        .map_err(io::Error::other)?;
    for (dir, directory_id) in args.log_dirs {
        fs::create_dir_all(dir)?;
        write(args, &dir.join(BOOTSTRAP_FILE), &bootstrap)?;
        let properties = MetaProperties {
            version: 1,
            cluster_id: Some(args.cluster_id.to_owned()),
            node_id: Some(args.node_id),
            directory_id: Some(*directory_id),
            other: BTreeMap::new(),
        };
        write(args, &dir.join("meta.properties"), properties.to_text().as_bytes())?;
    }
    Ok(())
}

fn write(args: &FormatArgs<'_>, path: &Path, bytes: &[u8]) -> io::Result<()> {
    if args.sync {
        durable::replace(path, bytes).map_err(|error| error.source)
    } else {
        fs::write(path, bytes)
    }
}
