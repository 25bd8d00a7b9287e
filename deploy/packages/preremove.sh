#!/bin/sh
# Runs before the files are removed. The argument is "remove" or "upgrade" from
# dpkg, and from rpm the number of versions that stay. An upgrade restarts the
# daemon afterwards.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now sekimori.service sekimori.socket sekimori-held.timer
