package setup

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
)

// Unit is a file of a systemd unit.
type Unit struct {
	Path string
	Text []byte
}

// socketUnit has those settings of sekimori.socket that decide who can connect.
type socketUnit struct {
	streams     []string // ListenStream=
	group, mode string   // SocketGroup=, SocketMode=
	groupFrom   string   // the file that sets the group
}

// readUnits puts the files of a unit together as systemd does: a later file wins, and an empty
// ListenStream= drops the earlier ones.
func readUnits(units []Unit) socketUnit {
	s := socketUnit{mode: "0666"} // systemd's default
	for _, u := range units {
		section := ""
		for line := range strings.Lines(strings.ReplaceAll(string(u.Text), "\\\n", " ")) {
			line = strings.TrimSpace(line)
			if strings.HasPrefix(line, "[") {
				section = line
			}
			key, value, ok := strings.Cut(line, "=")
			if !ok || section != "[Socket]" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, ";") {
				continue
			}
			value = strings.TrimSpace(value)
			switch strings.TrimSpace(key) {
			case "ListenStream":
				s.streams = append(s.streams, value)
				if value == "" {
					s.streams = nil
				}
			case "SocketGroup":
				s.group, s.groupFrom = value, u.Path
			case "SocketMode":
				s.mode = value
			}
		}
	}
	return s
}

// streamEndpoint returns the address of a ListenStream=.
func streamEndpoint(stream string) Endpoint {
	if strings.HasPrefix(stream, "/") {
		return Endpoint{Network: "unix", Address: path.Clean(stream)}
	}
	return Endpoint{Network: "tcp", Address: reachable(stream)}
}

// open reports whether processes of the group may connect to the unit's sockets.
func (s socketUnit) open(group string) bool {
	mode, err := strconv.ParseUint(s.mode, 8, 32)
	return err == nil && opens(fs.FileMode(mode), s.group == group)
}

// dropIn returns a drop-in of sekimori.socket that adds a socket (unless path is "") and gives the
// sockets to a group (unless group is "").
func dropIn(path, group string) []byte {
	text := "# Written by \"sekimori setup\"; \"sekimori setup postfix --undo\" removes it.\n\n[Socket]\n"
	if path != "" {
		text += fmt.Sprintf("# A second socket, below the directory that smtpd is chrooted to.\nListenStream=%s\n", path)
	}
	if group != "" {
		text += fmt.Sprintf("# smtpd drops all groups but this one when it starts.\nSocketGroup=%s\n", group)
	}
	return []byte(text)
}
