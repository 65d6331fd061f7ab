//! The state machine above each node: a hash over everything committed, so that one number tells histories apart.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use raft::batch;
use raft::control;
use raft::log::Log;
use raft::memory_log::MemoryLog;
use raft::replica::OffsetAndEpoch;
use raft::voters::VoterSet;

#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Machine {
    /// Everything below is applied.
    pub(super) applied: i64,
    pub(super) chain: u64,
}

fn mix(chain: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(chain ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

impl Machine {
    /// Applies whole batches up to `high_watermark`; `seen` gets each position with the hash there.
    pub(super) fn apply(&mut self, log: &MemoryLog, high_watermark: i64, mut seen: impl FnMut(i64, u64)) {
        let bytes = log.read(self.applied, usize::MAX).unwrap();
        for batch in batch::batches(&bytes).map(Result::unwrap) {
            if batch.next_offset() > high_watermark {
                assert!(batch.base_offset() >= high_watermark, "high watermark within a batch");
                break;
            }
            assert_eq!(batch.base_offset(), self.applied);
            self.applied = batch.next_offset();
            // The checksum stands for the content; base offset and epoch are not part of it.
            let crc = &batch.bytes()[17..21];
            self.chain = mix(self.chain, crc);
            self.chain = mix(self.chain, &batch.epoch().to_be_bytes());
            self.chain = mix(self.chain, &batch.base_offset().to_be_bytes());
            seen(self.applied, self.chain);
        }
        assert_eq!(self.applied, high_watermark, "the log does not reach the high watermark");
    }

    /// A snapshot file of this state.
    pub(super) fn snapshot(&self, epoch: i32, time_ms: i64, level: i16, voters: Option<&VoterSet>) -> Bytes {
        let mut out = BytesMut::new();
        let header = control::snapshot_header_batch(epoch, time_ms, time_ms, level, voters);
        let records = batch::batches(&header).next().unwrap().unwrap().next_offset();
        out.extend_from_slice(&header);
        let mut value = BytesMut::new();
        value.put_u64(self.chain);
        out.extend_from_slice(&batch::encode(records, epoch, time_ms, false, &[(None, value.freeze())]));
        out.extend_from_slice(&control::snapshot_footer_batch(records + 1, epoch, time_ms));
        out.freeze()
    }

    pub(super) fn load(log: &MemoryLog, id: OffsetAndEpoch) -> Machine {
        let bytes = log.read_snapshot(id, 0, usize::MAX).unwrap().unwrap().bytes;
        let data = batch::batches(&bytes).map(Result::unwrap).find(|batch| !batch.is_control()).unwrap();
        let (_, mut value) = data.records().unwrap()[0];
        Machine { applied: id.offset, chain: value.get_u64() }
    }
}
