//! Frames: four bytes of size, then that many bytes.

/// What a size field says that cannot be: negative, or above the limit. Nothing that follows on the connection can
/// be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("invalid frame size {0}")]
pub struct BadSize(pub i32);

/// The size of the frame that starts with `bytes`, without the size field itself; `None` if the size field is
/// not there yet. `limit` is `socket.request.max.bytes`.
pub fn frame_size(bytes: &[u8], limit: usize) -> Result<Option<usize>, BadSize> {
    let Some(field) = bytes.first_chunk::<4>() else { return Ok(None) };
    let size = i32::from_be_bytes(*field);
    match usize::try_from(size) {
        Ok(size) if size <= limit => Ok(Some(size)),
        _ => Err(BadSize(size)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_before_anything_else() {
        assert_eq!(frame_size(&[0, 0, 0], 100), Ok(None));
        assert_eq!(frame_size(&[0, 0, 0, 100], 100), Ok(Some(100)));
        assert_eq!(frame_size(&[0, 0, 0, 101], 100), Err(BadSize(101)));
        assert_eq!(frame_size(&[0xff, 0xff, 0xff, 0xff], 100), Err(BadSize(-1)));
    }
}
