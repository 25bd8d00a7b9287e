//go:build linux

package main

import (
	"go/ast"
	"go/token"
	"go/types"
	"slices"
	"strings"
)

// A collector walks one file and notes what could be changed.
type collector struct {
	fset   *token.FileSet
	file   *ast.File
	rel    string
	src    []byte
	info   *types.Info
	pkg    *types.Package
	module string
	out    []*candidate
	stack  []ast.Node
	same   map[string]int
}

func (c *collector) off(p token.Pos) int { return c.fset.Position(p).Offset }

func (c *collector) text(n ast.Node) string { return string(c.src[c.off(n.Pos()):c.off(n.End())]) }

func oneLine(s string) string { return strings.Join(strings.Fields(s), " ") }

func clip(s string) string {
	if len(s) > 110 {
		return strings.ToValidUTF8(s[:107], "") + "..."
	}
	return s
}

func (c *collector) fn() string {
	for _, n := range c.stack {
		if f, ok := n.(*ast.FuncDecl); ok {
			return f.Name.Name
		}
	}
	return ""
}

// guard gives the condition, case or loop that the statement on top of the stack stands under.
func (c *collector) guard() string {
	for i := 1; ; i++ {
		switch p := c.parent(i).(type) {
		case *ast.IfStmt:
			if c.parent(i-1) == ast.Node(p.Body) {
				return "under: if " + c.text(p.Cond)
			}
			return "under: else of if " + c.text(p.Cond)
		case *ast.CaseClause:
			if p.List == nil {
				return "under: default"
			}
			return "under: case " + string(c.src[c.off(p.List[0].Pos()):c.off(p.List[len(p.List)-1].End())])
		case *ast.CommClause:
			if p.Comm == nil {
				return "under: default"
			}
			return "under: case " + c.text(p.Comm)
		case *ast.ForStmt:
			if p.Cond == nil {
				return "under: for"
			}
			return "under: for " + c.text(p.Cond)
		case *ast.RangeStmt:
			return "under: range " + c.text(p.X)
		case *ast.FuncDecl, *ast.FuncLit, nil:
			return ""
		}
	}
}

func (c *collector) add(n ast.Node, op, change, context string, depth int, render func(emit emitter, id string) string) *candidate {
	m := Mutant{File: c.rel, Line: c.fset.Position(n.Pos()).Line, Func: c.fn(), Op: op, Change: oneLine(change), Context: oneLine(context), Start: c.off(n.Pos()), End: c.off(n.End())}
	text := strings.Join([]string{m.Func, m.Op, m.Change, m.Context}, "\x00")
	c.same[text]++
	m.Nth = c.same[text]
	x := &candidate{Mutant: m, depth: depth, render: render}
	c.out = append(c.out, x)
	return x
}

func (c *collector) parent(i int) ast.Node {
	if k := len(c.stack) - 1 - i; k >= 0 {
		return c.stack[k]
	}
	return nil
}

func (c *collector) walk() {
	ast.Inspect(c.file, func(n ast.Node) bool {
		if n == nil {
			c.stack = c.stack[:len(c.stack)-1]
			return true
		}
		switch d := n.(type) {
		case *ast.GenDecl:
			if d.Tok == token.CONST || d.Tok == token.TYPE || d.Tok == token.IMPORT {
				return false
			}
		case *ast.Field, *ast.ArrayType, *ast.MapType, *ast.StructType, *ast.InterfaceType:
			return false
		}
		c.stack = append(c.stack, n)
		c.visit(n)
		return true
	})
}

func (c *collector) isConst(e ast.Expr) bool {
	return c.info.Types[e].Value != nil
}

// isBool reports whether a condition is of the type bool, and not of a type of its own.
func (c *collector) isBool(e ast.Expr) bool {
	_, ok := c.info.Types[e].Type.(*types.Basic)
	return ok
}

// spell gives the type's spelling in this file, or "".
func (c *collector) spell(t types.Type) string {
	switch t := t.(type) {
	case *types.Basic:
		if t.Info()&types.IsUntyped == 0 {
			return t.Name()
		}
	case *types.Named:
		o := t.Obj()
		switch {
		case t.TypeArgs() != nil || o.Pkg() == nil:
		case o.Pkg() != c.pkg:
			if q := c.importName(o.Pkg()); q != "" {
				return q + "." + o.Name()
			}
		case o.Parent() == c.pkg.Scope():
			return o.Name()
		}
	}
	return ""
}

func (c *collector) importName(p *types.Package) string {
	for _, im := range c.file.Imports {
		if strings.Trim(im.Path.Value, `"`) != p.Path() {
			continue
		}
		if im.Name == nil {
			return p.Name()
		}
		if im.Name.Name != "." && im.Name.Name != "_" {
			return im.Name.Name
		}
	}
	return ""
}

// inList reports whether the statement on top of the stack stands in a list of statements.
func (c *collector) inList() bool {
	var list []ast.Stmt
	switch p := c.parent(1).(type) {
	case *ast.BlockStmt:
		list = p.List
	case *ast.CaseClause:
		list = p.Body
	case *ast.CommClause:
		list = p.Body
	}
	return slices.ContainsFunc(list, func(x ast.Stmt) bool { return c.parent(0) == ast.Node(x) })
}

// droppable reports whether the statement on top of the stack may become conditional without a missing return.
func (c *collector) droppable() bool {
	for i := 0; ; i++ {
		n, p := c.parent(i), c.parent(i+1)
		switch p := p.(type) {
		case nil:
			return false
		case *ast.BlockStmt:
			switch n.(type) {
			case *ast.CaseClause, *ast.CommClause:
				continue
			}
			if p.List[len(p.List)-1] != n {
				return true
			}
		case *ast.CaseClause:
			if p.Body[len(p.Body)-1] != n {
				return true
			}
		case *ast.CommClause:
			if p.Body[len(p.Body)-1] != n {
				return true
			}
		case *ast.ForStmt, *ast.RangeStmt:
			return true
		case *ast.FuncDecl:
			return p.Type.Results == nil
		case *ast.FuncLit:
			return p.Type.Results == nil
		}
	}
}

func (c *collector) results() *types.Tuple {
	for i := len(c.stack) - 1; i >= 0; i-- {
		switch f := c.stack[i].(type) {
		case *ast.FuncLit:
			return c.info.Types[f].Type.(*types.Signature).Results()
		case *ast.FuncDecl:
			return c.info.Defs[f.Name].Type().(*types.Signature).Results()
		}
	}
	return nil
}

// around writes what stands at n between the two halves of format, which are parted by @; ID becomes the number.
func (c *collector) around(n ast.Node, format string) func(emit emitter, id string) string {
	start, end := c.off(n.Pos()), c.off(n.End())
	before, after, _ := strings.Cut(format, "@")
	return func(emit emitter, id string) string {
		return strings.ReplaceAll(before, "ID", id) + emit(start, end) + strings.ReplaceAll(after, "ID", id)
	}
}
