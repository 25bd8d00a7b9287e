package mta

import (
	"fmt"
	"strings"

	"sekimori/internal/authres"
	"sekimori/internal/milter/client"
)

// Label returns the Authentication-Results field in header whose authserv-id is id. It returns an
// error if there is not exactly one such field, or if the field cannot be parsed.
func Label(header []client.Field, id string) (authres.Field, error) {
	var ours []string
	for _, f := range header {
		if IsLabel(f, id) {
			ours = append(ours, f.Value)
		}
	}
	if len(ours) != 1 {
		return authres.Field{}, fmt.Errorf("mta: %d fields of %s: %q", len(ours), id, ours)
	}
	label, err := authres.Parse(ours[0])
	if err != nil {
		return label, fmt.Errorf("mta: the field of %s cannot be read: %w\n%q", id, err, ours[0])
	}
	return label, nil
}

// IsLabel reports whether f is an Authentication-Results field with the authserv-id id.
func IsLabel(f client.Field, id string) bool {
	return strings.EqualFold(f.Name, authres.FieldName) && authres.NewIDs(id).Claimed(f.Value)
}
