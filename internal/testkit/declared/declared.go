// Package declared compares lists of words with the constants that a package declares. A list such as
// Reasons() gives every metric its series, and nothing else notices a word that is missing in it.
package declared

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// Type checks that the list has each constant of the type, and each once. The type is one of the package
// whose tests run.
func Type[S ~string](t testing.TB, name string, list []S) {
	t.Helper()
	compare(t, name, list, constants(t), func(c constant) bool { return c.typ == name })
}

// Prefix is Type for constants that have no type of their own: those whose names begin with the prefix.
func Prefix[S ~string](t testing.TB, prefix string, list []S) {
	t.Helper()
	compare(t, prefix+"...", list, constants(t), func(c constant) bool { return c.typ == "" && strings.HasPrefix(c.name, prefix) })
}

func compare[S ~string](t testing.TB, what string, list []S, declared []constant, wanted func(constant) bool) {
	t.Helper()
	var want, got []string
	for _, c := range declared {
		if wanted(c) {
			want = append(want, c.value)
		}
	}
	for _, s := range list {
		got = append(got, string(s))
	}
	slices.Sort(want)
	slices.Sort(got)
	if len(want) == 0 {
		t.Errorf("no constant of %s is declared", what)
	}
	if !slices.Equal(got, want) {
		t.Errorf("%s: the list has %q, declared are %q", what, got, want)
	}
}

// constant is a text constant. typ is "" if its declaration names no type of this package.
type constant struct{ name, typ, value string }

// constants returns the text constants of the package in the current folder, without its tests.
func constants(t testing.TB) (all []constant) {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		if !strings.HasSuffix(f.Name(), ".go") || strings.HasSuffix(f.Name(), "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.Name(), nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
				for _, s := range g.Specs {
					all = append(all, texts(s.(*ast.ValueSpec))...)
				}
			}
		}
	}
	return all
}

func texts(s *ast.ValueSpec) (all []constant) {
	typ := ""
	if id, ok := s.Type.(*ast.Ident); ok {
		typ = id.Name
	}
	for i, name := range s.Names {
		if i >= len(s.Values) {
			break
		}
		lit, ok := s.Values[i].(*ast.BasicLit)
		if !ok || lit.Kind != token.STRING {
			continue
		}
		if value, err := strconv.Unquote(lit.Value); err == nil {
			all = append(all, constant{name.Name, typ, value})
		}
	}
	return all
}
