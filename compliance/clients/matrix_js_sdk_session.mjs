// A whole session of matrix-js-sdk: encrypted rooms, threads, edits, tags, push rules, a key backup read by a new
// device, search, a gap in the timeline, knocking, an upgrade.
//
// Usage: node matrix_js_sdk_session.mjs URL. Prints a line for each thing that a person would notice; exits with 1 if one is missing.

import * as sdk from "matrix-js-sdk";
import { logger } from "matrix-js-sdk/lib/logger.js";

logger.setLevel("silent");
const silent = new Proxy({}, { get: (_, name) => (name === "getChild" ? () => silent : () => {}) });
const url = process.argv[2];
// Milliseconds; generous, for the machine may be busy.
const PATIENCE = 90_000;
const START = { initialSyncLimit: 8, lazyLoadMembers: true, threadSupport: true, pollTimeout: 10_000 };
const missing = [];

const note = (what, holds, detail) => {
  console.log(holds ? "ok  " : "FAIL", what, holds ? "" : (detail ?? ""));
  if (!holds) missing.push(what);
};
const step = async (what, promise) => {
  try {
    const result = await promise;
    note(what, true);
    return result;
  } catch (error) {
    note(what, false, error);
  }
};
// Of what is in a thread the SDK does not find its own echo when /sync is faster than the answer to the request: its
// `Room.updatePendingEvent` looks in the room's timeline alone, and throws. It is sent all the same, which `until` shows.
const threaded = (promise) => promise.catch((error) => {
  if (!error.message.includes("not a local echo")) throw error;
});
const until = async (what, condition) => {
  const deadline = Date.now() + PATIENCE;
  let holds = false;
  while (!holds && Date.now() < deadline) {
    // What is not there yet may be undefined on the way.
    holds = await Promise.resolve().then(condition).catch(() => false);
    if (!holds) await new Promise((resolve) => setTimeout(resolve, 50));
  }
  note(what, holds);
};

const follow = async (name, credentials, { crypto = true, ...options } = {}) => {
  const client = sdk.createClient({ baseUrl: url, timelineSupport: true, logger: silent, ...credentials });
  if (crypto) await client.initRustCrypto({ useIndexedDB: false });
  client.on("sync", (state, _, data) => state === "ERROR" && note(`${name} syncs`, false, data?.error));
  client.on("sync.unexpectedError", (error) => note(`${name} understands the sync`, false, error));
  await client.startClient({ ...START, ...options });
  await until(`${name} is prepared`, () => ["PREPARED", "SYNCING"].includes(client.getSyncState()));
  return client;
};
const credentials = (answer) => ({ userId: answer.user_id, accessToken: answer.access_token, deviceId: answer.device_id });
const password = (name) => `password of ${name}`;
const register = async (name, options) => {
  const body = { username: name, password: password(name), auth: { type: "m.login.dummy" } };
  return follow(name, credentials(await sdk.createClient({ baseUrl: url, logger: silent }).registerRequest(body)), options);
};
const log_in = async (name) => {
  const body = { type: "m.login.password", identifier: { type: "m.id.user", user: name }, password: password(name) };
  return follow(`${name} again`, credentials(await sdk.createClient({ baseUrl: url, logger: silent }).loginRequest(body)));
};
const body_of = (event) => event.getContent().body;
const all_events = (client, room) =>
  client.getRoom(room).getUnfilteredTimelineSet().getTimelines().flatMap((timeline) => timeline.getEvents());
const has = (client, room, body) => all_events(client, room).some((event) => body_of(event) === body);
const member = (client, room, of) => client.getRoom(room).getMember(of.getUserId());
const membership = (client, room) => client.getRoom(room)?.getMyMembership();
const page_back = async (client, room) => {
  const timeline = client.getRoom(room).getLiveTimeline();
  for (let page = 0; page < 10 && (await client.paginateEventTimeline(timeline, { backwards: true, limit: 50 })); page++);
};

const alice = await register("alice_js");
const bob = await register("bob_js");
const carol = await register("carol_js", { lazyLoadMembers: false });

