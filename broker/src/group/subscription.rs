//! The topics in a consumer's subscription, as far as the coordinator must know them.

use std::collections::BTreeSet;
use std::sync::Arc;

/// Reads the topic names of a `ConsumerProtocolSubscription` (any version: v0 prefixes them all).
///
/// `None` if the bytes are no subscription; the group then counts as subscribed to every topic.
pub(super) fn topics(mut bytes: &[u8]) -> Option<BTreeSet<Arc<str>>> {
    let version = i16::from_be_bytes(take(&mut bytes)?);
    if version < 0 {
        return None;
    }
    let count = i32::from_be_bytes(take(&mut bytes)?);
    let mut topics = BTreeSet::new();
    for _ in 0..count {
        let length = usize::try_from(i16::from_be_bytes(take(&mut bytes)?)).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        topics.insert(Arc::from(std::str::from_utf8(name).ok()?));
        bytes = rest;
    }
    Some(topics)
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(*head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(hex: &str) -> Vec<u8> {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    }

    /// Sent by the Java client 4.1.2.
    #[test]
    fn java_client() {
        let sent = bytes("0003000000030006636f646563730005706c61696e000374786effffffff00000000ffffffffffff");
        let found: Vec<Arc<str>> = topics(&sent).unwrap().into_iter().collect();
        assert_eq!(found, ["codecs".into(), "plain".into(), "txn".into()]);
    }

    #[test]
    fn cut_short() {
        let sent = bytes("0003000000030006636f646563730005706c61696e000374786effffffff00000000ffffffffffff");
        for length in 0..26 {
            assert_eq!(topics(&sent[..length]), None, "{length}");
        }
    }
}
