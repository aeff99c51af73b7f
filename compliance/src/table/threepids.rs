//! `GET /account/3pid`.

use crate::row::{Row, get};

pub fn rows() -> Vec<Row> {
    vec![
        get("threepids/two", "/_matrix/client/v3/account/3pid").by("alice").has("/threepids/1/address"),
        get("threepids/none", "/_matrix/client/v3/account/3pid").by("bob").has("/threepids"),
        get("threepids/r0", "/_matrix/client/r0/account/3pid").by("alice"),
        get("threepids/guest", "/_matrix/client/v3/account/3pid").by("guest").status(403),
        get("threepids/nobody", "/_matrix/client/v3/account/3pid").status(401),
    ]
}
