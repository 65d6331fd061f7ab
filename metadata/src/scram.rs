//! SCRAM credentials (RFC 5802, KIP-84): from a salted password to what the cluster keeps of it.

use bytes::Bytes;
use hmac::digest::{Digest, KeyInit, Output};
use hmac::{Hmac, Mac};
use protocol::records::UserScramCredentialRecord;
use sha2::{Sha256, Sha512};

/// Least and most rounds that Kafka takes for both mechanisms.
pub const ITERATIONS: (i32, i32) = (4096, 16_384);

/// A mechanism by its code on the wire and in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScramMechanism {
    /// SCRAM-SHA-256, code 1.
    Sha256,
    /// SCRAM-SHA-512, code 2.
    Sha512,
}

impl ScramMechanism {
    /// The mechanism with that code.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            1 => Some(Self::Sha256),
            2 => Some(Self::Sha512),
            _ => None,
        }
    }

    /// The mechanism with that name, as in `sasl.enabled.mechanisms`.
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "SCRAM-SHA-256" => Some(Self::Sha256),
            "SCRAM-SHA-512" => Some(Self::Sha512),
            _ => None,
        }
    }

    /// Its code.
    pub fn code(self) -> i8 {
        match self {
            Self::Sha256 => 1,
            Self::Sha512 => 2,
        }
    }

    /// The password as it is hashed `iterations` times; takes some milliseconds.
    pub fn salted_password(self, password: &[u8], salt: &[u8], iterations: i32) -> Vec<u8> {
        let rounds = iterations.unsigned_abs();
        match self {
            Self::Sha256 => pbkdf2::pbkdf2_hmac_array::<Sha256, 32>(password, salt, rounds).to_vec(),
            Self::Sha512 => pbkdf2::pbkdf2_hmac_array::<Sha512, 64>(password, salt, rounds).to_vec(),
        }
    }

    /// What is kept of a salted password.
    pub fn credential(
        self,
        name: String,
        salt: Bytes,
        salted_password: &[u8],
        iterations: i32,
    ) -> UserScramCredentialRecord {
        let (stored_key, server_key) = match self {
            Self::Sha256 => keys::<Hmac<Sha256>, Sha256>(salted_password),
            Self::Sha512 => keys::<Hmac<Sha512>, Sha512>(salted_password),
        };
        let (stored_key, server_key) = (stored_key.into(), server_key.into());
        UserScramCredentialRecord { name, mechanism: self.code(), salt, stored_key, server_key, iterations }
    }
}

/// Stored key and server key.
fn keys<M: Mac + KeyInit, D: Digest>(salted: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let client: Output<M> = authenticate::<M>(salted, b"Client Key");
    (D::digest(&client).to_vec(), authenticate::<M>(salted, b"Server Key").to_vec())
}

fn authenticate<M: Mac + KeyInit>(key: &[u8], text: &[u8]) -> Output<M> {
    let mut mac = <M as Mac>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(text);
    mac.finalize().into_bytes()
}
