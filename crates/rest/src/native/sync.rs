//! `/sync`. Answers to `SyncRestServlet` in `synapse/rest/client/sync.py`.

use std::sync::Arc;
use std::time::Duration;

use myelin_handlers::auth::AuthOptions;
use myelin_handlers::filter::FilterCollection;
use myelin_handlers::filtering::{check_valid_filter, set_timeline_upper_limit};
use myelin_handlers::now_ms;
use myelin_handlers::sync::{SyncConfig, SyncRequest};
use myelin_model::MatrixError;
use serde_json::Value;

use crate::body::python_json;
use crate::call::{Answer, Call, Refusal};
use crate::query::python_int;

/// A client asks again long before.
const MAX_TIMEOUT: Duration = Duration::from_hours(24);

/// `GET /sync`
pub async fn sync(call: Call) -> Result<Answer, Refusal> {
    if call.query.has("from") {
        let error = "'from' is not a valid query parameter. Did you mean 'since'?";
        return Err(MatrixError::unknown(400, error).into());
    }
    let requester = call.requester(AuthOptions::GUESTS).await?;
    let timeout = call.query.integer("timeout")?.unwrap_or_default();
    let since = call.query.string("since")?;
    let set_presence = call.query.one_of("set_presence", &["online", "offline", "unavailable"])?.unwrap_or("online");
    let filter_id = call.query.string("filter")?;
    let full_state = call.query.boolean("full_state")?.unwrap_or_default();
    let handlers = &call.app.handlers;
    let user_id = Arc::clone(&requester.user_id);
    let use_state_after = handlers.is_feature_enabled(&user_id, "msc4222").await?
        && call.query.boolean("org.matrix.msc4222.use_state_after")?.unwrap_or_default();
    // An answer to a first sync depends on who is ignored.
    let ignored = match since {
        None | Some("") => handlers.storage.latest_account_data_position(&user_id, "m.ignored_user_list").await,
        Some(_) => Ok(None),
    };
    let ignored = ignored.map_err(MatrixError::from)?;
    let device_id = requester.device_id.as_deref();
    let key = (&*user_id, device_id, timeout, since, filter_id, full_state, ignored, use_state_after);
    let key = serde_json::to_string(&key).map_err(MatrixError::internal)?;
    let filter = Arc::new(filter(&call, &user_id, filter_id).await?);
    let since = match since {
        Some(text) => Some(handlers.parse_stream_token(text).await?),
        None => None,
    };
    call.notes.set_tag(match (&since, full_state) {
        (None, _) => "sync_v2:initial_sync",
        (Some(_), true) => "sync_v2:full_state_sync",
        (Some(_), false) => "sync_v2:incremental_sync",
    });
    handlers.check_auth_blocking(&requester).await?;
    let config = SyncConfig { requester, filter, full_state, use_state_after };
    let timeout = Duration::from_millis(timeout.unsigned_abs()).min(MAX_TIMEOUT);
    let request = SyncRequest { config: config.clone(), since, timeout, key };
    let syncing = handlers.user_syncing(&config.requester, set_presence).await?;
    let result = handlers.sync(request).await?;
    drop(syncing);
    Ok(Answer::json(handlers.encode_sync(&config, &result, now_ms()).await?))
}

async fn filter(call: &Call, user_id: &str, filter_id: Option<&str>) -> Result<FilterCollection, MatrixError> {
    let server = &call.app.handlers.config.server;
    let json = match filter_id {
        None => Value::Object(serde_json::Map::new()),
        Some(text) if text.starts_with('{') => {
            let Some(Value::Object(mut filter)) = python_json(text) else {
                return Err(MatrixError::not_json("Invalid filter JSON"));
            };
            check_valid_filter(&filter)?;
            set_timeline_upper_limit(&mut filter, server.filter_timeline_limit)?;
            Value::Object(filter)
        }
        Some(text) => {
            let no_such = || MatrixError::invalid_param("No such filter");
            let id = python_int(text.as_bytes()).ok_or_else(|| MatrixError::invalid_param("Invalid filter ID"))?;
            let stored = call.app.handlers.get_filter(user_id, id).await;
            let stored = stored.map_err(|error| if error.status == 404 { no_such() } else { error })?;
            serde_json::from_str(&stored).map_err(MatrixError::internal)?
        }
    };
    Ok(FilterCollection::new(&json, server))
}
