//! Recycled read buffers: the first touch of fresh memory costs ten times what reuse does.

use parking_lot::Mutex;

/// Size of a pooled buffer in bytes. Most requests fit; larger frames grow a buffer of their own.
pub(crate) const BUFFER_BYTES: usize = 64 * 1024;
/// Buffers larger than this go back to the allocator instead of the pool.
const KEEP_BYTES: usize = 2 * 1024 * 1024;
/// At most this many bytes rest in the pool.
const POOL_BYTES: usize = 8 * 1024 * 1024;

struct Pool {
    buffers: Vec<Vec<u8>>,
    bytes: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { buffers: Vec::new(), bytes: 0 });

/// A buffer whose whole length is initialised and free to overwrite.
pub(crate) fn take() -> Vec<u8> {
    let mut pool = POOL.lock();
    match pool.buffers.pop() {
        Some(buffer) => {
            pool.bytes -= buffer.len();
            buffer
        }
        None => {
            drop(pool);
            vec![0; BUFFER_BYTES]
        }
    }
}

/// Gives a buffer back; one that is too small or too large is freed.
pub(crate) fn put(buffer: Vec<u8>) {
    if buffer.len() < BUFFER_BYTES || buffer.len() > KEEP_BYTES {
        return;
    }
    let mut pool = POOL.lock();
    if pool.bytes + buffer.len() <= POOL_BYTES {
        pool.bytes += buffer.len();
        pool.buffers.push(buffer);
    }
}
