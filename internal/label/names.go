package label

import (
	"strings"

	"sekimori/internal/authres"
)

// Names are the names of this host.
type Names struct {
	// AuthServID is the authserv-id of our results. If it is "", the MTA's own name
	// (its macro j) is used, or HostName where the MTA tells no name with a dot.
	AuthServID string
	HostName   string
	// Aliases are further names of this host. A result from outside is forged if it is
	// in one of these names, in the MTA's name, or in the first label of any of them.
	Aliases []string
}

// Identity holds the names of this host for the connections of one MTA: the name in
// which results are written, and the names in which results from outside are forged.
type Identity struct {
	MTA  string      // the MTA's macro j
	ID   string      // the authserv-id of our results
	Ours authres.IDs // a result from outside with such an authserv-id is forged
}

// Identity returns the identity for the connections of an MTA that calls itself mta.
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

// hostname reports whether s, the MTA's macro j, is a host name. The name is written
// into headers, and a macro that was never set may hold any text.
func hostname(s string) bool {
	const most = 255
	if s == "" || len(s) > most || s[0] == '.' || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}
