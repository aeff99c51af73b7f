//! One log line, as Python's formatters print it. Answers to `logging.Formatter` and
//! `synapse/logging/_terse_json.py`.

use std::fmt::Write;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Map, Value};

/// What one line is made of.
pub struct Record<'a> {
    pub time: SystemTime,
    pub name: &'a str,
    pub level: &'a str,
    pub line: u32,
    pub file: &'a str,
    /// `GET-17`, while a request is worked on.
    pub request: Option<&'a str>,
    pub message: &'a str,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    Text(Vec<Piece>),
    /// `JsonFormatter`, and with the time `TerseJsonFormatter`.
    Json {
        time: bool,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    Literal(String),
    Field { name: String, width: usize, left: bool },
}

impl Default for Format {
    /// Synapse's own.
    fn default() -> Self {
        Self::parse("%(asctime)s - %(name)s - %(lineno)d - %(levelname)s - %(request)s - %(message)s")
    }
}

impl Format {
    /// Python's own default when a handler has no format.
    pub fn plain() -> Self {
        Self::parse("%(message)s")
    }

    /// `%(name)s`, `%(name)-8s`, `%(name)d`, `%%`; anything else stays as it is.
    pub fn parse(text: &str) -> Self {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            literal.push_str(before);
            if let Some((field, left)) = field(after) {
                pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                pieces.push(field);
                rest = left;
            } else {
                literal.push('%');
                rest = after.strip_prefix('%').unwrap_or(after);
            }
        }
        literal.push_str(rest);
        pieces.push(Piece::Literal(literal));
        pieces.retain(|piece| *piece != Piece::Literal(String::new()));
        Self::Text(pieces)
    }

    /// The line, with its line feed.
    pub fn line(&self, record: &Record<'_>) -> String {
        let mut out = String::with_capacity(record.message.len() + 128);
        match self {
            Self::Text(pieces) => {
                for piece in pieces {
                    match piece {
                        Piece::Literal(text) => out.push_str(text),
                        Piece::Field { name, width, left } => pad(&mut out, &value(name, record), *width, *left),
                    }
                }
            }
            Self::Json { time } => out.push_str(&json(record, *time)),
        }
        out.push('\n');
        out
    }
}

fn field(text: &str) -> Option<(Piece, &str)> {
    let (name, rest) = text.strip_prefix('(')?.split_once(')')?;
    let end = rest.find(|c: char| c.is_ascii_alphabetic())?;
    let (flags, rest) = (rest.get(..end)?, rest.get(end + 1..)?);
    let width = flags.trim_start_matches(['-', '0']).parse().unwrap_or(0);
    Some((Piece::Field { name: name.to_owned(), width, left: flags.starts_with('-') }, rest))
}

fn pad(out: &mut String, text: &str, width: usize, left: bool) {
    let written = if left { write!(out, "{text:<width$}") } else { write!(out, "{text:>width$}") };
    written.unwrap_or_default();
}

fn value(name: &str, record: &Record<'_>) -> String {
    match name {
        "asctime" => asctime(record.time),
        "name" => record.name.to_owned(),
        "levelname" => record.level.to_owned(),
        "lineno" => record.line.to_string(),
        "pathname" => record.file.to_owned(),
        "filename" | "module" => record.file.rsplit('/').next().unwrap_or_default().to_owned(),
        "request" => record.request.unwrap_or_default().to_owned(),
        "message" => record.message.to_owned(),
        "process" => std::process::id().to_string(),
        "processName" | "threadName" | "funcName" => "myelin".to_owned(),
        "created" => since_epoch(record.time).as_secs_f64().to_string(),
        "msecs" => since_epoch(record.time).subsec_millis().to_string(),
        _ => String::new(),
    }
}

fn json(record: &Record<'_>, time: bool) -> String {
    let mut object = Map::new();
    object.insert("log".to_owned(), record.message.into());
    object.insert("namespace".to_owned(), record.name.into());
    object.insert("level".to_owned(), record.level.into());
    if time {
        // Two decimals, as Python rounds it.
        let hundredths = since_epoch(record.time).as_millis() / 10;
        let seconds = format!("{}.{:02}", hundredths / 100, hundredths % 100);
        object.insert("time".to_owned(), serde_json::from_str(&seconds).unwrap_or(Value::Null));
    }
    if let Some(request) = record.request {
        object.insert("request".to_owned(), request.into());
    }
    Value::Object(object).to_string()
}

pub fn since_epoch(time: SystemTime) -> Duration {
    time.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// `2026-11-20 23:53:09,861`, in UTC: containers and servers run in it, and Rust's own library knows no other.
fn asctime(time: SystemTime) -> String {
    let since = since_epoch(time);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = date(days);
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02},{:03}",
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a number of days after 1970-01-01.
pub fn date(days: u64) -> (u64, u64, u64) {
    // Eras of 400 years that begin on a first of March, so that leap days come last.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            time: UNIX_EPOCH + Duration::from_millis(1_795_218_789_861),
            name: "synapse.access.http.8008",
            level: "INFO",
            line: 643,
            file: "src/x.rs",
            request: Some("GET-2"),
            message: "m \"x\"",
        }
    }

    #[test]
    fn synapses_own_format() {
        let expected = "2026-11-20 23:53:09,861 - synapse.access.http.8008 - 643 - INFO - GET-2 - m \"x\"\n";
        assert_eq!(Format::default().line(&record()), expected);
    }

    #[test]
    fn paddings_and_percent_signs() {
        let line = |text| Format::parse(text).line(&record());
        assert_eq!(line("%(levelname)-6s|%(levelname)6s|%(filename)s 100%% %x"), "INFO  |  INFO|x.rs 100% %x\n");
    }

    #[test]
    fn json_lines() {
        let line = Format::Json { time: true }.line(&record());
        let value: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["log"], "m \"x\"");
        assert_eq!(value["time"].to_string(), "1795218789.86");
        assert_eq!(value["request"], "GET-2");
    }

    #[test]
    fn dates() {
        for (days, expected) in
            [(0, (1970, 1, 1)), (59, (1970, 3, 1)), (11_016, (2000, 2, 29)), (20_777, (2026, 11, 20))]
        {
            assert_eq!(date(days), expected);
        }
    }
}
