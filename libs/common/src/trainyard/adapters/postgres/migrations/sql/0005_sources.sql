-- Pull sources (docs/sources.md): what is fetched into a dataset, how far that got, and who does it just now.

CREATE TABLE core.source (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    dataset_id   bigint NOT NULL REFERENCES core.dataset (id),
    name         text NOT NULL CHECK (name ~ '^[a-z][a-z0-9_]{0,47}$'),
    kind         text NOT NULL CHECK (kind IN ('sql', 'url')),
    description  jsonb NOT NULL,             -- names secrets, holds none
    schedule     jsonb,                      -- {"every": seconds} or {"cron": text}; NULL: only when asked
    sequence     text NOT NULL,              -- what is read in which order: another one begins at the start again
    run_id       uuid NOT NULL,              -- of one reading from the start; part of every fingerprint
    cursor       jsonb,                      -- everything up to here is in the dataset
    plan         jsonb,                      -- fingerprint of the batch that is about to be loaded, and the cursor behind it
    asked        bigint NOT NULL DEFAULT 0,  -- pulls that were asked for by hand
    answered     bigint NOT NULL DEFAULT 0,  -- and those of them that are done
    answering    bigint NOT NULL DEFAULT 0,  -- asked, as it was when the pull in progress began
    next_at      timestamptz,
    fence        bigint NOT NULL DEFAULT 0,
    lease_until  timestamptz,
    pulling_rows bigint,                     -- of the pull in progress
    last_at      timestamptz,
    last_rows    bigint,
    last_batch   uuid,
    last_error   text,
    created_at   timestamptz NOT NULL DEFAULT now(),
    UNIQUE (dataset_id, name)
);
CREATE INDEX source_due ON core.source (next_at) WHERE next_at IS NOT NULL;
CREATE INDEX source_asked ON core.source (id) WHERE asked > answered;
