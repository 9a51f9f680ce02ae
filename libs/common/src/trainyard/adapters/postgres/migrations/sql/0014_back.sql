-- As revision 0011 has it.
CREATE OR REPLACE FUNCTION core.end_study() RETURNS trigger
LANGUAGE plpgsql AS $function$
BEGIN
    DELETE FROM optuna.studies WHERE study_name LIKE NEW.id::text || '/%';
    RETURN NULL;
END
$function$;
