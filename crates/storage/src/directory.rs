//! Names of rooms. Answers to `synapse/storage/databases/main/directory.py`.

use crate::{Storage, StorageError};

/// `RoomAliasMapping`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoomAlias {
    pub room_id: String,
    /// Those that were in the room when it got the name; never none.
    pub servers: Vec<String>,
}

impl Storage {
    /// `get_association_from_room_alias`
    pub async fn get_association_from_room_alias(&self, alias: &str) -> Result<Option<RoomAlias>, StorageError> {
        let rows: Vec<(String, String)> = sqlx::query_as(
            "SELECT a.room_id, s.server FROM room_aliases AS a
             JOIN room_alias_servers AS s ON s.room_alias = a.room_alias WHERE a.room_alias = $1",
        )
        .bind(alias)
        .fetch_all(self.pool())
        .await?;
        let Some((room_id, _)) = rows.first().cloned() else { return Ok(None) };
        Ok(Some(RoomAlias { room_id, servers: rows.into_iter().map(|(_, server)| server).collect() }))
    }

    /// `get_aliases_for_room`
    pub async fn get_aliases_for_room(&self, room_id: &str) -> Result<Vec<String>, StorageError> {
        let rows: Vec<(String,)> = sqlx::query_as("SELECT room_alias FROM room_aliases WHERE room_id = $1")
            .bind(room_id)
            .fetch_all(self.pool())
            .await?;
        Ok(rows.into_iter().map(|(alias,)| alias).collect())
    }
}
