//! Push rules as clients see them. Answers to `synapse/push/clientformat.py` and to the order of
//! `FilteredPushRules`. The rules that everybody has are those of the specification, section 13.13.1.5.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::LazyLock;

use myelin_storage::push_rule::PushRuleRows;
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::{Handlers, Result};

/// Kinds in the order of their lists, with their class in the database.
const KINDS: [(&str, i16); 6] =
    [("override", 5), ("content", 4), ("postcontent", 6), ("room", 3), ("sender", 2), ("underride", 1)];
/// The one rule that stands before the user's own.
const MASTER: &str = "global/override/.m.rule.master";

/// A rule that everybody has.
#[derive(Debug, Deserialize)]
struct BaseRule {
    rule_id: String,
    conditions: Vec<Map<String, Value>>,
    actions: Value,
    #[serde(default = "on")]
    enabled: bool,
    /// The experimental feature that brings it.
    feature: Option<String>,
    /// The experimental feature that takes it away.
    unless: Option<String>,
    /// The whole rule as JSON, if it is the same for everybody who did not change it.
    #[serde(skip)]
    text: Option<String>,
}

const fn on() -> bool {
    true
}

/// A test reads it, so that a fault cannot reach a release.
static BASE_RULES: LazyLock<Vec<BaseRule>> = LazyLock::new(|| {
    let mut rules: Vec<BaseRule> = serde_json::from_str(include_str!("base_push_rules.json")).unwrap_or_default();
    for rule in &mut rules {
        let kind = rule.rule_id.split('/').nth(1).unwrap_or_default();
        let text_for = |user_id| template(kind, user_id, rule.as_it_is()).map(|rule| rule.to_string());
        rule.text = text_for("@a:a").filter(|text| text_for("@b:b").as_ref() == Some(text));
    }
    rules
});

impl BaseRule {
    fn as_it_is(&self) -> Rule<'_> {
        let (conditions, actions) = (self.conditions.clone(), self.actions.clone());
        Rule { id: &self.rule_id, conditions, actions, default: true, enabled: self.enabled }
    }

    /// As JSON, for a user with these rows.
    fn write(&self, kind: &str, user_id: &str, rows: &PushRuleRows) -> Option<Cow<'_, str>> {
        let changed = rows.rules.iter().rfind(|row| row.rule_id == self.rule_id);
        let enabled = rows.enabled.get(&self.rule_id).copied().unwrap_or(self.enabled);
        if let (Some(text), None, true) = (&self.text, changed, enabled == self.enabled) {
            return Some(text.into());
        }
        let mut rule = Rule { enabled, ..self.as_it_is() };
        if let Some(row) = changed {
            rule.actions = parse(&row.actions);
        }
        template(kind, user_id, rule).map(|rule| rule.to_string().into())
    }
}

/// One rule before it is formatted.
struct Rule<'a> {
    id: &'a str,
    conditions: Vec<Map<String, Value>>,
    actions: Value,
    default: bool,
    enabled: bool,
}

impl Handlers {
    /// `push_rules_for_user`, as JSON.
    pub async fn push_rules_for_user(&self, user_id: &str) -> Result<String> {
        let rows = self.storage.get_push_rules_for_user(user_id).await?;
        Ok(format(user_id, &rows, &self.config.server.experimental.enabled))
    }
}