// An encrypted room.
await step("whoami", alice.whoami());
await step("capabilities", alice.getCapabilities());
const encryption = { type: "m.room.encryption", state_key: "", content: { algorithm: "m.megolm.v1.aes-sha2" } };
const { room_id: room } = await step(
  "create",
  alice.createRoom({ name: "Room", topic: "t", invite: [bob.getUserId()], initial_state: [encryption] }),
);
await until("bob is invited", () => membership(bob, room) === "invite");
note("the invite has the room's name", bob.getRoom(room)?.name === "Room", bob.getRoom(room)?.name);
await step("bob joins", bob.joinRoom(room));
await until("alice sees bob", () => member(alice, room, bob)?.membership === "join");
await until("both know that it is encrypted", () =>
  [alice, bob].every((client) => client.getRoom(room).hasEncryptionStateEvent()));
for (let number = 0; number < 5; number++) await step(`send ${number}`, alice.sendTextMessage(room, `secret ${number}`));
await until("bob reads them", () => [0, 1, 2, 3, 4].every((number) => has(bob, room, `secret ${number}`)));
await step("bob answers", bob.sendTextMessage(room, "answer"));
await until("alice reads the answer", () => has(alice, room, "answer"));

// A new device reads the history from the backup.
const crypto = alice.getCrypto();
await step("sign the own device", crypto.bootstrapCrossSigning({ authUploadDeviceSigningKeys: (upload) => upload(null) }));
await until("cross-signing is ready", () => crypto.isCrossSigningReady());
await until("bob knows that alice's device is hers", async () => {
  const status = await bob.getCrypto().getDeviceVerificationStatus(alice.getUserId(), alice.getDeviceId());
  return status.signedByOwner;
});
await step("back up keys", crypto.resetKeyBackup());
await until("the keys are backed up", async () => (await alice.http.authedRequest("GET", "/room_keys/version")).count > 0);
const version = await crypto.getActiveSessionBackupVersion();
const alice2 = await log_in("alice_js");
await step("take the backup's key", crypto.getSessionBackupPrivateKey().then((key) =>
  alice2.getCrypto().storeSessionBackupPrivateKey(key, version)));
await step("restore", alice2.getCrypto().restoreKeyBackup());
await step("page back", page_back(alice2, room));
await until("the new device reads what was said before", () => {
  const events = all_events(alice2, room).filter((event) => event.isEncrypted());
  for (const event of events.filter((event) => event.isDecryptionFailure())) event.attemptDecryption(alice2.getCrypto(), { isRetry: true });
  return [0, 1, 2, 3, 4].every((number) => has(alice2, room, `secret ${number}`));
});
alice2.stopClient();

// Marks, members, relations.
const last = bob.getRoom(room).getLiveTimeline().getEvents().at(-1);
await step("read", bob.sendReadReceipt(last));
await until("alice sees the receipt", () => {
  const event = alice.getRoom(room).findEventById(last.getId());
  return alice.getRoom(room).getUsersReadUpTo(event).includes(bob.getUserId());
});
await step("type", bob.sendTyping(room, true, 20_000));
await until("alice sees it", () => member(alice, room, bob).typing);
await step("load members", bob.getRoom(room).loadMembersIfNeeded());
note("bob knows two members", bob.getRoom(room).getJoinedMembers().length === 2);
await step("invite carol", alice.invite(room, carol.getUserId()));
await until("carol is invited", () => membership(carol, room) === "invite");
await step("carol joins", carol.joinRoom(room));
await until("bob sees carol", () => member(bob, room, carol).membership === "join");
await step("send to three", bob.sendTextMessage(room, "for three"));
await until("carol reads it", () => has(carol, room, "for three"));
const root = await step("send what has a thread", alice.sendTextMessage(room, "root"));
await until("bob reads it", () => has(bob, room, "root"));
const relate = (relation) => ({ "m.relates_to": { event_id: root.event_id, ...relation } });
const reply = { msgtype: "m.text", body: "in the thread", ...relate({ rel_type: "m.thread" }) };
await step("reply in a thread", threaded(bob.sendMessage(room, reply)));
await until("alice has the thread", () => alice.getRoom(room).getThread(root.event_id)?.length === 1);
const edited = { "m.new_content": { msgtype: "m.text", body: "rooted" } };
const edit = { msgtype: "m.text", body: "* rooted", ...edited, ...relate({ rel_type: "m.replace" }) };
await step("edit", threaded(alice.sendMessage(room, edit)));
await until("bob sees the edit", () => body_of(bob.getRoom(room).findEventById(root.event_id)) === "rooted");
const reaction = await step("react", bob.sendEvent(room, "m.reaction", relate({ rel_type: "m.annotation", key: "x" })));
await step("redact", bob.redactEvent(room, reaction.event_id));
await step("relations", alice.relations(room, root.event_id, null, null));

