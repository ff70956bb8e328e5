#!/bin/sh
# Register every public key in a folder with a SuperLink; a key that it knows already is all right.
#   register.sh FOLDER HOST:PORT          (FOLDER holds ca.crt and node-*.pub)
set -eu
FLWR_HOME=$(mktemp -d)
export FLWR_HOME
trap 'rm -rf "$FLWR_HOME"' EXIT
printf '[superlink.federation]\naddress = "%s"\nroot-certificates = "%s"\n' \
    "$2" "$1/ca.crt" >"$FLWR_HOME/config.toml"
# Not every Compose waits for the SuperLink's health.
patience=120
until python /usr/local/lib/fcit/health.py "https://$2/health" "$1/ca.crt" 2>"$FLWR_HOME/why"; do
    patience=$((patience - 2))
    [ "$patience" -gt 0 ] || { echo "register: the SuperLink does not answer: $(cat "$FLWR_HOME/why")" >&2; exit 1; }
    sleep 2
done
for key in "$1"/node-*.pub; do
    [ -f "$key" ] || { echo "register: there is no node-*.pub in $1" >&2; exit 2; }
    name=$(basename "$key" .pub)
    # Exits 0 even if it is refused: what counts is what it says.
    answer=$(flwr supernode register "$key" federation --name "$name" --format json 2>&1) || true
    case $answer in
        *'"success": true'*) echo "$name: registered" ;;
        *'Public key already in use'*) echo "$name: known already" ;;
        *) echo "$name: $answer" >&2; exit 1 ;;
    esac
done
