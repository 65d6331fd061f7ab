//! `meta.properties` and a node's properties file, as far as a node that starts reads them.
//!
//! Invariants: `meta.properties` that is read and written again reads the same; a configuration that is accepted has
//! a value of the right type for every key.

use metadata::config::StaticConfig;
use metadata::config::node::NodeConfig;
use storage::dirs::MetaProperties;

use crate::source::Source;

/// The first byte chooses the file, the rest is its text.
pub(super) fn run(input: &[u8]) {
    let mut source = Source::new(input);
    match source.byte() % 2 {
        0 => meta(source.rest()),
        _ => node(source.rest()),
    }
}

fn meta(text: &[u8]) {
    let Ok(properties) = MetaProperties::parse(text) else { return };
    let again = MetaProperties::parse(properties.to_text().as_bytes());
    assert_eq!(again.as_ref(), Ok(&properties));
}

fn node(text: &[u8]) {
    let Ok(pairs) = storage::properties::read(text) else { return };
    let Ok(properties) = StaticConfig::new(pairs) else { return };
    let _ = (properties.unknown().count(), properties.unused().count());
    for (name, _) in properties.originals() {
        let _ = properties.value(name);
    }
    let Ok(config) = NodeConfig::new(properties) else { return };
    assert!(!config.log_dirs.is_empty());
    assert!(!config.is_controller || config.controller_listeners().next().is_some());
    assert!(!config.is_broker || config.broker_listeners().next().is_some());
}
