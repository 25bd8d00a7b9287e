package internal

import (
	"go/ast"
	"path"
	"slices"
	"strconv"
	"testing"
)

// process lists, by package, the functions and variables through which a program reads or
// changes the process that it runs in. nil stands for everything in the package.
var process = map[string][]string{
	"os":            {"Getenv", "LookupEnv", "Environ", "Setenv", "Exit", "Getpid", "Args", "Stdin", "Stdout", "Stderr"},
	"os/signal":     nil,
	"syscall":       {"Getenv", "Getpid", "Getrlimit", "Setrlimit", "Kill", "Exit"},
	"time":          {"Now", "Since", "Until"},
	"runtime/debug": {"SetGCPercent", "SetMemoryLimit"},
	"log":           nil,
	"log/slog":      {"Default", "SetDefault", "Debug", "Info", "Warn", "Error", "Log"},
	"github.com/prometheus/client_golang/prometheus": {"DefaultRegisterer", "DefaultGatherer", "Register", "MustRegister", "NewRegistry"},
	"github.com/coreos/go-systemd/v22/daemon":        nil,
}

// TestAppTakesNothingFromTheProcess checks that package app uses nothing that process lists.
// Package app gets its clock, registry and so on from its caller, so that several daemons can run
// in one process.
func TestAppTakesNothingFromTheProcess(t *testing.T) {
	seen := false
	sources(t, func(pkg, file string, parsed *ast.File) {
		if pkg != "internal/app" {
			return
		}
		seen = true
		imported := map[string]string{} // the import path, by the name that the file uses
		for _, spec := range parsed.Imports {
			target, _ := strconv.Unquote(spec.Path.Value)
			name := path.Base(target)
			if spec.Name != nil {
				name = spec.Name.Name
			}
			imported[name] = target
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			selector, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			name, ok := selector.X.(*ast.Ident)
			if !ok || name.Obj != nil { // name is a variable of this file and not a package
				return true
			}
			names, listed := process[imported[name.Name]]
			if listed && (names == nil || slices.Contains(names, selector.Sel.Name)) {
				t.Errorf("%s uses %s.%s; let Options give it", file, name.Name, selector.Sel.Name)
			}
			return true
		})
	})
	if !seen {
		t.Error("internal/app was not looked at")
	}
}
