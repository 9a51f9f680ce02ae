#!/bin/bash
# As the original's, for `postgres` with or without options: makes the cluster at the first start, owned by
# POSTGRES_USER with POSTGRES_PASSWORD (or the content of POSTGRES_PASSWORD_FILE), and the database POSTGRES_DB.
set -euo pipefail
[ "${1:-}" = postgres ] || exec "$@"
if [ "$(id -u)" = 0 ]; then
    install -d -o postgres -g postgres -m 700 "$PGDATA"
    chown -R postgres:postgres "$PGDATA"
    exec setpriv --reuid postgres --regid postgres --init-groups -- "$0" "$@"
fi
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    user=${POSTGRES_USER:-postgres}
    database=${POSTGRES_DB:-$user}
    password=${POSTGRES_PASSWORD:-}
    [ -z "${POSTGRES_PASSWORD_FILE:-}" ] || password=$(cat "$POSTGRES_PASSWORD_FILE")
    [ -n "$password" ] || { echo "POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE must be set" >&2; exit 1; }
    # A start that was cut off leaves half a cluster, which has no PG_VERSION or is not marked as finished.
    find "$PGDATA" -mindepth 1 -delete
    initdb --username="$user" --pwfile=<(printf '%s\n' "$password") --auth-local=trust --auth-host=scram-sha-256 \
        --encoding=UTF8 --locale=C.UTF-8 --pgdata="$PGDATA" >/dev/null
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    pg_ctl --pgdata="$PGDATA" --options="-c listen_addresses=''" --wait --silent start
    [ "$database" = postgres ] || psql --quiet --username="$user" --dbname=postgres --set=name="$database" \
        <<<'CREATE DATABASE :"name";'
    pg_ctl --pgdata="$PGDATA" --mode=fast --wait --silent stop
fi
exec "$@" -c listen_addresses='*'
