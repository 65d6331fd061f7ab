//! `cargo xtask sim`: runs seeds of the simulation, and shows that planted bugs are found.

use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match minikafka_sim::Options::parse(&words) {
        Ok(options) => minikafka_sim::main(&options),
        Err(usage) => {
            eprintln!("{usage}");
            ExitCode::from(2)
        }
    }
}
