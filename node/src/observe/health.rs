//! Whether the process lives, and whether clients may come.
//!
//! Live: each of the loops that everything hangs on has done something that was asked of it just now. Ready: the
//! broker is registered, unfenced and heard of, knows all that is committed, has every replica that should be here
//! open, and every log directory works. A node that is only a controller is ready while the quorum has a leader.

use std::future::Future;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Handle;

use super::Observed;

/// A loop that has not answered by then is stuck.
const LOOP_TIME: Duration = Duration::from_secs(5);
/// Metadata that was committed so long ago must be applied.
const CATCH_UP_TIME: Duration = Duration::from_secs(1);

/// What was found.
pub(super) struct Verdict {
    good: &'static str,
    bad: &'static str,
    /// What stands against it, in words.
    pub(super) reasons: Vec<String>,
}

impl Verdict {
    /// As the answer says it.
    pub(super) fn to_json(&self) -> String {
        let status = if self.reasons.is_empty() { self.good } else { self.bad };
        let mut text = json!({ "status": status, "reasons": self.reasons }).to_string();
        text.push('\n');
        text
    }
}

/// Asks every loop of the process.
pub(super) async fn live(observed: &Observed) -> Verdict {
    let controller = async {
        match observed.controller.get() {
            None => None,
            Some(controller) => match tokio::time::timeout(LOOP_TIME, controller.ping()).await {
                Ok(true) => None,
                Ok(false) => Some("the controller has stopped".to_owned()),
                Err(_) => Some(stuck("the controller")),
            },
        }
    };
    let (data, control, controller) = tokio::join!(
        turn("the clients' runtime", &observed.data),
        turn("the heartbeats' runtime", &observed.control),
        controller,
    );
    let reasons = [data, control, controller].into_iter().flatten().collect();
    Verdict { good: "live", bad: "not live", reasons }
}

/// Has a runtime run something.
fn turn(name: &'static str, runtime: &Handle) -> impl Future<Output = Option<String>> {
    let asked = runtime.spawn(async {});
    async move {
        let abort = asked.abort_handle();
        let answered = tokio::time::timeout(LOOP_TIME, asked).await;
        abort.abort();
        answered.is_err().then(|| stuck(name))
    }
}

fn stuck(name: &str) -> String {
    format!("{name} has not answered for {} s", LOOP_TIME.as_secs())
}

/// Asks whether clients may come.
pub(super) async fn ready(observed: &Observed) -> Verdict {
    let mut reasons = Vec::new();
    match observed.controller.get() {
        None => reasons.push("the controller is not started".to_owned()),
        Some(controller) => {
            if controller.ended().borrow().is_some() {
                reasons.push("the controller has stopped".to_owned());
            }
            if controller.leader().borrow().leader_id.is_none() {
                reasons.push("the quorum has no leader".to_owned());
            }
            let committed = controller.image().provenance.last_offset;
            let caught_up = observed.probe.wait_for_metadata(committed);
            if observed.is_broker && tokio::time::timeout(CATCH_UP_TIME, caught_up).await.is_err() {
                reasons.push(format!("metadata offset {committed} is committed but not applied"));
            }
        }
    }
    if observed.is_broker {
        reasons.extend(observed.probe.unready());
    }
    Verdict { good: "ready", bad: "not ready", reasons }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use broker::Probe;

    use super::*;

    #[tokio::test]
    async fn a_runtime_that_is_stuck_is_told() {
        let one = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
        let (data, control) = (one(), one());
        let observed = Observed::new(Probe::new(true), true, data.handle().clone(), control.handle().clone());
        assert_eq!(live(&observed).await.to_json(), "{\"reasons\":[],\"status\":\"live\"}\n");
        let (release, held) = mpsc::channel::<()>();
        let (holds, held_now) = mpsc::channel();
        data.spawn(async move {
            holds.send(()).unwrap();
            let _ = held.recv();
        });
        held_now.recv().unwrap();
        // Only what is stuck is named; the wait is real, as another thread is.
        let verdict = live(&observed).await;
        assert_eq!(verdict.reasons, ["the clients' runtime has not answered for 5 s"]);
        assert!(verdict.to_json().contains("\"status\":\"not live\""));
        drop(release);
        assert!(live(&observed).await.reasons.is_empty());
        assert_eq!(
            ready(&observed).await.reasons,
            ["the controller is not started", "the broker is starting"]
        );
        data.shutdown_background();
        control.shutdown_background();
    }
}
