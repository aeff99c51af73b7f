//! What users keep for themselves. Answers to `synapse/rest/client/account_data.py`, `tags.py` and `push_rule.py`.

use myelin_handlers::account_data::check_can_set_account_data_type;
use myelin_handlers::auth::AuthOptions;
use myelin_model::identifiers::is_valid_room_id;
use myelin_model::{MatrixError, Requester};
use serde_json::{Value, json};

use crate::call::{Answer, Call, Refusal};

/// Of one's own alone; `what` is refused with others', as the error says it.
async fn owner(call: &Call, what: &str) -> Result<Requester, MatrixError> {
    let requester = call.requester(AuthOptions::default()).await?;
    if &*requester.user_id != call.parameters.get("user_id") {
        return Err(MatrixError::forbidden(format!("Cannot {what} for other users.")));
    }
    Ok(requester)
}

fn check_room_id(room_id: &str) -> Result<(), MatrixError> {
    if is_valid_room_id(room_id) {
        return Ok(());
    }
    Err(MatrixError::invalid_param(format!("{room_id} is not a valid room ID")))
}

/// The room of the path, if it has one, and the type of what is to be written.
fn writable(call: &Call) -> Result<(Option<&str>, &str), MatrixError> {
    let (room_id, kind) = (call.parameters.optional("room_id"), call.parameters.get("account_data_type"));
    if let Some(room_id) = room_id {
        check_room_id(room_id)?;
    }
    check_can_set_account_data_type(kind)?;
    Ok((room_id, kind))
}

/// `PUT /user/{user_id}[/rooms/{room_id}]/account_data/{account_data_type}`
pub async fn set(call: Call) -> Result<Answer, Refusal> {
    let requester = owner(&call, "add account data").await?;
    let (room_id, kind) = writable(&call)?;
    let content = call.json_object_text()?;
    call.app.handlers.add_account_data(&requester.user_id, room_id, kind, content).await?;
    Ok(Answer::value(&json!({})))
}

/// `DELETE /org.matrix.msc3391/user/{user_id}[/rooms/{room_id}]/account_data/{account_data_type}`
pub async fn remove(call: Call) -> Result<Answer, Refusal> {
    if !call.app.handlers.config.server.experimental.msc3391 {
        return Err(MatrixError::unrecognized(404).into());
    }
    let requester = owner(&call, "delete account data").await?;
    let (room_id, kind) = writable(&call)?;
    call.app.handlers.remove_account_data(&requester.user_id, room_id, kind).await?;
    Ok(Answer::value(&json!({})))
}

/// `PUT /user/{user_id}/rooms/{room_id}/tags/{tag}`
pub async fn add_tag(call: Call) -> Result<Answer, Refusal> {
    let requester = owner(&call, "add tags").await?;
    let (room_id, tag) = (call.parameters.get("room_id"), call.parameters.get("tag"));
    let handlers = &call.app.handlers;
    handlers.check_tag(&requester.user_id, room_id, tag).await?;
    handlers.add_tag(&requester.user_id, room_id, tag, call.json_object_text()?).await?;
    Ok(Answer::value(&json!({})))
}

/// `DELETE /user/{user_id}/rooms/{room_id}/tags/{tag}`
pub async fn remove_tag(call: Call) -> Result<Answer, Refusal> {
    let requester = owner(&call, "add tags").await?;
    let (room_id, tag) = (call.parameters.get("room_id"), call.parameters.get("tag"));
    call.app.handlers.remove_tag(&requester.user_id, room_id, tag).await?;
    Ok(Answer::value(&json!({})))
}

/// `GET /user/{user_id}/account_data/{account_data_type}`
pub async fn global(call: Call) -> Result<Answer, Refusal> {
    let requester = owner(&call, "get account data").await?;
    let kind = call.parameters.get("account_data_type");
    let found = call.app.handlers.global_account_data(&requester.user_id, kind).await?;
    Ok(Answer::json(found.ok_or_else(|| MatrixError::not_found("Account data not found"))?))
}

