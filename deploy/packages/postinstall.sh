#!/bin/sh
# After unpacking. dpkg says "configure OLD-VERSION", rpm the number of
# versions that are installed now.
set -e

if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers sekimori.conf
elif ! getent passwd sekimori >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir /var/lib/sekimori \
		--shell /usr/sbin/nologin --comment "Mail authentication milter" sekimori
fi

# A chroot or a container without systemd: whoever built it starts the daemon.
[ -d /run/systemd/system ] || exit 0

systemctl daemon-reload
case "$1:$2" in
configure: | 1:*)
	systemctl enable --now sekimori.socket sekimori.service
	;;
*)
	# The socket stays: connections wait in its queue for the new version.
	systemctl try-restart sekimori.service
	;;
esac
