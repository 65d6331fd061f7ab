//! Where a node's properties come from: file, then `KAFKA_*` environment, then `--override`, the last wins.
//!
//! Two flat figment providers: names keep their dots and are never nested, since Kafka has keys that are both
//! a value and a prefix (`broker.id`, `broker.id.generation.enable`); values stay text until their key's type
//! is known, so that a rack named `1` is a rack.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Error, Figment, Metadata, Profile, Provider};

/// Variables of Kafka's images that are no configuration keys.
const NOT_PROPERTIES: [&str; 15] = [
    "KAFKA_DEBUG",
    "KAFKA_GC_LOG_OPTS",
    "KAFKA_HEAP_OPTS",
    "KAFKA_HOME",
    "KAFKA_JMX_HOSTNAME",
    "KAFKA_JMX_OPTS",
    "KAFKA_JMX_PORT",
    "KAFKA_JVM_PERFORMANCE_OPTS",
    "KAFKA_LOG4J_LOGGERS",
    "KAFKA_LOG4J_OPTS",
    "KAFKA_LOG4J_ROOT_LOGLEVEL",
    "KAFKA_OPTS",
    "KAFKA_TOOLS_LOG4J_LOGLEVEL",
    "KAFKA_USER",
    "KAFKA_VERSION",
];

/// Why the properties cannot be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SourceError {
    /// The file is missing, unreadable or no properties file.
    #[error("{}: {reason}", path.display())]
    File {
        /// As given.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// An override is not of the form `key=value`.
    #[error("Invalid override {0:?}: expected property=value")]
    Override(String),
    /// The layers cannot be put together.
    #[error(transparent)]
    Merge(#[from] Box<Error>),
}

/// A Java properties file.
struct PropertiesFile(BTreeMap<String, String>, PathBuf);

impl PropertiesFile {
    fn read(path: &Path) -> Result<Self, SourceError> {
        let failed = |reason: String| SourceError::File { path: path.to_owned(), reason };
        let text = fs::read(path).map_err(|e| failed(e.to_string()))?;
        Ok(Self(storage::properties::read(&text).map_err(failed)?, path.to_owned()))
    }
}

impl Provider for PropertiesFile {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.1.display().to_string())
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(flat(&self.0))
    }
}

/// Variables named `KAFKA_…`, as Kafka's images read them.
struct Environment(BTreeMap<String, String>);

impl Environment {
    fn of(variables: impl Iterator<Item = (String, String)>) -> Self {
        let pairs = variables.filter(|(name, _)| !NOT_PROPERTIES.contains(&name.as_str()));
        Self(pairs.filter_map(|(name, value)| Some((property_name(&name)?, value))).collect())
    }
}

impl Provider for Environment {
    fn metadata(&self) -> Metadata {
        Metadata::named("environment")
    }

    fn data(&self) -> Result<Map<Profile, Dict>, Error> {
        Ok(flat(&self.0))
    }
}

fn flat(pairs: &BTreeMap<String, String>) -> Map<Profile, Dict> {
    let dict = pairs.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str()))).collect();
    Map::from([(Profile::Default, dict)])
}

/// `KAFKA_LOG_DIRS` → `log.dirs`: one underscore is a dot, two are an underscore, three a dash.
///
/// `None` if the variable is not one of Kafka's.
pub(crate) fn property_name(variable: &str) -> Option<String> {
    let rest = variable.strip_prefix("KAFKA_").filter(|rest| !rest.is_empty())?;
    let mut name = String::with_capacity(rest.len());
    let mut underscores = 0;
    for c in rest.to_lowercase().chars().chain(['\0']) {
        if c == '_' {
            underscores += 1;
            continue;
        }
        name.push_str(match underscores {
            0 => "",
            1 => ".",
            2 => "_",
            _ => "-",
        });
        underscores = 0;
        if c != '\0' {
            name.push(c);
        }
    }
    Some(name)
}

/// Splits `key=value`; the value may hold further equal signs and may be empty.
///
/// # Errors
///
/// There is no equal sign, or nothing before it.
pub(crate) fn parse_override(text: &str) -> Result<(String, String), SourceError> {
    match text.split_once('=') {
        Some((key, value)) if !key.trim().is_empty() => Ok((key.trim().to_owned(), value.to_owned())),
        _ => Err(SourceError::Override(text.to_owned())),
    }
}

/// The properties of this process: `defaults`, the file, the environment, the overrides.
///
/// # Errors
///
/// The file cannot be read, or an override has another form than `key=value`.
pub(crate) fn load(
    defaults: &[(&str, String)],
    file: Option<&Path>,
    environment: impl Iterator<Item = (String, String)>,
    overrides: &[String],
) -> Result<BTreeMap<String, String>, SourceError> {
    let defaults: BTreeMap<String, String> =
        defaults.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let mut figment = Figment::new().merge(PropertiesFile(defaults, PathBuf::from("defaults")));
    if let Some(path) = file {
        figment = figment.merge(PropertiesFile::read(path)?);
    }
    let overrides: BTreeMap<String, String> =
        overrides.iter().map(|text| parse_override(text)).collect::<Result<_, _>>()?;
    figment
        .merge(Environment::of(environment))
        .merge(PropertiesFile(overrides, PathBuf::from("--override")))
        .extract()
        .map_err(|e| SourceError::Merge(Box::new(e)))
}

/// The environment of this process; variables that are not UTF-8 are left out.
pub(crate) fn process_environment() -> impl Iterator<Item = (String, String)> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn variables_become_keys() {
        for (variable, key) in [
            ("KAFKA_LISTENERS", Some("listeners")),
            ("KAFKA_LISTENER_SECURITY_PROTOCOL_MAP", Some("listener.security.protocol.map")),
            ("KAFKA_LISTENER_NAME_A__B_SSL_KEY___X", Some("listener.name.a_b.ssl.key-x")),
            ("KAFKA_", None),
            ("PATH", None),
        ] {
            assert_eq!(property_name(variable).as_deref(), key, "{variable}");
        }
    }

    #[test]
    fn the_last_layer_wins() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        write!(
            file,
            "# comment\nbroker.id = 1\nbroker.id.generation.enable=false\nlog.dirs=/a\\\n  b\nrack: 1\n"
        )
        .unwrap();
        let own = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let environment = [("KAFKA_LOG_DIRS", "/env"), ("KAFKA_NODE_ID", "3"), ("KAFKA_OPTS", "-X")];
        let properties = load(
            &[("num.partitions", "5".to_owned()), ("rack", "0".to_owned())],
            Some(file.path()),
            environment.into_iter().map(own),
            &["node.id=4".to_owned(), "a=b=c".to_owned()],
        )
        .unwrap();
        let expected = [
            ("a", "b=c"),
            ("broker.id", "1"),
            ("broker.id.generation.enable", "false"),
            ("log.dirs", "/env"),
            ("node.id", "4"),
            ("num.partitions", "5"),
            ("rack", "1"),
        ];
        assert_eq!(properties, expected.into_iter().map(own).collect());
        let wrong = load(&[], None, std::iter::empty(), &["novalue".to_owned()]);
        assert!(matches!(wrong, Err(SourceError::Override(_))));
        let missing = load(&[], Some(Path::new("/does/not/exist")), std::iter::empty(), &[]);
        assert!(missing.unwrap_err().to_string().starts_with("/does/not/exist: "));
    }
}
