//! The text of a Java properties file: `meta.properties`, and what a node is configured with.

use std::collections::BTreeMap;

use encoding_rs::UTF_8;
use java_properties::PropertiesIter;

/// Reads the keys with their values; of a key that comes twice the last one counts.
///
/// As `java.util.Properties.load`: each byte is a character (ISO 8859-1), so that there are no invalid bytes and no byte
/// order mark. The library would take one for a hint at the encoding, and panics at some texts that begin like that.
///
/// # Errors
/// What is wrong, and in which line: an escape that is none.
pub fn read(text: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let text: String = text.iter().map(|&byte| char::from(byte)).collect();
    let mut pairs = BTreeMap::new();
    let read = PropertiesIter::new_with_encoding(text.as_bytes(), UTF_8).read_into(|key, value| {
        pairs.insert(key, value);
    });
    read.map(|()| pairs).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &[u8], key: &str) -> String {
        read(text).unwrap().remove(key).unwrap()
    }

    #[test]
    fn what_java_reads() {
        let text = b"# comment\n! too\nnode.id = 1\nlog.dirs:/a,\\\n    /b\nbroker.rack=\\u00e9\nnode.id=2\r\nempty\n";
        assert_eq!(value(text, "node.id"), "2");
        assert_eq!(value(text, "log.dirs"), "/a,/b");
        assert_eq!(value(text, "broker.rack"), "é");
        assert_eq!(value(text, "empty"), "");
        assert!(read(b"key=\\uzzzz").unwrap_err().contains("line"));
    }

    #[test]
    fn bytes_are_characters() {
        assert_eq!(value(b"a=\xe9\x80\xff", "a"), "é\u{80}ÿ");
        assert_eq!(value(b"\xfe\xff\xff\xef=1\n\x01", "þÿÿï"), "1");
        assert_eq!(value(b"\xef\xbb\xbfa=1", "ï»¿a"), "1");
    }
}
