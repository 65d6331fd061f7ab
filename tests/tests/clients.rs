//! Every client of the table shows the same behaviour on one node, side by side; after all of them, Apache Kafka's
//! tools read every file that the node wrote.
//!
//! A program without libtest, because the clients share one node and wait for each other at its restart. Arguments
//! are filters of names, as with libtest.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Instant;

use minikafka_tests::behaviour::Session;
use minikafka_tests::clients::{CLIENTS, Client};
use minikafka_tests::kafka_tools::Tools;
use minikafka_tests::node::{Node, Target};
use minikafka_tests::observe;
use minikafka_tests::program::Program;
use minikafka_tests::report::Report;

fn main() -> ExitCode {
    if Report::only_lists() {
        CLIENTS.iter().for_each(|c| println!("{}: test", c.name));
        return ExitCode::SUCCESS;
    }
    let mut report = Report::from_args();
    let chosen: Vec<_> = CLIENTS.iter().filter(|c| report.wants(c.name)).collect();
    if chosen.is_empty() {
        return report.finish();
    }
    let mut node = Node::fresh(Target::from_env(), &[]);
    let sessions: Vec<Mutex<Session>> = chosen
        .iter()
        .map(|c| Mutex::new(Session::new(c.name, c.traits, Program::start((c.command)(), &node.bootstrap()))))
        .collect();
    let before = side_by_side("before the restart", &sessions, Session::before_restart);
    node.restart();
    let after = side_by_side("after the restart", &sessions, Session::after_restart);
    for ((client, before), after) in chosen.iter().zip(before).zip(after) {
        report.add(client.name, before.and(after.map_err(|e| format!("after the restart: {e}"))));
    }
    let mut tools = Tools::start();
    let seen = observe::everything(&mut tools, &node.bootstrap());
    node.stop();
    report.catch("kafka-dump-log reads every file", || {
        let dumped = tools.dump_directory(&node.data());
        chosen.iter().try_for_each(|client| codecs_at_rest(client, &dumped))
    });
    report
        .catch("the other program opens the directory", || other_program(node, &seen, &mut tools, sessions));
    report.finish()
}

/// Ours after Apache Kafka or Apache Kafka after ours: it shows the same, and all groups go on.
fn other_program(
    mut node: Node,
    expected: &str,
    tools: &mut Tools,
    sessions: Vec<Mutex<Session>>,
) -> Result<(), String> {
    let other = if node.target() == Target::Ours { Target::Apache } else { Target::Ours };
    node.switch(other);
    let found = observe::everything(tools, &node.bootstrap());
    if let Some(difference) = observe::difference(expected, &found) {
        return Err(format!("{other:?} shows something else: {difference}"));
    }
    let java = CLIENTS.iter().find(|c| c.name == "java").expect("the Java client is in the table");
    for session in sessions {
        let mut session = session.into_inner().map_err(|_| "panicked before".to_owned())?;
        session.go_on(Program::start((java.command)(), &node.bootstrap()))?;
    }
    node.stop();
    Ok(())
}

/// What a client compressed lies compressed on disk, in each of its codecs.
fn codecs_at_rest(client: &Client, dumped: &[(PathBuf, String)]) -> Result<(), String> {
    let folder = format!("/{}-codecs-", client.name);
    let mine = |(path, _): &&(PathBuf, String)| path.to_string_lossy().contains(&folder);
    let text: String = dumped.iter().filter(mine).map(|(_, text)| text.as_str()).collect();
    let missing =
        client.traits.codecs.iter().find(|codec| !text.contains(&format!("compresscodec: {codec} ")));
    missing.map_or(Ok(()), |codec| Err(format!("{}: no batch on disk has {codec}", client.name)))
}

/// The same step of every session, each in a thread of its own; prints how long each took.
fn side_by_side(
    what: &str,
    sessions: &[Mutex<Session>],
    step: impl Fn(&mut Session) -> Result<(), String> + Sync,
) -> Vec<Result<(), String>> {
    let step = &step;
    std::thread::scope(|scope| {
        let run = |session: &Mutex<Session>| match session.lock() {
            Ok(mut session) => {
                let started = Instant::now();
                let result = step(&mut session);
                println!("{what}: {} took {:.1} s", session.name(), started.elapsed().as_secs_f64());
                result
            }
            Err(_) => Err("panicked before".to_owned()),
        };
        let threads: Vec<_> = sessions.iter().map(|s| scope.spawn(move || run(s))).collect();
        threads.into_iter().map(|t| t.join().unwrap_or_else(|_| Err("panicked".to_owned()))).collect()
    })
}
