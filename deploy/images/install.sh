#!/bin/sh
# The part that the build stages of our images share: fills the virtual environment /opt/trainyard.
#
#   install.sh tools                 what the other two need
#   install.sh locked FILE           the packages of a lock file
#   install.sh ours FOLDER           our package in FOLDER, without what only tests use
set -eu
ENVIRONMENT=/opt/trainyard
TOOLS=/tools
# What was downloaded for one image serves the next; the cache is the builder's and in no layer.
export UV_CACHE_DIR=/cache UV_LINK_MODE=copy PIP_CACHE_DIR=/cache/pip

into() { "$TOOLS/bin/uv" pip install --quiet --python "$ENVIRONMENT/bin/python" "$@"; }
# Bytecode is taken as it is: sources never change in an image, and a read-only file system takes no newer one.
compile() { "$ENVIRONMENT/bin/python" -m compileall -q -j 0 --invalidation-mode unchecked-hash "$@"; }

if [ "$1" = tools ]; then
    python -m venv "$TOOLS"
    "$TOOLS/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r requirements/images.txt
    exec python -m venv --without-pip "$ENVIRONMENT"
fi
packages=$("$ENVIRONMENT/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
case "$1" in
locked)
    into --require-hashes --only-binary :all: -r "$2"
    # What nobody imports while it runs. A package's `testing` helps its tests; numpy's is imported by scikit-learn, and so is
    # one further down.
    find "$packages" -type d \( -name tests -o -name test \) -prune -exec rm -rf {} +
    find "$packages" -mindepth 2 -maxdepth 2 -type d -name testing ! -path '*/numpy/*' -exec rm -rf {} +
    find "$packages" \( -name '*.pyi' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.a' -o -name conftest.py \) -delete
    rm -rf "$packages"/pyarrow/include "$packages"/pyarrow/src "$packages"/numpy/_core/include
    compile "$packages"
    ;;
ours)
    (cd "$2" && "$TOOLS/bin/python" -m hatchling build --directory /wheels --target wheel >/dev/null)
    into --no-deps /wheels/*.whl
    rm -rf /wheels "$packages/trainyard/testing"
    compile "$packages"/trainyard*
    ;;
esac
