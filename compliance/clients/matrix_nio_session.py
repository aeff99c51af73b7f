"""A whole session of matrix-nio: encrypted rooms, membership, to-device messages, a burst, a return after a while.

Usage: matrix_nio_session.py URL. Prints a line for each thing that a person would notice; exits with 1 if one of them is missing.
"""

import asyncio
import json
import sys
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request

import nio
from nio.event_builders import ToDeviceMessage

URL = sys.argv[1]
# Generous: the machine may be busy.
PATIENCE = 90
LAZY = {"room": {"state": {"lazy_load_members": True}, "timeline": {"limit": 20, "unread_thread_notifications": True}}}
missing = []


def note(what, holds, detail=""):
    print("ok  " if holds else "FAIL", what, "" if holds else str(detail)[:500], flush=True)
    if not holds:
        missing.append(what)


def check(what, response):
    note(what, not isinstance(response, nio.ErrorResponse), response)
    return response


async def until(what, condition):
    deadline = time.monotonic() + PATIENCE
    while not condition() and time.monotonic() < deadline:
        await asyncio.sleep(0.05)
    note(what, condition())


class User(nio.AsyncClient):
    """Somebody who syncs, and keeps what comes."""

    @classmethod
    async def start(cls, name, sync_filter=None):
        config = nio.AsyncClientConfig(encryption_enabled=True, store_sync_tokens=True)
        first = cls(URL, name, config=config, store_path=tempfile.mkdtemp())
        registered = check(f"register {name}", await first.register(name, f"password of {name}", "first"))
        await first.logout()
        await first.close()
        self = cls(URL, registered.user_id, config=config, store_path=tempfile.mkdtemp())
        check(f"log in {name}", await self.login(f"password of {name}", device_name="nio"))
        self.sync_filter = sync_filter
        self.events, self.messages_to_device, self.presences, self.account_data = [], [], [], []
        self.errors, self.left = [], []
        self.add_event_callback(lambda _, event: self.events.append(event), (nio.Event, nio.InviteEvent))
        self.add_ephemeral_callback(lambda _, event: self.events.append(event), nio.EphemeralEvent)
        self.add_to_device_callback(self.messages_to_device.append, nio.ToDeviceEvent)
        self.add_presence_callback(self.presences.append, nio.PresenceEvent)
        self.add_room_account_data_callback(lambda _, data: self.account_data.append(data), nio.AccountDataEvent)
        self.add_response_callback(self.errors.append, nio.SyncError)
        self.add_response_callback(lambda response: self.left.extend(response.rooms.leave), nio.SyncResponse)
        self.syncs = asyncio.create_task(
            self.sync_forever(timeout=10000, full_state=True, sync_filter=sync_filter, loop_sleep_time=0)
        )
        return self

    def has(self, kind, condition=lambda event: True):
        return any(isinstance(event, kind) and condition(event) for event in self.events)

    def has_text(self, body):
        return self.has(nio.RoomMessageText, lambda event: event.body == body)

    async def say(self, room, body):
        content = {"msgtype": "m.text", "body": body}
        return check(f"send {body}", await self.room_send(room, "m.room.message", content, ignore_unverified_devices=True))

    async def end(self):
        note(f"no sync of {self.user} failed", not self.errors, self.errors)
        self.syncs.cancel()
        await self.close()


async def encrypted_room(alice, bob):
    encryption = [nio.EnableEncryptionBuilder().as_dict()]
    created = check("create", await alice.room_create(name="Room", topic="t", invite=[bob.user_id], initial_state=encryption))
    room = created.room_id
    await until("the invite comes", lambda: room in bob.invited_rooms)
    check("join", await bob.join(room))
    await until("both see each other", lambda: room in bob.rooms and bob.user_id in alice.rooms[room].users)
    await until("both know that it is encrypted", lambda: alice.rooms[room].encrypted and bob.rooms[room].encrypted)
    for number in range(5):
        await alice.say(room, f"secret {number}")
    await until("bob reads them", lambda: all(bob.has_text(f"secret {number}") for number in range(5)))
    await bob.say(room, "answer")
    await until("alice reads the answer", lambda: alice.has_text("answer"))
    note("nothing stays encrypted", not bob.has(nio.MegolmEvent) and not alice.has(nio.MegolmEvent))
    return room


async def marks(alice, bob, room):
    last = [event for event in bob.events if isinstance(event, nio.RoomMessageText)][-1]
    check("type", await bob.room_typing(room, True, 20000))
    await until("alice sees it", lambda: alice.has(nio.TypingNoticeEvent, lambda event: bob.user_id in event.users))
    check("read", await bob.room_read_markers(room, last.event_id, last.event_id))
    await until("alice sees the receipt", lambda: alice.has(nio.ReceiptEvent))
    await until("bob sees the marker", lambda: any(isinstance(data, nio.FullyReadEvent) for data in bob.account_data))
    relation = {"m.relates_to": {"rel_type": "m.annotation", "event_id": last.event_id, "key": "x"}}
    reaction = check("react", await alice.room_send(room, "m.reaction", relation, ignore_unverified_devices=True))
    check("redact", await alice.room_redact(room, reaction.event_id))
    await until("bob sees the redaction", lambda: bob.has(nio.RedactionEvent))
    check("rename", await alice.set_displayname("Alice A"))
    await until("bob sees the name", lambda: bob.rooms[room].user_name(alice.user_id) == "Alice A")
    check("presence", await alice.set_presence("online", "here"))
    await until("bob sees presence", lambda: any(event.user_id == alice.user_id for event in bob.presences))
    check("send to a device", await alice.to_device(ToDeviceMessage("my.thing", bob.user_id, bob.device_id, {"x": 1})))
    await until("it comes", lambda: any(event.source.get("type") == "my.thing" for event in bob.messages_to_device))
    return last


