-- Back to one table: the months' rows return to it. The role may nothing in core any more.
DO $$
DECLARE
    month regclass;
BEGIN
    FOR month IN SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'core.prediction'::regclass LOOP
        EXECUTE format('INSERT INTO core.prediction OVERRIDING SYSTEM VALUE SELECT * FROM %s', month);
        EXECUTE format('DROP TABLE %s', month);
    END LOOP;
END $$;
REVOKE ALL ON ALL TABLES IN SCHEMA core FROM trainyard_ingest;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA core FROM trainyard_ingest;
