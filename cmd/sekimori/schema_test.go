package main

import (
	"encoding"
	"encoding/json"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sekimori/internal/doctor"
	"sekimori/internal/domaincheck"
	"sekimori/internal/explain"
	"sekimori/internal/holdqueue"
	"sekimori/internal/markcheck"
	"sekimori/internal/msgauth"
	"sekimori/internal/policy"
	"sekimori/internal/probe"
	"sekimori/internal/readiness"
	"sekimori/internal/recent"
	"sekimori/internal/replay"
	"sekimori/internal/reporting"
	"sekimori/internal/senders"
	"sekimori/internal/stats"
	"sekimori/internal/status"
	"sekimori/internal/survey"
	"sekimori/internal/trait"
)

var update = flag.Bool("update", false, "write deploy/docs/json.md anew from the Go types")

// documents are the types of the JSON documents that commands print and the admin address returns.
// deploy/docs/json.md describes each type once, and other types refer to that description.
var documents = []struct {
	title string
	typ   reflect.Type
}{
	{"sekimori explain --json", reflect.TypeFor[explain.Explanation]()},
	{"GET /api/decisions", reflect.TypeFor[recent.Answer]()},
	{"sekimori status --json and GET /api/status", reflect.TypeFor[status.Status]()},
	{"sekimori status --all --json and GET /api/hosts", reflect.TypeFor[status.Hosts]()},
	{"sekimori probe --json", reflect.TypeFor[probe.Report]()},
	{"sekimori doctor --json", reflect.TypeFor[doctor.Report]()},
	{"sekimori check --json", reflect.TypeFor[domaincheck.Report]()},
	{"sekimori survey --format json", reflect.TypeFor[survey.Result]()},
	{"sekimori stats --format json", reflect.TypeFor[stats.Month]()},
	{"sekimori senders --json", reflect.TypeFor[senders.List]()},
	{"sekimori readiness --json", reflect.TypeFor[readiness.Report]()},
	{"sekimori bimi check --json", reflect.TypeFor[markcheck.Result]()},
	{"sekimori replay --json", reflect.TypeFor[replay.Summary]()},
	{"sekimori forwarders --json", reflect.TypeFor[foundForwarders]()},
	{"sekimori held --json", reflect.TypeFor[holdqueue.List]()},
	{"sekimori report list --json", reflect.TypeFor[reporting.List]()},
	{"sekimori report show --json", reflect.TypeFor[reporting.Shown]()},
	{"sekimori report send --json", reflect.TypeFor[reporting.Sent]()},
	{"sekimori report suppress list --json", reflect.TypeFor[reporting.Suppressions]()},
	{"sekimori report check --json", reflect.TypeFor[reporting.Check]()},
	{"verdict", reflect.TypeFor[policy.Verdict]()},
	{"evaluation", reflect.TypeFor[msgauth.Evaluation]()},
}

// TestSchema checks that the keys and types in deploy/docs/json.md are those of the Go types.
// With -update it writes the page, and takes the descriptions from the comments of the fields.
func TestSchema(t *testing.T) {
	s := &schema{comments: readComments(t)}
	s.WriteString("# JSON\n\nWhat the commands print with `--json`, and what the admin address answers. The page is made from the Go types and their\n" +
		"comments by `go test ./cmd/sekimori -run Schema -update`, and a test compares it with them. A key marked with `?` may be absent. New\n" +
		"keys may be added, but a key never changes its meaning. `[]` stands for every element of a list, `*` for every key of an object.\n" +
		"Durations (`_ns`) are in nanoseconds.\n")
	for _, d := range documents {
		fmt.Fprintf(s, "\n## %s\n\n| key | type | |\n|---|---|---|\n", d.title)
		s.object(d.typ, "", d.typ)
	}
	path := filepath.Join("..", "..", "deploy", "docs", "json.md")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(s.String()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// The descriptions of the fields may change at any time, so they are not compared.
	if keysAndTypes(string(got)) != keysAndTypes(s.String()) {
		t.Error("deploy/docs/json.md is not what the types say; run go test ./cmd/sekimori -run Schema -update")
	}
}

// keysAndTypes returns doc without the last column of its tables.
func keysAndTypes(doc string) string {
	var b strings.Builder
	for line := range strings.Lines(doc) {
		if cells := strings.Split(line, " | "); strings.HasPrefix(line, "| ") && len(cells) > 2 {
			line = cells[0] + cells[1] + "\n"
		}
		b.WriteString(line)
	}
	return b.String()
}

type schema struct {
	strings.Builder
	comments map[string]string // the comment of each field, by "package path.Type.Field"
}

// object writes a table row for each JSON key of a struct type.
func (s *schema) object(t reflect.Type, path string, top reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			s.object(indirect(f.Type), path, top)
			continue
		case !f.IsExported() || name == "-" || name == "":
			continue
		}
		at := path + name
		optional := ""
		if strings.HasPrefix(options, "omit") {
			optional = "?"
		}
		s.value(f.Type, at, optional, s.comments[t.PkgPath()+"."+t.Name()+"."+f.Name], top)
	}
}

