//! What is known about one configuration key: type, default, check, dynamic scope, fallbacks.

/// Type of a key (`ConfigDef.Type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Boolean,
    /// Any text; white space around it is dropped.
    String,
    /// 32-bit integer.
    Int,
    /// 16-bit integer.
    Short,
    /// 64-bit integer.
    Long,
    /// 64-bit floating point number.
    Double,
    /// Comma separated list.
    List,
    /// Name of a Java class; never loaded here.
    Class,
    /// Text that no answer may show.
    Password,
}

impl Kind {
    /// Type code in DescribeConfigs (`DescribeConfigsResponse.ConfigType`); 0 stands for an unknown key.
    pub const fn code(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }

    /// Name as Kafka prints it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::String => "STRING",
            Self::Int => "INT",
            Self::Short => "SHORT",
            Self::Long => "LONG",
            Self::Double => "DOUBLE",
            Self::List => "LIST",
            Self::Class => "CLASS",
            Self::Password => "PASSWORD",
        }
    }
}

/// Where a broker key may be changed while the broker runs (`DynamicBrokerConfig`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Only in the properties file.
    ReadOnly,
    /// For one broker by its id.
    PerBroker,
    /// For one broker, and only with the prefix `listener.name.<name>.`.
    PerListener,
    /// For one broker or as the default of all.
    ClusterWide,
}

/// What a value must be besides of the right type (`ConfigDef.Validator`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Check {
    /// Nothing.
    Any,
    /// Not below this number.
    AtLeast(i64),
    /// Between these numbers, both included.
    Between(i64, i64),
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// One of these words in any case.
    OneOfAnyCase(&'static [&'static str]),
    /// A list of only these words.
    ListOf(&'static [&'static str]),
    /// 1 to 9, or -1 for the default of zlib.
    GzipLevel,
    /// Not the empty string.
    NonEmpty,
    /// Set to something, be it the empty string.
    NonNull,
    /// `*`, or a list of `partition:broker`.
    ThrottledReplicas,
    /// A list of `id@host:port`.
    Voters,
    /// A list of `host:port`.
    BootstrapServers,
}

/// A broker key that stands in for a key of another resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fallback {
    /// Name of the broker key.
    pub name: &'static str,
    /// What its value is multiplied with.
    pub factor: i64,
}

/// One configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConfigDef {
    /// Name as in a properties file.
    pub name: &'static str,
    /// Type.
    pub kind: Kind,
    /// Default as text; `None` is Java's null.
    pub default: Option<&'static str>,
    /// Where a broker key may be changed at run time; of no meaning for other resources.
    pub scope: Scope,
    /// What the value must be.
    pub check: Check,
    /// Whether this implementation acts on the value; otherwise it is kept and shown only.
    pub honoured: bool,
    /// Whether Kafka keeps the key out of its answers (`ConfigDef.defineInternal`).
    pub internal: bool,
    /// Broker keys that give the value where the resource does not: the first that is set.
    pub fallbacks: &'static [Fallback],
}

impl ConfigDef {
    /// Whether answers must not show the value.
    pub const fn is_sensitive(&self) -> bool {
        matches!(self.kind, Kind::Password)
    }

    /// Whether the value can be appended to and subtracted from.
    pub const fn is_list(&self) -> bool {
        matches!(self.kind, Kind::List)
    }

    /// Whether a broker key can be changed at run time.
    pub const fn is_dynamic(&self) -> bool {
        !matches!(self.scope, Scope::ReadOnly)
    }

    const fn new(name: &'static str, kind: Kind) -> Self {
        Self {
            name,
            kind,
            default: None,
            scope: Scope::ReadOnly,
            check: Check::Any,
            honoured: false,
            internal: false,
            fallbacks: &[],
        }
    }

    pub(super) const fn or(mut self, default: &'static str) -> Self {
        self.default = Some(default);
        self
    }

    pub(super) const fn check(mut self, check: Check) -> Self {
        self.check = check;
        self
    }

    pub(super) const fn at_least(self, min: i64) -> Self {
        self.check(Check::AtLeast(min))
    }

    pub(super) const fn between(self, min: i64, max: i64) -> Self {
        self.check(Check::Between(min, max))
    }

    pub(super) const fn one_of(self, words: &'static [&'static str]) -> Self {
        self.check(Check::OneOf(words))
    }

    pub(super) const fn one_of_any_case(self, words: &'static [&'static str]) -> Self {
        self.check(Check::OneOfAnyCase(words))
    }

    pub(super) const fn list_of(self, words: &'static [&'static str]) -> Self {
        self.check(Check::ListOf(words))
    }

    pub(super) const fn per_broker(mut self) -> Self {
        self.scope = Scope::PerBroker;
        self
    }

    pub(super) const fn per_listener(mut self) -> Self {
        self.scope = Scope::PerListener;
        self
    }

    pub(super) const fn cluster_wide(mut self) -> Self {
        self.scope = Scope::ClusterWide;
        self
    }

    /// Marks a key on whose value this implementation acts.
    pub(super) const fn used(mut self) -> Self {
        self.honoured = true;
        self
    }

    pub(super) const fn internal(mut self) -> Self {
        self.internal = true;
        self
    }

    pub(super) const fn falls_back_to(mut self, fallbacks: &'static [Fallback]) -> Self {
        self.fallbacks = fallbacks;
        self
    }
}

/// The same value under another name.
pub(super) const fn same(name: &'static str) -> Fallback {
    Fallback { name, factor: 1 }
}

/// A broker key in minutes for one in milliseconds.
pub(super) const fn minutes(name: &'static str) -> Fallback {
    Fallback { name, factor: 60_000 }
}

/// A broker key in hours for one in milliseconds.
pub(super) const fn hours(name: &'static str) -> Fallback {
    Fallback { name, factor: 3_600_000 }
}

pub(super) const fn boolean(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Boolean)
}

pub(super) const fn string(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::String)
}

pub(super) const fn int(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Int)
}

pub(super) const fn short(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Short)
}

pub(super) const fn long(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Long)
}

pub(super) const fn double(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Double)
}

pub(super) const fn list(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::List)
}

pub(super) const fn class(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Class)
}

pub(super) const fn password(name: &'static str) -> ConfigDef {
    ConfigDef::new(name, Kind::Password)
}