/// `GET /user/{user_id}/rooms/{room_id}/account_data/{account_data_type}`
pub async fn room(call: Call) -> Result<Answer, Refusal> {
    let requester = owner(&call, "get account data").await?;
    let (room_id, kind) = (call.parameters.get("room_id"), call.parameters.get("account_data_type"));
    check_room_id(room_id)?;
    let found = call.app.handlers.room_account_data(&requester.user_id, room_id, kind).await?;
    Ok(Answer::json(found.ok_or_else(|| MatrixError::not_found("Room account data not found"))?))
}

/// `GET /user/{user_id}/rooms/{room_id}/tags`
pub async fn tags(call: Call) -> Result<Answer, Refusal> {
    let requester = owner(&call, "get tags").await?;
    let room_id = call.parameters.get("room_id");
    Ok(Answer::json(call.app.handlers.room_tags(&requester.user_id, room_id).await?))
}

/// `GET /pushrules/…`
pub async fn push_rules(call: Call) -> Result<Answer, Refusal> {
    let requester = call.requester(AuthOptions::default()).await?;
    let rules = call.app.handlers.push_rules_for_user(&requester.user_id).await?;
    let path: Vec<&str> = call.parameters.get("path").split('/').skip(1).collect();
    Ok(Answer::json(filter_rules(rules, &path)?))
}

fn unrecognized() -> MatrixError {
    MatrixError::unrecognized(400)
}

fn no_slash() -> MatrixError {
    MatrixError::new(400, "M_UNRECOGNIZED", "Unrecognised request: You probably wanted a trailing slash")
}

/// The part of the rules that a path leads to. Answers to `_filter_ruleset_with_path`.
fn filter_rules(rules: String, path: &[&str]) -> Result<String, MatrixError> {
    match path {
        [] => return Err(no_slash()),
        ["", ..] => return Ok(rules),
        ["global", ..] => {}
        _ => return Err(unrecognized()),
    }
    let mut rules: Value = serde_json::from_str(&rules).map_err(MatrixError::internal)?;
    let mut rules = rules["global"].take();
    let (kind, path) = match &path[1..] {
        [] => return Err(no_slash()),
        ["", ..] => return Ok(rules.to_string()),
        [kind, path @ ..] => (*kind, path),
    };
    let of_kind = rules.get_mut(kind).map(Value::take).ok_or_else(unrecognized)?;
    let (rule_id, path) = match path {
        [] => return Err(no_slash()),
        ["", ..] => return Ok(of_kind.to_string()),
        [rule_id, path @ ..] => (*rule_id, path),
    };
    let Value::Array(of_kind) = of_kind else { return Err(unrecognized()) };
    let rule = of_kind.into_iter().rfind(|rule| rule["rule_id"] == rule_id);
    let rule = rule.ok_or_else(|| MatrixError::not_found("Not found"))?;
    match path {
        [] => Ok(rule.to_string()),
        [attribute, ..] => match rule.get(attribute) {
            Some(value) => Ok(json!({ *attribute: value }).to_string()),
            None => Err(unrecognized()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filtered(path: &str) -> String {
        let rule = |id: &str| json!({"rule_id": id, "enabled": true});
        let rules = json!({"global": {"override": [rule("a"), rule("b")], "room": []}});
        let path: Vec<&str> = path.split('/').skip(1).collect();
        filter_rules(rules.to_string(), &path).unwrap_or_else(|error| error.to_string())
    }

    #[test]
    fn paths_into_the_rules() {
        let slash = "400 M_UNRECOGNIZED: Unrecognised request: You probably wanted a trailing slash";
        let unknown = "400 M_UNRECOGNIZED: Unrecognized request";
        for path in ["pushrules", "pushrules/global", "pushrules/global/room"] {
            assert_eq!(filtered(path), slash, "{path}");
        }
        for path in ["pushrules/device/", "pushrules/global/x/", "pushrules/global/override/a/x"] {
            assert_eq!(filtered(path), unknown, "{path}");
        }
        assert_eq!(filtered("pushrules/global/room/"), "[]");
        assert_eq!(filtered("pushrules/global/override/c"), "404 M_NOT_FOUND: Not found");
        assert_eq!(filtered("pushrules/global/override/b/enabled"), r#"{"enabled":true}"#);
        assert!(filtered("pushrules/global/").starts_with(r#"{"override""#));
        assert!(filtered("pushrules/").starts_with(r#"{"global""#));
    }
}
