-- core: records of the services. data_: one table per dataset, physical names. data: views for people.
-- optuna: studies of the trainers.
CREATE SCHEMA IF NOT EXISTS core;
CREATE SCHEMA IF NOT EXISTS data_;
CREATE SCHEMA IF NOT EXISTS data;
CREATE SCHEMA IF NOT EXISTS optuna;

-- A dataset's rows live in data_.t_<id> (ingest_seq bigint primary key, batch_id uuid, c1, c2 ... as "columns" says);
-- last_seq is taken under this row's lock and held to COMMIT, so nothing at or below a seen last_seq appears later.
CREATE TABLE core.dataset (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    columns     jsonb NOT NULL,             -- [{name, type, role, nullable, categories, physical}], in order
    last_seq    bigint NOT NULL DEFAULT 0,
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX dataset_name ON core.dataset (name) WHERE deleted_at IS NULL;

-- The ledger: one row for every batch that was committed or refused as a whole.
CREATE TABLE core.batch (
    id             uuid PRIMARY KEY,
    dataset_id     bigint NOT NULL REFERENCES core.dataset (id),
    source         text NOT NULL CHECK (source IN ('http', 'landing', 'feedback', 'pull')),
    source_name    text NOT NULL DEFAULT '',
    fingerprint    text NOT NULL,
    body_sha256    text NOT NULL,
    state          text NOT NULL CHECK (state IN ('committed', 'refused')),
    row_count      bigint NOT NULL,
    rejected_count bigint NOT NULL DEFAULT 0,
    first_seq      bigint,
    last_seq       bigint,
    -- Sum over the batch's rows of hash_record_extended(ROW(c1, c2 .. cn), 0): from the values, not from their text,
    -- so it depends on no setting of the session.
    checksum       numeric NOT NULL DEFAULT 0,
    reason         text,
    trace_id       text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    UNIQUE (dataset_id, fingerprint)
);
CREATE INDEX batch_by_time ON core.batch (dataset_id, created_at DESC, id DESC);

CREATE TABLE core.reject (
    batch_id    uuid NOT NULL REFERENCES core.batch (id) ON DELETE CASCADE,
    ordinal     bigint NOT NULL,
    row_number  bigint,                     -- counted from 1 in the caller's order, header not counted
    column_name text,
    expected    text NOT NULL,
    got         text NOT NULL,
    PRIMARY KEY (batch_id, ordinal)
);

CREATE TABLE core.model (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text NOT NULL,
    dataset_id  bigint NOT NULL REFERENCES core.dataset (id),
    label       text NOT NULL,
    task        text NOT NULL CHECK (task IN ('auto', 'binary', 'multiclass', 'regression')),
    policy      jsonb NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX model_name ON core.model (name) WHERE deleted_at IS NULL;

CREATE TABLE core.training_request (
    id               uuid PRIMARY KEY,
    model_id         bigint NOT NULL REFERENCES core.model (id),
    reason           text NOT NULL,         -- 'min_new_rows', 'by_hand' ...
    state            text NOT NULL DEFAULT 'queued'
                     CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled', 'blocked_by_data')),
    upto_seq         bigint NOT NULL,       -- the snapshot: rows with ingest_seq <= upto_seq
    new_rows         bigint NOT NULL,
    settings         jsonb NOT NULL,        -- {budget_seconds, families, metric, seed, gate}: copied from the policy
    attempt          integer NOT NULL DEFAULT 0,
    fence            bigint NOT NULL DEFAULT 0,
    holder           text,
    lease_until      timestamptz,
    cancel_requested boolean NOT NULL DEFAULT false,
    error_class      text,
    error            text,
    requested_by     text NOT NULL,
    trace_id         text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    last_sent_at     timestamptz,
    send_count       integer NOT NULL DEFAULT 0
);
-- Storms coalesce here: one open request for a model and a snapshot.
CREATE UNIQUE INDEX request_open ON core.training_request (model_id, upto_seq) WHERE state IN ('queued', 'running');
CREATE INDEX request_by_time ON core.training_request (model_id, created_at DESC, id DESC);
CREATE INDEX request_by_state ON core.training_request (state) WHERE state IN ('queued', 'running');

CREATE TABLE core.run (
    id            uuid PRIMARY KEY,
    request_id    uuid NOT NULL REFERENCES core.training_request (id),
    attempt       integer NOT NULL,
    fence         bigint NOT NULL,
    state         text NOT NULL DEFAULT 'running'
                  CHECK (state IN ('running', 'done', 'failed', 'released', 'cancelled', 'blocked_by_data', 'lost')),
    worker        text NOT NULL,
    instance_id   text,
    progress      jsonb NOT NULL DEFAULT '{}',   -- {stage, done, total, message}
    snapshot_rows bigint,
    error_class   text,
    error         text,
    started_at    timestamptz NOT NULL DEFAULT now(),
    ended_at      timestamptz,
    UNIQUE (request_id, fence)
);
CREATE INDEX run_by_time ON core.run (started_at DESC, id DESC);

CREATE TABLE core.trial (
    run_id   uuid NOT NULL REFERENCES core.run (id) ON DELETE CASCADE,
    number   integer NOT NULL,
    family   text NOT NULL,
    params   jsonb NOT NULL,
    metrics  jsonb NOT NULL,
    seconds  double precision NOT NULL,
    chosen   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (run_id, number)
);

CREATE TABLE core.version (
    model_id       bigint NOT NULL REFERENCES core.model (id),
    version        integer NOT NULL CHECK (version > 0),
    request_id     uuid NOT NULL UNIQUE REFERENCES core.training_request (id),
    run_id         uuid NOT NULL REFERENCES core.run (id),
    fence          bigint NOT NULL,
    artifact_key   text NOT NULL,
    sha256         text NOT NULL,
    size_bytes     bigint NOT NULL,
    upto_seq       bigint NOT NULL,
    snapshot_rows  bigint NOT NULL,
    snapshot_hash  text NOT NULL,
    holdout        jsonb NOT NULL,          -- {rule, fit_upto_seq, test_from_seq, test_upto_seq, fit_rows, test_rows}
    metrics        jsonb NOT NULL,          -- on the hold-out
    gate           jsonb NOT NULL,          -- the report: checks with value, threshold, passed
    passed         boolean NOT NULL,
    created_at     timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, version)
);

CREATE TABLE core.alias (
    model_id   bigint NOT NULL REFERENCES core.model (id),
    name       text NOT NULL,
    version    integer NOT NULL,
    weight     double precision NOT NULL DEFAULT 1,
    seq        bigint NOT NULL,             -- rises with every move; compare-and-set and the predictor rely on it
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (model_id, name),
    FOREIGN KEY (model_id, version) REFERENCES core.version (model_id, version)
);

-- Who served when. Append-only.
CREATE TABLE core.deployment (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id         bigint NOT NULL REFERENCES core.model (id),
    alias            text NOT NULL,
    version          integer,
    previous_version integer,
    seq              bigint NOT NULL,
    actor            text NOT NULL,
    reason           text NOT NULL,
    at               timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX deployment_by_model ON core.deployment (model_id, id DESC);

-- Every evaluation of a policy whose answer or numbers changed, fired or not.
CREATE TABLE core.decision (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    model_id   bigint NOT NULL REFERENCES core.model (id),
    fired      boolean NOT NULL,
    reason     text NOT NULL,               -- 'not fired: 812 of 1,000 new rows'
    numbers    jsonb NOT NULL,
    request_id uuid REFERENCES core.training_request (id),
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX decision_by_model ON core.decision (model_id, id DESC);

-- Messages wait here in the transaction that makes them true; the scheduler's relay sends them.
CREATE TABLE core.outbox (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    queue      text NOT NULL CHECK (queue IN ('training', 'arrived', 'predictions')),
    type       text NOT NULL,
    body       text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz
);
CREATE INDEX outbox_waiting ON core.outbox (queue, id) WHERE sent_at IS NULL;

-- The fleet's own ledger: the row is committed before EC2 is asked, its id is the instance's tag.
CREATE TABLE core.launch (
    id             uuid PRIMARY KEY,
    state          text NOT NULL DEFAULT 'asked' CHECK (state IN ('asked', 'launched', 'ended', 'failed')),
    instance_id    text,
    instance_type  text,
    instance_types text[] NOT NULL,
    spot           boolean NOT NULL,
    error          text,
    created_at     timestamptz NOT NULL DEFAULT now(),
    launched_at    timestamptz,
    ended_at       timestamptz
);
CREATE INDEX launch_open ON core.launch (created_at) WHERE state IN ('asked', 'launched');

CREATE TABLE core.api_key (
    id            text PRIMARY KEY,
    name          text NOT NULL,
    secret_sha256 bytea NOT NULL,
    scopes        text[] NOT NULL,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz
);

CREATE TABLE core.prediction (
    id           text PRIMARY KEY,
    seq          bigint GENERATED ALWAYS AS IDENTITY UNIQUE,
    model        text NOT NULL,
    version      integer NOT NULL,
    key_id       text,
    trace_id     text,
    inputs       jsonb NOT NULL,
    output       jsonb NOT NULL,            -- {prediction, probabilities}
    latency_us   integer,
    predicted_at timestamptz NOT NULL,
    logged_at    timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX prediction_by_model ON core.prediction (model, seq);

-- Every label that was given, in server order; the latest of a prediction (or of a model and key) counts.
CREATE TABLE core.feedback (
    seq           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    prediction_id text,
    model         text,
    keys          jsonb,
    label         jsonb NOT NULL,
    key_id        text,
    trace_id      text,
    given_at      timestamptz NOT NULL DEFAULT now(),
    CHECK (prediction_id IS NOT NULL OR (model IS NOT NULL AND keys IS NOT NULL))
);
CREATE INDEX feedback_by_prediction ON core.feedback (prediction_id, seq DESC) WHERE prediction_id IS NOT NULL;

CREATE TABLE core.event (
    id      bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind    text NOT NULL,
    subject text NOT NULL,
    payload jsonb NOT NULL,
    at      timestamptz NOT NULL DEFAULT now()
);

-- Hash-chained: hash = sha256(previous hash || canonical JSON of the row).
CREATE TABLE core.audit (
    id            bigint PRIMARY KEY,
    at            timestamptz NOT NULL,
    actor         text NOT NULL,
    action        text NOT NULL,
    subject       text NOT NULL,
    details       jsonb NOT NULL,
    previous_hash bytea NOT NULL,
    hash          bytea NOT NULL
);

-- Answers of POSTs that carried an Idempotency-Key, written in the transaction of their effect.
CREATE TABLE core.idempotency (
    route       text NOT NULL,
    key_id      text NOT NULL,
    key         text NOT NULL,
    body_sha256 text NOT NULL,
    status      integer NOT NULL,
    response    text NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (route, key_id, key)
);
