//! Which files make up the configuration. Answers to `RootConfig.load_config` in `synapse/config/_base.py`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use crate::error::ConfigError;
use crate::section::Section;
use crate::yaml;

pub struct Files {
    merged: Value,
    /// Which file a top-level key came from, for the complaint about it.
    origins: HashMap<String, PathBuf>,
    /// Where the last file lies: files without a path of their own are looked for there.
    folder: PathBuf,
}

impl Files {
    pub fn root(&self) -> Section<'_> {
        Section::root(&self.merged, &self.origins)
    }

    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

pub fn read(paths: &[PathBuf]) -> Result<Files, ConfigError> {
    let mut merged = Map::new();
    let mut origins = HashMap::new();
    let files = expand(paths)?;
    let folder = files.last().and_then(|file| file.parent()).map(Path::to_owned).unwrap_or_default();
    for file in files {
        let fault = |reason: String| ConfigError::File { file: file.clone(), reason };
        let text = std::fs::read_to_string(&file).map_err(|error| fault(error.to_string()))?;
        // Synapse skips what is not a mapping, for example an empty file.
        if let Value::Object(map) = yaml::load(&text).map_err(|error| fault(error.to_string()))? {
            for (key, value) in map {
                origins.insert(key.clone(), file.clone());
                merged.insert(key, value);
            }
        }
    }
    Ok(Files { merged: Value::Object(merged), origins, folder })
}

/// A folder stands for its `*.yaml` files in order of name.
fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, ConfigError> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let mut inside = yaml_files(path)
                .map_err(|error| ConfigError::File { file: path.clone(), reason: error.to_string() })?;
            inside.sort();
            files.extend(inside);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

fn yaml_files(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_file() && path.extension().is_some_and(|extension| extension == "yaml") {
            files.push(path);
        }
    }
    Ok(files)
}
