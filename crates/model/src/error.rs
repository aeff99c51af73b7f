//! An error as a Matrix client sees it. Answers to `synapse/api/errors.py`.

use serde_json::{Map, Value};

/// Status, errcode and text of Synapse; `extra` are further top-level keys of the body.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{status} {errcode}: {error}")]
pub struct MatrixError {
    pub status: u16,
    pub errcode: &'static str,
    pub error: String,
    pub extra: Map<String, Value>,
    pub headers: Vec<(&'static str, String)>,
    /// What happened, for the log alone.
    pub cause: Option<String>,
}

impl MatrixError {
    pub fn new(status: u16, errcode: &'static str, error: impl Into<String>) -> Self {
        Self { status, errcode, error: error.into(), extra: Map::new(), headers: Vec::new(), cause: None }
    }

    #[must_use]
    pub fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.extra.insert(key.to_owned(), value.into());
        self
    }

    pub fn forbidden(error: impl Into<String>) -> Self {
        Self::new(403, "M_FORBIDDEN", error)
    }

    pub fn not_found(error: impl Into<String>) -> Self {
        Self::new(404, "M_NOT_FOUND", error)
    }

    /// `SynapseError` without an errcode of its own.
    pub fn unknown(status: u16, error: impl Into<String>) -> Self {
        Self::new(status, "M_UNKNOWN", error)
    }

    pub fn invalid_param(error: impl Into<String>) -> Self {
        Self::new(400, "M_INVALID_PARAM", error)
    }

    pub fn missing_param(error: impl Into<String>) -> Self {
        Self::new(400, "M_MISSING_PARAM", error)
    }

    pub fn bad_json(error: impl Into<String>) -> Self {
        Self::new(400, "M_BAD_JSON", error)
    }

    pub fn not_json(error: impl Into<String>) -> Self {
        Self::new(400, "M_NOT_JSON", error)
    }

    pub fn missing_token(error: impl Into<String>) -> Self {
        Self::new(401, "M_MISSING_TOKEN", error)
    }

    pub fn unknown_token(error: impl Into<String>, soft_logout: bool) -> Self {
        Self::new(401, "M_UNKNOWN_TOKEN", error).with("soft_logout", soft_logout)
    }

    /// 404 for an unknown path, 405 for a known one with another method.
    pub fn unrecognized(status: u16) -> Self {
        Self::new(status, "M_UNRECOGNIZED", "Unrecognized request")
    }

    /// Our own failure: the client learns nothing of `cause`, the log does.
    pub fn internal(cause: impl std::fmt::Display) -> Self {
        Self { cause: Some(cause.to_string()), ..Self::new(500, "M_UNKNOWN", "Internal server error") }
    }

    /// The response body.
    pub fn body(&self) -> Value {
        let mut body = Map::new();
        body.insert("errcode".to_owned(), self.errcode.into());
        body.insert("error".to_owned(), self.error.clone().into());
        body.extend(self.extra.clone());
        Value::Object(body)
    }
}
