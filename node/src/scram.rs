//! SCRAM credentials of `storage format --add-scram` (RFC 5802): from a name and a password to the record.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use metadata::scram::{ITERATIONS, ScramMechanism};
use protocol::records::Record;

use crate::format::FormatError;

/// Parses `SCRAM-SHA-256=[name=alice,password=secret]`, with optional `iterations` and base64 `salt`, and with
/// base64 `saltedpassword` in place of the password (`ScramParser`). `random_salt` is used if there is none.
///
/// # Errors
///
/// The text has another form, or lacks something.
pub(crate) fn parse(text: &str, random_salt: &[u8]) -> Result<Record, FormatError> {
    let refuse = |why: String| Err(FormatError::Refused(why));
    let text = text.trim();
    let Some((mechanism, rest)) = text.split_once('=') else {
        return refuse(format!("Failed to find equals sign in SCRAM argument '{text}'"));
    };
    let Some(known) = ScramMechanism::from_name(mechanism) else {
        return refuse(format!("The add-scram mechanism {mechanism} is not supported."));
    };
    let Some(rest) = rest.strip_prefix('[') else {
        return refuse("Expected configuration string to start with [".to_owned());
    };
    let Some(rest) = rest.strip_suffix(']') else {
        return refuse("Expected configuration string to end with ]".to_owned());
    };
    let parts = Parts::parse(rest)?;
    let salt = parts.salt.unwrap_or_else(|| random_salt.to_vec());
    let iterations = parts.iterations.unwrap_or(ITERATIONS.0);
    if iterations < ITERATIONS.0 || iterations > ITERATIONS.1 {
        let (sign, limit) =
            if iterations < ITERATIONS.0 { (">=", ITERATIONS.0) } else { ("<=", ITERATIONS.1) };
        return refuse(format!(
            "The 'iterations' value must be {sign} {limit} for add-scram using {}",
            mechanism.replace('-', "_")
        ));
    }
    let salted = match parts.secret {
        Secret::Salted(salted) => salted,
        Secret::Password(password) => known.salted_password(password.as_bytes(), &salt, iterations),
    };
    Ok(Record::UserScramCredential(known.credential(parts.name, salt.into(), &salted, iterations)))
}

enum Secret {
    Password(String),
    Salted(Vec<u8>),
}

struct Parts {
    name: String,
    salt: Option<Vec<u8>>,
    iterations: Option<i32>,
    secret: Secret,
}

impl Parts {
    fn parse(text: &str) -> Result<Self, FormatError> {
        let refuse = |why: String| FormatError::Refused(why);
        let (mut name, mut salt, mut iterations) = (None, None, None);
        let (mut password, mut salted) = (None, None);
        let mut unknown = Vec::new();
        for part in text.split(',') {
            let (key, value) = part
                .split_once('=')
                .ok_or_else(|| refuse(format!("No equals sign found in SCRAM component: {part}")))?;
            let value =
                value.strip_prefix('"').and_then(|value| value.strip_suffix('"')).unwrap_or(value).to_owned();
            let base64 = |what: &str| {
                BASE64_STANDARD
                    .decode(&value)
                    .map_err(|_| refuse(format!("Failed to decode given {what}: {value}")))
            };
            match key {
                "name" => name = Some(value),
                "salt" => salt = Some(base64("salt")?),
                "iterations" => {
                    let parsed = value.parse::<i32>();
                    iterations = Some(
                        parsed.map_err(|_| refuse(format!("Failed to parse iterations count: {value}")))?,
                    );
                }
                "password" => password = Some(value),
                "saltedpassword" => salted = Some(base64("saltedPassword")?),
                other => unknown.push(other),
            }
        }
        let name = name.ok_or_else(|| refuse("You must supply 'name' to add-scram".to_owned()))?;
        let secret = match (password, salted) {
            (Some(password), _) => Secret::Password(password),
            (None, Some(_)) if salt.is_none() => {
                return Err(refuse("You must supply 'salt' with 'saltedpassword' to add-scram".to_owned()));
            }
            (None, Some(salted)) => Secret::Salted(salted),
            (None, None) => {
                return Err(refuse(
                    "You must supply one of 'password' or 'saltedpassword' to add-scram".to_owned(),
                ));
            }
        };
        if !unknown.is_empty() {
            return Err(refuse(format!("Unknown SCRAM configurations: {}", unknown.join(", "))));
        }
        Ok(Self { name, salt, iterations, secret })
    }
}

#[cfg(test)]
mod tests {
    use protocol::records::UserScramCredentialRecord;

    use super::*;

    fn credential(text: &str) -> Result<UserScramCredentialRecord, String> {
        match parse(text, b"random").map_err(|e| e.to_string())? {
            Record::UserScramCredential(record) => Ok(record),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_example_of_rfc_7677() {
        let salt = "W22ZaJ0SNY7soEsUEjb6gQ==";
        let record =
            credential(&format!("SCRAM-SHA-256=[name=user,password=pencil,salt=\"{salt}\",iterations=4096]"))
                .unwrap();
        assert_eq!((record.name.as_str(), record.mechanism, record.iterations), ("user", 1, 4096));
        assert_eq!(
            BASE64_STANDARD.encode(&record.stored_key),
            "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY="
        );
        assert_eq!(
            BASE64_STANDARD.encode(&record.server_key),
            "wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU="
        );
    }

    #[test]
    fn what_kafka_formatted() {
        let text = "SCRAM-SHA-256=[name=ann,password=secret,salt=Zml4ZWQtc2FsdC0xNmJ5dGU=,iterations=4096]";
        let record = credential(text).unwrap();
        assert_eq!(
            BASE64_STANDARD.encode(&record.stored_key),
            "HKkRBE+rGg6T4zWJmk17AYF8WKvpAgV6C0vvWiwysXI="
        );
        assert_eq!(
            BASE64_STANDARD.encode(&record.server_key),
            "n3LPxOpu5mwjlV4fFfYQJHRbTWw+VsXLZ5pfH34lNfk="
        );
    }

    #[test]
    fn refuses_in_kafkas_words() {
        for (text, why) in [
            ("x", "Failed to find equals sign in SCRAM argument 'x'"),
            ("MD5=[name=a]", "The add-scram mechanism MD5 is not supported."),
            ("SCRAM-SHA-256=[password=a]", "You must supply 'name' to add-scram"),
            ("SCRAM-SHA-512=[name=a]", "You must supply one of 'password' or 'saltedpassword' to add-scram"),
            (
                "SCRAM-SHA-512=[name=a,password=b,iterations=1]",
                "The 'iterations' value must be >= 4096 for add-scram using SCRAM_SHA_512",
            ),
            ("SCRAM-SHA-512=[name=a,password=b,color=red]", "Unknown SCRAM configurations: color"),
        ] {
            assert_eq!(credential(text).unwrap_err(), why);
        }
        assert_eq!(&credential("SCRAM-SHA-512=[name=a,password=b]").unwrap().salt[..], b"random");
    }
}
