-- Tables of datasets are made, widened and dropped by one function; rows are numbered by the table itself.

-- settings: {max_rejected_share, new_columns, retention_days}; revision rises with every change of the columns.
ALTER TABLE core.dataset ADD COLUMN settings jsonb NOT NULL DEFAULT '{}', ADD COLUMN revision integer NOT NULL DEFAULT 1;

-- What a dataset looked like, revision by revision.
CREATE TABLE core.dataset_revision (
    dataset_id bigint NOT NULL REFERENCES core.dataset (id),
    revision   integer NOT NULL,
    columns    jsonb NOT NULL,
    changes    jsonb NOT NULL,             -- [{column, change}] against the revision before
    actor      text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (dataset_id, revision)
);

-- Rows go straight into the table, so the checksum is taken after COMMIT, with the quality report. It covers the first
-- checksum_columns columns, those that the dataset had then; NULL of it: all. NULL of the checksum: not taken yet.
-- removed_count: rows that an erasure or the retention took away again.
ALTER TABLE core.batch ALTER COLUMN checksum DROP NOT NULL, ALTER COLUMN checksum DROP DEFAULT,
    ADD COLUMN checksum_columns integer, ADD COLUMN removed_count bigint NOT NULL DEFAULT 0,
    ADD COLUMN report jsonb, ADD COLUMN reported_at timestamptz;
CREATE INDEX batch_unreported ON core.batch (dataset_id, first_seq) WHERE state = 'committed' AND reported_at IS NULL;
CREATE INDEX batch_by_span ON core.batch (dataset_id, first_seq) WHERE state = 'committed';

-- Batches that are on their way in: a line each, written outside their transaction, gone when they end. A line that was
-- not touched for a minute belongs to a process that is no more.
CREATE UNLOGGED TABLE core.loading (
    id          uuid PRIMARY KEY,           -- the batch will have it
    dataset_id  bigint NOT NULL,
    source      text NOT NULL,
    source_name text NOT NULL,
    trace_id    text,
    stage       text NOT NULL,              -- receiving, waiting, loading, committing
    bytes_done  bigint NOT NULL DEFAULT 0,
    bytes_total bigint,                     -- NULL: not known
    rows_done   bigint NOT NULL DEFAULT 0,
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    touched_at  timestamptz NOT NULL DEFAULT clock_timestamp()
);
CREATE INDEX loading_by_dataset ON core.loading (dataset_id, started_at DESC);

-- The tombstone of an erasure: that rows went, when and by whom; not what they held.
CREATE TABLE core.erasure (
    id         uuid PRIMARY KEY,
    dataset_id bigint NOT NULL REFERENCES core.dataset (id),
    kind       text NOT NULL CHECK (kind IN ('key', 'retention')),
    key_sha256 text,                        -- of the key's canonical JSON, keyed by the erasure's id: it names nobody
    rows       bigint NOT NULL,
    first_seq  bigint,                      -- of the rows that went
    last_seq   bigint,
    upto_seq   bigint NOT NULL,             -- the dataset's last_seq at that moment
    versions   jsonb NOT NULL DEFAULT '[]', -- [{model, version}] that cannot be reproduced any more
    actor      text NOT NULL,
    at         timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX erasure_by_dataset ON core.erasure (dataset_id, at DESC);
ALTER TABLE core.version ADD COLUMN not_reproducible text;   -- why; NULL: it can be trained again to the same bytes

-- Who takes data in may change rows and records, and no table. Login roles become members of it. Roles belong to the
-- whole server: it may be there already, and then whoever made it says who may take it.
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'trainyard_ingest') THEN
        CREATE ROLE trainyard_ingest NOLOGIN;
        GRANT trainyard_ingest TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;
    END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN
    RAISE NOTICE 'another database has just made the role';
END $$;

-- Bring a dataset's sequence, table and view to what core.dataset says of it: make them, add columns, widen types, or
-- drop them when it is deleted. The only DDL at run time. Names of tables and columns are made here; the user's names
-- are quoted and appear in the view alone. Types come from a closed list.
CREATE FUNCTION core.shape_dataset(number bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '4s' AS
$function$
DECLARE
    record    core.dataset%ROWTYPE;
    target    text := format('data_.t_%s', number);
    numbers   text := format('data_.s_%s', number);
    types     CONSTANT jsonb := '{"bool": "boolean", "int": "bigint", "float": "double precision", "text": "text",
        "category": "text", "date": "date", "timestamp": "timestamp with time zone"}';
    wanted    text;
    present   text;
    conversion text;
    described jsonb;
    shown     text := '';
    keys      text := '';
    whole     text := '';
    position  integer := 0;
    widened   boolean := false;
