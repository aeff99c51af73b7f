//! Writes down which function stands at which line: a statement is known by the place that asks for a connection, and
//! dashboards want the function's name, which is Synapse's (`desc` of `synapse/storage/database.py`).

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo:rerun-if-changed=src");
    let mut files: Vec<_> =
        fs::read_dir("src")?.collect::<io::Result<Vec<_>>>()?.iter().map(fs::DirEntry::path).collect();
    files.sort();
    let mut table =
        String::from("/// File, first line, function; in order.\npub const FUNCTIONS: &[(&str, u32, &str)] = &[\n");
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        for (line, text) in fs::read_to_string(file)?.lines().enumerate() {
            if let Some(function) = function(text) {
                let _ = writeln!(table, "    ({name:?}, {}, {function:?}),", line + 1);
            }
        }
    }
    table.push_str("];\n");
    let folder = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    fs::write(Path::new(&folder).join("functions.rs"), table)
}

/// The name, if a function begins on this line.
fn function(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for before in ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "] {
        rest = rest.strip_prefix(before).unwrap_or(rest);
    }
    let name = rest.strip_prefix("fn ")?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_').next()
}
