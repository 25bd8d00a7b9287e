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

// foreign lists, for each third-party module, the packages that may import the module. A developer
// who wants to import a new module, or a module in another package, has to add it here.
var foreign = map[string][]string{
	"github.com/coreos/go-systemd/v22": {"cmd/sekimori", "internal/milter/sockets"},
	"github.com/emersion/go-milter":    {"internal/bench/peers", "internal/milter", "internal/milter/dialogue"},
	"github.com/emersion/go-msgauth":   {"internal/demo", "internal/report/sign"}, // for signing only; our own code verifies
	"github.com/emersion/go-smtp":      {"internal/bounce", "internal/submit"},
	"github.com/goccy/go-yaml":         {"internal/config", "internal/config/strict", "internal/field"},
	"github.com/jackc/pgx/v5":          {"internal/store/postgres"},
	"github.com/klauspost/compress":    {"internal/history"},
	"github.com/maypok86/otter/v2":     {"internal/consent", "internal/resolver"},
	"github.com/miekg/dns":             {"internal/dns/zone", "internal/doctor", "internal/resolver/upstream"},
	"github.com/prometheus/client_golang": {"cmd/sekimori", "internal/admin", "internal/app", "internal/demo", "internal/probe",
		"internal/readout", "internal/resolver", "internal/resolver/upstream", "internal/telemetry"},
	"github.com/prometheus/client_model":      {"internal/bench/load", "internal/readout"},
	"github.com/prometheus/common":            {"internal/bench/load"},
	"github.com/prometheus/exporter-toolkit":  {"internal/admin"},
	"github.com/spf13/cobra":                  {"cmd/milterload", "cmd/sekimori"},
	"github.com/oschwald/maxminddb-golang/v2": {"internal/geo"},
	"golang.org/x/net":                        {"internal/authres", "internal/dns", "internal/dns/suffix", "internal/dns/zone", "internal/mailaddr/author"},
	"golang.org/x/sys":                        {"internal/bench/load"},
	"golang.org/x/text":                       {"internal/lookalike", "internal/mailaddr/encodedword"},
	"modernc.org/sqlite":                      {"internal/store/sqlite"},
}

// worldly lists the packages on the floors "words", "evaluators" and "facts" that may import an
// impure package (see [impure]), with the reason. All other packages on these floors are pure: they
// give the same result for the same message, the same DNS answers and the same time.
var worldly = map[string]string{
	"internal/milter":           "serves connections",
	"internal/milter/client":    "makes connections",
	"internal/milter/sockets":   "opens sockets",
	"internal/milter/wire":      "reads from connections",
	"internal/dns/zone":         "serves a zone over UDP and TCP",
	"internal/term":             "asks whether a file is a terminal",
	"internal/mtaconf":          "runs postconf and reads sendmail.cf",
	"internal/resolver/dnswire": "draws the ID of a query at random",
}

// pureParts are packages on a higher floor that must be pure too.
var pureParts = []string{"internal/label", "internal/judge", "internal/readiness"}

// pure reports whether a package must be pure.
func pure(pkg string) bool {
	_, excused := worldly[pkg]
	return floors[pkg] <= facts && !excused || slices.Contains(pureParts, pkg)
}

// impure reports whether a package of the standard library lets a program read or change
// something outside of itself, such as files, the network or randomness.
func impure(target string) bool {
	if slices.Contains([]string{"net/mail", "net/netip", "net/textproto", "net/url"}, target) { // these packages only parse
		return false
	}
	top, _, _ := strings.Cut(target, "/")
	return slices.Contains([]string{"expvar", "flag", "log", "net", "os", "plugin", "syscall"}, top) ||
		slices.Contains([]string{"crypto/rand", "io/ioutil", "math/rand", "math/rand/v2"}, target)
}

// sources parses every Go file of internal and cmd, except tests and package testkit, and calls
// f with it.
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

// TestForeignImports checks that each module is imported only by the packages that foreign lists
// for it, and that no pure package imports an impure one.
func TestForeignImports(t *testing.T) {
	used, worldliness := map[string]bool{}, map[string]bool{}
	sources(t, func(pkg, path string, file *ast.File) {
		for _, spec := range file.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			if strings.HasPrefix(target, "sekimori/") {
				continue
			}
			if host, _, _ := strings.Cut(target, "/"); !strings.Contains(host, ".") {
				if impure(target) {
					worldliness[pkg] = true
					if pure(pkg) {
						t.Errorf("%s: %s must be pure and imports %s", path, pkg, target)
					}
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
				t.Errorf("%s no longer imports %s: remove it from the list foreign", pkg, module)
			}
		}
	}
	for pkg := range worldly {
		if !worldliness[pkg] {
			t.Errorf("%s imports nothing impure any more: remove it from the list worldly", pkg)
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

// TestNoGlobalState checks that no package has a function init, and that package variables are
// errors, tables and similar values that no code changes.
func TestNoGlobalState(t *testing.T) {
	variables := map[string]map[string]*ast.ValueSpec{} // by package path, then by variable name
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
					// The parser resolves a name only within its file. If name.Obj is nil, the name
					// is declared in another file of the package.
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

// makers are the functions that may be called to make the value of a package variable. They
// return values that do not change when they are used.
var makers = []string{
	"errors.New", "fmt.Errorf", "bytes.Repeat", "netip.MustParsePrefix", "regexp.MustCompile", "strings.NewReplacer", "time.Unix",
	"idna.New", "newCharSet", "words",
}

// declared adds the variables of a declaration to the map "into". It reports a variable as an error
// if it is changeable, if it has no value, or if its value comes from a call of a function that is
// not in makers.
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
			if call, ok := e.(*ast.CallExpr); ok && !isMaker(call.Fun) {
				t.Errorf("%s: the package's variable %s is made by a call that is not in this test's list", path, v.Names[0].Name)
			}
		}
		if len(v.Values) == 0 && !isSelector(v.Type, "embed.FS") {
			t.Errorf("%s: the package's variable %s begins empty, so that something must change it", path, v.Names[0].Name)
		}
	}
}

// isMaker reports whether fun may be called to make the value of a package variable: it is one
// of the makers, a conversion to a slice, or a function literal.
func isMaker(fun ast.Expr) bool {
	switch f := fun.(type) {
	case *ast.ArrayType, *ast.FuncLit:
		return true
	case *ast.Ident:
		return slices.Contains(makers, f.Name)
	}
	return slices.ContainsFunc(makers, func(name string) bool { return isSelector(fun, name) })
}

// isSelector reports whether e is the expression that name gives as text, for example "errors.New".
func isSelector(e ast.Expr, name string) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := s.X.(*ast.Ident)
	return ok && pkg.Name+"."+s.Sel.Name == name
}

// changeable reports whether an expression is a channel, or has a type of package sync or
// sync/atomic.
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

// changes returns the expressions that a statement writes to.
func changes(n ast.Node) []ast.Expr {
	switch s := n.(type) {
	case *ast.AssignStmt:
		if s.Tok != token.DEFINE {
			return s.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{s.X}
	case *ast.RangeStmt:
		if s.Tok == token.ASSIGN {
			return []ast.Expr{s.Key, s.Value}
		}
	case *ast.CallExpr:
		if f, ok := s.Fun.(*ast.Ident); ok && len(s.Args) > 0 && slices.Contains([]string{"clear", "copy", "delete"}, f.Name) {
			return s.Args[:1]
		}
	}
	return nil
}

// root returns the variable with which an expression such as v.a[1] begins, here v.
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
