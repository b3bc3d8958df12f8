-- The tables of a new database, as `tables.py` declares them and as the migrations make them: a test holds all three
-- to be the same. SQLAlchemy, which could tell them too, takes 20 MB and half a second.
CREATE TABLE certificates (
    id INTEGER NOT NULL,
    sha256 VARCHAR NOT NULL,
    der BLOB NOT NULL,
    subject VARCHAR NOT NULL,
    issuer VARCHAR NOT NULL,
    serial VARCHAR NOT NULL,
    not_before INTEGER,
    not_after INTEGER,
    names VARCHAR NOT NULL,
    key_kind VARCHAR NOT NULL,
    key_bits INTEGER NOT NULL,
    signature_hash VARCHAR NOT NULL,
    is_ca BOOLEAN NOT NULL,
    self_issued BOOLEAN NOT NULL,
    failures VARCHAR NOT NULL,
    is_whole BOOLEAN,
    PRIMARY KEY (id),
    UNIQUE (sha256)
);
CREATE TABLE targets (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    kind VARCHAR NOT NULL,
    location VARCHAR NOT NULL,
    component VARCHAR,
    identity VARCHAR,
    added_at FLOAT NOT NULL,
    removed_at FLOAT,
    verdict VARCHAR,
    supported VARCHAR,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ix_targets_watched ON targets (name) WHERE removed_at IS NULL;
CREATE TABLE decisions (
    id INTEGER NOT NULL,
    subject VARCHAR NOT NULL,
    decided_at FLOAT NOT NULL,
    policy VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    status VARCHAR NOT NULL,
    identity VARCHAR NOT NULL,
    reasons VARCHAR NOT NULL,
    waits_for VARCHAR NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX ix_decisions_decided_at ON decisions (decided_at);
CREATE TABLE days (
    id INTEGER NOT NULL,
    name VARCHAR NOT NULL,
    day INTEGER NOT NULL,
    presentations INTEGER NOT NULL,
    others INTEGER NOT NULL,
    left_out INTEGER NOT NULL,
    at FLOAT NOT NULL,
    PRIMARY KEY (id)
);
CREATE UNIQUE INDEX ix_days_name ON days (name, day);
CREATE TABLE alerts (
    channel VARCHAR NOT NULL,
    "key" VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    PRIMARY KEY (channel, "key")
);
CREATE TABLE deliveries (
    id VARCHAR NOT NULL,
    channel VARCHAR NOT NULL,
    at FLOAT NOT NULL,
    fate VARCHAR NOT NULL,
    ended_at FLOAT,
    content VARCHAR NOT NULL,
    PRIMARY KEY (id)
);
CREATE INDEX ix_deliveries_fate ON deliveries (fate);
CREATE TABLE silences (
    id VARCHAR NOT NULL,
    content VARCHAR NOT NULL,
    PRIMARY KEY (id)
);
CREATE TABLE presentations (
    id INTEGER NOT NULL,
    target INTEGER NOT NULL,
    certificates VARCHAR NOT NULL,
    since FLOAT NOT NULL,
    until FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(target) REFERENCES targets (id) ON DELETE CASCADE
);
CREATE INDEX ix_presentations_target ON presentations (target);
CREATE TABLE findings (
    id INTEGER NOT NULL,
    target INTEGER NOT NULL,
    code VARCHAR NOT NULL,
    subject VARCHAR NOT NULL,
    severity VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    raised_at FLOAT NOT NULL,
    changed_at FLOAT,
    superseded_at FLOAT,
    cleared_at FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(target) REFERENCES targets (id) ON DELETE CASCADE
);
CREATE INDEX ix_findings_target ON findings (target);
CREATE TABLE actions (
    id INTEGER NOT NULL,
    target INTEGER NOT NULL,
    ended_at FLOAT NOT NULL,
    "transaction" VARCHAR NOT NULL,
    action VARCHAR NOT NULL,
    outcome VARCHAR NOT NULL,
    cause VARCHAR NOT NULL,
    reason VARCHAR NOT NULL,
    "by" VARCHAR NOT NULL,
    PRIMARY KEY (id),
    FOREIGN KEY(target) REFERENCES targets (id) ON DELETE CASCADE
);
CREATE INDEX ix_actions_ended_at ON actions (ended_at);
CREATE INDEX ix_actions_target ON actions (target);
CREATE TABLE failed_looks (
    id INTEGER NOT NULL,
    target INTEGER NOT NULL,
    reason VARCHAR NOT NULL,
    detail VARCHAR NOT NULL,
    failed_at FLOAT NOT NULL,
    superseded_at FLOAT,
    recovered_at FLOAT,
    PRIMARY KEY (id),
    FOREIGN KEY(target) REFERENCES targets (id) ON DELETE CASCADE
);
CREATE INDEX ix_failed_looks_target ON failed_looks (target);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL, CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num));
