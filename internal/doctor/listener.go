package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"

	"sekimori/internal/milter/client"
)

// judgeSocket appends what is wrong with the file of a unix socket.
func judgeSocket(file string, ours *Ours, found []Finding, skipped []string) (_ []Finding, notes []string) {
	if file == "" || ours.Socket == nil {
		return found, skipped
	}
	var f Finding
	switch state := ours.Socket(file); {
	case state.Err != nil:
		return found, append(skipped, fmt.Sprintf("the socket file %s: %v", file, state.Err))
	case state.Missing:
		f = Finding{
			AreaMTA, "socket_missing", fmt.Sprintf("the socket file %s does not exist", file),
			"the MTA cannot reach the daemon",
			"start the daemon (systemctl start sekimori), or reload it if it runs: sekimori reload",
		}
	case state.Denied:
		f = Finding{
			AreaMTA, "socket_permission",
			fmt.Sprintf("the socket file %s has mode %s and group %s, so the MTA's user may not connect", file, state.Mode, state.Group),
			"the MTA cannot reach the daemon, and answers clients with 451",
			"sekimori.yaml: listen: [{address: \"unix:" + file + "\", mode: \"0660\", group: postfix}], " +
				"or SocketGroup=postfix in a drop-in of sekimori.socket",
		}
	default:
		return found, skipped
	}
	if slices.Contains(found, f) {
		return found, skipped
	}
	return append(found, f), skipped
}

// judgeListener adds a finding if the MTA asks an address of this host at which no program listens, or
// another one than the daemon, or one that does not answer. A unix socket whose file has a finding of
// its own is not tried.
func judgeListener(network, address, mta string, ours *Ours, found []Finding) []Finding {
	if ours.Ask == nil || !ours.local(network, address) || slices.ContainsFunc(found, func(f Finding) bool {
		return strings.HasPrefix(f.Kind, "socket_")
	}) {
		return found
	}
	const noMail = "the MTA answers clients as its default action says, usually with 451, so no mail arrives"
	var f Finding
	switch err := ours.Ask(network, address); {
	case errors.Is(err, syscall.ECONNREFUSED):
		f = Finding{
			AreaMTA, "nobody_listens", fmt.Sprintf("no program listens at %s:%s, which the MTA asks", network, address), noMail,
			"start the daemon (systemctl start sekimori); if sekimori is removed: sekimori setup " + mta + " --undo",
		}
	case errors.Is(err, client.ErrAnother):
		f = Finding{
			AreaMTA, "another_program",
			fmt.Sprintf("at %s:%s, which sekimori.yaml and the MTA name for sekimori, another program answers (OpenDKIM often has port 8891)",
				network, address),
			"mail is not verified, and the daemon cannot start while the other program has the address",
			"sekimori.yaml: listen: [\"inet:127.0.0.1:8893\"] (a port that is free); then: systemctl restart sekimori; sekimori setup " + mta + " --apply",
		}
	case errors.Is(err, context.DeadlineExceeded):
		f = Finding{
			AreaMTA, "no_answer", fmt.Sprintf("the program at %s:%s takes connections and does not answer", network, address), noMail,
			"systemctl restart sekimori; its log says why (journalctl -u sekimori)",
		}
	default: // the daemon answers, or an error such as a missing right says nothing about it
		return found
	}
	if slices.Contains(found, f) {
		return found
	}
	return append(found, f)
}
