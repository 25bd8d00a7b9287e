package internal

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// foreign names who may import which module. A module that is not here, or a
// package that is not at its module, is a decision that somebody has to make.
var foreign = map[string][]string{
	"filippo.io/bigmod":                      {"internal/dkim"},
	"github.com/coreos/go-systemd/v22":       {"internal/app", "internal/milter/sockets"},
	"github.com/emersion/go-milter":          {"internal/milter"},
	"github.com/emersion/go-msgauth":         {"internal/demo"}, // it signs; it is not the verifier
	"github.com/goccy/go-yaml":               {"internal/config", "internal/field"},
	"github.com/maypok86/otter/v2":           {"internal/consent", "internal/resolver"},
	"github.com/miekg/dns":                   {"internal/dns/zone", "internal/resolver/dnswire", "internal/resolver/upstream"},
	"github.com/prometheus/client_golang":    {"internal/admin", "internal/app", "internal/resolver", "internal/resolver/upstream", "internal/status", "internal/telemetry"},
	"github.com/prometheus/client_model":     {"internal/bench/load", "internal/status"},
	"github.com/prometheus/common":           {"internal/bench/load"},
	"github.com/prometheus/exporter-toolkit": {"internal/admin"},
	"github.com/spf13/cobra":                 {"cmd/milterload", "cmd/sekimori"},
	"github.com/weppos/publicsuffix-go":      {"internal/dmarc"},
	"golang.org/x/net":                       {"internal/authres", "internal/dns", "internal/dns/zone", "internal/forwarders", "internal/mailaddr", "internal/policy", "internal/telemetry"},
	"golang.org/x/text":                      {"internal/mailaddr"},
}

// pure are the packages that a message's fate is decided in, and what they are
// made of: from the same message, answers and time they make the same result.
var pure = []string{
	"internal/spf", "internal/dkim", "internal/dmarc", "internal/iprev", "internal/arc", "internal/msgauth", "internal/policy", "internal/label",
	"internal/dns", "internal/message", "internal/mailaddr", "internal/smtp", "internal/authres", "internal/taglist",
}

// impure are packages of the standard library through which a program sees or
// changes what is around it.
var impure = []string{"log", "log/slog", "math/rand", "math/rand/v2", "crypto/rand", "net", "net/http", "os", "os/exec", "os/signal", "os/user", "syscall", "expvar", "flag"}

// sources calls f with every Go file of the product, parsed.
func sources(t *testing.T, f func(pkg, path string, file *ast.File)) {
	t.Helper()
	for _, top := range []string{"internal", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			pkg := filepath.ToSlash(strings.TrimPrefix(filepath.Dir(path), ".."+string(filepath.Separator)))
			if strings.HasPrefix(pkg, testkit) {
				return nil
			}
			file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			if err == nil {
				f(pkg, path, file)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestForeignImports: a module is imported where it was decided to be, and the
// pure packages import nothing through which the world could come in.
func TestForeignImports(t *testing.T) {
	used := map[string]bool{}
	sources(t, func(pkg, path string, file *ast.File) {
		for _, spec := range file.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			if strings.HasPrefix(target, "sekimori/") {
				continue
			}
			if host, _, _ := strings.Cut(target, "/"); !strings.Contains(host, ".") {
				if slices.Contains(pure, pkg) && slices.Contains(impure, target) {
					t.Errorf("%s: %s is to be pure and imports %s", path, pkg, target)
				}
				continue
			}
			module := moduleOf(target)
			switch {
			case module == "":
				t.Errorf("%s imports %s, of a module that is not in this test's list", path, target)
			case !slices.Contains(foreign[module], pkg):
				t.Errorf("%s imports %s, which is not for %s", path, target, pkg)
			}
			used[module+" "+pkg] = true
		}
	})
	for module, packages := range foreign {
		for _, pkg := range packages {
			if !used[module+" "+pkg] {
				t.Errorf("%s no longer imports %s: take it from the list", pkg, module)
			}
		}
	}
}

func moduleOf(target string) string {
	for module := range foreign {
		if target == module || strings.HasPrefix(target, module+"/") {
			return module
		}
	}
	return ""
}

// TestNoGlobalState: packages have no init, and variables that are tables,
// errors or other values that nobody changes.
func TestNoGlobalState(t *testing.T) {
	variables := map[string]map[string]*ast.ValueSpec{} // of each package
	files := map[string]map[string]*ast.File{}
	sources(t, func(pkg, path string, file *ast.File) {
		if files[pkg] == nil {
			files[pkg], variables[pkg] = map[string]*ast.File{}, map[string]*ast.ValueSpec{}
		}
		files[pkg][path] = file
		for _, decl := range file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				if d.Name.Name == "init" && d.Recv == nil {
					t.Errorf("%s has a function init", path)
				}
			case *ast.GenDecl:
				declared(t, path, d, variables[pkg])
			}
		}
	})
	for pkg, all := range files {
		for path, file := range all {
			ast.Inspect(file, func(n ast.Node) bool {
				for _, changed := range changes(n) {
					name := root(changed)
					if name == nil {
						continue
					}
					// The parser resolves names of a file; what it leaves open is the
					// package's.
					spec := variables[pkg][name.Name]
					if spec != nil && (name.Obj == nil || name.Obj.Decl == spec) {
						t.Errorf("%s changes the package's variable %s", path, name.Name)
					}
				}
				return true
			})
		}
	}
}

// declared collects the variables of a declaration. One whose type is made to
// be changed is an error.
func declared(t *testing.T, path string, d *ast.GenDecl, into map[string]*ast.ValueSpec) {
	if d.Tok != token.VAR {
		return
	}
	for _, spec := range d.Specs {
		v := spec.(*ast.ValueSpec)
		for _, name := range v.Names {
			into[name.Name] = v
		}
		for _, e := range append([]ast.Expr{v.Type}, v.Values...) {
			if changeable(e) {
				t.Errorf("%s: the package's variable %s is of a type that is made to be changed", path, v.Names[0].Name)
			}
		}
	}
}

// changeable reports a type of package sync or sync/atomic, or a channel, at
// the top of an expression.
func changeable(e ast.Expr) bool {
	switch x := e.(type) {
	case *ast.ChanType:
		return true
	case *ast.CompositeLit:
		return changeable(x.Type)
	case *ast.ArrayType:
		return changeable(x.Elt)
	case *ast.UnaryExpr:
		return changeable(x.X)
	case *ast.IndexExpr:
		return changeable(x.X)
	case *ast.SelectorExpr:
		pkg, ok := x.X.(*ast.Ident)
		return ok && (pkg.Name == "sync" || pkg.Name == "atomic")
	}
	return false
}

// changes are the expressions that a statement writes to.
func changes(n ast.Node) []ast.Expr {
	switch s := n.(type) {
	case *ast.AssignStmt:
		if s.Tok != token.DEFINE {
			return s.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{s.X}
	}
	return nil
}

// root is the variable that an expression such as v.a[1] begins with.
func root(e ast.Expr) *ast.Ident {
	for {
		switch x := e.(type) {
		case *ast.Ident:
			return x
		case *ast.IndexExpr:
			e = x.X
		case *ast.SelectorExpr:
			e = x.X
		case *ast.StarExpr:
			e = x.X
		case *ast.ParenExpr:
			e = x.X
		default:
			return nil
		}
	}
}
