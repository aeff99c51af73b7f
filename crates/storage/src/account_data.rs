//! What users keep on the server for themselves. Answers to `synapse/storage/databases/main/account_data.py` and
//! `tags.py`. Content stays the text of the database.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Storage, StorageError};

/// Type and content.
pub type AccountDatum = (Arc<str>, Arc<str>);
pub type GlobalAccountData = Arc<Vec<AccountDatum>>;
pub type RoomAccountData = Arc<HashMap<Arc<str>, Vec<AccountDatum>>>;
/// Room to tags and their contents.
pub type Tags = Arc<HashMap<Arc<str>, Vec<AccountDatum>>>;
type RoomRow = (String, String, String);

impl Storage {
    /// `get_global_account_data_for_user`.
    pub async fn get_global_account_data_for_user(&self, user_id: &str) -> Result<GlobalAccountData, StorageError> {
        let load = || async {
            let rows: Vec<(String, String)> =
                sqlx::query_as("SELECT account_data_type, content FROM account_data WHERE user_id = $1")
                    .bind(user_id)
                    .fetch_all(self.pool())
                    .await?;
            Ok(Arc::new(rows.into_iter().map(datum).collect()))
        };
        self.users().account_data.get_or_load(Arc::from(user_id), load).await
    }

    /// `get_updated_global_account_data_for_user`: what changed after `since`.
    pub async fn get_updated_global_account_data_for_user(
        &self,
        user_id: &str,
        since: i64,
    ) -> Result<Vec<AccountDatum>, StorageError> {
        let sql = "SELECT account_data_type, content FROM account_data WHERE user_id = $1 AND stream_id > $2";
        let rows: Vec<(String, String)> = sqlx::query_as(sql).bind(user_id).bind(since).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(datum).collect())
    }

    /// `get_room_account_data_for_user`.
    pub async fn get_room_account_data_for_user(&self, user_id: &str) -> Result<RoomAccountData, StorageError> {
        let load = || async {
            let rows: Vec<RoomRow> =
                sqlx::query_as("SELECT room_id, account_data_type, content FROM room_account_data WHERE user_id = $1")
                    .bind(user_id)
                    .fetch_all(self.pool())
                    .await?;
            Ok(Arc::new(by_room(rows)))
        };
        self.users().room_account_data.get_or_load(Arc::from(user_id), load).await
    }

    /// `get_updated_room_account_data_for_user`: what changed after `since`.
    pub async fn get_updated_room_account_data_for_user(
        &self,
        user_id: &str,
        since: i64,
    ) -> Result<HashMap<Arc<str>, Vec<AccountDatum>>, StorageError> {
        let rows: Vec<RoomRow> = sqlx::query_as(
            "SELECT room_id, account_data_type, content FROM room_account_data WHERE user_id = $1 AND stream_id > $2",
        )
        .bind(user_id)
        .bind(since)
        .fetch_all(self.pool())
        .await?;
        Ok(by_room(rows))
    }

    /// `get_tags_for_user`.
    pub async fn get_tags_for_user(&self, user_id: &str) -> Result<Tags, StorageError> {
        let load = || async {
            let rows: Vec<RoomRow> = sqlx::query_as("SELECT room_id, tag, content FROM room_tags WHERE user_id = $1")
                .bind(user_id)
                .fetch_all(self.pool())
                .await?;
            Ok(Arc::new(by_room(rows)))
        };
        self.users().tags.get_or_load(Arc::from(user_id), load).await
    }

    /// The rooms of `get_updated_tags`: whose tags changed after `since`, also to none.
    pub async fn rooms_with_updated_tags(&self, user_id: &str, since: i64) -> Result<Vec<Arc<str>>, StorageError> {
        let sql = "SELECT room_id FROM room_tags_revisions WHERE user_id = $1 AND stream_id > $2";
        let rows: Vec<(String,)> = sqlx::query_as(sql).bind(user_id).bind(since).fetch_all(self.pool()).await?;
        Ok(rows.into_iter().map(|(room_id,)| Arc::from(room_id)).collect())
    }

    /// `get_latest_stream_id_for_global_account_data_by_type_for_user`.
    pub async fn latest_account_data_position(&self, user_id: &str, kind: &str) -> Result<Option<i64>, StorageError> {
        let sql = "SELECT max(stream_id) FROM account_data WHERE user_id = $1 AND account_data_type = $2";
        let (position,): (Option<i64>,) = sqlx::query_as(sql).bind(user_id).bind(kind).fetch_one(self.pool()).await?;
        Ok(position)
    }
}

fn datum((kind, content): (String, String)) -> AccountDatum {
    (kind.into(), content.into())
}

fn by_room(rows: Vec<RoomRow>) -> HashMap<Arc<str>, Vec<AccountDatum>> {
    let mut rooms: HashMap<Arc<str>, Vec<AccountDatum>> = HashMap::new();
    for (room_id, kind, content) in rows {
        rooms.entry(room_id.into()).or_default().push(datum((kind, content)));
    }
    rooms
}
