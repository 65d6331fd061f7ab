//! The `minikafka` command.

mod cli;
mod controller_role;
mod dev;
mod dev_dir;
mod format;
mod log_dirs;
mod machine;
mod node;
mod observe;
mod properties;
mod scram;
mod signals;
mod start;
mod storage_tool;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => dev::run(&cli.dev),
        Some(Command::Dev(options)) => dev::run(&options),
        Some(Command::Start(options)) => start::run(&options),
        Some(Command::Storage { command }) => storage_tool::run(&command),
    }
}
