//! Which partition of `__consumer_offsets` a group belongs to.

/// Java's `String.hashCode`: over UTF-16 units, wrapping.
pub fn java_string_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

/// The partition of `group_id` among `partitions` (at least 1), as Kafka's `Utils.abs(hashCode) % partitions`.
///
/// `Utils.abs` maps the least integer to 0, unlike a mask of the sign bit. Transactional ids are spread the same way.
pub fn partition_for(group_id: &str, partitions: i32) -> i32 {
    java_string_hash(group_id).checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java() {
        assert_eq!(java_string_hash(""), 0);
        assert_eq!(java_string_hash("hello"), 99_162_322);
        assert_eq!(java_string_hash("polygenelubricants"), i32::MIN);
        assert_eq!(java_string_hash("\u{1F600}"), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn least_integer_is_partition_zero() {
        assert_eq!(partition_for("polygenelubricants", 50), 0);
    }

    /// The golden 4.1.2 node has four offsets partitions.
    #[test]
    fn golden_groups() {
        assert_eq!(partition_for("g-classic", 4), 0);
        assert_eq!(partition_for("g-848-regex", 4), 0);
        assert_eq!(partition_for("console-consumer-90353", 4), 1);
        assert_eq!(partition_for("g-tx", 4), 2);
        assert_eq!(partition_for("g-848", 4), 2);
        assert_eq!(partition_for("g-assign", 4), 3);
    }
}
