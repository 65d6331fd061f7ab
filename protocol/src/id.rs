//! Ids as Kafka prints them: 128 bits in URL-safe base64 without padding, 22 characters.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use uuid::Uuid;

/// The text form of a topic, directory or incarnation id, or of a cluster id that is one.
pub fn base64_id(id: Uuid) -> String {
    URL_SAFE_NO_PAD.encode(id.as_bytes())
}

/// The id behind a 22-character text; `None` if the text is not base64 or not of 16 bytes.
///
/// As Kafka's `Uuid.fromString`, padding characters at the end are accepted.
pub fn parse_base64_id(text: &str) -> Option<Uuid> {
    let bytes = URL_SAFE_NO_PAD.decode(text.trim_end_matches('=')).ok()?;
    Uuid::from_slice(&bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_is_kafkas() {
        let id = parse_base64_id("Z29sZGVuLW1pbmlrYWZrYQ").unwrap();
        assert_eq!(id.as_bytes(), b"golden-minikafka");
        assert_eq!(base64_id(id), "Z29sZGVuLW1pbmlrYWZrYQ");
        assert_eq!(base64_id(Uuid::nil()), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(parse_base64_id("too short"), None);
        assert_eq!(parse_base64_id("Z29sZGVuLW1pbmlrYWZrYWZrYQ"), None);
    }
}
