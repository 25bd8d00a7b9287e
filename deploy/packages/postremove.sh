#!/bin/sh
# Runs after the files were removed. The daemon's own files are removed only at
# "purge". The user stays, so that no later user gets its number and files.
set -e

[ ! -d /run/systemd/system ] || systemctl daemon-reload
[ "$1" != purge ] || rm -rf /var/lib/sekimori
