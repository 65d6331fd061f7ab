//! Frames: four bytes of size, then that many bytes.

use crate::wire::DecodeError;

/// The size of the frame that starts with `bytes`, without the size field itself; `None` if the size field is
/// not there yet. A size that is negative or above `limit` (`socket.request.max.bytes`) is an error: nothing
/// that follows on the connection can be trusted.
pub fn frame_size(bytes: &[u8], limit: usize) -> Result<Option<usize>, DecodeError> {
    let Some(field) = bytes.first_chunk::<4>() else { return Ok(None) };
    let size = i32::from_be_bytes(*field);
    match usize::try_from(size) {
        Ok(size) if size <= limit => Ok(Some(size)),
        _ => Err(DecodeError::Length(i64::from(size))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_checked_before_anything_else() {
        assert_eq!(frame_size(&[0, 0, 0], 100), Ok(None));
        assert_eq!(frame_size(&[0, 0, 0, 100], 100), Ok(Some(100)));
        assert_eq!(frame_size(&[0, 0, 0, 101], 100), Err(DecodeError::Length(101)));
        assert_eq!(frame_size(&[0xff, 0xff, 0xff, 0xff], 100), Err(DecodeError::Length(-1)));
    }
}
