#!/bin/sh
# A web service as its container runs it: serve NAME PORT [THREADS]. `exec`, so that SIGTERM reaches gunicorn.
exec python -m gunicorn --bind "0.0.0.0:$2" --worker-class trainyard.adapters.gunicorn_worker.JsonWorker --workers 1 --threads "${3:-8}" \
    --keep-alive 75 --graceful-timeout 3 --worker-tmp-dir /dev/shm --no-control-socket "trainyard_$1.wsgi:app()"
