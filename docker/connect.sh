#!/bin/sh
# Write Flower's connection "federation" into a home of this container's own, then run a command.
#   connect.sh HOST:PORT CA_CERTIFICATE COMMAND...
set -eu
FLWR_HOME=$(mktemp -d)
export FLWR_HOME
printf '[superlink]\ndefault = "federation"\n[superlink.federation]\naddress = "%s"\nroot-certificates = "%s"\n' \
    "$1" "$2" >"$FLWR_HOME/config.toml"
shift 2
exec "$@"
