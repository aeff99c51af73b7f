//! Profiles of others, as far as the client's filter asks for them (MSC4429). Answers to
//! `_generate_sync_entry_for_profile_updates` in `synapse/handlers/sync.py`.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use myelin_storage::profile::{Profile, ProfileUpdate};
use serde_json::value::RawValue;

use crate::sync::{DeviceKey, LazyLoadedMembers};
use crate::{Handlers, Result};

/// User to the fields to be changed; a field without a value was unset, a user without fields is to be forgotten.
pub type ProfileUpdates = BTreeMap<Arc<str>, Option<Fields>>;
pub type Fields = BTreeMap<String, Option<Box<RawValue>>>;

/// Which fields of whom a device was already sent, for devices that load members lazily. Values are remembered by
/// their hash; unlike members, also when the device did not receive them.
#[derive(Default)]
pub struct LazyLoadedProfileFields(LazyLoadedMembers);

impl LazyLoadedProfileFields {
    /// Whether it was not sent before; now it is.
    fn is_news(&self, device: &DeviceKey, user_id: &str, field: &str, value: Option<&RawValue>) -> bool {
        let mut hasher = DefaultHasher::new();
        value.map(RawValue::get).hash(&mut hasher);
        let (key, hash) = (Arc::from(format!("{user_id}-{field}")), Arc::from(hasher.finish().to_string()));
        let is_news = !self.0.was_sent(device, &key, &hash);
        if is_news {
            self.0.mark_sent(device, &key, &hash, &0.into());
        }
        is_news
    }
}

/// Whose profile is of interest, and why.
#[derive(Default)]
struct News<'a> {
    updated: HashMap<Arc<str>, BTreeSet<&'a str>>,
    joined: HashSet<Arc<str>>,
    left: HashSet<Arc<str>>,
}

impl<'a> News<'a> {
    fn of(updates: &'a [ProfileUpdate], wanted: &[String]) -> Self {
        let mut news = News::default();
        for update in updates {
            let user_id = Arc::clone(&update.user_id);
            match update.action.as_str() {
                "update" => {
                    let fields = update.affected_fields.iter().filter(|field| wanted.contains(field));
                    news.updated.entry(user_id).or_default().extend(fields.map(String::as_str));
                }
                "joined_room" => drop(news.joined.insert(user_id)),
                "left_room" => drop(news.left.insert(user_id)),
                _ => {}
            }
        }
        news
    }
}

impl Handlers {
    /// `wanted`: names of fields. `senders`: local users whose events a client that loads members lazily gets.
    pub(crate) async fn profile_updates_for_sync(
        &self,
        device: &DeviceKey,
        wanted: &[String],
        senders: &HashSet<Arc<str>>,
        bounds: (Option<i64>, i64),
    ) -> Result<ProfileUpdates> {
        if wanted.is_empty() {
            return Ok(ProfileUpdates::new());
        }
        match bounds {
            (Some(since), now) => self.changed_profiles(device, wanted, senders, (since, now)).await,
            (None, _) => self.all_profiles(&device.0, wanted, senders).await,
        }
    }

    async fn all_profiles(
        &self,
        user_id: &Arc<str>,
        wanted: &[String],
        senders: &HashSet<Arc<str>>,
    ) -> Result<ProfileUpdates> {
        let rooms = self.storage.get_rooms_for_user(user_id).await?;
        let members = self.storage.get_users_in_rooms(rooms.iter().cloned().collect()).await?;
        let mut users: HashSet<Arc<str>> =
            members.values().flat_map(|users| users.iter()).filter(|user_id| self.is_mine(user_id)).cloned().collect();
        users.insert(Arc::clone(user_id));
        users.retain(|user_id| senders.is_empty() || senders.contains(user_id));
        let users: Vec<Arc<str>> = users.into_iter().collect();
        let mut updates = ProfileUpdates::new();
        for (user_id, profile) in self.storage.get_profile_data_for_users(&users).await? {
            let fields: Fields = profile
                .into_iter()
                .filter(|(name, _)| wanted.contains(name))
                .map(|(name, value)| (name, Some(value)))
                .collect();
            if !fields.is_empty() {
                updates.insert(user_id, Some(fields));
            }
        }
        Ok(updates)
    }

    async fn changed_profiles(
        &self,
        device: &DeviceKey,
        wanted: &[String],
        senders: &HashSet<Arc<str>>,
        bounds: (i64, i64),
    ) -> Result<ProfileUpdates> {
        let rows = self.storage.get_profile_updates_for_user_and_fields(bounds, &device.0, wanted).await?;
        let news = News::of(&rows, wanted);
        let users: HashSet<Arc<str>> = senders.iter().chain(news.updated.keys()).chain(&news.joined).cloned().collect();
        let users: Vec<Arc<str>> = users.into_iter().collect();
        let mut profiles = self.storage.get_profile_data_for_users(&users).await?;
        let mut updates = ProfileUpdates::new();
        for user_id in users {
            let Some(profile) = profiles.remove(&user_id) else {
                updates.insert(user_id, None);
                continue;
            };
            let is_sender = senders.contains(&user_id);
            let mut fields = news.updated.get(&user_id).cloned().unwrap_or_default();
            if is_sender || news.joined.contains(&user_id) {
                fields.extend(wanted.iter().map(String::as_str).filter(|name| profile.contains_key(*name)));
            }
            if is_sender {
                let is_news = |name: &str| {
                    let value = profile.get(name).map(|value| &**value);
                    self.lazy_profile_fields.is_news(device, &user_id, name, value)
                };
                fields.retain(|name| is_news(name));
            }
            if !fields.is_empty() {
                updates.insert(user_id, Some(values(&profile, &fields)));
            }
        }
        updates.extend(news.left.into_iter().map(|user_id| (user_id, None)));
        Ok(updates)
    }
}

fn values(profile: &Profile, fields: &BTreeSet<&str>) -> Fields {
    fields.iter().map(|name| ((*name).to_owned(), profile.get(*name).cloned())).collect()
}
