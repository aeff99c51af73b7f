//! What an endpoint gets and gives. Answers to `RestServlet` in `synapse/http/servlet.py`.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::{BoxFuture, FutureExt};
use http::request::Parts;
use http::{HeaderName, HeaderValue, StatusCode};
use myelin_handlers::auth::{AuthOptions, Credentials};
use myelin_handlers::usage::Usage;
use myelin_model::{MatrixError, Requester};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tracing::Instrument;

use crate::body;
use crate::query::Query;
use crate::routes::Parameters;
use crate::service::App;
use crate::token;

/// A row of the table of routes names one of these per method that is served here.
pub type Endpoint = fn(Call) -> BoxFuture<'static, Result<Answer, Refusal>>;

/// For what changes something: it is done to the end though the client goes away, as in Synapse.
pub fn to_the_end<C, F>(asked: C, endpoint: fn(C) -> F) -> BoxFuture<'static, Result<Answer, Refusal>>
where
    C: AsRef<Call> + Send + 'static,
    F: Future<Output = Result<Answer, Refusal>> + Send + 'static,
{
    let usage = Arc::clone(&asked.as_ref().notes.usage);
    let work = async move { usage.charge(endpoint(asked)).await }.in_current_span();
    async move { tokio::spawn(work).await.unwrap_or_else(|error| Err(MatrixError::internal(error).into())) }.boxed()
}

/// One request, authenticated by the endpoint itself if its route asks for it.
pub struct Call {
    pub app: Arc<App>,
    pub head: Arc<Parts>,
    pub parameters: Parameters,
    pub query: Query,
    /// Empty for GET and HEAD.
    pub body: Bytes,
    /// First X-Forwarded-For entry, the peer's address, or the path of the unix socket.
    pub client: Arc<str>,
    pub user_agent: Arc<str>,
    pub notes: Arc<Notes>,
}

impl AsRef<Self> for Call {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl Call {
    /// The body, which must be a JSON object.
    pub fn json_object(&self) -> Result<Map<String, Value>, MatrixError> {
        body::json_object(&self.body)
    }

    /// The body as it was written, which must be a JSON object.
    pub fn json_object_text(&self) -> Result<&RawValue, Refusal> {
        body::json_object_text(&self.body)
    }

    /// Who is asking: `get_user_by_req`. Whether there is a token at all comes before what else is wrong.
    pub async fn requester(&self, options: AuthOptions) -> Result<Requester, MatrixError> {
        let text = |name| self.query.first(name).map(|value| str::from_utf8(value).map_err(MatrixError::internal));
        let credentials = Credentials {
            token: Some(token::token(&self.head.headers, &self.query)?),
            user_id: text("user_id").transpose()?,
            device_id: text("device_id").transpose()?,
            ip: &self.client,
            user_agent: &self.user_agent,
        };
        let requester = self.app.handlers.requester(credentials, options).await?;
        let (user_id, entity) = (&requester.user_id, &requester.authenticated_entity);
        // A puppet's token: the log names the one who pulls the strings too.
        let known_as = if user_id == entity { user_id.to_string() } else { format!("{entity}|{user_id}") };
        self.notes.set_requester(known_as);
        Ok(requester)
    }
}

/// What the access log and the metrics learn from an endpoint.
#[derive(Debug, Default)]
pub struct Notes {
    requester: OnceLock<String>,
    tag: OnceLock<&'static str>,
    /// What the request costs.
    pub usage: Arc<Usage>,
}

impl Notes {
    /// Who asked, as the access log prints it.
    pub fn requester(&self) -> &str {
        self.requester.get().map_or("None", String::as_str)
    }

    pub fn set_requester(&self, requester: String) {
        // A request is authenticated once.
        self.requester.get_or_init(|| requester);
    }

    /// The kind of the request within its servlet, such as `incremental_sync`; a label of the metrics.
    pub fn tag(&self) -> &'static str {
        self.tag.get().copied().unwrap_or_default()
    }

    pub fn set_tag(&self, tag: &'static str) {
        self.tag.get_or_init(|| tag);
    }
}

/// A finished answer; JSON unless a header says otherwise.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub body: Bytes,
    /// Whether web pages may read it.
    pub cors: bool,
}

impl Answer {
    /// 200 with a JSON text.
    pub fn json(body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, headers: Vec::new(), body: body.into(), cors: true }
    }

    /// 200 with a JSON value.
    pub fn value(value: &Value) -> Self {
        Self::json(value.to_string())
    }

    pub fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.headers.push((name, HeaderValue::from_static(value)));
        self
    }
}

/// Why an endpoint gives no answer of its own.
#[derive(Debug)]
pub enum Refusal {
    Error(MatrixError),
    /// The request needs something that is not native; another process must answer.
    PassOn(&'static str),
}

impl From<MatrixError> for Refusal {
    fn from(error: MatrixError) -> Self {
        Self::Error(error)
    }
}
