//! Tests of the codecs: round trips, caps, frames as other programs write them.

use std::io::Write;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

const LIMIT: usize = 64 << 20;

/// Compressible and incompressible stretches, larger than any block or piece.
fn sample() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut state = 1u32;
    for i in 0..300_000u32 {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        bytes.push(if (i / 40_000) % 2 == 0 { (i / 100) as u8 } else { (state >> 24) as u8 });
    }
    bytes
}

fn frame_lz4(block_size: lz4_flex::frame::BlockSize, checks: bool, linked: bool, input: &[u8]) -> Vec<u8> {
    let mode =
        if linked { lz4_flex::frame::BlockMode::Linked } else { lz4_flex::frame::BlockMode::Independent };
    let info = lz4_flex::frame::FrameInfo::new()
        .block_size(block_size)
        .block_mode(mode)
        .block_checksums(checks)
        .content_checksum(checks)
        .content_size(checks.then_some(input.len() as u64));
    let mut encoder = lz4_flex::frame::FrameEncoder::with_frame_info(info, Vec::new());
    encoder.write_all(input).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn round_trip_with_levels() {
    let input = sample();
    for codec in Codec::ALL {
        for level in [None, Some(-1), Some(1), Some(9), Some(1000), Some(-1_000_000)] {
            let packed = compress(codec, level, &input);
            assert_eq!(decompress(codec, &packed, LIMIT).unwrap(), input, "{codec:?} {level:?}");
        }
        assert_eq!(decompress(codec, &compress(codec, None, b""), 0), Ok(Vec::new()), "{codec:?}");
        assert_eq!(Codec::from_id(codec.id()), Some(codec));
        assert_eq!(Codec::from_name(codec.name()), Some(codec));
    }
    assert_eq!(Codec::from_id(5), None);
}

#[test]
fn the_limit_holds_and_the_decompressor_can_be_used_again() {
    let input = vec![7; 1 << 20];
    for codec in Codec::ALL {
        let packed = compress(codec, None, &input);
        let error = Err(DecompressError::TooLarge(input.len() - 1));
        assert_eq!(decompress(codec, &packed, input.len() - 1), error, "{codec:?}");
        assert_eq!(decompress(codec, &packed, input.len()).unwrap(), input, "{codec:?}");
    }
}

#[test]
fn cut_off_data_is_an_error() {
    let input = sample();
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let packed = compress(codec, None, &input);
        for cut in [packed.len() - 1, packed.len() / 2, 20] {
            assert!(decompress(codec, &packed[..cut], LIMIT).is_err(), "{codec:?} {cut}");
        }
    }
}

#[test]
fn frames_of_other_writers() {
    let input = sample();
    for size in [lz4_flex::frame::BlockSize::Max64KB, lz4_flex::frame::BlockSize::Max4MB] {
        for checks in [false, true] {
            let mut frame = frame_lz4(size, checks, false, &input);
            assert_eq!(decompress(Codec::Lz4, &frame, LIMIT).unwrap(), input);
            frame.extend_from_slice(b"ignored");
            assert_eq!(decompress(Codec::Lz4, &frame, LIMIT).unwrap(), input);
            if checks {
                frame[300] ^= 1;
                assert!(decompress(Codec::Lz4, &frame, LIMIT).is_err());
            }
        }
        let linked = frame_lz4(size, false, true, &input);
        assert!(matches!(decompress(Codec::Lz4, &linked, LIMIT), Err(DecompressError::Corrupt { .. })));
    }
    let raw = snap::raw::Encoder::new().compress_vec(&input).unwrap();
    assert_eq!(decompress(Codec::Snappy, &raw, LIMIT).unwrap(), input);
}

#[test]
fn concatenated_frames() {
    let (a, b) = (b"first ".repeat(50), b"second".repeat(9));
    for codec in [Codec::Gzip, Codec::Snappy, Codec::Zstd] {
        let mut packed = compress(codec, None, &a);
        compress_into(codec, None, &b, &mut packed);
        assert_eq!(decompress(codec, &packed, LIMIT).unwrap(), [&a[..], &b[..]].concat(), "{codec:?}");
    }
    let mut gzip = compress(Codec::Gzip, None, &a);
    gzip.extend_from_slice(b"no member, which Java ignores");
    assert_eq!(decompress(Codec::Gzip, &gzip, LIMIT).unwrap(), a);
}

#[test]
fn gzip_headers_and_trailers() {
    let mut named = flate2::GzBuilder::new()
        .filename("name")
        .comment("comment")
        .extra(vec![1, 2, 3])
        .write(Vec::new(), flate2::Compression::fast());
    named.write_all(b"hello").unwrap();
    let mut bytes = named.finish().unwrap();
    assert_eq!(decompress(Codec::Gzip, &bytes, LIMIT).unwrap(), b"hello");
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    assert!(decompress(Codec::Gzip, &bytes, LIMIT).is_err());
}

#[test]
fn zstd_without_content_size_and_with_a_large_window() {
    let input = sample();
    for level in [1, 22] {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), level).unwrap();
        encoder.include_checksum(true).unwrap();
        encoder.write_all(&input).unwrap();
        let frame = encoder.finish().unwrap();
        assert_eq!(decompress(Codec::Zstd, &frame, LIMIT).unwrap(), input);
    }
}

#[test]
fn a_length_that_was_read_allocates_nothing() {
    // A raw snappy block that says it holds 4 GiB - 1.
    let block = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(matches!(decompress(Codec::Snappy, &block, usize::MAX), Err(DecompressError::Corrupt { .. })));
}

proptest! {
    #[test]
    fn damage_never_panics(
        codec in proptest::sample::select(&Codec::ALL[..]),
        input in vec(0u8..4, 0..2000),
        flips in vec((any::<prop::sample::Index>(), any::<u8>()), 0..5),
    ) {
        let mut packed = compress(codec, None, &input);
        for (at, byte) in flips {
            let at = at.index(packed.len() + 1);
            if let Some(place) = packed.get_mut(at) {
                *place = byte;
            }
        }
        if let Ok(bytes) = decompress(codec, &packed, 10_000) {
            prop_assert!(bytes.len() <= 10_000);
        }
    }

    #[test]
    fn garbage_never_panics(codec in proptest::sample::select(&Codec::ALL[..]), bytes in vec(any::<u8>(), 0..200)) {
        let _ = decompress(codec, &bytes, 100_000);
    }
}
