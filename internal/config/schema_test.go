package config

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"sekimori/configs"
	"sekimori/internal/config/strict"
)

// complaint returns what a schema says against a value, or "". It knows the
// keywords that Schema writes.
func complaint(s map[string]any, v any, path string) string {
	if list, ok := s["anyOf"].([]any); ok {
		var all []string
		for _, one := range list {
			c := complaint(one.(map[string]any), v, path)
			if c == "" {
				return ""
			}
			all = append(all, c)
		}
		return strings.Join(all, " and ")
	}
	types := []string{}
	switch t := s["type"].(type) {
	case string:
		types = append(types, t)
	case []any:
		for _, one := range t {
			types = append(types, one.(string))
		}
	}
	got := map[reflect.Kind]string{reflect.Bool: "boolean", reflect.String: "string", reflect.Map: "object", reflect.Slice: "array",
		reflect.Uint64: "integer", reflect.Int64: "integer", reflect.Float64: "number"}[reflect.ValueOf(v).Kind()]
	if !slices.Contains(types, got) && (got != "integer" || !slices.Contains(types, "number")) {
		return fmt.Sprintf("%s: %v is %s, not %v", path, v, got, types)
	}
	if enum, ok := s["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Sprintf("%s: %v is not one of %v", path, v, enum)
	}
	switch v := v.(type) {
	case []any:
		for _, one := range v {
			if c := complaint(s["items"].(map[string]any), one, path+"[]"); c != "" {
				return c
			}
		}
	case map[string]any:
		required, _ := s["required"].([]any)
		for _, key := range required {
			if _, ok := v[key.(string)]; !ok {
				return fmt.Sprintf("%s: no key %s", path, key)
			}
		}
		known, _ := s["properties"].(map[string]any)
		for key, value := range v {
			below, ok := known[key].(map[string]any)
			if !ok {
				if below, ok = s["additionalProperties"].(map[string]any); !ok {
					return fmt.Sprintf("%s: unknown key %s", path, key)
				}
			}
			if c := complaint(below, value, path+"."+key); c != "" {
				return c
			}
		}
	}
	return ""
}

func parsedSchema(t *testing.T) map[string]any {
	t.Helper()
	raw, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(raw, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// TestSchemaAgrees checks that the schema accepts what Parse accepts, and
// refuses unknown keys, wrong types and wrong words.
func TestSchemaAgrees(t *testing.T) {
	const mode = "mode: enforce\n"
	s := parsedSchema(t)
	for name, tt := range map[string]struct{ text, want string }{
		"the reference":             {string(configs.Reference), ""},
		"the example":               {string(configs.Example), ""},
		"every key":                 {full, ""},
		"no mode":                   {"authserv_id: mx.example\n", "no key mode"},
		"an unknown key":            {mode + "lissten: []\n", "unknown key lissten"},
		"an unknown key in a list":  {mode + "listen: [{addr: x}]\n", "unknown key addr"},
		"an unknown word":           {mode + "policy: {reject: sometimes}\n", "sometimes is not one of [always corroborated quarantine]"},
		"text for a number":         {mode + "dkim: {max_signatures: many}\n", "many is string, not [integer]"},
		"text for a list":           {mode + "arc: {trusted_sealers: a.example}\n", "is string, not [array]"},
		"a wrong percentage's type": {mode + "policy: {ramp: {domains: {a.example: all}}}\n", "all is string, not [integer]"},
	} {
		var v map[string]any
		if err := yaml.Unmarshal([]byte(tt.text), &v); err != nil {
			t.Fatal(err)
		}
		if got := complaint(s, v, ""); (got == "") != (tt.want == "") || !strings.Contains(got, tt.want) {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}

// TestSchemaDescribes checks that each key of the reference has its description
// in the schema.
func TestSchemaDescribes(t *testing.T) {
	s := parsedSchema(t)
	for _, path := range strict.Paths(reflect.TypeFor[Config]()) {
		at := s
		for key := range strings.SplitSeq(path, ".") {
			at, _ = at["properties"].(map[string]any)[key].(map[string]any)
		}
		if text, _ := at["description"].(string); len(text) < 10 {
			t.Errorf("%s has the description %q", path, text)
		}
	}
}
