//! Push rules as users changed them. Answers to `synapse/storage/databases/main/push_rule.py`.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::{Storage, StorageError};

/// A rule of the user's own, or new actions for one that everybody has.
#[derive(Clone, Debug)]
pub struct PushRuleRow {
    /// `global/<kind>/<id>`
    pub rule_id: String,
    pub priority_class: i16,
    pub priority: i32,
    /// JSON texts.
    pub conditions: String,
    pub actions: String,
}

#[derive(Debug, Default)]
pub struct PushRuleRows {
    /// The most important first.
    pub rules: Vec<PushRuleRow>,
    /// Rule id to whether it is switched on; others keep their default.
    pub enabled: HashMap<String, bool>,
}

impl PushRuleRows {
    pub(crate) fn weight(&self) -> usize {
        let rules = self.rules.iter().map(|rule| rule.conditions.len() + rule.actions.len() + 200);
        128 + rules.sum::<usize>() + self.enabled.len() * 100
    }
}

impl Storage {
    pub async fn have_push_rules_changed_for_user(&self, user_id: &str, last: i64) -> Result<bool, StorageError> {
        let (changed,): (bool,) =
            sqlx::query_as("SELECT EXISTS (SELECT 1 FROM push_rules_stream WHERE user_id = $1 AND stream_id > $2)")
                .bind(user_id)
                .bind(last)
                .fetch_one(self.pool())
                .await?;
        Ok(changed)
    }

    /// The rows of `get_push_rules_for_user`.
    pub async fn get_push_rules_for_user(&self, user_id: &str) -> Result<Arc<PushRuleRows>, StorageError> {
        let load = || async {
            let rows: Vec<(String, i16, i32, String, String)> = sqlx::query_as(
                "SELECT rule_id, priority_class, priority, conditions, actions FROM push_rules WHERE user_name = $1
                 ORDER BY priority_class DESC, priority DESC",
            )
            .bind(user_id)
            .fetch_all(self.pool())
            .await?;
            let enabled: Vec<(String, Option<i16>)> =
                sqlx::query_as("SELECT rule_id, enabled FROM push_rules_enable WHERE user_name = $1")
                    .bind(user_id)
                    .fetch_all(self.pool())
                    .await?;
            let rule = |(rule_id, priority_class, priority, conditions, actions)| PushRuleRow {
                rule_id,
                priority_class,
                priority,
                conditions,
                actions,
            };
            Ok(Arc::new(PushRuleRows {
                rules: rows.into_iter().map(rule).collect(),
                enabled: enabled.into_iter().map(|(rule_id, on)| (rule_id, on.unwrap_or_default() != 0)).collect(),
            }))
        };
        self.users().push_rules.get_or_load(Arc::from(user_id), load).await
    }
}
