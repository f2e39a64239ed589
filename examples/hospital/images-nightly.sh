#!/bin/sh
# Anonymise the images that the archive received since the last night and send them to the data centre, which commits itself to keep them.
# Silent unless something was held back, was refused or waits for the next night; see README.md beside it.
set -eu
: "${IMAGES:?names the directory with the images}" "${PACS:?names the data centre, HOST:PORT}" "${KEY:?names the key file}"
: "${CERT:?names the certificate}" "${CERT_KEY:?names its key}" "${CA:?names the certificate of the data centre's authority}"
STATE=${STATE:-/var/lib/scape}
OUTBOX=${OUTBOX:-$STATE/outbox}
umask 077
mkdir -p "$OUTBOX"

# What was held back, or could not be finished, is told by its own words and hinders nothing: only what is anonymised stands in the outbox.
anonymised=0
ARCHIVE=$IMAGES OUTBOX=$OUTBOX STATE=$STATE/images KEY=$KEY "${0%/*}/../nightly/nightly.sh" || anonymised=$?
dicom-send "$OUTBOX" --to "$PACS" --cert "$CERT" --key "$CERT_KEY" --ca "$CA" --journal "$STATE/sent.db" --jobs 2 --commit
exit "$anonymised"
