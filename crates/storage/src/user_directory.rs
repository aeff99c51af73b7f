//! Users by their names. Answers to `search_user_dir` in `synapse/storage/databases/main/user_directory.py`.

use crate::{Storage, StorageError};

/// `UserProfile`
#[derive(Clone, Debug)]
pub struct FoundUser {
    pub user_id: String,
    pub display_name: Option<String>,
    pub avatar_url: Option<String>,
}

/// Who may be found, and how.
#[derive(Clone, Copy, Debug)]
pub struct UserSearch<'a> {
    /// Who asks.
    pub user_id: &'a str,
    /// Queries of Postgres: words as they are or as beginnings, as they are, as beginnings.
    pub full: &'a str,
    pub exact: &'a str,
    pub prefix: &'a str,
    pub search_all_users: bool,
    pub show_locked_users: bool,
    pub exclude_remote_users: bool,
    /// With `prefer_local_users`, the server whose users go first.
    pub preferred_server: Option<&'a str>,
    pub limit: i64,
}

impl Storage {
    /// `search_user_dir`: the best first.
    pub async fn search_user_dir(&self, search: &UserSearch<'_>) -> Result<Vec<FoundUser>, StorageError> {
        // Weights of domain, nothing, display name and localpart; a whole word counts three times.
        let rows: Vec<(String, Option<String>, Option<String>)> = sqlx::query_as(
            "WITH matching_users AS (
                 SELECT user_id, vector FROM user_directory_search WHERE vector @@ to_tsquery('simple', $2) LIMIT 10000
             )
             SELECT d.user_id, d.display_name, d.avatar_url
             FROM matching_users AS t
             JOIN user_directory AS d USING (user_id)
             LEFT JOIN users AS u ON t.user_id = u.name
             WHERE CASE WHEN $5::boolean THEN t.user_id <> $1 ELSE (
                     EXISTS (SELECT FROM users_in_public_rooms AS p WHERE p.user_id = t.user_id)
                     OR EXISTS (SELECT FROM users_who_share_private_rooms AS s
                         WHERE s.user_id = $1 AND s.other_user_id = t.user_id)) END
                 AND ($6::boolean OR u.locked IS NOT TRUE)
                 AND (NOT $7::boolean OR u.name IS NOT NULL)
             ORDER BY 4.0
                 * CASE WHEN d.display_name IS NOT NULL THEN 1.2 ELSE 1.0 END
                 * CASE WHEN d.avatar_url IS NOT NULL THEN 1.2 ELSE 1.0 END
                 * (3 * ts_rank_cd('{0.1, 0.1, 0.9, 1.0}', vector, to_tsquery('simple', $3), 8)
                     + ts_rank_cd('{0.1, 0.1, 0.9, 1.0}', vector, to_tsquery('simple', $4), 8))
                 * CASE WHEN d.user_id LIKE '%:' || $8::text THEN 2.0 ELSE 1.0 END DESC,
                 d.display_name IS NULL, d.avatar_url IS NULL
             LIMIT $9",
        )
        .bind(search.user_id)
        .bind(search.full)
        .bind(search.exact)
        .bind(search.prefix)
        .bind(search.search_all_users)
        .bind(search.show_locked_users)
        .bind(search.exclude_remote_users)
        .bind(search.preferred_server)
        .bind(search.limit)
        .fetch_all(self.pool())
        .await?;
        let user = |(user_id, display_name, avatar_url)| FoundUser { user_id, display_name, avatar_url };
        Ok(rows.into_iter().map(user).collect())
    }
}
