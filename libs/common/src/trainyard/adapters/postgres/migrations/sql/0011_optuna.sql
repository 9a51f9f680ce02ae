-- Estimators are named by their kind, as in the model format: 'families' are 'kinds', 'trees' is 'tree_ensemble' and
-- 'neural' 'neural_network'. What was stored under the old names stays, and the release before may go on writing it:
-- policies and settings are translated where they are read, the kind of a trial in a column of its own.
CREATE FUNCTION core.with_kinds(given jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE AS $function$
    SELECT CASE WHEN given ? 'families' THEN (given - 'families') || jsonb_build_object('kinds', (
        SELECT jsonb_agg(CASE name WHEN 'trees' THEN 'tree_ensemble' WHEN 'neural' THEN 'neural_network' ELSE name END
                         ORDER BY place)
        FROM jsonb_array_elements_text(given -> 'families') WITH ORDINALITY AS named (name, place)))
    ELSE given END
$function$;
ALTER TABLE core.trial ADD COLUMN kind text GENERATED ALWAYS AS (
    CASE family WHEN 'trees' THEN 'tree_ensemble' WHEN 'neural' THEN 'neural_network' ELSE family END) STORED;
