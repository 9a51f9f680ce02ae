#!/usr/bin/env bash
# The demo on a stack of containers of its own: compose-demo.sh TRAINYARD [--keep]. COMPOSE_PROJECT_NAME names the stack,
# which is made afresh and removed at the end unless it shall stay.
set -euo pipefail
cd "$(dirname "$0")/.."
trainyard=$1
remove() { docker compose down --volumes >/dev/null 2>&1; }
remove
[ "${2:-}" = --keep ] || trap remove EXIT
TRAINYARD_FLEET_MAX=1 docker compose up --wait
TRAINYARD_API_KEY=$(docker compose exec -T scheduler cat /secrets/admin/key)
export TRAINYARD_API_KEY AWS_ENDPOINT_URL="http://127.0.0.1:${TRAINYARD_AWS_PORT:-4566}"
"$trainyard" demo --at "http://127.0.0.1:${TRAINYARD_ROUTER_PORT:-8080}"
