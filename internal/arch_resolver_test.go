package internal

import (
	"go/ast"
	"testing"
)

// TestResolverHasNoSideDoors checks that everything a resolver can do is a method of dns.Resolver,
// and that a resolver which wraps another one has every method itself. The compiler checks that a
// wrapper has every method, unless the wrapper embeds dns.Resolver or dns.LookupOnly. So the test
// looks for wrappers that embed one of these, and for assertions to types of package dns.
func TestResolverHasNoSideDoors(t *testing.T) {
	sources(t, func(pkg, path string, file *ast.File) {
		isOf := func(e ast.Expr, name string) bool {
			switch x := e.(type) {
			case *ast.SelectorExpr:
				of, ok := x.X.(*ast.Ident)
				return ok && of.Name == "dns" && (name == "" || x.Sel.Name == name)
			case *ast.Ident:
				return pkg == "internal/dns" && x.Name == name
			}
			return false
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch x := n.(type) {
			case *ast.TypeAssertExpr:
				if isOf(x.Type, "") || isOf(x.Type, "Resolver") {
					t.Errorf("%s asserts a type of package dns: make what a resolver can do a method of dns.Resolver", path)
				}
			case *ast.TypeSpec:
				s, ok := x.Type.(*ast.StructType)
				if !ok {
					return true
				}
				leaf, wrapper := false, false
				for _, f := range s.Fields.List {
					leaf = leaf || len(f.Names) == 0 && isOf(f.Type, "LookupOnly")
					wrapper = wrapper || isOf(f.Type, "Resolver")
					if len(f.Names) == 0 && isOf(f.Type, "Resolver") {
						t.Errorf("%s: %s embeds dns.Resolver: calls of methods that it does not override skip it", path, x.Name)
					}
				}
				if leaf && wrapper {
					t.Errorf("%s: %s embeds dns.LookupOnly and has a Resolver: it hides methods of that resolver", path, x.Name)
				}
			}
			return true
		})
	})
}
