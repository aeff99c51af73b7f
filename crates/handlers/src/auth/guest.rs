//! Tokens of guests: macaroons that are in no table. Answers to `verify_guest_token` in `synapse/util/macaroons.py`.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use hmac::{Hmac, KeyInit, Mac};
use myelin_config::MacaroonSecret;
use sha2::{Digest, Sha256};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::URL_SAFE,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Longer tokens are nobody's.
const MAX_LENGTH: usize = 8192;

/// The key of every macaroon is derived with this one.
const GENERATOR: &[u8] = b"macaroons-key-generator";

/// A macaroon of the first serialisation.
#[derive(Debug, Default)]
struct Macaroon<'a> {
    identifier: &'a [u8],
    caveats: Vec<&'a [u8]>,
    signature: &'a [u8],
}

/// The key that tokens are signed with.
pub fn key(secret: &MacaroonSecret) -> Option<Vec<u8>> {
    match secret {
        MacaroonSecret::Text(text) => Some(text.as_bytes().to_vec()),
        MacaroonSecret::SigningKey(seed) => {
            let seed = STANDARD_NO_PAD.decode(seed.trim_end_matches('=')).ok()?;
            Some(Sha256::digest(seed).to_vec())
        }
    }
}

/// The guest that `token` was made for, if this server made it and its time is not up.
pub fn verify(token: &str, secret: &[u8], now_ms: i64) -> Option<String> {
    if token.len() > MAX_LENGTH {
        return None;
    }
    let bytes = BASE64.decode(token).ok()?;
    let macaroon = Macaroon::parse(&bytes)?;
    if !macaroon.is_signed_with(secret) {
        return None;
    }
    let caveats: Vec<&str> =
        macaroon.caveats.iter().map(|caveat| str::from_utf8(caveat)).collect::<Result<_, _>>().ok()?;
    // Without this one it would be an old token of a regular user.
    if !caveats.contains(&"guest = true") || !caveats.iter().all(|caveat| is_satisfied(caveat, now_ms)) {
        return None;
    }
    let mut users = caveats.iter().filter_map(|caveat| caveat.strip_prefix("user_id = "));
    let user_id = users.next()?;
    users.all(|other| other == user_id).then(|| user_id.to_owned())
}

fn is_satisfied(caveat: &str, now_ms: i64) -> bool {
    match caveat {
        "gen = 1" | "type = access" | "guest = true" => true,
        _ if caveat.starts_with("user_id = ") || caveat.starts_with("nonce = ") => true,
        _ => caveat
            .strip_prefix("time < ")
            .and_then(|expiry| expiry.trim().parse::<i64>().ok())
            .is_some_and(|expiry| now_ms < expiry),
    }
}

impl<'a> Macaroon<'a> {
    /// Packets of four hexadecimal digits of length, a name, a space, the value and a line feed.
    fn parse(mut bytes: &'a [u8]) -> Option<Self> {
        let mut macaroon = Self::default();
        while !bytes.is_empty() {
            let length = usize::from_str_radix(str::from_utf8(bytes.get(..4)?).ok()?, 16).ok()?;
            let packet = bytes.get(4..length)?.strip_suffix(b"\n")?;
            bytes = bytes.get(length..)?;
            let space = packet.iter().position(|byte| *byte == b' ')?;
            let (name, value) = (packet.get(..space)?, packet.get(space + 1..)?);
            match name {
                b"location" => {}
                b"identifier" => macaroon.identifier = value,
                b"cid" => macaroon.caveats.push(value),
                b"signature" => macaroon.signature = value,
                // Caveats of third parties (vid, cl) are never ours.
                _ => return None,
            }
        }
        Some(macaroon)
    }

    fn is_signed_with(&self, secret: &[u8]) -> bool {
        let Some(key) = hmac(GENERATOR, secret) else { return false };
        let (last, rest) = match self.caveats.split_last() {
            Some((last, rest)) => (*last, rest),
            None => return false,
        };
        let mut signature = hmac(&key, self.identifier);
        for caveat in rest {
            signature = signature.and_then(|signature| hmac(&signature, caveat));
        }
        // The last step compares in constant time.
        signature
            .and_then(|signature| Hmac::<Sha256>::new_from_slice(&signature).ok())
            .is_some_and(|mac| mac.chain_update(last).verify_slice(self.signature).is_ok())
    }
}

