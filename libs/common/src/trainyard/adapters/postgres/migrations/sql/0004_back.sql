-- Back to rows that the services number: no sequences.
DO $$
DECLARE
    numbers record;
BEGIN
    FOR numbers IN SELECT c.oid::regclass AS name, substr(c.relname, 3) AS id FROM pg_class c
        WHERE c.relnamespace = 'data_'::regnamespace AND c.relkind = 'S' LOOP
        IF to_regclass('data_.t_' || numbers.id) IS NOT NULL THEN
            EXECUTE format('ALTER TABLE data_.t_%s ALTER COLUMN ingest_seq DROP DEFAULT', numbers.id);
            EXECUTE format('UPDATE data_.t_%s SET batch_id = gen_random_uuid() WHERE batch_id IS NULL', numbers.id);
            EXECUTE format('ALTER TABLE data_.t_%s ALTER COLUMN batch_id SET NOT NULL', numbers.id);
        END IF;
        EXECUTE format('DROP SEQUENCE %s', numbers.name);
    END LOOP;
END $$;
