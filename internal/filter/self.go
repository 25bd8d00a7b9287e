package filter

import (
	"strings"

	"sekimori/internal/authres"
)

// identity is who this host is in the results it writes, and whom it keeps
// others from speaking for, on the connections of one MTA.
type identity struct {
	mta  string // the macro j that it was made for
	id   string // the authserv-id
	ours authres.IDs
}

// identify returns the identity on a connection of an MTA that calls itself
// mta. One MTA is the rule, so that the last one is remembered.
func (e *edition) identify(mta string) *identity {
	if i := e.last.Load(); i != nil && i.mta == mta {
		return i
	}
	i := e.identity(mta)
	e.last.Store(i)
	return i
}

func (o *Options) identity(mta string) *identity {
	i := &identity{mta: mta, id: o.AuthServID}
	if !hostname(mta) {
		mta = ""
	}
	name := strings.TrimSuffix(mta, ".")
	switch {
	case i.id != "":
	case strings.Contains(name, "."), o.HostName == "":
		i.id = name
	default:
		i.id = o.HostName
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
	i.ours = authres.NewIDs(names...)
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