// Settings.
const topic = (client, of) => client.getRoom(of).currentState.getStateEvents("m.room.topic", "").getContent().topic;
await step("set the topic", alice.setRoomTopic(room, "new topic"));
await until("bob sees it", () => topic(bob, room) === "new topic");
await step("set account data", alice.setAccountData("my.data", { x: 1 }));
await until("it comes back", () => alice.getAccountData("my.data")?.getContent().x === 1);
await step("tag", alice.setRoomTag(room, "u.tag", { order: 0.5 }));
await until("the tag comes back", () => alice.getRoom(room).tags["u.tag"]);
await step("set a push rule", alice.setPushRuleEnabled("global", "override", ".m.rule.master", true));
await until("the rule comes back", () =>
  alice.pushRules?.global.override.find((rule) => rule.rule_id === ".m.rule.master").enabled);
await step("set presence", alice.setPresence({ presence: "unavailable", status_msg: "brb" }));
await until("bob sees it", () => bob.getUser(alice.getUserId())?.presenceStatusMsg === "brb");
await step("set the display name", alice.setDisplayName("Alice J"));
await until("bob sees the name", () => member(bob, room, alice).name === "Alice J");

// Reads.
await step("joined rooms", alice.getJoinedRooms());
await step("joined members", alice.getJoinedRoomMembers(room));
await step("state event", alice.getStateEvent(room, "m.room.name", ""));
await step("state", alice.roomState(room));
await step("event", alice.fetchRoomEvent(room, last.getId()));
await step("devices", alice.getDevices());
await step("profile", bob.getProfileInfo(alice.getUserId()));
await step("scroll back", bob.scrollback(bob.getRoom(room), 30));

// A gap: somebody without encryption, away for a while.
const { room_id: open } = await step("create an open room", alice.createRoom({ preset: "public_chat", name: "open" }));
const dave = await register("dave_js", { crypto: false });
await step("dave joins", dave.joinRoom(open));
await step("bob joins too", bob.joinRoom(open));
await until("dave sees the room", () => membership(dave, open) === "join");
dave.stopClient();
const numbers = Array.from({ length: 45 }, (_, number) => number);
for (const number of numbers.slice(0, 30)) await alice.sendTextMessage(open, `gap ${number}`);
await step("set the topic in the gap", alice.setRoomTopic(open, "in the gap"));
for (const number of numbers.slice(30)) await bob.sendTextMessage(open, `gap ${number}`);
await dave.startClient(START);
await until("dave has the end", () => has(dave, open, "gap 44"));
await until("dave knows the topic", () => topic(dave, open) === "in the gap");
await step("dave pages back", page_back(dave, open));
note("dave has everything", numbers.every((number) => has(dave, open, `gap ${number}`)));
const { results } = await step("search", alice.searchRoomEvents({ term: "gap" }));
note("something is found", results.length > 0);
dave.stopClient();

// Ends.
await step("kick", alice.kick(room, carol.getUserId(), "bye"));
await until("carol is out", () => membership(carol, room) === "leave");
await until("bob knows", () => member(bob, room, carol).membership === "leave");
const knocking = [{ type: "m.room.join_rules", state_key: "", content: { join_rule: "knock" } }];
const { room_id: closed } = await step("create a room to knock at", alice.createRoom({ name: "knock", initial_state: knocking }));
await step("knock", carol.knockRoom(closed));
await until("carol's knock is heard", () => membership(carol, closed) === "knock" && member(alice, closed, carol)?.membership === "knock");
await step("leave", bob.leave(room));
await until("bob is out", () => membership(bob, room) === "leave");
await step("upgrade", alice.upgradeRoom(room, "12"));
await step("forget", bob.forget(room));

for (const client of [alice, bob, carol]) client.stopClient();
if (missing.length) console.log("missing:", missing);
process.exit(missing.length ? 1 : 0);
