//! Media and media administration: registered on a generic worker, always passed on. Answers to `synapse/rest/media/`.

use super::{Resource, Route};

const fn route(methods: &'static str, pattern: &'static str, servlet: &'static str) -> Route {
    Route::of(Resource::Media, methods, pattern, servlet)
}

/// In order of registration: the first pattern that matches a path decides.
#[rustfmt::skip]
pub(super) const ROUTES: [Route; 22] = [
    route("POST", "/_matrix/media/v1/create", "CreateResource"),
    route("POST", "/_matrix/media/(r0|v3|v1)/upload", "UploadServlet"),
    route("PUT", "/_matrix/media/v3/upload/{server_name}/{media_id}", "AsyncUploadServlet"),
    route("GET", "/_matrix/media/(r0|v3|v1)/download/{server_name}/{media_id}[/{file_name}]", "DownloadResource"),
    route("GET", "/_matrix/media/(r0|v3|v1)/thumbnail/{server_name}/{media_id}", "ThumbnailResource"),
    route("GET", "/_matrix/media/(r0|v3|v1)/preview_url", "PreviewUrlResource"),
    route("GET", "/_matrix/media/(r0|v3|v1)/config", "MediaConfigResource"),
    route("POST", "/_synapse/admin/v1/purge_media_cache", "PurgeMediaCacheRestServlet"),
    route("POST", "/_synapse/admin/v1/room/{room_id}/media/quarantine", "QuarantineMediaInRoom"),
    route("POST", "/_synapse/admin/v1/quarantine_media/{room_id}", "QuarantineMediaInRoom"),
    route("POST", "/_synapse/admin/v1/media/quarantine/{server_name}/{media_id}", "QuarantineMediaByID"),
    route("POST", "/_synapse/admin/v1/media/unquarantine/{server_name}/{media_id}", "UnquarantineMediaByID"),
    route("POST", "/_synapse/admin/v1/user/{user_id}/media/quarantine", "QuarantineMediaByUser"),
    route("GET", "/_synapse/admin/v1/media/quarantine_changes", "ListQuarantineChanges"),
    route("POST", "/_synapse/admin/v1/media/protect/{media_id}", "ProtectMediaByID"),
    route("POST", "/_synapse/admin/v1/media/unprotect/{media_id}", "UnprotectMediaByID"),
    route("GET", "/_synapse/admin/v1/room/{room_id}/media", "ListMediaInRoom"),
    route("POST", "/_synapse/admin/v1/media/delete", "DeleteMediaByDateSize"),
    route("POST", "/_synapse/admin/v1/media/{server_name}/delete", "DeleteMediaByDateSize"),
    route("DELETE", "/_synapse/admin/v1/media/{server_name}/{media_id}", "DeleteMediaByID"),
    route("GET DELETE", "/_synapse/admin/v1/users/{user_id}/media", "UserMediaRestServlet"),
    route("GET", "/_synapse/admin/v1/media/{server_name}/{media_id}", "QueryMediaById"),
];
