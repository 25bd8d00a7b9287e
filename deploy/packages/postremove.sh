#!/bin/sh
# After the files went. What the daemon wrote goes at "purge" only; the user
# stays, so that no later one inherits its number and files.
set -e

[ ! -d /run/systemd/system ] || systemctl daemon-reload
[ "$1" != purge ] || rm -rf /var/lib/sekimori
