package label

import (
	"strings"

	"sekimori/internal/authres"
)

// Names holds the names of this host that the operator configured or the system tells.
type Names struct {
	// AuthServID is the authserv-id that we write. If it is "", the MTA's own name (its
	// macro j) is used. If that name has no dot, HostName is used instead.
	AuthServID string
	HostName   string
	// Aliases are further names of this host. A result from outside is treated as forged if
	// its authserv-id is AuthServID, HostName, an alias, the MTA's name, or the first label
	// of any of these.
	Aliases []string
}

// Identity holds the names of this host for the connections of one MTA.
type Identity struct {
	MTA  string      // the name that the MTA calls itself (its macro j)
	ID   string      // the authserv-id that we write
	Ours authres.IDs // a result from outside with one of these authserv-ids is treated as forged
}

// Identity returns the names of this host for the connections of the MTA that calls itself
// mta.
func (o *Names) Identity(mta string) *Identity {
	i := &Identity{MTA: mta, ID: o.AuthServID}
	if !hostname(mta) {
		mta = ""
	}
	name := strings.TrimSuffix(mta, ".")
	switch {
	case i.ID != "":
	case strings.Contains(name, "."), o.HostName == "":
		i.ID = name
	default:
		i.ID = o.HostName
	}
	all := append([]string{o.AuthServID, name, o.HostName}, o.Aliases...)
	for _, full := range all {
		if short, _, dotted := strings.Cut(full, "."); dotted {
			all = append(all, short)
		}
	}
	var names []string
	for _, n := range all {
		if n != "" {
			names = append(names, n)
		}
	}
	i.Ours = authres.NewIDs(names...)
	return i
}

// hostname reports whether s has the form of a host name. s is the macro j, the MTA's own name.
// We write that name into header fields, and an MTA may send any text as a macro, or none.
func hostname(s string) bool {
	const most = 255
	if s == "" || len(s) > most || s[0] == '.' || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}
