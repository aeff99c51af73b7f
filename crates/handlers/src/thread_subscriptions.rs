//! Threads that users follow (MSC4306, MSC4308). Answers to the reads in `synapse/handlers/thread_subscriptions.py` and
//! `synapse/rest/client/thread_subscriptions.py`.

use myelin_model::{MatrixError, Requester};
use serde_json::{Map, Value, json};

use crate::{Handlers, Result};

impl Handlers {
    /// `get_thread_subscription_settings`: whether the user follows a thread, and if so unasked.
    pub async fn get_thread_subscription_settings(
        &self,
        requester: &Requester,
        room_id: &str,
        thread_root: &str,
    ) -> Result<Option<bool>> {
        let user_id = &requester.user_id;
        let no_root = || MatrixError::not_found("No such thread root");
        match self.get_event(user_id, Some(room_id), thread_root).await {
            Err(error) if error.status == 403 => return Err(no_root()),
            found => found?.ok_or_else(no_root)?,
        };
        Ok(self.storage.get_subscription_for_thread(user_id, room_id, thread_root).await?)
    }

    /// What changed in (`lower`, `upper`], or up to now; of more than `limit` the last.
    pub async fn get_thread_subscriptions(
        &self,
        requester: &Requester,
        (lower, upper): (i64, Option<i64>),
        limit: i64,
    ) -> Result<Value> {
        let upper = upper.unwrap_or_else(|| self.live.current_token().thread_subscriptions);
        let user_id = &requester.user_id;
        let changes =
            self.storage.get_latest_updated_thread_subscriptions_for_user(user_id, (lower, upper), limit).await?;
        let mut answer = Map::new();
        if let Some(first) = changes.first()
            && i64::try_from(changes.len()) == Ok(limit)
        {
            // There may be more before these.
            answer.insert("end".to_owned(), format!("ts{}", first.stream_id - 1).into());
        }
        for change in changes {
            let (list, value) = if change.subscribed {
                ("subscribed", json!({"automatic": change.automatic, "bump_stamp": change.stream_id}))
            } else {
                ("unsubscribed", json!({"bump_stamp": change.stream_id}))
            };
            let rooms = answer.entry(list).or_insert_with(|| json!({}));
            rooms[change.room_id.as_str()][change.thread_root.as_str()] = value;
        }
        Ok(answer.into())
    }
}
