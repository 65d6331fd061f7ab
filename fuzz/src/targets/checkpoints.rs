//! The small files of a log directory: offset checkpoints, leader epochs, `partition.metadata`, the clean-shutdown
//! mark, producer snapshots, transaction indexes, `quorum-state`; names of folders and snapshots.
//!
//! Invariants: what is read and written again reads the same.

use std::fs;
use std::path::Path;

use raft::QuorumState;
use storage::dirs::{Checkpoint, LogDir, read_partition_metadata, write_partition_metadata};
use storage::leader_epochs::LeaderEpochs;
use storage::names::PartitionDir;
use storage::producer_state::ProducerStates;
use storage::txn_index::TransactionIndex;

use crate::scratch::with_folder;
use crate::source::Source;

/// The first byte chooses the file, the rest is its content.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    let kind = source.byte();
    let content = source.rest();
    match kind % 8 {
        0 => with_folder(|dir| offsets(dir, content)),
        1 => epochs(content),
        2 => with_folder(|dir| topic_id(dir, content)),
        3 => with_folder(|dir| clean_shutdown(dir, content)),
        4 => producers(content),
        5 => with_folder(|dir| transactions(dir, content)),
        6 => quorum_state(content),
        _ => names(content),
    }
}

fn offsets(dir: &Path, content: &[u8]) {
    fs::write(dir.join(Checkpoint::RecoveryPoint.file_name()), content).expect("a file in memory");
    let dir = LogDir::open(dir).expect("the folder is ours alone");
    let Ok(read) = dir.read_checkpoint(Checkpoint::RecoveryPoint) else { return };
    let entries = read.iter().map(|(partition, offset)| (partition, *offset));
    dir.write_checkpoint(Checkpoint::HighWatermark, entries).expect("a file in memory");
    let again = dir.read_checkpoint(Checkpoint::HighWatermark).expect("what was written can be read");
    assert_eq!(read, again);
}

fn epochs(content: &[u8]) {
    let Ok(text) = std::str::from_utf8(content) else { return };
    let Ok(mut epochs) = LeaderEpochs::parse(text) else { return };
    assert_eq!(LeaderEpochs::parse(&epochs.encode()).as_ref(), Ok(&epochs));
    let rising = |epochs: &LeaderEpochs| {
        assert!(epochs.entries().is_sorted_by(|a, b| a.epoch < b.epoch && a.start_offset < b.start_offset));
    };
    rising(&epochs);
    for entry in epochs.entries() {
        let (found, end) = epochs.end_offset_for(entry.epoch, i64::MAX).expect("a known epoch has an end");
        assert!(found == entry.epoch && end > entry.start_offset);
    }
    let middle = epochs.entries().get(epochs.entries().len() / 2).map_or(0, |entry| entry.start_offset);
    epochs.truncate_from_start(middle.saturating_add(1));
    rising(&epochs);
    epochs.truncate_from_end(middle.saturating_add(2));
    rising(&epochs);
}

fn topic_id(dir: &Path, content: &[u8]) {
    fs::write(dir.join("partition.metadata"), content).expect("a file in memory");
    if let Ok(Some(id)) = read_partition_metadata(dir) {
        write_partition_metadata(dir, id).expect("a file in memory");
        assert_eq!(read_partition_metadata(dir).ok().flatten(), Some(id));
    }
}

fn clean_shutdown(dir: &Path, content: &[u8]) {
    fs::write(dir.join(".kafka_cleanshutdown"), content).expect("a file in memory");
    let dir = LogDir::open(dir).expect("the folder is ours alone");
    let mark = dir.take_clean_shutdown().expect("anything is a mark").expect("there is one");
    assert_eq!(dir.take_clean_shutdown().ok(), Some(None), "a mark counts once");
    dir.write_clean_shutdown(mark.broker_epoch).expect("a file in memory");
    assert_eq!(dir.take_clean_shutdown().ok(), Some(Some(mark)));
}

fn producers(content: &[u8]) {
    // The checksum stands behind the version; a mutant shall get beyond it.
    let mut content = content.to_vec();
    if let Some((head, body)) = content.split_at_mut_checked(6) {
        head[2..].copy_from_slice(&crc_fast::crc32_iscsi(body).to_be_bytes());
    }
    let mut states = ProducerStates::new(0, 86_400_000);
    if states.load_snapshot(&content, 100, 0).is_err() {
        return;
    }
    let written = states.snapshot();
    let mut again = ProducerStates::new(0, 86_400_000);
    again.load_snapshot(&written, 100, 0).expect("what was written can be read");
    assert_eq!(states.len(), again.len());
    assert_eq!(states.first_unstable_offset(), again.first_unstable_offset());
    assert_eq!(again.snapshot().len(), written.len());
}

fn transactions(dir: &Path, content: &[u8]) {
    let path = dir.join("00000000000000000000.txnindex");
    fs::write(&path, content).expect("a file in memory");
    let Ok(mut index) = TransactionIndex::open(path) else { return };
    let Ok(entries) = index.entries() else { return };
    let _ = index.sanity_check(0);
    let mut found = Vec::new();
    let _ = index.collect_aborted(0, i64::MAX, &mut found);
    assert!(found.len() <= entries.len());
    if let Some(middle) = entries.get(entries.len() / 2) {
        let _ = index.truncate_to(middle.last_offset);
        let _ = index.append(middle);
        assert!(index.entries().is_ok(), "what was good stays good");
    }
}

fn quorum_state(content: &[u8]) {
    let Ok(text) = std::str::from_utf8(content) else { return };
    let Ok(state) = QuorumState::decode(text) else { return };
    let again = QuorumState::decode(&state.encode()).expect("what was written can be read");
    assert_eq!(state, again);
}

fn names(content: &[u8]) {
    let Ok(name) = std::str::from_utf8(content) else { return };
    if let Some(PartitionDir::Current(partition)) = PartitionDir::parse(name) {
        assert!(partition.partition >= 0);
        let again = partition.to_string();
        assert_eq!(PartitionDir::parse(&again), Some(PartitionDir::Current(partition.clone())));
        let marked = storage::names::marked_dir_name(&partition, uuid::Uuid::from_u128(7), "stray");
        assert!(marked.len() <= 255 || name.len() > 200, "{marked}");
    }
    if let Some(id) = raft::snapshot::parse_file_name(name) {
        assert_eq!(raft::snapshot::parse_file_name(&raft::snapshot::file_name(id)), Some(id));
    }
}
