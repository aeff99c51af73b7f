//! Request bodies. Answers to `parse_json_object_from_request` in `synapse/http/servlet.py` and to the size
//! checks of `synapse/http/site.py`.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http::{HeaderMap, header};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use myelin_model::MatrixError;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::call::Refusal;

/// A client that stops in the middle of its body is given up after this.
const READ_TIMEOUT: Duration = Duration::from_mins(1);

/// Reads a body of at most `limit` bytes.
pub async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, MatrixError> {
    let declared = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if declared.is_some_and(|length| length > u64::try_from(limit).unwrap_or(u64::MAX)) {
        return Err(too_large(limit));
    }
    match tokio::time::timeout(READ_TIMEOUT, Limited::new(body, limit).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        // Synapse: without a Content-Length it drops the connection instead.
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(too_large(limit)),
        Ok(Err(_)) => Err(MatrixError::unknown(400, "Error reading JSON content.")),
        Err(_) => Err(MatrixError::unknown(408, "Timed out reading the request's body")),
    }
}

fn too_large(limit: usize) -> MatrixError {
    MatrixError::new(413, "M_TOO_LARGE", format!("Request content is too large (>{limit})"))
}

/// `parse_json_object_from_request`
pub fn json_object(body: &[u8]) -> Result<Map<String, Value>, MatrixError> {
    let value = str::from_utf8(body).ok().and_then(python_json);
    match value.ok_or_else(|| MatrixError::not_json("Content not JSON."))? {
        Value::Object(object) => Ok(object),
        _ => Err(MatrixError::bad_json("Content must be a JSON object.")),
    }
}

/// The same, as it was written: what is kept for a client keeps the order of its keys.
pub fn json_object_text(body: &[u8]) -> Result<&RawValue, Refusal> {
    json_object_or_deep(body)?;
    Ok(serde_json::from_slice(body).map_err(|_| MatrixError::not_json("Content not JSON."))?)
}

/// `parse_json_object_from_request` of a body that may be nested deeper than is read here; Synapse reads hundreds of levels.
pub fn json_object_or_deep(body: &[u8]) -> Result<Map<String, Value>, Refusal> {
    json_object(body).map_err(|error| {
        let deep =
            serde_json::from_slice::<Value>(body).is_err_and(|error| error.to_string().contains("recursion limit"));
        if deep { Refusal::PassOn("deeply nested JSON") } else { error.into() }
    })
}

/// What Synapse's decoder takes; NaN and the infinities are refused by both.
pub fn python_json(text: &str) -> Option<Value> {
    serde_json::from_str(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errcode(body: &[u8]) -> &'static str {
        json_object(body).map_or_else(|error| error.errcode, |_| "")
    }

    #[test]
    fn json_objects() {
        for body in [&b"{x"[..], b"", b"\xff\xfe", b"{\"a\": NaN}", b"{} {}", b"\xef\xbb\xbf{}"] {
            assert_eq!(errcode(body), "M_NOT_JSON", "{body:?}");
        }
        for body in ["[]", "1", "null", "\"x\""] {
            assert_eq!(errcode(body.as_bytes()), "M_BAD_JSON", "{body}");
        }
        let object = json_object(b" {\"a\": 1, \"a\": 123456789012345678901234567890} ").unwrap();
        assert_eq!(object["a"].to_string(), "123456789012345678901234567890");
    }

    #[tokio::test]
    async fn bodies_that_are_too_large() {
        let error = read(&HeaderMap::new(), Body::from("123456"), 5).await.unwrap_err();
        assert_eq!((error.status, error.error.as_str()), (413, "Request content is too large (>5)"));
        assert_eq!(read(&HeaderMap::new(), Body::from("12345"), 5).await.unwrap(), "12345");
    }
}
