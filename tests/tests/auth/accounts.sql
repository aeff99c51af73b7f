-- Accounts and tokens in the states that Synapse's API does not give quickly.
INSERT INTO users (name, creation_ts, locked, user_type) VALUES
    ('@plain:myelin.test', 0, FALSE, NULL),
    ('@locked:myelin.test', 0, TRUE, NULL),
    ('@lapsed:myelin.test', 0, FALSE, NULL),
    ('@admin:myelin.test', 0, FALSE, NULL),
    ('@support:myelin.test', 0, FALSE, 'support'),
    ('@active:myelin.test', 0, FALSE, NULL),
    ('@new:myelin.test', extract(epoch FROM now())::bigint, FALSE, NULL);
INSERT INTO devices (user_id, device_id, hidden) VALUES
    ('@plain:myelin.test', 'PLAIN', FALSE),
    ('@plain:myelin.test', 'HIDDEN', TRUE);
INSERT INTO access_tokens (id, user_id, device_id, token, valid_until_ms, puppets_user_id) VALUES
    (9001, '@plain:myelin.test', 'PLAIN', 'plain', NULL, NULL),
    (9002, '@plain:myelin.test', 'PLAIN', 'expired', 1000, NULL),
    (9003, '@plain:myelin.test', 'PLAIN', 'lasting', 9000000000000, NULL),
    (9004, '@locked:myelin.test', 'L', 'locked', NULL, NULL),
    (9005, '@admin:myelin.test', NULL, 'puppet', NULL, '@plain:myelin.test'),
    (9006, '@lapsed:myelin.test', 'L', 'lapsed', NULL, NULL),
    (9007, '@support:myelin.test', 'S', 'support', NULL, NULL),
    (9008, '@active:myelin.test', 'A', 'active', NULL, NULL),
    (9009, '@new:myelin.test', 'N', 'new', NULL, NULL),
    (9010, '@plain:myelin.test', 'PLAIN', 'never used', NULL, NULL);
INSERT INTO account_validity (user_id, expiration_ts_ms, email_sent) VALUES
    ('@lapsed:myelin.test', 1000, FALSE),
    ('@plain:myelin.test', 9000000000000, FALSE);
INSERT INTO monthly_active_users (user_id, timestamp) VALUES ('@active:myelin.test', 1000);