func indirect(t reflect.Type) reflect.Type {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t
}

func (s *schema) value(t reflect.Type, at, optional, comment string, top reflect.Type) {
	t = indirect(t)
	word, below := "", reflect.Type(nil)
	for word == "" {
		switch {
		case t == reflect.TypeFor[time.Time]():
			word = "time (RFC 3339)"
		case t == reflect.TypeFor[trait.Set]():
			s.traits(at, optional, comment)
			return
		case reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextMarshaler]()), t.Kind() == reflect.String:
			word = "string"
		case reflect.PointerTo(t).Implements(reflect.TypeFor[json.Marshaler]()):
			word = "value"
		case t.Kind() == reflect.Slice:
			at, t = at+"[]", indirect(t.Elem())
		case t.Kind() == reflect.Map:
			at, t = at+".*", indirect(t.Elem())
		case t.Kind() == reflect.Bool:
			word = "boolean"
		case t.Kind() == reflect.Float64:
			word = "number"
		case t.Kind() == reflect.Struct:
			word, below = "object", t
		default:
			word = "integer"
		}
	}
	if below != nil && below != top {
		for _, d := range documents {
			if d.typ == below {
				word, below = "object: "+d.title, nil
				break
			}
		}
	}
	fmt.Fprintf(s, "| `%s`%s | %s | %s |\n", at, optional, word, comment)
	if below != nil {
		s.object(below, at+".", top)
	}
}

// traits writes a table row for each trait that a trait.Set can contain.
func (s *schema) traits(at, optional, comment string) {
	fmt.Fprintf(s, "| `%s`%s | object | %s |\n", at, optional, comment)
	for _, t := range trait.Held() {
		fmt.Fprintf(s, "| `%s.%s` | boolean | %s |\n", at, t, s.comments[string(t)])
	}
}

// readComments returns the comments of the struct fields in the source and of the traits. The key
// of a field is "package path.Type.Field", and the key of a trait is its word.
func readComments(t *testing.T) map[string]string {
	t.Helper()
	out := map[string]string{}
	root := filepath.Join("..", "..")
	for _, pattern := range []string{"internal/*/*.go", "cmd/sekimori/*.go"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatal(err, files)
		}
		for _, path := range files {
			if strings.HasSuffix(path, "_test.go") {
				continue
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ParseComments)
			if err != nil {
				t.Fatal(err)
			}
			pkg, err := filepath.Rel(root, filepath.Dir(path))
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(file, func(n ast.Node) bool {
				if constant, ok := n.(*ast.ValueSpec); ok && pkg == filepath.Join("internal", "trait") && len(constant.Values) == 1 {
					if literal, ok := constant.Values[0].(*ast.BasicLit); ok {
						out[strings.Trim(literal.Value, `"`)] = text(constant.Doc)
					}
				}
				spec, ok := n.(*ast.TypeSpec)
				if !ok {
					return true
				}
				if structure, ok := spec.Type.(*ast.StructType); ok {
					for _, f := range structure.Fields.List {
						for _, name := range f.Names {
							out["sekimori/"+filepath.ToSlash(pkg)+"."+spec.Name.Name+"."+name.Name] = comment(f)
						}
					}
				}
				return true
			})
		}
	}
	return out
}

// comment returns the comment above or beside a field, as one line.
func comment(f *ast.Field) string {
	if f.Doc != nil {
		return text(f.Doc)
	}
	return text(f.Comment)
}

// text returns a comment as one line that is safe in a Markdown table.
func text(c *ast.CommentGroup) string {
	return strings.NewReplacer("|", `\|`, "<", "&lt;", ">", "&gt;").Replace(strings.Join(strings.Fields(c.Text()), " "))
}
