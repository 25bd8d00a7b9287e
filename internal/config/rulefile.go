package config

import (
	"fmt"
	"sekimori/internal/config/strict"
)

// LoadRules reads a file of rules: a list of what policy.overrides holds, but
// no further files. The error is an [*Error]; whether the rules are sound is
// for [Config.Rules] to say, which knows the rest of the policy.
func LoadRules(path string) ([]Override, error) {
	data, err := readFile(path, strict.MaxFile)
	if err != nil {
		return nil, &Error{Name: path, Err: err}
	}
	return parseRules(path, data)
}

func parseRules(name string, data []byte) ([]Override, error) {
	doc := strict.Parse(name, data)
	var out []Override
	doc.Decode(&out, nil)
	for i := range out {
		out[i].from, out[i].path = doc, fmt.Sprintf("[%d]", i)
		if out[i].File != "" {
			doc.Add([]Problem{{Path: out[i].path + ".file", Message: "a file of rules names no further file"}})
		}
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return out, nil
}