fn format(user_id: &str, rows: &PushRuleRows, features: &BTreeSet<String>) -> String {
    let kinds = KINDS.map(|(kind, class)| {
        let rules = rules_of_kind(kind, class, user_id, rows, features);
        format!(r#""{kind}":[{}]"#, rules.join(","))
    });
    format!(r#"{{"global":{{{}}}}}"#, kinds.join(","))
}

fn rules_of_kind(
    kind: &str,
    class: i16,
    user_id: &str,
    rows: &PushRuleRows,
    features: &BTreeSet<String>,
) -> Vec<Cow<'static, str>> {
    let has = |feature: &Option<String>| feature.as_ref().map(|feature| features.contains(feature));
    let prefix = format!("global/{kind}/");
    let base = BASE_RULES.iter().filter(|rule| rule.rule_id.starts_with(&prefix));
    let base = base.filter(|rule| has(&rule.feature) != Some(false) && has(&rule.unless) != Some(true));
    let is_base = |rule_id: &str| BASE_RULES.iter().any(|rule| rule.rule_id == rule_id);
    let own = rows.rules.iter().filter(|row| row.priority_class == class && !is_base(&row.rule_id));
    let own = own.filter_map(|row| {
        let rule = Rule {
            id: &row.rule_id,
            conditions: serde_json::from_str(&row.conditions).unwrap_or_default(),
            actions: parse(&row.actions),
            default: false,
            enabled: rows.enabled.get(&row.rule_id).copied().unwrap_or(true),
        };
        template(kind, user_id, rule).map(|rule| rule.to_string().into())
    });
    let (first, last): (Vec<&BaseRule>, Vec<&BaseRule>) = base.partition(|rule| rule.rule_id == MASTER);
    let write = |rule: &'static BaseRule| rule.write(kind, user_id, rows);
    first.into_iter().filter_map(write).chain(own).chain(last.into_iter().filter_map(write)).collect()
}

fn parse(json: &str) -> Value {
    serde_json::from_str(json).unwrap_or_default()
}

/// `_rule_to_template`; nothing for a content rule without a pattern.
fn template(kind: &str, user_id: &str, rule: Rule<'_>) -> Option<Value> {
    let mut out = Map::new();
    let mut id = rule.id.rsplit('/').next().unwrap_or_default().to_owned();
    let first = rule.conditions.first();
    match kind {
        "sender" | "room" => first?.get("pattern")?.as_str()?.clone_into(&mut id),
        "content" => {
            let condition = first.filter(|_| rule.conditions.len() == 1)?;
            let key = ["pattern", "pattern_type"].into_iter().find(|key| condition.contains_key(*key))?;
            out.insert(key.to_owned(), condition[key].clone());
            fill_in(&mut out, user_id);
        }
        _ => {
            let mut conditions = rule.conditions;
            for condition in &mut conditions {
                condition.remove("_cache_key");
                fill_in(condition, user_id);
            }
            out.insert("conditions".to_owned(), conditions.into_iter().map(Value::Object).collect());
        }
    }
    out.insert("actions".to_owned(), rule.actions);
    out.insert("rule_id".to_owned(), id.into());
    out.insert("default".to_owned(), rule.default.into());
    out.insert("enabled".to_owned(), rule.enabled.into());
    Some(out.into())
}

/// `_convert_type_to_value`: what differs from user to user.
fn fill_in(map: &mut Map<String, Value>, user_id: &str) {
    for key in ["pattern", "value"] {
        let kind = map.remove(&format!("{key}_type"));
        let value = match kind.as_ref().and_then(Value::as_str) {
            Some("user_id") => user_id,
            Some("user_localpart") => {
                let local = user_id.split_once(':').map_or(user_id, |(local, _)| local);
                local.strip_prefix('@').unwrap_or(local)
            }
            _ => continue,
        };
        map.insert(key.to_owned(), value.into());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hashbrown::HashMap;
    use myelin_storage::push_rule::PushRuleRow;
    use serde_json::json;

    fn row(rule_id: &str, priority_class: i16, conditions: &str, actions: &str) -> PushRuleRow {
        let [rule_id, conditions, actions] = [rule_id, conditions, actions].map(str::to_owned);
        PushRuleRow { rule_id, priority_class, priority: 0, conditions, actions }
    }

    fn formatted(user_id: &str, rows: &PushRuleRows, features: &BTreeSet<String>) -> Value {
        serde_json::from_str(&format(user_id, rows, features)).unwrap()
    }

    fn ids(rules: &Value, kind: &str) -> Vec<String> {
        let rules = rules["global"][kind].as_array().unwrap();
        rules.iter().map(|rule| rule["rule_id"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn everybody_has_the_base_rules() {
        let rules = formatted("@a:t", &PushRuleRows::default(), &BTreeSet::new());
        assert_eq!(ids(&rules, "override").len(), 12);
        assert_eq!((ids(&rules, "underride").len(), ids(&rules, "postcontent").len()), (6, 0));
        assert_eq!(rules["global"]["override"][0]["enabled"], false);
        assert_eq!(rules["global"]["content"][0]["pattern"], "a");
        assert_eq!(rules["global"]["override"][2]["conditions"][2]["pattern"], "@a:t");
        let features = BTreeSet::from(["msc4306_enabled".to_owned(), "msc4210_enabled".to_owned()]);
        let rules = formatted("@a:t", &PushRuleRows::default(), &features);
        assert_eq!((ids(&rules, "postcontent").len(), ids(&rules, "content").len()), (2, 0));
    }

    #[test]
    fn own_rules_come_first_and_base_rules_can_be_changed() {
        let rows = PushRuleRows {
            rules: vec![
                row("global/override/mine", 5, "[]", r#"["notify"]"#),
                row("global/override/.m.rule.tombstone", -1, "[]", r#"["dont_notify"]"#),
                row("global/room/!r:t", 3, r#"[{"kind":"event_match","key":"room_id","pattern":"!r:t"}]"#, "[]"),
                row("global/content/two", 4, r#"[{"pattern":"a"},{"pattern":"b"}]"#, "[]"),
            ],
            enabled: HashMap::from([("global/override/mine".to_owned(), false)]),
        };
        let rules = formatted("@a:t", &rows, &BTreeSet::new());
        assert_eq!(ids(&rules, "override")[..2], [".m.rule.master", "mine"]);
        assert_eq!(rules["global"]["override"][1]["enabled"], false);
        let tombstone = rules["global"]["override"].as_array().unwrap().iter();
        let tombstone = tombstone.clone().find(|rule| rule["rule_id"] == ".m.rule.tombstone").unwrap();
        assert_eq!(tombstone["actions"], json!(["dont_notify"]));
        assert_eq!((ids(&rules, "room"), ids(&rules, "content").len()), (vec!["!r:t".to_owned()], 1));
    }
}
