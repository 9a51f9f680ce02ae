-- The bytes of artifacts beside the object store: of every version that an alias leads to, that waits for a person or
-- that is among the newest of its model. They go when none of that holds any more.
CREATE TABLE core.artifact_copy (
    artifact_key text PRIMARY KEY,
    sha256       text NOT NULL,
    size_bytes   bigint NOT NULL,
    data         bytea,                       -- NULL: too large, it lies in TRAINYARD_COPIES_DIR
    copied_at    timestamptz NOT NULL DEFAULT clock_timestamp()
);
-- Floating-point numbers hardly compress, and are read as a whole.
ALTER TABLE core.artifact_copy ALTER COLUMN data SET STORAGE EXTERNAL;

-- The lives of the object store: a row for the first look at it, and one for each time it came back without what it had.
CREATE TABLE core.store_life (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    found_at      timestamptz NOT NULL DEFAULT clock_timestamp(),
    restored      integer NOT NULL,           -- artifacts that were put back from their copies
    lost          integer NOT NULL,           -- versions whose artifact had no copy
    lost_extracts integer NOT NULL            -- versions whose rows in the store were lost: the dataset has them still
);

-- When the object store lost the version's artifact, of which there was no copy.
ALTER TABLE core.version ADD COLUMN lost_at timestamptz;
