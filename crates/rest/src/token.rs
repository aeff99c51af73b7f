//! The access token of a request. Answers to `get_access_token_from_request` in `synapse/api/auth/base.py`.

use http::{HeaderMap, header};
use myelin_model::MatrixError;

use crate::query::Query;

/// Whether a request carries anything that looks like a token: `has_access_token`.
pub fn has_token(headers: &HeaderMap, query: &Query) -> bool {
    headers.contains_key(header::AUTHORIZATION) || query.has("access_token")
}

pub fn token<'a>(headers: &'a HeaderMap, query: &'a Query) -> Result<&'a str, MatrixError> {
    let mut given = headers.get_all(header::AUTHORIZATION).iter();
    let in_query = query.first("access_token");
    let bytes = match (given.next(), in_query) {
        (Some(_), Some(_)) => {
            let error = "Mixing Authorization headers and access_token query parameters.";
            return Err(MatrixError::missing_token(error));
        }
        (Some(_), None) if given.next().is_some() => {
            return Err(MatrixError::missing_token("Too many Authorization headers."));
        }
        (Some(value), None) => bearer(value.as_bytes())?,
        (None, Some(value)) => value,
        (None, None) => return Err(MatrixError::missing_token("Missing access token")),
    };
    // Synapse: a token outside ASCII is an uncaught exception.
    str::from_utf8(bytes).ok().filter(|text| text.is_ascii()).ok_or_else(|| MatrixError::internal("token is not ASCII"))
}

/// The scheme is case-sensitive and one space follows it.
fn bearer(value: &[u8]) -> Result<&[u8], MatrixError> {
    let token = value.strip_prefix(b"Bearer ").filter(|token| !token.contains(&b' '));
    token.ok_or_else(|| MatrixError::missing_token("Invalid Authorization header."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(given: &[&str], query: &str) -> String {
        let mut headers = HeaderMap::new();
        for value in given {
            headers.append(header::AUTHORIZATION, value.parse().unwrap());
        }
        match token(&headers, &Query::parse(query)) {
            Ok(token) => token.to_owned(),
            Err(error) => format!("{} {}", error.errcode, error.error),
        }
    }

    #[test]
    fn where_a_token_may_stand() {
        assert_eq!(check(&["Bearer abc"], ""), "abc");
        assert_eq!(check(&[], "access_token=a%62c&access_token=d"), "abc");
        assert_eq!(check(&["Bearer "], ""), "");
        assert_eq!(check(&[], ""), "M_MISSING_TOKEN Missing access token");
        for bad in ["bearer abc", "Bearer  abc", "Bearer a b", "Bearer", "Basic abc", ""] {
            assert_eq!(check(&[bad], ""), "M_MISSING_TOKEN Invalid Authorization header.", "{bad}");
        }
        assert_eq!(check(&["Bearer a", "Bearer b"], ""), "M_MISSING_TOKEN Too many Authorization headers.");
        assert_eq!(
            check(&["Bearer a"], "access_token=a"),
            "M_MISSING_TOKEN Mixing Authorization headers and access_token query parameters."
        );
    }
}
