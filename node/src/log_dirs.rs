//! Opening a node's log directories: locked first, then checked against each other and the configuration
//! (`MetaPropertiesEnsemble`).
//!
//! A directory that cannot be read is left out with a warning, as Kafka does, unless it is the one of the
//! metadata log or the last.

use std::path::Path;

use metadata::config::node::NodeConfig;
use storage::dirs::{CLUSTER_METADATA_DIR, DirError, LogDir, MetaProperties};
use uuid::Uuid;

/// The directories of a node, all formatted for it and locked.
pub(crate) struct OpenDirs {
    /// Cluster id of all of them.
    pub(crate) cluster_id: String,
    /// `log.dirs` that can be used, in order, with their ids.
    pub(crate) dirs: Vec<(LogDir, Uuid)>,
    /// The metadata log directory, if it is not one of `dirs`.
    pub(crate) separate_metadata_dir: Option<(LogDir, Uuid)>,
    /// False for directories that do not outlive the process: what is in them need not be made durable.
    pub(crate) durable: bool,
}

impl OpenDirs {
    /// `directory.id` of `metadata.log.dir`.
    pub(crate) fn metadata_dir_id(&self, config: &NodeConfig) -> Uuid {
        let is_it = |(dir, _): &&(LogDir, Uuid)| dir.path() == Path::new(&config.metadata_log_dir);
        let mut all = self.separate_metadata_dir.iter().chain(&self.dirs);
        all.find(is_it).map(|(_, id)| *id).expect("open() fails without the metadata directory")
    }
}

/// Why a node cannot use its directories.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OpenError {
    /// In use, or the one that must be readable is not.
    #[error(transparent)]
    Dir(#[from] DirError),
    /// Not formatted, or formatted for something else.
    #[error("{0}")]
    Mismatch(String),
}

/// Opens and checks the directories of `config`. A missing `directory.id` is made up by `random_id` and
/// written, which is the only write. `held` is a directory that this process has locked already.
///
/// # Errors
///
/// A directory is in use by another process, or they do not belong to this node.
pub(crate) fn open(
    config: &NodeConfig,
    mut held: Option<LogDir>,
    random_id: impl Fn() -> Uuid,
) -> Result<OpenDirs, OpenError> {
    let mut paths: Vec<&String> = config.log_dirs.iter().collect();
    if !paths.contains(&&config.metadata_log_dir) {
        paths.push(&config.metadata_log_dir);
    }
    // A folder that is not there is not formatted: it is not created just to find that out.
    if !paths.iter().any(|path| Path::new(path).join("meta.properties").exists()) {
        return Err(OpenError::Mismatch("No readable meta.properties files found.".to_owned()));
    }
    let mut opened: Vec<(&String, LogDir, Option<MetaProperties>)> = Vec::new();
    for path in paths {
        let dir = match held.take_if(|dir| dir.path() == Path::new(path)) {
            Some(dir) => Ok(dir),
            None => LogDir::open(Path::new(path)),
        };
        let result = dir.and_then(|dir| dir.meta_properties().map(|p| (dir, p)));
        match result {
            Ok((dir, properties)) => opened.push((path, dir, properties)),
            Err(DirError::Io(e)) if *path != config.metadata_log_dir => {
                tracing::error!("Log directory {path} cannot be read, this node goes on without it: {e}");
            }
            Err(e) => return Err(e.into()),
        }
    }
    let cluster_id = verify(config, &opened)?;
    let mut all = OpenDirs { cluster_id, dirs: Vec::new(), separate_metadata_dir: None, durable: true };
    for (path, dir, properties) in opened {
        let mut properties = properties.unwrap_or_else(|| MetaProperties {
            version: 1,
            cluster_id: Some(all.cluster_id.clone()),
            node_id: Some(config.node_id),
            ..MetaProperties::default()
        });
        let id = match properties.directory_id {
            Some(id) => id,
            None => {
                let id = random_id();
                properties.directory_id = Some(id);
                dir.write_meta_properties(&properties)?;
                id
            }
        };
        if config.log_dirs.contains(path) {
            all.dirs.push((dir, id));
        } else {
            all.separate_metadata_dir = Some((dir, id));
        }
    }
    Ok(all)
}

/// `MetaPropertiesEnsemble.verify`; gives the cluster id.
fn verify(
    config: &NodeConfig,
    opened: &[(&String, LogDir, Option<MetaProperties>)],
) -> Result<String, OpenError> {
    let refuse = |message: String| Err(OpenError::Mismatch(message));
    let mut cluster_id: Option<&String> = None;
    let mut ids: Vec<Uuid> = Vec::new();
    for (path, _, properties) in opened {
        let Some(properties) = properties else {
            if **path == config.metadata_log_dir {
                return refuse(format!("Metadata log directory {path} is not formatted."));
            }
            continue;
        };
        if properties.version == 0 {
            return refuse(format!(
                "Found unexpected version in {path}/meta.properties. This node runs in KRaft mode, but the \
                 directory is one of a broker in ZooKeeper mode."
            ));
        }
        if let (Some(expected), Some(read)) = (cluster_id, &properties.cluster_id)
            && expected != read
        {
            return refuse(format!(
                "Invalid cluster.id in: {path}/meta.properties. Expected {expected}, but read {read}"
            ));
        }
        cluster_id = cluster_id.or(properties.cluster_id.as_ref());
        if let Some(stored) = properties.node_id
            && stored != config.node_id
        {
            return refuse(format!(
                "Stored node id {stored} doesn't match previous node id {} in {path}/meta.properties. If you \
                 moved your data, make sure your configured node id matches. If you intend to create a new \
                 node, you should remove all data in your data directories.",
                config.node_id
            ));
        }
        if let Some(id) = properties.directory_id {
            if ids.contains(&id) {
                let id = protocol::base64_id(id);
                return refuse(format!("Found duplicate directory.id {id} in {path}/meta.properties."));
            }
            ids.push(id);
        }
        if **path != config.metadata_log_dir && Path::new(path).join(CLUSTER_METADATA_DIR).exists() {
            return refuse(format!(
                "Found unexpected metadata location in data directory `{path}/{CLUSTER_METADATA_DIR}` (the \
                 configured metadata directory is {}).",
                config.metadata_log_dir
            ));
        }
    }
    match cluster_id {
        Some(id) => Ok(id.clone()),
        None => refuse("No readable meta.properties files found.".to_owned()),
    }
}
