//! How many files, and with them connections, may be open. Answers to `change_resource_limit` in
//! `synapse/util/rlimit.py`.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// `soft_file_limit`: 0 is as many as the operator's hard limit allows.
pub fn raise_open_files(soft_file_limit: u64) {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let current = if soft_file_limit == 0 { maximum } else { Some(soft_file_limit) };
    match setrlimit(Resource::Nofile, Rlimit { current, maximum }) {
        Ok(()) => tracing::info!("Set file limit to: {}", current.map_or("unlimited".to_owned(), |n| n.to_string())),
        Err(error) => tracing::warn!("Failed to set file or core limit: {error}"),
    }
}
