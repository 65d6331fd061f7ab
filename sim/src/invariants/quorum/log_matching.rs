//! Two logs with the same epoch at an offset are the same up to there.
//!
//! Source: LogMatching of Raft, and of the model of KIP-853.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::View;

pub(super) fn check(views: &[View<'_>]) {
    let logs: Vec<BTreeMap<i64, (i32, &Bytes)>> = views
        .iter()
        .map(|view| view.log.entries().map(|(base, _, epoch, bytes)| (base, (epoch, bytes))).collect())
        .collect();
    for (index, a) in logs.iter().enumerate() {
        for b in &logs[index + 1..] {
            compare(a, b);
        }
    }
}

fn compare(a: &BTreeMap<i64, (i32, &Bytes)>, b: &BTreeMap<i64, (i32, &Bytes)>) {
    let mut must_match = false;
    for (base, (epoch, bytes)) in a.iter().rev() {
        match b.get(base) {
            Some((other_epoch, other_bytes)) => {
                must_match |= epoch == other_epoch;
                if must_match {
                    assert_eq!((epoch, bytes), (other_epoch, other_bytes), "logs part at {base}");
                }
            }
            None => {
                let before_start = b.first_key_value().is_none_or(|(first, _)| first > base);
                assert!(!must_match || before_start, "logs part at {base}");
            }
        }
    }
}
