//! What a client notices of nodes that die and return. The times are measured by `cargo xtask failover`; here is only
//! what must not depend on the machine's speed.

use std::time::Duration;

use minikafka_tests::failover::scene::{Fault, Rolled, Scene, Settings, StoodStill};
use minikafka_tests::node::Target;

/// Sessions that nobody lives to see the end of.
const SESSION: &str = "60000";
/// Much longer than a fail-over takes on a loaded machine, much shorter than a session.
const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn a_killed_broker_is_not_waited_for_until_its_session_ends() {
    let mut properties = Settings::Default.properties();
    properties.extend([("broker.session.timeout.ms", SESSION), ("replica.lag.time.max.ms", SESSION)]);
    let mut scene = Scene::start(Target::Ours, false, &properties);
    // One of them is the active controller, too.
    for victim in scene.brokers().to_vec() {
        let mut times = StoodStill::default();
        scene.strike(victim, Fault::Kill, &mut times);
        println!("{victim}: {times:?}");
        assert!(times.led.max() < LIMIT, "what {victim} led stood still: {:?}", times.led);
        assert!(times.followed.max() < LIMIT, "what {victim} followed stood still: {:?}", times.followed);
        assert!(times.returned.max() < LIMIT, "{victim} came back late: {:?}", times.returned);
    }
}

#[test]
fn a_rolling_restart_is_no_error_for_anyone() {
    let mut scene = Scene::start(Target::Ours, false, &Settings::Dev.properties());
    let mut times = Rolled::default();
    scene.roll(&mut times);
    println!("raw {:?}\nlibrdkafka {:?}", times.raw, times.librdkafka);
    assert_eq!(times.errors, Vec::<String>::new());
    assert_eq!(times.librdkafka.count(), times.raw.count(), "every partition was written to");
}
