//! `GET /rtc/transports`, `/media/config` and, for application services, `/rooms/{room_id}/is_joined`.

use crate::row::{Row, get};

const TRANSPORTS: &str = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports";
const MEDIA: &str = "/_matrix/client/v1/media/config";

fn is_joined(name: &str, room: &str) -> Row {
    let path = format!("/_matrix/client/unstable/io.element.msc4502/rooms/{room}/is_joined");
    get(&format!("is_joined/{name}"), &path).by("bridge")
}

pub fn rows() -> Vec<Row> {
    vec![
        get("rtc/transports", TRANSPORTS).by("bob").has("/rtc_transports/0/livekit_service_url"),
        get("rtc/guest", TRANSPORTS).by("guest").status(403),
        get("rtc/nobody", TRANSPORTS).status(401),
        get("media/config", MEDIA).by("bob").has("/m.upload.size"),
        get("media/config, guest", MEDIA).by("guest").status(403),
        get("media/config, nobody", MEDIA).status(401),
        is_joined("user", "<general>").query("mxid", "<@bob>").has("/joined"),
        is_joined("user who left", "<general>").query("mxid", "<@erin>"),
        is_joined("user who was invited", "<general>").query("mxid", "<@frank>"),
        is_joined("user who was never there", "<not ours>").query("mxid", "<@bob>"),
        is_joined("user of another server", "!elsewhere:other.test").query("mxid", "@remote:other.test"),
        is_joined("nobody of another server", "<general>").query("mxid", "@remote:other.test"),
        is_joined("unknown room", "!unknown:myelin.test").query("mxid", "<@bob>"),
        is_joined("server", "<general>").query("server_name", "myelin.test"),
        is_joined("other server", "!elsewhere:other.test").query("server_name", "other.test"),
        is_joined("server that is not there", "<general>").query("server_name", "other.test"),
        is_joined("no room id", "nonsense").query("mxid", "<@bob>").status(400),
        is_joined("no user id", "<general>").query("mxid", "bob").status(400),
        is_joined("no server name", "<general>").query("server_name", "a b").status(400),
        is_joined("neither", "<general>").status(400),
        is_joined("both", "<general>").query("mxid", "<@bob>").query("server_name", "myelin.test").status(400),
        is_joined("without the scope", "<general>").by("bob").query("mxid", "<@bob>").status(403),
        is_joined("guest", "<general>").by("guest").query("mxid", "<@bob>").status(403),
        is_joined("as another user", "<general>").query("mxid", "<@bob>").query("user_id", "<@bob>").status(403),
    ]
}
