#!/bin/sh
# Say what waits or was refused for good: once, again after a week, and nothing when all is acknowledged. For cron, which mails what is
# printed, and for systemd; the exit status is that of hl7-send --status, every day until it is mended. See README.md.
set -eu
: "${KEY:?names the key file}"
STATE=${STATE:-/var/lib/scape}
LINKS=${LINKS:-$STATE/links.db}
told=$STATE/visits.told
umask 077
[ -e "$LINKS" ] || case $LINKS in *://*) ;; *) exit 0 ;; esac # nothing was ever queued

status=0
words=$(hl7-send --status --links "$LINKS" --key "$KEY" 2>&1) || status=$?
if [ "$status" = 0 ]; then
    rm -f "$told"
    exit 0
fi

# What there is to tell, a line each, without the counts and times that change from day to day.
case $status in
1 | 75)
    printf '%s\n' "$words" | awk -F '\t' '
        $1 == "dead letter" { print "dead", $2 }
        ($1 == "queued" || $1 == "sent") && $2 > 0 { waits = 1 }
        END { if (waits) print "waiting" }' > "$told.new"
    ;;
*) printf '%s\n' "$words" > "$told.new" ;;
esac
if [ ! -e "$told" ] || [ -n "$(find "$told" -mtime +6)" ] || grep -Fxvqf "$told" "$told.new"; then
    printf 'Visits wait, or were refused for good; examples/hospital/README.md says what to do.\n%s\n' "$words"
else
    touch -r "$told" "$told.new" # the week goes on
fi
mv -f "$told.new" "$told"
exit "$status"
