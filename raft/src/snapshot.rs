//! Snapshot names and the decision which snapshots may go.

use crate::log::SnapshotInfo;
use crate::replica::OffsetAndEpoch;
use crate::{batch, control};

/// The snapshot that `format` writes: it only tells the first voters and is never served to others.
pub const BOOTSTRAP_ID: OffsetAndEpoch = OffsetAndEpoch { offset: 0, epoch: 0 };

/// Suffix of a complete snapshot.
pub const SUFFIX: &str = ".checkpoint";
/// Suffix of a snapshot that is being written.
pub const PARTIAL_SUFFIX: &str = ".checkpoint.part";
/// Suffix of a snapshot that waits for its removal.
pub const DELETED_SUFFIX: &str = ".checkpoint.deleted";

/// Name of the file of a complete snapshot: `%020d-%010d.checkpoint`.
pub fn file_name(id: OffsetAndEpoch) -> String {
    format!("{:020}-{:010}{SUFFIX}", id.offset, id.epoch)
}

/// Checks a snapshot while it is fetched, piece by piece: whole batches with good checksums, whose control records can
/// be read. Holds the begin of a batch whose end is yet to come.
#[derive(Debug, Default)]
pub(crate) struct SnapshotCheck {
    rest: Vec<u8>,
}

impl SnapshotCheck {
    /// False if the snapshot is none.
    pub(crate) fn take(&mut self, piece: &[u8]) -> bool {
        self.rest.extend_from_slice(piece);
        let mut checked = 0;
        for batch in batch::batches(&self.rest) {
            let Ok(batch) = batch else { return false };
            if batch.is_control() && control::decode_batch(&batch).is_err() {
                return false;
            }
            checked += batch.bytes().len();
        }
        self.rest.drain(..checked);
        self.rest.len() <= batch::MAX_BATCH_BYTES
    }

    /// Whether the pieces so far end with a batch.
    pub(crate) fn is_whole(&self) -> bool {
        self.rest.is_empty()
    }
}

/// The id in the name of a complete snapshot; `None` for every other name.
pub fn parse_file_name(name: &str) -> Option<OffsetAndEpoch> {
    let (offset, epoch) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let digits = |text: &str, width| text.len() == width && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(offset, 20) || !digits(epoch, 10) {
        return None;
    }
    Some(OffsetAndEpoch { offset: offset.parse().ok()?, epoch: epoch.parse().ok()? })
}

/// The next snapshot, when the oldest may go: there are at least two, and log and snapshots exceed `retention_bytes`
/// or the oldest one's header is older than `retention_ms`.
///
/// `snapshots` are all by ascending id; negative limits mean none. To be asked again after each removal, since
/// segments of the log may have gone with it.
pub fn next_start(
    snapshots: &[SnapshotInfo],
    log_size: u64,
    retention_bytes: i64,
    retention_ms: i64,
    now_ms: i64,
) -> Option<OffsetAndEpoch> {
    let [oldest, next, ..] = snapshots else { return None };
    let total = log_size + snapshots.iter().map(|snapshot| snapshot.size).sum::<u64>();
    let too_large = u64::try_from(retention_bytes).is_ok_and(|limit| total > limit);
    let too_old = retention_ms >= 0
        && oldest.last_contained_log_timestamp_ms.is_some_and(|time| now_ms - time > retention_ms);
    (too_large || too_old).then_some(next.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_checked_in_pieces_of_any_size() {
        let data = [(None, bytes::Bytes::from_static(b"value"))];
        let voters = control::leader_change(1, &[1], &[1]);
        let mut bytes = control::encode_batch(0, 3, 0, &[voters]).to_vec();
        bytes.extend_from_slice(&batch::encode(1, 3, 0, false, &data));
        let check = |bytes: &[u8], piece: usize| {
            let mut check = SnapshotCheck::default();
            bytes.chunks(piece).all(|piece| check.take(piece)) && check.is_whole()
        };
        for piece in [1, 7, 61, bytes.len()] {
            assert!(check(&bytes, piece));
            assert!(!check(&bytes[..bytes.len() - 1], piece), "the end is missing");
            for damaged in [20, bytes.len() - 1] {
                let mut other = bytes.clone();
                other[damaged] ^= 1;
                assert!(!check(&other, piece), "byte {damaged} is another");
            }
        }
    }
}
