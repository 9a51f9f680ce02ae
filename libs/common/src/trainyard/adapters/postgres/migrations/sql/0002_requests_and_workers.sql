-- Priorities, instance types, workers, what a run costs, and one row for a row of equal evaluations.
ALTER TABLE core.training_request
    ADD COLUMN priority integer NOT NULL DEFAULT 0,              -- higher first
    ADD COLUMN instance_types text[] NOT NULL DEFAULT '{}',      -- where it may run, best first; empty: anywhere
    ADD COLUMN spot boolean,                                     -- null: as the environment's setting says
    ADD COLUMN label_seq bigint NOT NULL DEFAULT 0;              -- the newest feedback when it was made
CREATE INDEX request_by_age ON core.training_request (created_at DESC, id DESC);
CREATE INDEX request_urgency ON core.training_request (priority DESC, created_at, id)
    WHERE state IN ('queued', 'running');
DROP INDEX core.request_by_state;                                -- the one above has the same rows, in an order of use
-- What a policy asks at every look: one step in an index each, however many requests a model has had.
CREATE INDEX request_counted ON core.training_request (model_id, upto_seq DESC)
    WHERE state IN ('queued', 'running', 'done', 'blocked_by_data');
CREATE INDEX request_answered ON core.training_request (model_id, created_at DESC, id DESC)
    WHERE state IN ('done', 'blocked_by_data');
CREATE INDEX request_refused ON core.training_request (model_id, upto_seq DESC, created_at DESC)
    WHERE state IN ('failed', 'cancelled');
CREATE INDEX request_by_asker ON core.training_request (model_id, requested_by, created_at DESC);

ALTER TABLE core.run
    ADD COLUMN instance_type text,
    ADD COLUMN known_seq bigint NOT NULL DEFAULT 0,              -- what its split goes by: the newest row any version saw
    ADD COLUMN cost_usd double precision;                        -- null until it ended, or where no price is known
-- A trial is stored as soon as it is over: the next run of the request goes on from there.
CREATE INDEX run_by_request ON core.run (request_id, fence);
-- Runs by the day of their end, and those among them that still want a cost.
CREATE INDEX run_by_end ON core.run (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX run_uncosted ON core.run (ended_at) WHERE ended_at IS NOT NULL AND cost_usd IS NULL;

ALTER TABLE core.launch
    ADD COLUMN zone text,
    ADD COLUMN market text CHECK (market IN ('spot', 'on-demand')),
    ADD COLUMN usd_per_hour double precision,
    ADD COLUMN on_demand boolean NOT NULL DEFAULT true,          -- false: spot only, while the request is patient
    ADD COLUMN claimed_until timestamptz,                        -- somebody asks EC2 for it just now
    ADD COLUMN error_kind text CHECK (error_kind IN ('capacity', 'refused')),
    ADD COLUMN reason text;                                      -- why it was asked for, later why it ended
CREATE INDEX launch_by_time ON core.launch (created_at);
CREATE INDEX launch_by_instance ON core.launch (instance_id) WHERE instance_id IS NOT NULL;
CREATE INDEX launch_by_end ON core.launch (ended_at) WHERE launched_at IS NOT NULL;

-- What people are told once a day: which limit stopped the fleet.
CREATE TABLE core.fleet_notice (
    kind text PRIMARY KEY,
    day  date NOT NULL
);

-- Who says that it is alive; a trainer writes its row every few seconds, busy or not.
CREATE TABLE core.worker (
    id            text PRIMARY KEY,                              -- host:pid
    instance_id   text,
    instance_type text,
    state         text NOT NULL CHECK (state IN ('idle', 'busy', 'stopping', 'ended')),
    request_id    uuid,
    started_at    timestamptz NOT NULL DEFAULT now(),
    seen_at       timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX worker_by_instance ON core.worker (instance_id, seen_at DESC);

-- What the scheduler forgets is found by its age.
CREATE INDEX outbox_sent ON core.outbox (sent_at) WHERE sent_at IS NOT NULL;
CREATE INDEX idempotency_by_time ON core.idempotency (created_at);

-- Equal evaluations in a row are one row: how many, and when the last was.
ALTER TABLE core.decision
    ADD COLUMN times bigint NOT NULL DEFAULT 1,
    ADD COLUMN last_at timestamptz NOT NULL DEFAULT now();

-- Cron times up to here have been answered; the times that a policy missed are one.
ALTER TABLE core.model ADD COLUMN cron_upto timestamptz NOT NULL DEFAULT now();

-- A relay takes messages for some seconds, sends them without a transaction, and marks them.
ALTER TABLE core.outbox
    ADD COLUMN taken_until timestamptz,                          -- null: nobody sends it just now
    ADD COLUMN delay_seconds integer NOT NULL DEFAULT 0 CHECK (delay_seconds BETWEEN 0 AND 900);