/// HMAC takes keys of any length: none means that it cannot fail.
fn hmac(key: &[u8], message: &[u8]) -> Option<Vec<u8>> {
    let mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    Some(mac.chain_update(message).finalize().into_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made by pymacaroons with the key `s3cret`; every token starts with these caveats.
    const START: &str = "MDAxNmxvY2F0aW9uIGxhYi50ZXN0CjAwMTNpZGVudGlmaWVyIGtleQowMDEwY2lkIGdlbiA9IDEKMDAxNmNpZCB0eXBlID0gYWNjZXNzCjAwMWVjaWQgdXNlcl9pZCA9IEAxOmxhYi50ZXN0CjAwMTRjaWQgbm9uY2UgPSB4fkAK";
    const GOOD: &str = "MDAxNWNpZCBndWVzdCA9IHRydWUKMDAyZnNpZ25hdHVyZSDCeC4c-g4nf1x9zq91gIf4kxBBxB4kmVMgwMeo0YbTRAo";
    const NO_GUEST: &str = "MDAyZnNpZ25hdHVyZSAIUurJpET0L3P55EcfIvS78SppjEgfgQhmRoWsX7m2gAo";
    const UNTIL_1000: &str = "MDAxNWNpZCBndWVzdCA9IHRydWUKMDAxNGNpZCB0aW1lIDwgMTAwMAowMDJmc2lnbmF0dXJlIDzLCmP2gpC47-XDT80FhhwJy-9bwSMrqZp_42CttU10Cg";
    const TWO_USERS: &str = "MDAxNWNpZCBndWVzdCA9IHRydWUKMDAxZWNpZCB1c2VyX2lkID0gQDI6bGFiLnRlc3QKMDAyZnNpZ25hdHVyZSDmLKLzzVybHDrQ4gQKLGywRis0r1JlING6-iaBMXscVAo";
    const OTHER: &str = "MDAxNWNpZCBndWVzdCA9IHRydWUKMDAxMmNpZCBvdGhlciA9IDEKMDAyZnNpZ25hdHVyZSDw-nnvlCd9KkVCLFmFL7URjPZJRGAgUBCt6UvpaE-ENwo";

    fn check(end: &str, secret: &str, now_ms: i64) -> Option<String> {
        verify(&format!("{START}{end}"), secret.as_bytes(), now_ms)
    }

    #[test]
    fn tokens_of_the_real_library() {
        assert_eq!(check(GOOD, "s3cret", 0).as_deref(), Some("@1:lab.test"));
        assert_eq!(check(GOOD, "other", 0), None);
        assert_eq!(check(&GOOD.replace("TRAo", "TRBo"), "s3cret", 0), None);
        assert_eq!(check(NO_GUEST, "s3cret", 0), None);
        assert_eq!(check(UNTIL_1000, "s3cret", 999).as_deref(), Some("@1:lab.test"));
        assert_eq!(check(UNTIL_1000, "s3cret", 1000), None);
        assert_eq!(check(TWO_USERS, "s3cret", 0), None);
        assert_eq!(check(OTHER, "s3cret", 0), None);
    }

    #[test]
    fn the_key_may_come_from_the_signing_key() {
        let of = |seed: &str| key(&MacaroonSecret::SigningKey(seed.to_owned())).map(|key| key[..4].to_vec());
        // Python: hashlib.sha256(bytes(32)).digest()
        assert_eq!(of(&"A".repeat(43)), Some(vec![0x66, 0x68, 0x7a, 0xad]));
        assert_eq!(of("not base64!"), None);
        assert_eq!(key(&MacaroonSecret::Text("s3cret".to_owned())), Some(b"s3cret".to_vec()));
    }

    #[test]
    fn whatever_is_sent_is_answered() {
        for end in 0..GOOD.len() {
            assert_eq!(check(&GOOD[..end], "s3cret", 0), None, "{end}");
        }
        for token in ["", "syt_YQ_x", "é", "MDAwMGE", "MDAwNWEK", "LTAwMWEK"] {
            assert_eq!(verify(token, b"s3cret", 0), None, "{token}");
        }
    }
}
