//! Methods, paths, encodings and preflights that nobody should send.

use crate::row::{Row, get, send};

pub fn rows() -> Vec<Row> {
    let mut rows = vec![
        get("bad_input/outside", "/foo").status(404),
        get("bad_input/root", "/_matrixx/client").status(404),
        get("bad_input/unknown version", "/_matrix/client/v9/sync").by("bob").status(404),
        get("bad_input/unknown route", "/_matrix/client/v3/nonsense").by("bob").status(404),
        get("bad_input/prefix only", "/_matrix/client").status(404),
        get("bad_input/double slash", "/_matrix//client/versions").status(404),
        get("bad_input/unknown federation route", "/_matrix/federation/v1/nonsense").status(404),
        get("bad_input/sync with more path", "/_matrix/client/v3/sync/x").by("bob").status(404),
        get("bad_input/encoded slash", "/_matrix/client/v3/rooms/%21a%2Fb/members").by("bob").status(403),
        get("bad_input/bad percent", "/_matrix/client/v3/rooms/%zz/members").by("bob").status(403),
        get("bad_input/not UTF-8 in the path", "/_matrix/client/v3/rooms/%ff/members").by("bob").status(403),
        get("bad_input/plus in the path", "/_matrix/client/v3/rooms/a+b/members").by("bob").status(403),
        get("bad_input/nul in the path", "/_matrix/client/v3/rooms/%00/members").by("bob").status(500),
        get("bad_input/not UTF-8 in the query", "/_matrix/client/v3/rooms/<general>/members?membership=%ff")
            .by("bob")
            .status(400),
        get("bad_input/not ASCII in the query", "/_matrix/client/v3/rooms/<general>/members?at=%C3%A4")
            .by("bob")
            .status(400),
        get("bad_input/semicolons", "/_matrix/client/v3/rooms/<general>/members?x=1;membership=ban").by("bob"),
        get("bad_input/no value", "/_matrix/client/v3/rooms/<general>/members?membership&at").by("bob"),
    ];
    for path in ["/_matrix/client/v3/sync", "/_matrix/client/v9/x", "/nowhere", "/health", "/_matrix/client/versions"] {
        rows.push(send("OPTIONS", &format!("bad_input/preflight {path}"), path).status(204));
    }
    for method in ["PUT", "POST", "DELETE", "PATCH", "FOO"] {
        for path in ["/_matrix/client/v3/sync", "/_matrix/client/v3/rooms/<general>/members"] {
            let area = path.rsplit('/').next().unwrap_or_default();
            let row = send(method, &format!("bad_input/{method} {area}"), path).by("bob").body(b"{}");
            rows.push(row.status(405));
        }
    }
    rows
}
