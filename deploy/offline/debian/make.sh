#!/usr/bin/env bash
# Debian's smallest system as a tar on standard output, with this machine's certificates and without what an image has no
# use for: make.sh RELEASE CERTIFICATES
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v debootstrap >/dev/null || { apt-get update -qq; apt-get install -qq -y --no-install-recommends debootstrap; } >&2
debootstrap --variant=minbase --include=ca-certificates "$1" "$work/root" >"$work/log" 2>&1 || { tail -n 20 "$work/log" >&2; exit 1; }
[ ! -f "$2" ] || cp "$2" "$work/root/etc/ssl/certs/ca-certificates.crt"
cd "$work/root"
rm -rf var/cache/apt/archives/*.deb var/cache/apt/*.bin var/lib/apt/lists/* usr/share/{doc,man,info}/* var/log/*
tar --create --numeric-owner --one-file-system .
