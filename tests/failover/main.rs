//! Measures how long partitions stand still while nodes die, hang, return or are restarted: `cargo xtask failover`.

use std::process::ExitCode;

use minikafka_tests::failover::scene::{Fault, Headless, Rolled, Scene, Settings, StoodStill};
use minikafka_tests::failover::times::heading;
use minikafka_tests::node::Target;

const USAGE: &str = "\
cargo xtask failover [--what leader|freeze|controller|frozen-controller|rolling|all] [--settings dev|default]
                     [--vs kafka] [--only kafka] [--rounds N]
Times in ms from the fault. `leader`, `freeze`: a broker is killed or frozen and comes back; `controller`: the active
controller is. `--vs kafka` measures Apache Kafka as well, `--only kafka` alone.";

const WHATS: [&str; 5] = ["leader", "freeze", "controller", "frozen-controller", "rolling"];

struct Options {
    whats: Vec<&'static str>,
    settings: Settings,
    targets: Vec<Target>,
    rounds: usize,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(options) = options(&words) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    println!("load before: {}", load());
    println!("{}", heading());
    for target in &options.targets {
        for what in &options.whats {
            let name = format!("{target:?}, {:?} settings, {what}", options.settings).to_lowercase();
            measure(*target, options.settings, what, options.rounds, &name);
        }
    }
    println!("load after: {}", load());
    ExitCode::SUCCESS
}

fn options(words: &[String]) -> Option<Options> {
    let mut options =
        Options { whats: WHATS.to_vec(), settings: Settings::Dev, targets: vec![Target::Ours], rounds: 10 };
    let mut words = words.iter().map(String::as_str);
    while let Some(word) = words.next() {
        match (word, words.next()?) {
            ("--what", "all") => {}
            ("--what", what) => options.whats = vec![*WHATS.iter().find(|known| **known == what)?],
            ("--settings", "dev") => options.settings = Settings::Dev,
            ("--settings", "default") => options.settings = Settings::Default,
            ("--vs", "kafka") => options.targets.push(Target::Apache),
            ("--only", "kafka") => options.targets = vec![Target::Apache],
            ("--rounds", rounds) => options.rounds = rounds.parse().ok()?,
            _ => return None,
        }
    }
    Some(options)
}

fn measure(target: Target, settings: Settings, what: &str, rounds: usize, name: &str) {
    let is_headless = what.ends_with("controller");
    let mut scene = Scene::start(target, is_headless, &settings.properties());
    let (mut still, mut headless, mut rolled) =
        (StoodStill::default(), Headless::default(), Rolled::default());
    for round in 0..rounds {
        let victim = scene.brokers()[round % scene.brokers().len()];
        // Heartbeats, fetches and elections are met at different moments.
        std::thread::sleep(std::time::Duration::from_millis(round as u64 * 37 % 211));
        match what {
            "leader" => scene.strike(victim, Fault::Kill, &mut still),
            "freeze" => scene.strike(victim, Fault::Freeze, &mut still),
            "controller" => scene.behead(Fault::Kill, &format!("killed-{round}"), &mut headless),
            "frozen-controller" => scene.behead(Fault::Freeze, &format!("frozen-{round}"), &mut headless),
            _ => scene.roll(&mut rolled),
        }
    }
    let lines = [
        ("led: until written to through another", &still.led),
        ("followed: longest pause", &still.followed),
        ("return: until in every ISR", &still.returned),
        ("next CreateTopics", &headless.created),
        ("longest pause of a partition meanwhile", &headless.pauses),
        ("longest pause, raw client", &rolled.raw),
        ("longest pause, librdkafka", &rolled.librdkafka),
        ("restart: until in every ISR", &rolled.returned),
    ];
    for (line, times) in lines.iter().filter(|(_, times)| times.count() > 0) {
        println!("{}", times.line(&format!("{name}: {line}")));
    }
    if what == "rolling" {
        println!("{name}: errors that reached librdkafka's user: {}", rolled.errors.len());
        rolled.errors.iter().take(5).for_each(|error| println!("  {error}"));
    }
}

fn load() -> String {
    std::fs::read_to_string("/proc/loadavg").unwrap_or_default().trim().to_owned()
}