async def reads(alice, room, last):
    note("three members", len(check("joined_members", await alice.joined_members(room)).members) == 3)
    check("state", await alice.room_get_state(room))
    check("state event", await alice.room_get_state_event(room, "m.room.name"))
    check("event", await alice.room_get_event(room, last.event_id))
    check("joined_rooms", await alice.joined_rooms())
    history = check("messages", await alice.room_messages(room, alice.next_batch, limit=100))
    said = {event.body for event in history.chunk if isinstance(event, nio.RoomMessageText)}
    note("the history is whole", said == {"answer", "for three", *(f"secret {number}" for number in range(5))}, said)
    check("context", await alice.room_context(room, last.event_id))
    check("filter", await alice.upload_filter(room=LAZY["room"]))
    check("devices", await alice.devices())
    check("profile", await alice.get_profile())


async def raw(user, method, path, body=None):
    """What matrix-nio has no function for."""

    def ask():
        headers = {"Authorization": f"Bearer {user.access_token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{URL}/_matrix/client/v3/{path}", data, headers, method=method)
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            note(f"{method} {path}", False, error.read())
            return {}

    return await asyncio.to_thread(ask)


async def backup(bob, room):
    info = {"algorithm": "m.megolm_backup.v1.curve25519-aes-sha2", "auth_data": {"public_key": "x"}}
    version = (await raw(bob, "POST", "room_keys/version", info)).get("version")
    key = {"first_message_index": 0, "forwarded_count": 0, "is_verified": True, "session_data": {"ciphertext": "x"}}
    stored = await raw(bob, "PUT", f"room_keys/keys?version={version}", {"rooms": {room: {"sessions": {"session": key}}}})
    note("a key is backed up", stored.get("count") == 1, stored)
    kept = await raw(bob, "GET", f"room_keys/keys/{urllib.parse.quote(room)}/session?version={version}")
    note("it is what was sent", kept == key, kept)


async def search(alice, bob):
    created = check("create an open room", await alice.room_create(name="open", preset=nio.RoomPreset.public_chat))
    check("bob joins it", await bob.join(created.room_id))
    await until("bob knows it", lambda: created.room_id in bob.rooms)
    await alice.say(created.room_id, "a needle in the hay")
    await until("bob reads it", lambda: bob.has_text("a needle in the hay"))
    body = {"search_categories": {"room_events": {"search_term": "needle", "order_by": "recent"}}}
    found = (await raw(bob, "POST", "search", body)).get("search_categories", {}).get("room_events", {})
    note("bob finds it", found.get("count") == 1, found)


async def membership(alice, bob, carol, room):
    check("invite carol", await alice.room_invite(room, carol.user_id))
    await until("carol sees it", lambda: room in carol.invited_rooms)
    check("carol joins", await carol.join(room))
    await until("bob sees her", lambda: carol.user_id in bob.rooms[room].users)
    await bob.say(room, "for three")
    await until("carol reads it", lambda: carol.has_text("for three"))


async def removal(alice, bob, carol, room):
    check("kick", await alice.room_kick(room, carol.user_id, "bye"))
    await until("carol sees it", lambda: room in carol.left)
    await until("bob sees it", lambda: carol.user_id not in bob.rooms[room].users)
    check("ban", await alice.room_ban(room, carol.user_id, "bye"))
    check("unban", await alice.room_unban(room, carol.user_id))
    check("invite again", await alice.room_invite(room, carol.user_id))
    await until("carol sees that", lambda: room in carol.invited_rooms)
    check("reject", await carol.room_leave(room))


async def burst(alice, bob, room):
    # As many as fit into the timeline of one sync.
    await asyncio.gather(*[alice.say(room, f"burst {number}") for number in range(20)])
    said = lambda: [event for event in bob.events if isinstance(event, nio.RoomMessageText) and "burst" in event.body]
    await until("bob has the burst", lambda: len({event.body for event in said()}) == 20)
    note("nothing came twice", len(said()) == len({event.event_id for event in said()}))


async def away(alice, bob, room):
    bob.syncs.cancel()
    token = bob.next_batch
    await alice.say(room, "while away")
    check("sync from where bob was", await bob.sync(timeout=5000, since=token, sync_filter=LAZY))
    note("what came meanwhile is there", bob.has_text("while away"))
    check("leave", await bob.room_leave(room))
    await until("alice sees it", lambda: bob.user_id not in alice.rooms[room].users)
    check("full state", await bob.sync(timeout=0, full_state=True))
    check("forget", await bob.room_forget(room))


async def main():
    users = alice, bob, carol = [await User.start("alice_nio"), await User.start("bob_nio", LAZY), await User.start("carol_nio", LAZY)]
    room = await encrypted_room(alice, bob)
    last = await marks(alice, bob, room)
    await membership(alice, bob, carol, room)
    await reads(alice, room, last)
    await backup(bob, room)
    await search(alice, bob)
    await removal(alice, bob, carol, room)
    await burst(alice, bob, room)
    await away(alice, bob, room)
    for user in users:
        await user.end()


asyncio.run(main())
sys.exit(f"missing: {missing}" if missing else 0)
