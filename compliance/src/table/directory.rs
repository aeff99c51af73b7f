//! `GET /directory/room/{room_alias}` and `/rooms/{room_id}/aliases`.

use crate::row::{Row, get};

fn room(name: &str, alias: &str) -> Row {
    get(&format!("directory/{name}"), &format!("/_matrix/client/v3/directory/room/{alias}"))
}

fn aliases(name: &str, room: &str) -> Row {
    get(&format!("aliases/{name}"), &format!("/_matrix/client/v3/rooms/<{room}>/aliases"))
}

pub fn rows() -> Vec<Row> {
    vec![
        room("nobody", "%23general:myelin.test").has("/servers/0"),
        room("with a token", "%23general:myelin.test").by("bob").has("/room_id"),
        room("with a wrong token", "%23general:myelin.test").token("wrong"),
        room("unknown", "%23unknown:myelin.test").status(404),
        room("upper case", "%23General:myelin.test").status(404),
        room("no alias", "nonsense").status(400),
        room("a room id", "<general>").status(400),
        room("without a server", "%23general").status(400),
        room("a bad server", "%23general:my_elin").status(400),
        room("empty", "").status(400),
        get("directory/r0", "/_matrix/client/r0/directory/room/%23general:myelin.test"),
        get("directory/api v1", "/_matrix/client/api/v1/directory/room/%23general:myelin.test"),
        aliases("one", "general").by("bob").has("/aliases/0"),
        aliases("none", "busy").by("bob").has("/aliases"),
        aliases("admin", "unnamed").by("root").has("/aliases"),
        aliases("guest", "general").by("guest").status(403),
        aliases("world readable", "world_readable").by("heidi").has("/aliases"),
        aliases("after leaving", "left").by("bob").status(403),
        aliases("not a member", "not ours").by("bob").status(403),
        aliases("only invited", "open invite").by("bob").status(403),
        aliases("nobody", "general").status(401),
        get("aliases/unstable", "/_matrix/client/unstable/org.matrix.msc2432/rooms/<general>/aliases").by("bob"),
        get("aliases/api v1", "/_matrix/client/api/v1/rooms/<general>/aliases").by("bob").status(404),
        get("aliases/unknown room", "/_matrix/client/v3/rooms/!no:myelin.test/aliases").by("bob").status(403),
    ]
}
