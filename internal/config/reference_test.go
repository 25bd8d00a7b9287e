package config

import (
	"encoding"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"sekimori/configs"
	"sekimori/internal/config/strict"
	"sekimori/internal/dkim"
	"sekimori/internal/dmarc"
	"sekimori/internal/label"
	"sekimori/internal/policy"
	"sekimori/internal/trait"

	"go.yaml.in/yaml/v2"
)

// TestReference checks that reference.yaml has exactly the keys of Config, each
// with its default.
func TestReference(t *testing.T) {
	got, err := Parse("reference.yaml", configs.Reference)
	if err != nil {
		t.Fatal(err)
	}
	got.DNS.Servers, got.Policy.Overrides, got.ARC.TrustedSealers, got.AuthservIDAlso, got.Trusted.Relays = nil, nil, nil, nil, nil // the file has empty lists, the defaults have nil
	forgetEmpty(got)
	if !reflect.DeepEqual(got, Default()) {
		t.Errorf("the reference's values are not the defaults:\n%+v\n%+v", got, Default())
	}

	var all yaml.MapSlice
	if err := yaml.Unmarshal(configs.Reference, &all); err != nil {
		t.Fatal(err)
	}
	inFile := slices.Sorted(slices.Values(keysOf(all, "")))
	inCode := slices.Sorted(slices.Values(allKeys(reflect.TypeFor[Config](), "")))
	if !slices.Equal(inFile, inCode) {
		t.Errorf("keys in the file\n%v\nkeys in the code\n%v", inFile, inCode)
	}
}

// keysOf returns the paths of all keys in a YAML document, including the
// sections.
func keysOf(section yaml.MapSlice, path string) []string {
	var out []string
	for _, item := range section {
		at := strict.Join(path, fmt.Sprint(item.Key))
		out = append(out, at)
		if below, ok := item.Value.(yaml.MapSlice); ok {
			out = append(out, keysOf(below, at)...)
		}
	}
	return out
}

// allKeys returns the paths of all keys of the struct type t, including the
// sections.
func allKeys(t reflect.Type, path string) []string {
	var out []string
	for i, key := range strict.Keys(t) {
		at := strict.Join(path, key)
		out = append(out, at)
		field := t.Field(i).Type
		if field.Kind() == reflect.Struct && !reflect.PointerTo(field).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
			out = append(out, allKeys(field, at)...)
		}
	}
	return out
}

// TestReferenceComments checks that every key in reference.yaml has a comment
// on the line above it, and that no line is too long.
func TestReferenceComments(t *testing.T) {
	key := regexp.MustCompile(`^\s*[a-z_]+:`)
	lines := strings.Split(string(configs.Reference), "\n")
	seen := 0
	for i, line := range lines {
		if len(line) > 100 {
			t.Errorf("line %d is long: %q", i+1, line)
		}
		if !key.MatchString(line) {
			continue
		}
		seen++
		if i == 0 || !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ") {
			t.Errorf("line %d has no comment above it: %q", i+1, line)
		}
	}
	if want := len(allKeys(reflect.TypeFor[Config](), "")); seen != want {
		t.Errorf("saw %d keys, want %d", seen, want)
	}
}

// TestTags checks that every field of Config has a yaml tag. Without a tag its
// key would be "".
func TestTags(t *testing.T) {
	for _, path := range allKeys(reflect.TypeFor[Config](), "") {
		if !regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)*$`).MatchString(path) {
			t.Errorf("bad key %q", path)
		}
	}
}

// TestTraitWords checks for every trait that reference.yaml and
// deploy/docs/policy.md name it, and that a rule can use it.
func TestTraitWords(t *testing.T) {
	handbook, err := os.ReadFile("../../deploy/docs/policy.md")
	if err != nil {
		t.Fatal(err)
	}
	_, listed, _ := strings.Cut(string(configs.Reference), "  #       traits: [list] ")
	listed, _, _ = strings.Cut(listed, "  #     then:")
	var inReference []trait.Trait
	for _, w := range strings.FieldsFunc(listed, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) }) {
		inReference = append(inReference, trait.Trait(w))
	}
	if !slices.Equal(inReference, trait.All()) {
		t.Errorf("the reference lists %v", inReference)
	}
	for _, w := range trait.All() {
		rule := "policy: {overrides: [{id: a, when: {traits: [" + string(w) + "]}, then: reject}]}\n"
		if _, err := Parse("x", []byte(rule)); err != nil {
			t.Error(err)
		}
		if !strings.Contains(string(handbook), "`"+string(w)+"`") {
			t.Errorf("the handbook does not name %s", w)
		}
	}
}

// TestReferenceWords checks for each key with a fixed set of words that the
// comment above it in reference.yaml names all these words.
func TestReferenceWords(t *testing.T) {
	doc := strict.Parse("reference.yaml", configs.Reference)
	doc.Decode(&Config{}, nil)
	lines := strings.Split(string(configs.Reference), "\n")
	for path, words := range map[string]string{
		"mode":                        strict.OneOf(policy.Modes),
		"dkim.body_length":            strict.OneOf(dkim.BodyLengthPolicies),
		"dmarc.organizational_domain": strict.OneOf(dmarc.Methods),
		"policy.reject":               strict.OneOf(policy.RejectRules),
		"policy.quarantine":           strict.OneOf(policy.QuarantineRules),
		"policy.learned":              strict.OneOf(policy.LearnedRules),
		"policy.none":                 strict.OneOf(policy.NoneActions),
		"policy.no_policy":            strict.OneOf(policy.UnauthenticatedActions),
		"policy.spf_fail":             strict.OneOf(policy.UnauthenticatedActions),
		"policy.temperror":            strict.OneOf(policy.TempErrorActions),
		"policy.temperror_unknown":    strict.OneOf(policy.TempErrorActions),
		"policy.invalid_from":         strict.OneOf(policy.InvalidFromActions),
		"policy.recipients.default":   strict.OneOf(policy.Classes),
		"bimi.header":                 strict.OneOf(label.MarkFieldsAll),
		"headers.style":               strict.OneOf(label.Styles),
		"headers.mailfrom":            strict.OneOf(label.MailFroms),
	} {
		comment := ""
		for i := doc.Line(path) - 2; i >= 0 && strings.HasPrefix(strings.TrimSpace(lines[i]), "#"); i-- {
			comment = lines[i] + comment
		}
		named := strings.FieldsFunc(comment, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) })
		for _, word := range strings.Fields(strings.NewReplacer(", ", " ", " or ", " ").Replace(words)) {
			if !slices.Contains(named, word) {
				t.Errorf("the comment of %s does not name %s", path, word)
			}
		}
	}
}
