//! The lines of Redis replication. Answers to `synapse/replication/tcp/commands.py`.

use std::fmt::{self, Display, Formatter};
use std::sync::Arc;

use serde_json::Value;

/// One line.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Rows of a stream. No token: more rows of the same update follow (`batch` on the wire).
    Rdata {
        stream: String,
        instance: Arc<str>,
        token: Option<i64>,
        row: Value,
    },
    /// Where a writer stands: nothing was written between `prev` and `new` that was not sent.
    Position {
        stream: String,
        instance: Arc<str>,
        prev: i64,
        new: i64,
    },
    /// Asks every process for the positions of what it writes.
    Replicate,
    UserSync {
        instance_id: String,
        user_id: String,
        device_id: Option<String>,
        syncing: bool,
        last_sync_ms: i64,
    },
    ClearUserSync {
        instance_id: String,
    },
    /// JSON: access token, ip, user agent, device id, time.
    UserIp {
        user_id: String,
        data: Value,
    },
    FederationAck {
        instance: String,
        token: i64,
    },
    RemoteServerUp {
        server: String,
    },
    LockReleased {
        instance: String,
        name: String,
        key: String,
    },
    NewActiveTask {
        id: String,
    },
    CancelTask {
        id: String,
    },
    Ping(String),
    Error(String),
    Name(String),
    Server(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("unknown command {0}")]
    Unknown(String),
    #[error("malformed {0}")]
    Malformed(&'static str),
}

impl Command {
    /// A blank line is no command.
    pub fn parse(line: &str) -> Result<Option<Self>, ParseError> {
        if line.trim().is_empty() {
            return Ok(None);
        }
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        let parsed = match name {
            "RDATA" => rdata(rest).ok_or(ParseError::Malformed("RDATA")),
            "POSITION" => position(rest).ok_or(ParseError::Malformed("POSITION")),
            "REPLICATE" => Ok(Self::Replicate),
            "USER_SYNC" => user_sync(rest).ok_or(ParseError::Malformed("USER_SYNC")),
            "CLEAR_USER_SYNC" => Ok(Self::ClearUserSync { instance_id: rest.to_owned() }),
            "USER_IP" => user_ip(rest).ok_or(ParseError::Malformed("USER_IP")),
            "FEDERATION_ACK" => federation_ack(rest).ok_or(ParseError::Malformed("FEDERATION_ACK")),
            "REMOTE_SERVER_UP" => Ok(Self::RemoteServerUp { server: rest.to_owned() }),
            "LOCK_RELEASED" => lock_released(rest).ok_or(ParseError::Malformed("LOCK_RELEASED")),
            "NEW_ACTIVE_TASK" => Ok(Self::NewActiveTask { id: rest.to_owned() }),
            "CANCEL_TASK" => Ok(Self::CancelTask { id: rest.to_owned() }),
            "PING" => Ok(Self::Ping(rest.to_owned())),
            "ERROR" => Ok(Self::Error(rest.to_owned())),
            "NAME" => Ok(Self::Name(rest.to_owned())),
            "SERVER" => Ok(Self::Server(rest.to_owned())),
            _ => Err(ParseError::Unknown(name.chars().take(40).collect())),
        };
        parsed.map(Some)
    }

    /// The first word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Rdata { .. } => "RDATA",
            Self::Position { .. } => "POSITION",
            Self::Replicate => "REPLICATE",
            Self::UserSync { .. } => "USER_SYNC",
            Self::ClearUserSync { .. } => "CLEAR_USER_SYNC",
            Self::UserIp { .. } => "USER_IP",
            Self::FederationAck { .. } => "FEDERATION_ACK",
            Self::RemoteServerUp { .. } => "REMOTE_SERVER_UP",
            Self::LockReleased { .. } => "LOCK_RELEASED",
            Self::NewActiveTask { .. } => "NEW_ACTIVE_TASK",
            Self::CancelTask { .. } => "CANCEL_TASK",
            Self::Ping(_) => "PING",
            Self::Error(_) => "ERROR",
            Self::Name(_) => "NAME",
            Self::Server(_) => "SERVER",
        }
    }
}

