#!/bin/sh
# Anonymise what the archive received since the last night. Silent unless something was held back or failed; see README.md beside it.
set -eu
: "${ARCHIVE:?names the directory with the images}" "${OUTBOX:?names the directory for anonymised files}" "${KEY:?names the key file}"
STATE=${STATE:-$OUTBOX.nightly}
VAULT=${VAULT:-$STATE/vault.db}
JOBS=${JOBS:-2}
SETTLED=${SETTLED:-10} # minutes without a change after which a file is taken to be complete
export OUTBOX KEY STATE VAULT JOBS
umask 077
mkdir -p "$STATE/reports"
cd "$STATE"

# A night's work may last until the next night: then the next one leaves it to the first.
exec 9> lock
flock --nonblock 9 || exit 0

# What arrives while this runs, and what is not settled, belongs to the next night. Files that are listed twice cost nothing.
touch --date="-$((SETTLED + 5)) minutes" this-night
since=
[ ! -e last-night ] || since="-newercm last-night"
# shellcheck disable=SC2086 # $since is two words, or none
find "$ARCHIVE" -type f $since ! -cmin "-$SETTLED" -print0 > files
rm -f held

# xargs starts one run after another when the names do not fit into one command line. Status 1 is quarantine: the night goes on.
# Anything else ends it; tomorrow the same files are listed again, and those that are done are skipped.
xargs --null --no-run-if-empty --arg-file=files sh -c '
    report=reports/$(date +%Y-%m-%dT%H%M%S).$$.jsonl
    status=0
    dicom-anon "$@" --key "$KEY" --vault "$VAULT" -o "$OUTBOX" --jobs "$JOBS" --report "$report" 9>&- || status=$?
    [ "$status" != 1 ] || : > held
    [ "$status" -le 1 ] || exit 255
' nightly || {
    echo "nightly: stopped before all was anonymised; the next night goes on with it" >&2
    exit 1
}
mv this-night last-night
rm -f files
[ ! -e held ]
