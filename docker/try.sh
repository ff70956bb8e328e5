#!/bin/sh
# Build the image and try it: a federation in containers, with TLS and node authentication, runs `mini-smoke`; a
# simulation in a container runs it, too; both must be the same to the bit. All is taken down again, the image stays.
#
#   docker/try.sh                             with the first of docker compose, docker-compose, podman-compose,
#                                             podman compose that is there
#   COMPOSE="podman compose" docker/try.sh    with this one
#
# What compose.yaml takes from the environment (TORCH_INDEX, FCIT_PORT) holds here, too. FCIT_TRY_SECONDS is how long
# each step may take (900). Exit code 1: it did not work; 2: wrong use.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
seconds=${FCIT_TRY_SECONDS:-900}

fail() {
    echo "try: $1" >&2
    exit "${2:-1}"
}

if [ -z "${COMPOSE:-}" ]; then
    for candidate in "docker compose" docker-compose podman-compose "podman compose"; do
        case $candidate in docker*) engine="docker info" ;; *) engine="podman info" ;; esac
        # shellcheck disable=SC2086
        if $candidate version >/dev/null 2>&1 && $engine >/dev/null 2>&1; then
            COMPOSE=$candidate
            break
        fi
    done
    [ -n "${COMPOSE:-}" ] || fail "neither Docker nor Podman answers with a Compose. Install one, start its engine, or \
name the command: COMPOSE='podman compose' docker/try.sh" 2
fi
case $COMPOSE in podman*) engine=podman ;; *) engine=docker ;; esac

# Containers run as whoever owns the files: this user, who is root within a rootless engine. Root hands them over.
FCIT_UID=$(id -u) FCIT_GID=$(id -g)
if [ "$FCIT_UID" = 0 ]; then
    FCIT_UID=1000 FCIT_GID=1000
elif $engine info 2>/dev/null | grep -qiE '^ *rootless(: true)?$'; then
    FCIT_UID=0 FCIT_GID=0
fi
FCIT_FOLDER=$(mktemp -d)
FCIT_CLIENTS=2
export FCIT_UID FCIT_GID FCIT_FOLDER FCIT_CLIENTS

compose() {
    # shellcheck disable=SC2086
    timeout "$seconds" $COMPOSE -p fcit-try -f "$here/compose.yaml" "$@"
}
cleanup() {
    code=$?
    trap - EXIT INT TERM
    if [ "$code" != 0 ]; then
        compose logs 2>&1 | tail -n 100 >&2 || true
    fi
    compose down --volumes >/dev/null 2>&1 || echo "try: '$COMPOSE -p fcit-try down' failed" >&2
    # podman-compose 1.0 forgets its network.
    $engine network rm fcit-try_default >/dev/null 2>&1 || true
    rm -rf "$FCIT_FOLDER"
    exit "$code"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
step() { echo "$(date +%T) $1"; }
# podman-compose wants to be told of the profile, its first versions know none.
profile=""
# shellcheck disable=SC2086
if $COMPOSE --help 2>/dev/null | grep -q -e --profile; then
    profile="--profile cli"
fi
# Connections to the engine would read this script's own input.
# shellcheck disable=SC2086
cli() { compose $profile run --rm -T cli "$@" </dev/null; }
# Health alone does not tell: a SuperNode that is not let in is well until it ends.
joined() { compose logs "$1" 2>/dev/null </dev/null | grep -q "SuperNode ID:"; }

step "building the image ($COMPOSE)"
compose build superlink >"$FCIT_FOLDER/build.log" 2>&1 || { tail -n 40 "$FCIT_FOLDER/build.log" >&2; fail "no image"; }

step "certificates"
"$here/make-certificates.sh" "$FCIT_FOLDER/certificates" 2
mkdir "$FCIT_FOLDER/runs" "$FCIT_FOLDER/data" "$FCIT_FOLDER/models"
cp "$here/same_run.py" "$FCIT_FOLDER/runs"
if [ "$(id -u)" = 0 ]; then
    chown -R "$FCIT_UID:$FCIT_GID" "$FCIT_FOLDER"
fi

step "starting SuperLink and SuperNodes"
compose up --detach >"$FCIT_FOLDER/up.log" 2>&1 || { cat "$FCIT_FOLDER/up.log" >&2; fail "no federation"; }
began=$(date +%s)
until joined supernode-0 && joined supernode-1; do
    [ $(($(date +%s) - began)) -lt "$seconds" ] || fail "the federation did not come up within $seconds s"
    sleep 2
done

step "a run in the federation"
# `flwr run` exits 0 even if the run failed: its result tells.
cli flwr run /app federation --stream \
    --run-config "preset='mini-smoke' clients-per-round=2 out='/runs/federation'" >"$FCIT_FOLDER/run.log" 2>&1 || true
[ -f "$FCIT_FOLDER/runs/federation/result.json" ] || { tail -n 40 "$FCIT_FOLDER/run.log" >&2; fail "no result"; }

step "the same run in a simulation"
cli fcit run --preset mini-smoke --clients 2 --set clients-per-round=2 --out /runs/simulation \
    >"$FCIT_FOLDER/simulation.log" 2>&1 || { tail -n 40 "$FCIT_FOLDER/simulation.log" >&2; fail "no simulation"; }

step "comparing"
cli python /runs/same_run.py /runs/federation /runs/simulation >"$FCIT_FOLDER/compare.log" 2>&1 \
    || { tail -n 5 "$FCIT_FOLDER/compare.log" >&2; fail "the two runs differ"; }
grep "same to the bit" "$FCIT_FOLDER/compare.log"
step "taking all down"
