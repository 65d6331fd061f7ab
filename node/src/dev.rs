//! `minikafka dev`: a cluster for development, formatted and started at once.
//!
//! Listens on every interface and tells clients `localhost`, as Kafka's own example configuration does. The
//! controller takes a free port of the loopback interface. Ends with code 0 when it is told to stop.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::DevOptions;
use crate::dev_dir::TemporaryDir;
use crate::format;
use crate::log_dirs;
use crate::node;
use crate::properties;
use crate::start::{self, StartError, configure, metrics_listener};
use crate::telemetry;

/// Runs the command.
pub(crate) fn run(options: &DevOptions) -> ExitCode {
    telemetry::init(&options.log);
    match dev(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => start::fail(&e),
    }
}

fn dev(options: &DevOptions) -> Result<(), StartError> {
    if options.brokers != 1 {
        return Err(StartError::Unsupported(format!(
            "--brokers {}: a cluster of more than one broker is not supported yet; --brokers 1 is",
            options.brokers
        )));
    }
    let (temporary, lock) = match options.data {
        Some(_) => (None, None),
        None => {
            let (dir, lock) = TemporaryDir::create(node::random_id).map_err(log_dirs::OpenError::from)?;
            (Some(dir), Some(lock))
        }
    };
    let data =
        options.data.as_deref().or(temporary.as_ref().map(TemporaryDir::path)).unwrap_or(Path::new("."));
    let mut properties = properties::load(
        &defaults(options.port, data),
        None,
        properties::process_environment(),
        &options.overrides,
    )?;
    let metrics = metrics_listener(&mut properties, options.metrics.as_ref())?;
    let config = configure(properties)?;
    format::if_new(&config, temporary.is_none())?;
    let mut dirs = log_dirs::open(&config, lock, node::random_id)?;
    dirs.durable = temporary.is_none();
    node::run(config, dirs, metrics)?;
    Ok(())
}

/// The properties of a single node that keeps nobody waiting.
fn defaults(port: u16, data: &Path) -> Vec<(&'static str, String)> {
    let own = str::to_owned;
    vec![
        ("process.roles", own("broker,controller")),
        ("node.id", own("1")),
        ("listeners", format!("PLAINTEXT://:{port},CONTROLLER://127.0.0.1:0")),
        ("advertised.listeners", format!("PLAINTEXT://localhost:{port}")),
        ("controller.listener.names", own("CONTROLLER")),
        ("listener.security.protocol.map", own("PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT")),
        ("controller.quorum.voters", own("1@127.0.0.1:0")),
        ("log.dirs", data.display().to_string()),
        ("offsets.topic.replication.factor", own("1")),
        ("transaction.state.log.replication.factor", own("1")),
        ("transaction.state.log.min.isr", own("1")),
        ("group.initial.rebalance.delay.ms", own("0")),
        ("metrics.listener", own("http://127.0.0.1:0")),
    ]
}
