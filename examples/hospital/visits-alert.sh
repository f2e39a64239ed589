#!/bin/sh
# Say what waits or was refused for good, and nothing when all is acknowledged. For cron, which mails what is printed; see README.md.
set -eu
: "${KEY:?names the key file}"
LINKS=${LINKS:-${STATE:-/var/lib/scape}/links.db}
[ -e "$LINKS" ] || case $LINKS in *://*) ;; *) exit 0 ;; esac # nothing was ever queued
words=$(hl7-send --status --links "$LINKS" --key "$KEY" 2>&1) || {
    status=$?
    printf '%s\n' "$words"
    exit "$status"
}
