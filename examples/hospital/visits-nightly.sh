#!/bin/sh
# Queue the visits that were written since the last night and send the queue. Silent unless somebody has to look; see README.md beside it.
set -eu
: "${VISITS:?names the directory with the documents}" "${GATEWAY:?names the data centre, https://HOST:PORT}" "${KEY:?names the key file}"
: "${CERT:?names the certificate}" "${CERT_KEY:?names its key}" "${CA:?names the certificate of the data centre's authority}"
STATE=${STATE:-/var/lib/scape}
LINKS=${LINKS:-$STATE/links.db}
SETTLED=${SETTLED:-10} # minutes without a change after which a document is taken to be complete
export KEY LINKS
umask 077
mkdir -p "$STATE"
cd "$STATE"

# A night's work may last until the next night: then the next one leaves it to the first.
exec 9> visits.lock
flock --nonblock 9 || exit 0

# Documents that are listed twice cost nothing: the queue knows them.
touch --date="-$((SETTLED + 5)) minutes" visits.this-night
since=
[ ! -e visits.last-night ] || since="-newercm visits.last-night"
# shellcheck disable=SC2086 # $since is two words, or none
find "$VISITS" -type f $since ! -cmin "-$SETTLED" -print0 > visits.files
rm -f visits.held

# Status 1 and 65: documents were refused, each with its line; the night goes on. Anything else ends it, and the next night begins there.
xargs --null --no-run-if-empty --arg-file=visits.files sh -c '
    status=0
    hl7-send "$@" --queue-only --links "$LINKS" --key "$KEY" 9>&- || status=$?
    case $status in 0) ;; 1 | 65) : > visits.held ;; *) exit 255 ;; esac
' visits-nightly || {
    echo "visits-nightly: stopped before all was queued; the next night goes on with it" >&2
    exit 1
}
mv visits.this-night visits.last-night
rm -f visits.files

# What the data centre does not take now waits, and the next run sends it; `hl7-send --status` tells when that lasts too long.
status=0
hl7-send -q --drain --to "$GATEWAY" --links "$LINKS" --key "$KEY" --cert "$CERT" --client-key "$CERT_KEY" --ca "$CA" 9>&- || status=$?
case $status in 0 | 75) ;; *) exit "$status" ;; esac
[ ! -e visits.held ]
