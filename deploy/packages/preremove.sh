#!/bin/sh
# Runs before the files are removed. The argument is "remove" or "upgrade" from
# dpkg, and from rpm the number of versions that stay. An upgrade restarts the
# daemon afterwards.
set -e

case "$1" in
remove | 0) ;;
*) exit 0 ;;
esac
# Where the daemon listens on a TCP port, the MTA names the port and not sekimori.
port=$(sed -n 's/^listen:.*inet:[^"]*:\([0-9]*\)".*/:\1/p' /etc/sekimori/sekimori.yaml 2>/dev/null) || :
if postconf -h smtpd_milters 2>/dev/null | grep -q -e sekimori ${port:+-e "$port"} ||
	grep -qs '^Xsekimori' /etc/mail/sendmail.cf; then
	cat >&2 <<END
The MTA still asks sekimori, and answers every client with 451 from now on. Take
the line out: smtpd_milters in Postfix's main.cf, then "postfix reload"; or
INPUT_MAIL_FILTER in sendmail.mc, then "make -C /etc/mail" and a restart of
Sendmail. (Before a removal, "sekimori setup postfix --undo" or
"sekimori setup sendmail --undo" does it.)
END
fi

command -v systemctl >/dev/null 2>&1 || exit 0
now=
[ ! -d /run/systemd/system ] || now=--now
# shellcheck disable=SC2086 # nothing or one word
systemctl disable $now sekimori.service sekimori.socket sekimori-bounces.socket sekimori-held.timer
