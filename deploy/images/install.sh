#!/bin/sh
# The part that the build stages of our images share: fills the virtual environment /opt/trainyard.
#
#   install.sh locked FILE           the packages of a lock file
#   install.sh ours FOLDER           our package in FOLDER, without what only tests use
set -eu
ENVIRONMENT=/opt/trainyard
TOOLS=/tools
# Bytecode is taken as it is: sources never change in an image, and a read-only file system takes no newer one.
export PYC_INVALIDATION_MODE=UNCHECKED_HASH
# What was downloaded for one image serves the next; the cache is the builder's and in no layer.
export UV_CACHE_DIR=/cache UV_LINK_MODE=copy PIP_CACHE_DIR=/cache/pip

if [ ! -d "$TOOLS" ]; then
    python -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements/images.txt
    python -m venv --without-pip "$ENVIRONMENT"
fi
into() { "$TOOLS/bin/uv" pip install --quiet --python "$ENVIRONMENT/bin/python" --compile-bytecode "$@"; }
packages=$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

case "$1" in
locked)
    into --require-hashes --only-binary :all: -r "$2"
    # What nobody imports while it runs.
    find "$packages" -name tests -type d -prune -exec rm -rf {} +
    find "$packages" \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' \) -delete
    rm -rf "$packages"/pyarrow/include "$packages"/pyarrow/src "$packages"/numpy/_core/include
    ;;
ours)
    (cd "$2" && "$TOOLS/bin/python" -m hatchling build --directory /wheels --target wheel >/dev/null)
    into --no-deps /wheels/*.whl
    rm -rf /wheels
    rm -rf "$packages/trainyard/testing"
    ;;
esac
