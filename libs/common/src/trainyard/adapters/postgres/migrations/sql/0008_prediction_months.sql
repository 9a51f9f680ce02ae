-- The prediction log in months: core.prediction is the parent of one table for each month of logged_at (UTC). Whoever
-- reads core.prediction reads them all. What was logged before this revision stays in the parent itself until it is
-- old enough to go; nothing new gets into it. Why inheritance and not PARTITION BY: docs/adr/0017.

-- One row: what was predicted before `since` may have been in the log and gone, so it is not logged (again).
CREATE TABLE core.prediction_kept (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    since    timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO core.prediction_kept DEFAULT VALUES;

-- The table of the month that `at` lies in, made if it is missing; names are made here, of the month alone. Making it
-- holds up neither readers nor writers of the log. Each month has its own unique ids; over all of them they are unique
-- because every writer looks first, under the lock of core.open_prediction_month.
CREATE FUNCTION core.prediction_month(at timestamptz) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC'
    SET lock_timeout = '4s' SET client_min_messages = 'warning' AS
$function$
DECLARE
    began CONSTANT timestamptz := date_trunc('month', at);
    month CONSTANT text := to_char(began, '"prediction_"YYYY_MM');
BEGIN
    IF NOT isfinite(at) THEN
        RAISE EXCEPTION 'no month has the time %', at;
    END IF;
    IF to_regclass(format('core.%I', month)) IS NULL THEN
        EXECUTE format(
            'CREATE TABLE core.%I (LIKE core.prediction INCLUDING CONSTRAINTS INCLUDING INDEXES INCLUDING STORAGE,'
            ' CHECK (logged_at >= %L AND logged_at < %L)) INHERITS (core.prediction)',
            month, began, began + interval '1 month');
        EXECUTE format(
            'ALTER TABLE core.%I ALTER COLUMN seq SET DEFAULT nextval(''core.prediction_seq_seq''::regclass)', month);
        EXECUTE format('GRANT SELECT, INSERT ON core.%I TO trainyard_ingest', month);
    END IF;
    RETURN month;
END
$function$;
REVOKE ALL ON FUNCTION core.prediction_month(timestamptz) FROM PUBLIC;

-- What a writer of the log begins with: the lock that is held to COMMIT (nothing appears later at or below a seq that
-- anyone has seen), and the table of this moment.
CREATE FUNCTION core.open_prediction_month(OUT month text, OUT at timestamptz)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$function$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('core.prediction'), 1);
    at := clock_timestamp();
    month := core.prediction_month(at);
END
$function$;
REVOKE ALL ON FUNCTION core.open_prediction_month() FROM PUBLIC;

-- Forget what was logged in months that ended more than `keep` ago: at most one month's table and `most` rows of the
-- parent in a call. Also makes this month's and the next month's table, so that writers hardly ever have to.
CREATE FUNCTION core.forget_predictions(keep interval, most integer, OUT month text, OUT rows bigint)
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET lock_timeout = '1s' AS
$function$
DECLARE
    began CONSTANT timestamptz := date_trunc('month', clock_timestamp() - keep);
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('core.prediction'), 1);
    PERFORM core.prediction_month(clock_timestamp()), core.prediction_month(clock_timestamp() + interval '1 month');
    UPDATE core.prediction_kept SET since = began WHERE since < began;
    SELECT c.relname INTO month FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'core.prediction'::regclass AND c.relname < to_char(began, '"prediction_"YYYY_MM')
        ORDER BY c.relname LIMIT 1;
    IF month IS NOT NULL THEN
        EXECUTE format('DROP TABLE core.%I', month);
    END IF;
    DELETE FROM ONLY core.prediction WHERE seq IN (
        SELECT seq FROM (SELECT seq, logged_at FROM ONLY core.prediction ORDER BY seq LIMIT most) oldest
        WHERE logged_at < began);
    GET DIAGNOSTICS rows = ROW_COUNT;
END
$function$;
REVOKE ALL ON FUNCTION core.forget_predictions(interval, integer) FROM PUBLIC;

-- The release before inserts into core.prediction with ON CONFLICT (id) DO NOTHING: its rows go to their months.
CREATE FUNCTION core.redirect_prediction() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS
$function$
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('core.prediction'), 1);
    IF NOT EXISTS (SELECT FROM core.prediction WHERE id = NEW.id) THEN
        EXECUTE format('INSERT INTO core.%I SELECT ($1).*', core.prediction_month(NEW.logged_at)) USING NEW;
    END IF;
    RETURN NULL;
END
$function$;
REVOKE ALL ON FUNCTION core.redirect_prediction() FROM PUBLIC;
CREATE TRIGGER prediction_redirected BEFORE INSERT ON core.prediction
    FOR EACH ROW EXECUTE FUNCTION core.redirect_prediction();

-- What who takes data in may do in core, all of it in this list: a table, its privileges. Tables of datasets, months of
-- the log and the views in `data` are granted where they are made.
DO $$
DECLARE
    line record;
BEGIN
    FOR line IN SELECT * FROM (VALUES
        ('dataset', 'SELECT, INSERT, UPDATE (columns, settings, revision, last_seq, removed_rows, deleted_at)'),
        ('dataset_revision', 'SELECT, INSERT'),
        ('batch', 'SELECT, INSERT, UPDATE'),
        ('reject', 'SELECT, INSERT, DELETE'),
        ('loading', 'SELECT, INSERT, UPDATE, DELETE'),
        ('erasure', 'SELECT, INSERT, UPDATE (rows, first_seq, last_seq, upto_seq, versions, last_at)'),
        ('level', 'SELECT, INSERT, UPDATE, DELETE'),
        ('model', 'SELECT'),
        ('version', 'SELECT, UPDATE (not_reproducible)'),
        ('training_request', 'SELECT'),
        ('prediction', 'SELECT'),
        ('prediction_kept', 'SELECT'),
        ('prediction_seq_seq', 'USAGE'),
        ('feedback', 'SELECT, INSERT'),
        ('idempotency', 'SELECT, INSERT'),
        ('outbox', 'INSERT'),
        ('event', 'SELECT, INSERT'),
        ('audit', 'SELECT, INSERT')
    ) AS granted ("table", privileges) LOOP
        EXECUTE format('GRANT %s ON %s core.%I TO trainyard_ingest', line.privileges,
                       CASE WHEN line.privileges = 'USAGE' THEN 'SEQUENCE' ELSE 'TABLE' END, line."table");
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION core.open_prediction_month() TO trainyard_ingest;