fn rdata(rest: &str) -> Option<Command> {
    let mut words = rest.splitn(4, ' ');
    let (stream, instance, token) = (words.next()?, words.next()?, words.next()?);
    let token = if token == "batch" { None } else { Some(token.parse().ok()?) };
    let row = serde_json::from_str(words.next()?).ok()?;
    Some(Command::Rdata { stream: stream.to_owned(), instance: instance.into(), token, row })
}

fn position(rest: &str) -> Option<Command> {
    let mut words = rest.split(' ');
    let (stream, instance) = (words.next()?.to_owned(), words.next()?.into());
    let (prev, new) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
    words.next().is_none().then_some(Command::Position { stream, instance, prev, new })
}

fn user_sync(rest: &str) -> Option<Command> {
    let words: Vec<&str> = rest.splitn(5, ' ').collect();
    let [instance_id, user_id, device_id, state, last_sync] = words.as_slice() else { return None };
    let syncing = match *state {
        "start" => true,
        "end" => false,
        _ => return None,
    };
    Some(Command::UserSync {
        instance_id: (*instance_id).to_owned(),
        user_id: (*user_id).to_owned(),
        // Python's spelling of null.
        device_id: (*device_id != "None").then(|| (*device_id).to_owned()),
        syncing,
        last_sync_ms: last_sync.parse().ok()?,
    })
}

fn user_ip(rest: &str) -> Option<Command> {
    let (user_id, data) = rest.split_once(' ')?;
    Some(Command::UserIp { user_id: user_id.to_owned(), data: serde_json::from_str(data).ok()? })
}

fn federation_ack(rest: &str) -> Option<Command> {
    let (instance, token) = rest.split_once(' ')?;
    Some(Command::FederationAck { instance: instance.to_owned(), token: token.parse().ok()? })
}

fn lock_released(rest: &str) -> Option<Command> {
    let (instance, name, key) = serde_json::from_str(rest).ok()?;
    Some(Command::LockReleased { instance, name, key })
}

