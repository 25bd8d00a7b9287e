#!/bin/sh
# Before the files go. dpkg says "remove" or "upgrade", rpm the number of
# versions that will be left. An upgrade restarts the daemon afterwards.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
[ -d /run/systemd/system ] || exit 0
systemctl disable --now sekimori.service sekimori.socket
