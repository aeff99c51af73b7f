//! Account data, with tags and push rules among it. Answers to `_generate_sync_entry_for_account_data`.

use std::fmt::Write as _;
use std::sync::Arc;

use hashbrown::HashMap;
use myelin_live::Changed;
use myelin_model::StreamToken;
use myelin_storage::account_data::AccountDatum;

use super::{Item, quoted};
use crate::{Handlers, Result};

const TAG: &str = "m.tag";
pub(crate) const PUSH_RULES: &str = "m.push_rules";

#[derive(Debug, Default)]
pub struct AccountData {
    pub global: Vec<Item>,
    pub rooms: HashMap<Arc<str>, RoomAccountData>,
}

/// A client may have stored data of the type `m.tag` as well, which are no tags.
#[derive(Debug, Default)]
pub struct RoomAccountData {
    pub tags: Option<Item>,
    pub data: Vec<Item>,
}

impl RoomAccountData {
    /// Tags first.
    pub fn items(&self) -> impl Iterator<Item = &Item> {
        self.tags.iter().chain(&self.data)
    }

    pub fn into_items(self) -> Vec<Item> {
        self.tags.into_iter().chain(self.data).collect()
    }
}

impl Handlers {
    /// What changed after `since`, or everything.
    pub async fn account_data_for_sync(
        &self,
        user_id: &Arc<str>,
        since: Option<&StreamToken>,
        now: &StreamToken,
    ) -> Result<AccountData> {
        let Some(since) = since else { return self.all_account_data(user_id).await };
        let mut data = AccountData::default();
        let from = since.account_data;
        if from < now.account_data && self.live.may_have_changed(Changed::UserAccountData, user_id, from) {
            let global = self.storage.get_updated_global_account_data_for_user(user_id, from).await?;
            data.global = items(&global).collect();
            for room_id in self.storage.rooms_with_updated_tags(user_id, from).await? {
                let tags = self.storage.get_tags_for_user(user_id).await?;
                let tags = tags.get(&room_id).map(Vec::as_slice).unwrap_or_default();
                data.rooms.entry(room_id).or_default().tags = Some(tag_item(tags));
            }
            for (room_id, room) in self.storage.get_updated_room_account_data_for_user(user_id, from).await? {
                data.rooms.entry(room_id).or_default().data.extend(items(&room));
            }
        }
        let from = since.push_rules;
        let may_have = from < now.push_rules && self.live.may_have_changed(Changed::UserPushRules, user_id, from);
        if may_have && self.storage.have_push_rules_changed_for_user(user_id, from).await? {
            data.global.push(self.push_rules_item(user_id).await?);
        }
        Ok(data)
    }

    async fn all_account_data(&self, user_id: &str) -> Result<AccountData> {
        let mut data = self.stored_account_data(user_id).await?;
        data.global.push(self.push_rules_item(user_id).await?);
        Ok(data)
    }

    /// Everything but push rules.
    pub(crate) async fn stored_account_data(&self, user_id: &str) -> Result<AccountData> {
        let global = self.storage.get_global_account_data_for_user(user_id).await?;
        let global: Vec<Item> = items(&global).filter(|item| self.exists(item)).collect();
        let mut rooms: HashMap<Arc<str>, RoomAccountData> = HashMap::new();
        for (room_id, tags) in &*self.storage.get_tags_for_user(user_id).await? {
            rooms.entry(Arc::clone(room_id)).or_default().tags = Some(tag_item(tags));
        }
        for (room_id, data) in &*self.storage.get_room_account_data_for_user(user_id).await? {
            rooms.entry(Arc::clone(room_id)).or_default().data.extend(items(data).filter(|item| self.exists(item)));
        }
        Ok(AccountData { global, rooms })
    }

    async fn push_rules_item(&self, user_id: &str) -> Result<Item> {
        Ok(Item::new(&Arc::from(PUSH_RULES), &self.push_rules_for_user(user_id).await?))
    }

    /// `get_tags_for_room`; a room without tags has none.
    pub async fn tags_for_room(&self, user_id: &str, room_id: &str) -> Result<Option<Item>> {
        let tags = self.storage.get_tags_for_user(user_id).await?;
        Ok(tags.get(room_id).filter(|tags| !tags.is_empty()).map(|tags| tag_item(tags)))
    }

    /// With MSC3391, empty content means that the client deleted it: that is told as a change, not as data.
    fn exists(&self, item: &Item) -> bool {
        !(self.config.server.experimental.msc3391 && item.json.ends_with(r#""content":{}}"#))
    }
}

fn items(data: &[AccountDatum]) -> impl Iterator<Item = Item> {
    data.iter().map(|(kind, content)| Item::new(kind, content))
}

fn tag_item(tags: &[AccountDatum]) -> Item {
    Item::new(&Arc::from(TAG), &tag_content(tags))
}

/// The tags of one room, as JSON.
pub(crate) fn tag_content(tags: &[AccountDatum]) -> String {
    let mut content = String::from(r#"{"tags":{"#);
    for (index, (tag, value)) in tags.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = write!(content, "{}{}:{value}", if index > 0 { "," } else { "" }, quoted(tag));
    }
    content.push_str("}}");
    content
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_one_object() {
        let tags: Vec<AccountDatum> =
            vec![("m.favourite".into(), r#"{"order":0.5}"#.into()), ("u.\"x".into(), "{}".into())];
        let expected = r#"{"type":"m.tag","content":{"tags":{"m.favourite":{"order":0.5},"u.\"x":{}}}}"#;
        assert_eq!(tag_item(&tags).json, expected);
        assert_eq!(tag_item(&[]).json, r#"{"type":"m.tag","content":{"tags":{}}}"#);
    }
}
