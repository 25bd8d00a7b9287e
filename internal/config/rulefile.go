package config

import (
	"fmt"
	"sekimori/internal/config/strict"
)

// LoadRules reads a file of rules. The file is a list of items as in
// policy.overrides, but an item must not name another file. The error is an
// [*Error]. LoadRules does not check the values of the rules, because they
// depend on the rest of the policy; [Config.Rules] does so.
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
