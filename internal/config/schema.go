package config

import (
	"encoding"
	"encoding/json"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"sekimori/configs"
	"sekimori/internal/config/strict"
)

// schema is a JSON Schema, as far as editors need it to complete and check a
// configuration while somebody writes it.
type schema struct {
	Schema      string             `json:"$schema,omitempty"`
	Title       string             `json:"title,omitempty"`
	Description string             `json:"description,omitempty"`
	Default     string             `json:"x-default,omitempty"` // as text; "default" would need a value of the key's type
	Type        any                `json:"type,omitempty"`      // a name or several
	Enum        []string           `json:"enum,omitempty"`
	AnyOf       []*schema          `json:"anyOf,omitempty"`
	Items       *schema            `json:"items,omitempty"`
	Properties  map[string]*schema `json:"properties,omitempty"`
	Values      any                `json:"additionalProperties,omitempty"` // false, or the schema of a map's values
	Required    []string           `json:"required,omitempty"`
}

// Schema returns a JSON Schema of the configuration file (draft 2020-12), with
// the comments of configs/reference.yaml as descriptions. It is for editors: it
// knows the keys, the types and the words, but "config check" checks more.
func Schema() ([]byte, error) {
	k := &checker{words: map[string][]string{}}
	Default().check(k)
	b := schemaBuilder{words: k.words, texts: referenceTexts()}
	root := b.of(reflect.TypeFor[Config](), "")
	root.Schema, root.Title = "https://json-schema.org/draft/2020-12/schema", "sekimori.yaml"
	root.Required = []string{"mode"}
	return json.MarshalIndent(root, "", "  ")
}

// schemaBuilder makes the schemas of types.
type schemaBuilder struct {
	words map[string][]string      // the words that a key allows, by path
	texts map[string]referenceText // what the reference says about a key, by path
}

// of returns the schema of a value of type t at this path.
func (b *schemaBuilder) of(t reflect.Type, path string) *schema {
	s := b.ofType(t, path)
	s.Description, s.Default = b.texts[path].comment, b.texts[path].value
	if words := b.words[path]; words != nil {
		s.Enum = words
	}
	return s
}

func (b *schemaBuilder) ofType(t reflect.Type, path string) *schema {
	text := reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
	switch {
	case text && isSection(t):
		return &schema{AnyOf: []*schema{{Type: "string"}, b.section(t, path)}}
	case text:
		return &schema{Type: []string{"string", "number"}} // 0s may be written 0, and a group or mode as a number
	}
	switch t.Kind() {
	case reflect.Bool:
		return &schema{Type: "boolean"}
	case reflect.Int, reflect.Int64:
		return &schema{Type: "integer"}
	case reflect.Slice:
		return &schema{Type: "array", Items: b.of(t.Elem(), path+"[]")}
	case reflect.Map:
		return &schema{Type: "object", Values: b.of(t.Elem(), path+"[]")}
	case reflect.Struct:
		return b.section(t, path)
	}
	return &schema{Type: "string"}
}

func (b *schemaBuilder) section(t reflect.Type, path string) *schema {
	s := &schema{Type: "object", Properties: map[string]*schema{}, Values: false}
	for i, key := range strict.Keys(t) {
		s.Properties[key] = b.of(t.Field(i).Type, strict.Join(path, key))
	}
	return s
}

// isSection reports whether t is a struct with YAML keys.
func isSection(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && !slices.Contains(strict.Keys(t), "") && len(strict.Keys(t)) > 0
}

// referenceText is what the reference says about one key.
type referenceText struct{ comment, value string }

// keyOfReference matches a line of the reference that is not a comment.
var keyOfReference = regexp.MustCompile(`^( *)([a-z_]+):(?: (.*))?$`)

// referenceTexts reads the comment above each key of configs/reference.yaml,
// and the default behind it. The reference indents by two spaces, as its test
// demands.
func referenceTexts() map[string]referenceText {
	out := map[string]referenceText{}
	var path, comment []string
	for line := range strings.Lines(string(configs.Reference)) {
		line = strings.TrimRight(line, "\n")
		if text, ok := strings.CutPrefix(strings.TrimSpace(line), "#"); ok {
			comment = append(comment, strings.TrimPrefix(text, " "))
			continue
		}
		if m := keyOfReference.FindStringSubmatch(line); m != nil {
			path = append(path[:len(m[1])/2], m[2])
			out[strings.Join(path, ".")] = referenceText{strings.Join(comment, "\n"), m[3]}
		}
		comment = nil
	}
	return out
}
