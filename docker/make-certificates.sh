#!/bin/sh
# Certificates and keys of one federation: a certificate authority (CA), the SuperLink's certificate
# and one key pair for each SuperNode.
#
#   docker/make-certificates.sh [--force] FOLDER NODES NAME...
#   docker/make-certificates.sh certificates 4 superlink.example.org 192.0.2.7
#
# FOLDER  where to write; must be empty or new, unless --force replaces what lies there
# NODES   how many SuperNodes, each gets node-0, node-0.pub, node-1, …
# NAME    host name or IP address by which SuperNodes and users reach the SuperLink; localhost,
#         127.0.0.1 and superlink (its name in docker/compose.yaml) are always among them
#
# ca.key signs further certificates: keep it off the machines. Each machine gets ca.crt and its own
# node-N, the SuperLink's ca.crt, superlink.crt, superlink.key and all node-N.pub.
# FCIT_CERTIFICATE_DAYS is how long certificates are valid (365).
set -eu
umask 077

fail() {
    echo "make-certificates: $1" >&2
    exit 2
}

usage="usage: make-certificates.sh [--force] FOLDER NODES NAME..."
force=""
if [ "${1:-}" = "--force" ]; then
    force=yes
    shift
fi
[ $# -ge 2 ] || fail "$usage"
folder=$1 nodes=$2
shift 2
days=${FCIT_CERTIFICATE_DAYS:-365}
for pair in "NODES=$nodes" "FCIT_CERTIFICATE_DAYS=$days"; do
    case ${pair#*=} in
        '' | *[!0-9]* | 0*) fail "${pair%%=*} = '${pair#*=}': must be a whole number, 1 or more. $usage" ;;
    esac
done
for program in openssl ssh-keygen; do
    command -v "$program" >/dev/null || fail "the program $program is missing; install it first."
done

san="DNS:localhost,IP:127.0.0.1,DNS:superlink"
for name in "$@"; do
    case $name in
        '' | *[!A-Za-z0-9.:_-]*)
            fail "NAME = '$name': must be a host name or an IP address, without port or scheme." ;;
        *:*:*) kind=IP ;;
        *:*) fail "NAME = '$name': must be a host name or an IP address, without its port." ;;
        *[!0-9.]*) kind=DNS ;;
        *) kind=IP ;;
    esac
    case ",$san," in *",$kind:$name,"*) ;; *) san="$san,$kind:$name" ;; esac
done

if [ -d "$folder" ] && [ -n "$(ls -A "$folder")" ] && [ -z "$force" ]; then
    fail "$folder is not empty. Its keys may be in use: name another folder, or give --force to \
replace them (every SuperNode then needs its new key, registered anew)."
fi

# All is made aside and moved into place in the end: a failure leaves the old files as they were.
mkdir -p "$folder"
new=$(mktemp -d "$folder/.new.XXXXXX")
trap 'rm -rf "$new"' EXIT
quietly() { "$@" 2>"$new/log" || { cat "$new/log" >&2; fail "$1 failed, see above."; }; }

quietly openssl ecparam -name prime256v1 -genkey -noout -out "$new/ca.key"
quietly openssl req -x509 -new -sha256 -days "$days" -key "$new/ca.key" -out "$new/ca.crt" \
    -subj "/O=fcit federation/CN=fcit certificate authority" \
    -addext "keyUsage=critical,keyCertSign,cRLSign"
quietly openssl ecparam -name prime256v1 -genkey -noout -out "$new/superlink.key"
quietly openssl req -new -sha256 -key "$new/superlink.key" -out "$new/superlink.csr" \
    -subj "/O=fcit federation/CN=superlink"
printf '%s\n' "subjectAltName=$san" "basicConstraints=critical,CA:FALSE" \
    "keyUsage=critical,digitalSignature" "extendedKeyUsage=serverAuth" \
    "authorityKeyIdentifier=keyid" >"$new/extensions"
quietly openssl x509 -req -sha256 -days "$days" -in "$new/superlink.csr" -CA "$new/ca.crt" \
    -CAkey "$new/ca.key" -CAcreateserial -extfile "$new/extensions" -out "$new/superlink.crt"
number=0
while [ "$number" -lt "$nodes" ]; do
    quietly ssh-keygen -q -t ecdsa -b 384 -N "" -C "node-$number" -f "$new/node-$number"
    number=$((number + 1))
done

rm -f "$new/superlink.csr" "$new/extensions" "$new/log" "$new"/*.srl
chmod 644 "$new"/*.crt "$new"/*.pub
rm -f "$folder"/ca.* "$folder"/superlink.* "$folder"/node-*
mv "$new"/* "$folder"
echo "Certificates for $san and keys of $nodes SuperNodes are in $folder, valid for $days days."
