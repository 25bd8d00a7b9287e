package label

import (
	"strings"

	"sekimori/internal/authres"
)

// Names are those of this host.
type Names struct {
	// AuthServID is the authserv-id of our results. "" is the MTA's own name
	// (its macro j), or HostName where the MTA tells none with a dot.
	AuthServID string
	HostName   string
	// Aliases are further names of this host: results in their name that come
	// from outside are forged, as those in the MTA's name and in the first label
	// of any of these are.
	Aliases []string
}

// Identity is who this host is in the results it writes, and whom it keeps
// others from speaking for, on the connections of one MTA.
type Identity struct {
	MTA  string      // the macro j that it was made for
	ID   string      // the authserv-id
	Ours authres.IDs // whose results from outside are forged
}

// Identity returns the identity on a connection of an MTA that calls itself mta.
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

// hostname reports whether an MTA's word for its name is one: it goes into
// headers, and a macro that was never set may hold anything.
func hostname(s string) bool {
	const most = 255
	if s == "" || len(s) > most || s[0] == '.' || strings.Contains(s, "..") {
		return false
	}
	return !strings.ContainsFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_' && r != '.'
	})
}
