//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tracing_subscriber::filter::Targets;

/// A cluster that any Kafka client takes for Apache Kafka 4.1.
#[derive(Debug, Parser)]
#[command(name = "minikafka", version, args_conflicts_with_subcommands = true)]
#[command(
    after_help = "Without a command: dev.\n\nExamples:\n  minikafka --port 0\n  minikafka start server.properties"
)]
pub(crate) struct Cli {
    /// What to do; `dev` if there is none.
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
    /// The options of `dev`.
    #[command(flatten)]
    pub(crate) dev: DevOptions,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a cluster for development: formatted and started at once, gone when it stops
    #[command(after_help = "Example: minikafka dev --port 9092 --data ./kafka-data")]
    Dev(DevOptions),
    /// Run one node by a server.properties, as kafka-server-start.sh does
    #[command(
        after_help = "Every key can also come from the environment: KAFKA_LOG_DIRS is log.dirs, two underscores \
                      stand for one, three for a dash.\n\nExample: minikafka start server.properties --override \
                      log.dirs=/var/lib/kafka"
    )]
    Start(StartOptions),
    /// Format log directories, and look at them, as kafka-storage.sh does
    Storage {
        /// What to do.
        #[command(subcommand)]
        command: StorageCommand,
    },
}

/// Options of `dev`.
#[derive(Debug, Clone, Args)]
pub(crate) struct DevOptions {
    /// Port for clients; 0 takes a free one and says which
    #[arg(long, default_value_t = 9092)]
    pub(crate) port: u16,
    /// Keep the data here; without it, it is removed at the end
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Number of brokers
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub(crate) brokers: u32,
    /// Set any key of a broker; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Where to answer /metrics and /health, or off; a free port of the loopback interface without it
    #[arg(long, value_name = "http://HOST:PORT")]
    pub(crate) metrics: Option<String>,
    /// What is logged, and how
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// Options of `start`.
#[derive(Debug, Clone, Args)]
pub(crate) struct StartOptions {
    /// The properties file
    #[arg(value_name = "server.properties")]
    pub(crate) file: PathBuf,
    /// Set a key over the file and the environment; may be repeated
    #[arg(long = "override", value_name = "KEY=VALUE")]
    pub(crate) overrides: Vec<String>,
    /// Where to answer /metrics and /health, as metrics.listener; off without it
    #[arg(long, value_name = "http://HOST:PORT")]
    pub(crate) metrics: Option<String>,
    /// What is logged, and how
    #[command(flatten)]
    pub(crate) log: LogOptions,
}

/// Options of everything that runs.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct LogOptions {
    /// Form of the log lines
    #[arg(long, value_enum, default_value_t, env = "MINIKAFKA_LOG_FORMAT", hide_env_values = true)]
    pub(crate) log_format: LogFormat,
    /// Levels, as info or warn,kafka.request.logger=debug
    #[arg(long, value_name = "LEVELS", env = "MINIKAFKA_LOG", hide_env_values = true)]
    pub(crate) log_level: Option<Targets>,
}

/// Form of the log lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// As Kafka's.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// The commands of Kafka's storage tool.
#[derive(Debug, Subcommand)]
pub(crate) enum StorageCommand {
    /// Get information about the log directories of this node
    #[command(after_help = "Example: minikafka storage info --config server.properties")]
    Info {
        /// The properties file
        #[arg(long, short, value_name = "FILE")]
        config: PathBuf,
    },
    /// Format the log directories of this node
    #[command(
        after_help = "Example: minikafka storage format --cluster-id $(minikafka storage random-uuid) --config \
                      server.properties --standalone"
    )]
    Format(FormatOptions),
    /// Print a random UUID
    #[command(name = "random-uuid", after_help = "Example: minikafka storage random-uuid")]
    RandomUuid,
}

/// Options of `storage format`.
#[derive(Debug, Clone, Args)]
pub(crate) struct FormatOptions {
    /// The properties file
    #[arg(long, short, value_name = "FILE")]
    pub(crate) config: PathBuf,
    /// The cluster id
    #[arg(long, short = 't', value_name = "ID")]
    pub(crate) cluster_id: String,
    /// A SCRAM credential, as SCRAM-SHA-256=[name=alice,password=alice-secret]; may be repeated
    #[arg(long, short = 'S', value_name = "CREDENTIAL")]
    pub(crate) add_scram: Vec<String>,
    /// Skip directories that are formatted already
    #[arg(long, short = 'g')]
    pub(crate) ignore_formatted: bool,
    /// The release whose features the cluster begins with
    #[arg(long, short = 'r', value_name = "RELEASE")]
    pub(crate) release_version: Option<String>,
    /// The level of one feature, as kraft.version=1; may be repeated
    #[arg(long, short = 'f', value_name = "FEATURE=LEVEL")]
    pub(crate) feature: Vec<String>,
    /// Begin a dynamic quorum of this one controller
    #[arg(long, short = 's', conflicts_with_all = ["no_initial_controllers", "initial_controllers"])]
    pub(crate) standalone: bool,
    /// Begin without voters, to be added to a quorum later
    #[arg(long, short = 'N', conflicts_with = "initial_controllers")]
    pub(crate) no_initial_controllers: bool,
    /// Begin a dynamic quorum of these controllers: id@host:port:directory,...
    #[arg(long, short = 'I', value_name = "VOTERS")]
    pub(crate) initial_controllers: Option<String>,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &str) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(line.split_whitespace())
    }

    #[test]
    fn dev_is_the_default_command() {
        Cli::command().debug_assert();
        let cli = parse("minikafka --port 0").unwrap();
        assert!(cli.command.is_none() && cli.dev.port == 0);
        let cli = parse("minikafka dev --data x --override a=b --override c=d").unwrap();
        let Some(Command::Dev(options)) = cli.command else { panic!("{cli:?}") };
        assert_eq!((options.port, options.overrides.len()), (9092, 2));
    }

    #[test]
    fn format_takes_kafkas_flags() {
        let cli = parse("minikafka storage format -c f -t id -g -r 4.0 -f a=1 -f b=2 -s -S x").unwrap();
        let Some(Command::Storage { command: StorageCommand::Format(options) }) = cli.command else {
            panic!("{cli:?}")
        };
        assert!(options.ignore_formatted && options.standalone);
        assert_eq!(options.feature, ["a=1", "b=2"]);
        assert!(parse("minikafka storage format -c f -t id -s -N").is_err());
        assert!(parse("minikafka storage format -c f").is_err());
    }
}
