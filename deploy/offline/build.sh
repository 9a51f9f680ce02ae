#!/usr/bin/env bash
# Build the base images that our Dockerfiles and docker-compose.yml name, under these names, from Debian and PyPI packages:
# for machines that reach these two and no container registry. docs/compose.md says more.
#
#   build.sh            build what is missing or older than its recipe
#   build.sh --list     print the names
#
# An image of such a name that was not built here (a pulled one) is left alone. Every image is asked for the version of what
# is in it, which must be that of its name.
set -euo pipefail
cd "$(dirname "$0")/../.."

RECIPE_LABEL=trainyard.offline.recipe
DEBIAN=trixie
#: of the network, where it has its own: all downloads in builds are checked by them
CERTIFICATES=/etc/ssl/certs/ca-certificates.crt

# name · folder of its recipe below deploy/offline · further files it is made of · the command that prints its version · what
# this must print
IMAGES=(
    "debian:$DEBIAN-slim|debian||. /etc/os-release; echo \$VERSION_CODENAME|$DEBIAN"
    "python:3.13-slim|python||python --version|Python 3.13."
    "public.ecr.aws/lambda/python:3.13|lambda|requirements/awslambdaric.txt requirements/lambda-emulator.txt|python --version; python -c 'import awslambdaric'|Python 3.13."
    "postgres:17|postgres||postgres --version|postgres (PostgreSQL) 17."
    "localstack/localstack:4.14.0|localstack|requirements/localstack-image.txt|python -c 'from localstack import constants; print(constants.VERSION)'|4.14.0"
    "ministackorg/ministack:latest|ministack|requirements/ministack.txt|python -c 'from importlib.metadata import version; print(version(\"ministack\"))'|$(sed -n 's/^ministack==\([^ ]*\).*/\1/p' requirements/ministack.txt)"
    "nginx:1.26|nginx||nginx -v 2>&1|nginx version: nginx/1.26."
    "prom/prometheus:v2.53.3|prometheus||prometheus --version|prometheus, version 2.53.3"
)

say() { echo "offline: $*" >&2; }

recipe() { # of a folder, further files and the image below: all that the image is made of, in one number
    { find "deploy/offline/$1" -type f -print0 | sort -z | xargs -0 cat -- $2; [ ! -f "$CERTIFICATES" ] || cat "$CERTIFICATES"; echo "$3"; } \
        | sha256sum | cut -c1-16
}

label_of() { docker image inspect --format "{{index .Config.Labels \"$RECIPE_LABEL\"}}" "$1" 2>/dev/null || echo absent; }

build() ( # name, folder, files, recipe
    if [ "$2" = debian ]; then
        "deploy/offline/$2/make.sh" "$DEBIAN" "$CERTIFICATES" | docker import --change "LABEL $RECIPE_LABEL=$4" --change 'CMD ["bash"]' - "$1" >/dev/null
        exit
    fi
    context=$(mktemp -d)
    trap 'rm -rf "$context"' EXIT
    cp -r "deploy/offline/$2/." "$context"
    for file in $3; do cp "$file" "$context"; done
    DOCKER_BUILDKIT=1 docker build --quiet --label "$RECIPE_LABEL=$4" --tag "$1" "$context" >/dev/null
)

check() { # name, command, what it must print
    local printed
    printed=$(docker run --rm --network none --entrypoint /bin/sh "$1" -c "$2")
    case "$printed" in
    "$3"*) ;;
    *)
        docker image rm --force "$1" >/dev/null # or it would count as built the next time
        say "$1 holds '$printed', not '$3'"
        return 1
        ;;
    esac
}

if [ "${1:-}" = --list ]; then printf '%s\n' "${IMAGES[@]%%|*}"; exit; fi
below=
for image in "${IMAGES[@]}"; do
    IFS='|' read -r name folder files command version <<<"$image"
    wanted=$(recipe "$folder" "$files" "$below")
    case "$folder" in debian | python) below=$wanted ;; esac # what the others are built upon
    present=$(label_of "$name")
    case "$present" in
    "$wanted") say "$name is there"; continue ;;
    "") say "$name was not built here and stays"; continue ;;
    esac
    began=$SECONDS
    build "$name" "$folder" "$files" "$wanted"
    check "$name" "$command" "$version"
    say "$name built in $((SECONDS - began)) s"
done
