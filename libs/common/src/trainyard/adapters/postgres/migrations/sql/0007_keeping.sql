-- What becomes of rows after they came: erased, outlived, reported on.

-- Rows that an erasure or the retention took away, of all that last_seq counts.
ALTER TABLE core.dataset ADD COLUMN removed_rows bigint NOT NULL DEFAULT 0;

-- When checksum and report were last taken back, because rows went or got other types; NULL: never.
ALTER TABLE core.batch ADD COLUMN changed_at timestamptz;

-- When its last rows went: a run that began before may have read them. A day's retention is one tombstone.
ALTER TABLE core.erasure ADD COLUMN last_at timestamptz NOT NULL DEFAULT clock_timestamp();

-- The levels of category columns, each with the first row that had it; at most 10,000 for a column.
CREATE TABLE core.level (
    dataset_id bigint NOT NULL REFERENCES core.dataset (id),
    position   integer NOT NULL,           -- of the column, from 1
    level      text NOT NULL,
    first_seq  bigint NOT NULL,
    PRIMARY KEY (dataset_id, position, level)
);

-- Versions of models on a dataset must not appear while its rows are removed: their models' rows are locked to the end of
-- the transaction, for a caller who may not change them.
CREATE FUNCTION core.hold_models(number bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$function$
BEGIN
    PERFORM FROM core.model WHERE dataset_id = number ORDER BY id FOR NO KEY UPDATE;
END
$function$;
REVOKE ALL ON FUNCTION core.hold_models(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.hold_models(bigint) TO trainyard_ingest;
