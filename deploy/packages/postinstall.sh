#!/bin/sh
# Runs after unpacking. The arguments are "configure OLD-VERSION" from dpkg, and
# from rpm the number of versions that are installed now.
set -e

if command -v systemd-sysusers >/dev/null 2>&1; then
	systemd-sysusers sekimori.conf
elif ! getent passwd sekimori >/dev/null; then
	useradd --system --user-group --no-create-home --home-dir /var/lib/sekimori \
		--shell /usr/sbin/nologin --comment "Mail authentication milter" sekimori
fi

if [ ! -d /run/systemd/system ]; then
	# Where systemd runs, the unit makes this directory (StateDirectory=).
	install -d -o sekimori -g sekimori -m 0700 /var/lib/sekimori
	# This may be an image that is booted later. A container without systemd starts
	# the daemon in another way.
	case "$1:$2" in
	configure: | 1:*)
		! command -v systemctl >/dev/null 2>&1 || systemctl enable sekimori.socket sekimori.service
		;;
	esac
	exit 0
fi

systemctl daemon-reload
case "$1:$2" in
configure: | 1:*)
	systemctl enable --now sekimori.socket sekimori.service
	;;
*)
	# An upgrade. If the new program refuses the file, a restart would end the old
	# process and all mail would be put off. The check runs as the daemon's user.
	as=
	if command -v setpriv >/dev/null 2>&1; then
		as="setpriv --reuid=sekimori --regid=sekimori --init-groups"
	fi
	# shellcheck disable=SC2086 # several words
	if ! why=$($as /usr/bin/sekimori config check --config /etc/sekimori/sekimori.yaml 2>&1); then
		cat >&2 <<END
$why

sekimori was NOT restarted: the new version does not take the configuration, for
the reason above. The process of the old version goes on with the one it has.
Correct /etc/sekimori/sekimori.yaml, then: systemctl restart sekimori
END
		exit 0
	fi
	# The socket stays. Connections wait in its queue for the new version.
	systemctl try-restart sekimori.service
	;;
esac