impl Display for Command {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.name())?;
        match self {
            Self::Rdata { stream, instance, token: Some(token), row } => write!(f, "{stream} {instance} {token} {row}"),
            Self::Rdata { stream, instance, token: None, row } => write!(f, "{stream} {instance} batch {row}"),
            Self::Position { stream, instance, prev, new } => write!(f, "{stream} {instance} {prev} {new}"),
            Self::Replicate => Ok(()),
            Self::UserSync { instance_id, user_id, device_id, syncing, last_sync_ms } => {
                let device_id = device_id.as_deref().unwrap_or("None");
                let state = if *syncing { "start" } else { "end" };
                write!(f, "{instance_id} {user_id} {device_id} {state} {last_sync_ms}")
            }
            Self::UserIp { user_id, data } => write!(f, "{user_id} {data}"),
            Self::FederationAck { instance, token } => write!(f, "{instance} {token}"),
            Self::LockReleased { instance, name, key } => {
                f.write_str(&serde_json::json!([instance, name, key]).to_string())
            }
            Self::ClearUserSync { instance_id: text }
            | Self::RemoteServerUp { server: text }
            | Self::NewActiveTask { id: text }
            | Self::CancelTask { id: text }
            | Self::Ping(text)
            | Self::Error(text)
            | Self::Name(text)
            | Self::Server(text) => f.write_str(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_seen_on_the_wire_survive() {
        for line in [
            r#"RDATA caches master 2 ["user_last_seen_monthly_active",null,1795217273190]"#,
            r#"RDATA events master batch ["ev",["$PWq","!HUZ","m.room.member","@b:t",null,null,"join",false,false]]"#,
            "POSITION events w3 15 16",
            "REPLICATE ",
            "USER_SYNC lffCm @alice:lab.test ALICEDEV start 1795217407704",
            "USER_SYNC tSXCK @as_1:lab.test None end 1795218289499",
            "CLEAR_USER_SYNC lffCm",
            r#"USER_IP @alice:lab.test ["syt_x","10.9.8.7","drv","ALICEDEV",1795217407675]"#,
            "FEDERATION_ACK fed1 12",
            "REMOTE_SERVER_UP example.org",
            r#"LOCK_RELEASED ["w1","purge_pagination_lock","!HUZ"]"#,
            "NEW_ACTIVE_TASK abc",
            "CANCEL_TASK abc",
            "PING 1",
            "ERROR what is this",
            "NAME w1",
            "SERVER lab.test",
        ] {
            let command = Command::parse(line).unwrap().unwrap();
            assert_eq!(command.to_string(), line);
        }
        assert_eq!(Command::parse("REPLICATE").unwrap(), Some(Command::Replicate));
        assert_eq!(Command::parse(" ").unwrap(), None);
    }

    #[test]
    fn malformed_lines_are_refused() {
        for line in
            ["RDATA", "RDATA a b c []", "RDATA a b 1 [", "POSITION a b 1", "POSITION a b 1 2 3", "USER_SYNC a b c d 1"]
        {
            assert!(matches!(Command::parse(line), Err(ParseError::Malformed(_))), "{line}");
        }
        assert_eq!(Command::parse("WHAT now"), Err(ParseError::Unknown("WHAT".to_owned())));
    }

    fn word() -> impl Strategy<Value = String> {
        "[^ \\s]{1,20}"
    }

    /// Lines that other processes print.
    fn command() -> impl Strategy<Value = Command> {
        let row = any::<(String, Option<i64>, bool)>().prop_map(|(a, b, c)| serde_json::json!([a, b, { "c": c }]));
        prop_oneof![
            (word(), word(), any::<Option<i64>>(), row.clone()).prop_map(|(stream, instance, token, row)| {
                Command::Rdata { stream, instance: instance.into(), token, row }
            }),
            (word(), word(), any::<i64>(), any::<i64>()).prop_map(|(stream, instance, prev, new)| {
                Command::Position { stream, instance: instance.into(), prev, new }
            }),
            (word(), word(), proptest::option::of("[A-Z]{1,10}"), any::<bool>(), any::<i64>()).prop_map(
                |(instance_id, user_id, device_id, syncing, last_sync_ms)| Command::UserSync {
                    instance_id,
                    user_id,
                    device_id,
                    syncing,
                    last_sync_ms
                }
            ),
            (word(), row).prop_map(|(user_id, data)| Command::UserIp { user_id, data }),
            any::<(String, String, String)>().prop_map(|(instance, name, key)| Command::LockReleased {
                instance,
                name,
                key
            }),
            (word(), any::<i64>()).prop_map(|(instance, token)| Command::FederationAck { instance, token }),
        ]
    }

    proptest! {
        #[test]
        fn what_is_printed_is_parsed(command in command()) {
            prop_assert_eq!(Command::parse(&command.to_string()), Ok(Some(command)));
        }

        #[test]
        fn no_line_panics(
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
            name in "(RDATA|POSITION|USER_SYNC|USER_IP|LOCK_RELEASED|FEDERATION_ACK|REPLICATE|[A-Z_]*)",
            words in proptest::collection::vec("(batch|-?[0-9]{1,25}|None|start|end|\\[\"?|\\]|\\{|\"|[^ ]{0,5})", 0..7),
        ) {
            let rest = String::from_utf8_lossy(&bytes).into_owned();
            for line in [rest.clone(), format!("{name} {rest}"), format!("{name} {}", words.join(" "))] {
                if let Ok(Some(command)) = Command::parse(&line) {
                    let _ = command.to_string();
                }
            }
        }
    }
}
