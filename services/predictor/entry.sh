#!/bin/sh
# What the image does, by its first argument; see the Dockerfile. Anything else names the handler of a Lambda function.
set -e
case "$1" in
serve)
    exec python -m trainyard_predictor.serve
    ;;
http)
    shift
    # A heartbeat on a disk can stall a worker, and the read-only root has none: it goes to memory. The workers' number is
    # SageMaker's variable where it is set.
    exec python -m gunicorn --bind "0.0.0.0:${TRAINYARD_PREDICTOR_PORT:-8080}" \
        --worker-class trainyard_predictor.web.worker.LoopWorker \
        --workers "${SAGEMAKER_MODEL_SERVER_WORKERS:-2}" --threads 8 --worker-connections 4000 \
        --keep-alive 75 --graceful-timeout 3 \
        --worker-tmp-dir /dev/shm --no-control-socket "$@" "trainyard_predictor.web.app:app()"
    ;;
poll)
    exec python -m trainyard_predictor.poll
    ;;
*)
    exec /lambda-entrypoint.sh "$@"
    ;;
esac
