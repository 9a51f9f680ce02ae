#!/usr/bin/env bash
# Bring a Docker engine with the plugins compose and buildx to this machine, where they are missing (Debian or Ubuntu, as
# root), and start the engine where no init does. What is there already is left alone. docs/compose.md says more.
#
#   engine.sh           install and start what is missing
#   engine.sh --check   only say what is missing: exit code 0 when nothing is
set -euo pipefail

PLUGINS=(compose buildx)
PLUGIN_FOLDER=/usr/local/lib/docker/cli-plugins
#: Debian 12 has no plugins; those of Debian 13 need nothing but a libc that it has
PLUGINS_FROM=trixie
LOG=/var/log/dockerd.log
#: it answers once the containers that shall always run have been started again
WAIT_SECONDS=180
#: each with the program whose number it holds
PID_FILES=(/var/run/docker.pid:dockerd /var/run/docker/containerd/containerd.pid:containerd)

say() { echo "engine: $*" >&2; }
has_plugin() { docker "$1" version >/dev/null 2>&1; }
answers() { docker info >/dev/null 2>&1; }

missing() {
    command -v docker >/dev/null && command -v dockerd >/dev/null || answers || echo "the engine"
    answers || echo "an engine that answers"
    for plugin in "${PLUGINS[@]}"; do has_plugin "$plugin" || echo "docker $plugin"; done
}

install_packages() {
    say "installing $*"
    apt-get update -qq
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" >/dev/null
}

# The plugins' packages by apt, from the mirror that this machine uses, in lists of their own: the machine's own packages
# must not be upgraded to another release by this.
install_plugins() {
    local mirror release work
    release=$(. /etc/os-release && echo "$VERSION_CODENAME")
    mirror=$(apt-get indextargets --format '$(CODENAME) $(REPO_URI)' | awk -v release="$release" '$1 == release {print $2; exit}')
    work=$(mktemp -d)
    trap 'rm -rf "$work"' RETURN
    mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/unpacked" "$PLUGIN_FOLDER"
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $PLUGINS_FROM main" >"$work/sources.list"
    local apt=(apt-get -qq -o Dir::Etc::SourceList="$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
               -o Dir::State::Lists="$work/lists" -o Dir::Cache::Archives="$work/archives" -o APT::Sandbox::User=root
               -o Dir::Cache::pkgcache= -o Dir::Cache::srcpkgcache=)
    say "fetching the plugins of $PLUGINS_FROM"
    "${apt[@]}" update
    (cd "$work" && "${apt[@]}" download "${PLUGINS[@]/#/docker-}")
    for package in "$work"/*.deb; do dpkg-deb --extract "$package" "$work/unpacked"; done
    for plugin in "${PLUGINS[@]}"; do
        install -m 755 "$work/unpacked/usr/libexec/docker/cli-plugins/docker-$plugin" "$PLUGIN_FOLDER/docker-$plugin"
    done
}

# After a kill -9 the number in a pid file may be that of any process by now, or of a dead one that nobody has collected;
# an engine that starts takes it for its predecessor: it would refuse to start, or wait for a containerd that is none.
drop_stale_pid_files() {
    local entry file
    for entry in "${PID_FILES[@]}"; do
        file=${entry%%:*}
        [ -f "$file" ] || continue
        case "$(readlink "/proc/$(<"$file")/exe")" in
        */"${entry##*:}"*) ;;
        *) rm -f "$file" ;;
        esac
    done
}

start() {
    local engine=
    if [ -d /run/systemd/system ]; then
        systemctl start docker
    else
        drop_stale_pid_files
        say "starting dockerd; its log: $LOG"
        setsid nohup dockerd >"$LOG" 2>&1 </dev/null &
        engine=$!
    fi
    for _ in $(seq "$WAIT_SECONDS"); do
        answers && return
        [ -z "$engine" ] || kill -0 "$engine" 2>/dev/null || { say "the engine ended"; break; }
        sleep 1
    done
    say "the engine does not answer"
    tail -n 20 "$LOG" >&2 || true
    return 1
}

if [ "${1:-}" = --check ]; then
    lacking=$(missing)
    [ -z "$lacking" ] || { say "missing: $(echo "$lacking" | paste -sd, - | sed 's/,/, /g')"; exit 1; }
    exit 0
fi
[ -z "$(missing)" ] && exit 0
[ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || { say "not root on Debian or Ubuntu: install Docker with its compose plugin"; exit 1; }
answers || { command -v dockerd >/dev/null && command -v iptables >/dev/null; } || install_packages docker.io iptables
answers || start
for plugin in "${PLUGINS[@]}"; do has_plugin "$plugin" || { install_plugins; break; }; done
lacking=$(missing)
[ -z "$lacking" ] || { say "still missing: $lacking"; exit 1; }
say "$(docker version --format 'engine {{.Server.Version}}'), compose $(docker compose version --short), buildx $(docker buildx version | awk '{print $2}')"
