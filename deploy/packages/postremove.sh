#!/bin/sh
# Runs after the files were removed. The daemon's own files are removed only at
# "purge". The user stays, so that no later user gets its number and files.
set -e

[ ! -d /run/systemd/system ] || systemctl daemon-reload
case "$1" in
purge)
	rm -rf /var/lib/sekimori
	rmdir /etc/sekimori/setup /etc/sekimori 2>/dev/null || : # "setup" made the first; files of yours stay
	;;
remove | 0) rmdir /var/lib/sekimori 2>/dev/null || : ;; # if the daemon wrote nothing into it
esac
