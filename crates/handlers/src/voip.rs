//! Credentials for relays of calls. Answers to `synapse/rest/client/voip.py`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use myelin_config::Voip;
use serde_json::{Value, json};
use sha1::Sha1;

/// `GET /voip/turnServer`; empty unless relays are configured.
pub fn turn_server(voip: &Voip, user_id: &str, now_ms: i64) -> Value {
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    if voip.turn_uris.is_empty() || voip.turn_user_lifetime == 0 {
        return json!({});
    }
    let (username, password) = if let Some(secret) = given(&voip.turn_shared_secret) {
        let username = format!("{}:{user_id}", (now_ms + voip.turn_user_lifetime) / 1000);
        let Ok(mut mac) = Hmac::<Sha1>::new_from_slice(secret.as_bytes()) else { return json!({}) };
        mac.update(username.as_bytes());
        (username, STANDARD.encode(mac.finalize().into_bytes()))
    } else if let Some(login) = given(&voip.turn_username).zip(given(&voip.turn_password)) {
        login
    } else {
        return json!({});
    };
    let ttl = voip.turn_user_lifetime / 1000;
    json!({ "username": username, "password": password, "ttl": ttl, "uris": voip.turn_uris })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voip() -> Voip {
        Voip {
            turn_uris: vec!["turn:t.example".to_owned()],
            turn_shared_secret: Some("secret".to_owned()),
            turn_username: None,
            turn_password: None,
            turn_user_lifetime: 3_600_000,
            turn_allow_guests: true,
        }
    }

    #[test]
    fn secrets_sign_and_fixed_logins_are_told() {
        let told = turn_server(&voip(), "@a:t", 1_000_500);
        assert_eq!((&told["username"], &told["ttl"]), (&"4600:@a:t".into(), &3600.into()));
        assert_eq!(told["password"].as_str().map(str::len), Some(28));
        let (name, word) = (Some("n".to_owned()), Some("p".to_owned()));
        let fixed = Voip { turn_shared_secret: None, turn_username: name, turn_password: word, ..voip() };
        assert_eq!(turn_server(&fixed, "@a:t", 0)["password"], "p");
        assert_eq!(turn_server(&Voip { turn_password: None, ..fixed }, "@a:t", 0), json!({}));
        assert_eq!(turn_server(&Voip { turn_uris: Vec::new(), ..voip() }, "@a:t", 0), json!({}));
    }
}
