//! Identifiers of users and rooms, and what Synapse says of bad ones. Answers to `DomainSpecificString` in
//! `synapse/types/__init__.py`.

use crate::MatrixError;

/// `UserID.from_string`: the localpart and the domain.
pub fn parse_user_id(text: &str) -> Result<(&str, &str), MatrixError> {
    parse(text, '@', "UserID")
}

/// `RoomAlias.from_string`.
pub fn parse_room_alias(text: &str) -> Result<(&str, &str), MatrixError> {
    parse(text, '#', "RoomAlias")
}

fn parse<'a>(text: &'a str, sigil: char, name: &str) -> Result<(&'a str, &'a str), MatrixError> {
    let rest = text.strip_prefix(sigil);
    let rest =
        rest.ok_or_else(|| MatrixError::invalid_param(format!("Expected {name} string to start with '{sigil}'")))?;
    let form = || MatrixError::invalid_param(format!("Expected {name} of the form '{sigil}localname:domain'"));
    rest.split_once(':').ok_or_else(form)
}

/// `UserID.is_valid`: the domain is looked at as well.
pub fn is_valid_user_id(text: &str) -> bool {
    parse_user_id(text).is_ok_and(|(_, domain)| is_valid_server_name(domain))
}

/// `RoomID.from_string`
pub fn check_room_id(text: &str) -> Result<(), MatrixError> {
    if text.contains(':') && text.starts_with('!') {
        return parse(text, '!', "RoomIdWithDomain").map(drop);
    }
    let hash = text.strip_prefix('!');
    let hash = hash.ok_or_else(|| MatrixError::invalid_param("Expected RoomID string to start with '!'"))?;
    if is_valid_room_id(text) {
        return Ok(());
    }
    let error = format!("Expected RoomID string to be valid urlsafe unpadded base64 '{hash}'");
    Err(MatrixError::invalid_param(error))
}

/// `RoomID.is_valid`: with a domain, or 43 characters of base64.
pub fn is_valid_room_id(text: &str) -> bool {
    if text.contains(':') {
        return parse(text, '!', "RoomIdWithDomain").is_ok_and(|(_, domain)| is_valid_server_name(domain));
    }
    let base64 = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.strip_prefix('!').is_some_and(|hash| hash.len() == 43 && hash.bytes().all(base64))
}

/// `parse_and_validate_server_name`.
pub fn is_valid_server_name(name: &str) -> bool {
    let (host, port) = match name.rsplit_once(':') {
        Some((host, port)) if !name.ends_with(']') => (host, Some(port)),
        _ => (name, None),
    };
    if port.is_some_and(|port| port.trim().parse::<i64>().is_err()) {
        return false;
    }
    if let Some(address) = host.strip_prefix('[') {
        return address.strip_suffix(']').is_some_and(|address| address.parse::<std::net::Ipv6Addr>().is_ok());
    }
    let label =
        |label: &str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    host.split('.').all(label)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_ids() {
        assert_eq!(parse_user_id("@a:b:8448").unwrap(), ("a", "b:8448"));
        assert_eq!(parse_user_id("a:b").unwrap_err().error, "Expected UserID string to start with '@'");
        assert_eq!(parse_user_id("@a").unwrap_err().error, "Expected UserID of the form '@localname:domain'");
        for good in ["@a:b", "@:b.c", "@a:[::1]", "@a:[::1]:80", "@é:b-c:1"] {
            assert!(is_valid_user_id(good), "{good}");
        }
        for bad in ["@a:", "@a:b:", "@a:b..c", "@a:b_c", "@a:[::g]", "@a:[::1", "!a:b"] {
            assert!(!is_valid_user_id(bad), "{bad}");
        }
    }

    #[test]
    fn room_ids() {
        assert!(is_valid_room_id("!a:b") && is_valid_room_id("!QdocG9F7cPmyP2SykrEeJdkSMi12cJ5Ag7XkhZu_HY8"));
        assert!(!is_valid_room_id("!a") && !is_valid_room_id("#a:b") && !is_valid_room_id("!a:b_"));
    }
}
