-- Times are in seconds since 1970, offsets and lengths in bytes, names of members as they were given (bytes).
CREATE TABLE fact (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE policy (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE member (
    id INTEGER PRIMARY KEY,
    uuid TEXT NOT NULL UNIQUE,
    name BLOB NOT NULL,
    state TEXT NOT NULL,
    since INTEGER NOT NULL,
    why TEXT NOT NULL,
    -- The epoch of the mark that it is known to carry; none where it carries none. One that is wanted may have been written, or not.
    epoch INTEGER,
    epoch_wanted INTEGER NOT NULL,
    unmarked TEXT,
    inode INTEGER,
    -- When its file was made, in nanoseconds since 1970, where that is told.
    born INTEGER,
    ages TEXT NOT NULL DEFAULT '[]',
    dissenting INTEGER NOT NULL DEFAULT 0,
    unreadable INTEGER NOT NULL DEFAULT 0,
    silent INTEGER NOT NULL DEFAULT 0,
    repaired INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE run (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    begun INTEGER NOT NULL,
    ended INTEGER,
    exit_code INTEGER,
    outcome TEXT NOT NULL DEFAULT '',
    looked INTEGER NOT NULL DEFAULT 0,
    decided INTEGER NOT NULL DEFAULT 0,
    undecided INTEGER NOT NULL DEFAULT 0,
    written INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    -- Of a resync whose member it is of.
    target INTEGER REFERENCES member (id),
    journal TEXT
);
CREATE TABLE change (
    id INTEGER PRIMARY KEY,
    run INTEGER REFERENCES run (id),
    at INTEGER NOT NULL,
    member INTEGER REFERENCES member (id),
    was TEXT NOT NULL,
    became TEXT NOT NULL,
    why TEXT NOT NULL
);
CREATE TABLE place (
    run INTEGER NOT NULL REFERENCES run (id),
    member INTEGER REFERENCES member (id),
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    kind TEXT NOT NULL
);
CREATE INDEX place_of_run ON place (run);
CREATE INDEX place_of_member ON place (member, start);
CREATE TABLE fingerprint (
    id INTEGER PRIMARY KEY,
    member INTEGER NOT NULL REFERENCES member (id),
    size INTEGER NOT NULL,
    modified INTEGER NOT NULL,
    changed INTEGER NOT NULL,
    inode INTEGER NOT NULL,
    boot TEXT NOT NULL
);
CREATE TABLE part (
    number INTEGER PRIMARY KEY,
    start INTEGER NOT NULL,
    length INTEGER NOT NULL,
    checked INTEGER NOT NULL,
    pass INTEGER NOT NULL,
    run INTEGER NOT NULL REFERENCES run (id),
    undecided INTEGER NOT NULL,
    digest TEXT
);
CREATE TABLE part_member (
    part INTEGER NOT NULL REFERENCES part (number) ON DELETE CASCADE,
    member INTEGER NOT NULL REFERENCES member (id),
    differs INTEGER NOT NULL,
    -- Whether it is still the member that was compared then: one that was away since, or was marked anew, isn't.
    counts INTEGER NOT NULL DEFAULT 1,
    fingerprint INTEGER REFERENCES fingerprint (id),
    PRIMARY KEY (part, member)
) WITHOUT ROWID;

CREATE VIEW qset AS SELECT
    (SELECT value FROM fact WHERE key = 'uuid') AS uuid,
    (SELECT value FROM fact WHERE key = 'created') AS created,
    (SELECT value FROM fact WHERE key = 'epoch') AS epoch,
    (SELECT value FROM fact WHERE key = 'size') AS size,
    (SELECT value FROM fact WHERE key = 'disputed') AS disputed,
    (SELECT max(ended) FROM run WHERE completed) AS last_completed;
CREATE VIEW qset_member AS SELECT id, uuid, name, state, since, why, epoch, dissenting, unreadable, silent, repaired FROM member;
CREATE VIEW qset_run AS SELECT id, kind, begun, ended, exit_code, outcome, looked, decided, undecided, written, completed, journal FROM run;
CREATE VIEW qset_change AS SELECT run, at, member, was, became, why FROM change;
CREATE VIEW qset_place AS SELECT run, member, start, length, kind FROM place;
CREATE VIEW qset_part AS SELECT number, start, length, checked, run, undecided, digest IS NOT NULL AS hashed FROM part;