BEGIN
    SELECT * INTO STRICT record FROM core.dataset WHERE id = number FOR NO KEY UPDATE;
    IF record.deleted_at IS NOT NULL THEN
        -- By what it reads, not by the name: that may belong to a later dataset by now.
        FOR described IN SELECT DISTINCT to_jsonb(v.relname::text) FROM pg_depend d
            JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND r.oid = d.objid
            JOIN pg_class v ON v.oid = r.ev_class AND v.relnamespace = 'data'::regnamespace
            WHERE d.refclassid = 'pg_class'::regclass AND d.refobjid = to_regclass(target)
        LOOP
            EXECUTE format('DROP VIEW data.%I', described #>> '{}');
        END LOOP;
        EXECUTE format('DROP TABLE IF EXISTS %s', target);
        EXECUTE format('DROP SEQUENCE IF EXISTS %s', numbers);
        RETURN;
    END IF;
    IF record.name !~ '^[a-z][a-z0-9_]{0,47}$' THEN
        RAISE EXCEPTION 'a dataset cannot bear the name %', quote_literal(record.name);
    END IF;
    -- The view before the table, as everybody does who reads the view: the other way round they could wait for each
    -- other.
    IF to_regclass(format('data.%I', record.name)) IS NOT NULL THEN
        EXECUTE format('LOCK TABLE data.%I IN ACCESS EXCLUSIVE MODE', record.name);
    END IF;
    -- A session that loads sets the sequence first, under the dataset's lock, so what it keeps in its cache is its own.
    EXECUTE format('CREATE SEQUENCE IF NOT EXISTS %s CACHE 1000', numbers);
    -- batch_id: of the release before, which wrote it; the ledger's spans say the same.
    EXECUTE format('CREATE TABLE IF NOT EXISTS %s (ingest_seq bigint PRIMARY KEY, batch_id uuid)', target);
    EXECUTE format('ALTER TABLE %s ALTER COLUMN ingest_seq SET DEFAULT nextval(%L::regclass), ALTER COLUMN batch_id DROP NOT NULL',
                   target, numbers);
    FOR described IN SELECT value FROM jsonb_array_elements(record.columns) LOOP
        position := position + 1;
        wanted := types ->> (described ->> 'type');
        IF wanted IS NULL OR described ->> 'physical' IS DISTINCT FROM format('c%s', position) THEN
            RAISE EXCEPTION 'column % of dataset % is not one that a table can have', position, number;
        END IF;
        SELECT format_type(a.atttypid, a.atttypmod) INTO present FROM pg_attribute a
            WHERE a.attrelid = to_regclass(target) AND a.attname = format('c%s', position) AND NOT a.attisdropped;
        IF present IS NULL THEN
            EXECUTE format('ALTER TABLE %s ADD COLUMN c%s %s', target, position, wanted);
        ELSIF present <> wanted THEN
            conversion := CASE
                WHEN present = 'bigint' AND wanted = 'double precision' THEN 'c%1$s::double precision'
                WHEN present = 'date' AND wanted = 'timestamp with time zone' THEN 'c%1$s::timestamp AT TIME ZONE ''UTC'''
            END;
            IF conversion IS NULL THEN
                RAISE EXCEPTION 'column % of dataset % cannot become % from %', position, number, wanted, present;
            END IF;
            IF NOT widened THEN
                EXECUTE format('DROP VIEW IF EXISTS data.%I', record.name);
                widened := true;
            END IF;
            EXECUTE format('ALTER TABLE %s ALTER COLUMN c%s TYPE %s USING ' || format(conversion, position),
                           target, position, wanted);
        END IF;
        shown := shown || format(', c%s AS %I', position, described ->> 'name');
        IF described ->> 'role' = 'key' THEN
            keys := keys || format(', c%s', position);
            whole := whole || format(' AND c%s IS NOT NULL', position);
        END IF;
    END LOOP;
    shown := substr(shown, 3);
    keys := substr(keys, 3);
    -- As in snapshots: a row without a whole key corrects no other.
    IF record.columns @? '$[*] ? (@.role == "key" && @.nullable == true)' THEN
        keys := keys || format(', CASE WHEN %s THEN 0 ELSE ingest_seq END', substr(whole, 6));
    END IF;
    IF keys = '' THEN
        EXECUTE format('CREATE OR REPLACE VIEW data.%I AS SELECT %s FROM %s', record.name, shown, target);
    ELSE
        EXECUTE format('CREATE OR REPLACE VIEW data.%I AS SELECT DISTINCT ON (%s) %s FROM %s ORDER BY %s, ingest_seq DESC',
                       record.name, keys, shown, target, keys);
    END IF;
    EXECUTE format('GRANT SELECT, INSERT, DELETE ON %s TO trainyard_ingest', target);
    EXECUTE format('GRANT SELECT, USAGE, UPDATE ON SEQUENCE %s TO trainyard_ingest', numbers);
    EXECUTE format('GRANT SELECT ON data.%I TO trainyard_ingest', record.name);
END
$function$;
REVOKE ALL ON FUNCTION core.shape_dataset(bigint) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION core.shape_dataset(bigint) TO trainyard_ingest;
GRANT USAGE ON SCHEMA core, data_, data TO trainyard_ingest;
-- What it may do in core stands in one list, in the newest revision that changed it.

SELECT core.shape_dataset(id) FROM core.dataset WHERE deleted_at IS NULL;
SELECT setval(format('data_.s_%s', id)::regclass, last_seq + 1, false) FROM core.dataset WHERE deleted_at IS NULL;
