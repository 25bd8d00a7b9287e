//go:build linux

package main

import (
	"go/ast"
	"go/constant"
	"go/token"
	"go/types"
	"strings"
)

const (
	never  = "((@) && !zmut.Is(ID))"
	always = "((@) || zmut.Is(ID))"
	flip   = "(zmut.Is(ID) != (@))"
	unless = "if !zmut.Is(ID) { @ }"
)

func (c *collector) condition(e ast.Expr, kind string) {
	if !c.isBool(e) || c.isConst(e) {
		return
	}
	c.add(e, kind+"-false", kind2word[kind]+" never true: "+c.text(e), "", 1, c.around(e, never))
	c.add(e, kind+"-true", kind2word[kind]+" always true: "+c.text(e), "", 1, c.around(e, always))
}

var kind2word = map[string]string{"cond": "condition", "case": "case"}

func hasSuffix(s string, of ...string) bool {
	for _, x := range of {
		if strings.HasSuffix(s, x) {
			return true
		}
	}
	return false
}

func (c *collector) visit(n ast.Node) {
	switch n := n.(type) {
	case *ast.IfStmt:
		c.condition(n.Cond, "cond")
	case *ast.SwitchStmt:
		if n.Tag == nil {
			for _, s := range n.Body.List {
				for _, e := range s.(*ast.CaseClause).List {
					c.condition(e, "case")
				}
			}
		}
	case *ast.ReturnStmt:
		c.ret(n)
	case *ast.BranchStmt:
		if (n.Tok == token.CONTINUE || n.Tok == token.BREAK) && c.inList() { // never what a function ends with
			c.add(n, "drop-branch", "removed: "+c.text(n), c.guard(), 0, c.around(n, unless))
		}
	case *ast.ExprStmt:
		if call, ok := n.X.(*ast.CallExpr); ok && hasSuffix(c.text(call.Fun), "panic", ".Lock", ".Unlock", ".RLock", ".RUnlock", "wg.Done", "cancel", ".Helper") {
			return
		}
		c.dropStmt(n)
	case *ast.AssignStmt:
		if n.Tok == token.DEFINE {
			return
		}
		if id, ok := n.Lhs[0].(*ast.Ident); ok && len(n.Lhs) == 1 && id.Name == "_" {
			return
		}
		c.dropStmt(n)
	case *ast.IncDecStmt:
		c.dropStmt(n)
	case *ast.SendStmt:
		c.dropStmt(n)
	case *ast.DeferStmt:
		if !hasSuffix(c.text(n.Call.Fun), "Unlock", "cancel", "Done", "Close", "Stop") {
			c.dropStmt(n)
		}
	case *ast.BinaryExpr:
		c.binary(n)
		c.constant(n)
	case *ast.UnaryExpr:
		if n.Op == token.NOT && c.isBool(n) && !c.isConst(n) {
			c.add(n, "not", "! removed: "+c.text(n), "", 1, c.around(n, flip))
		}
		c.constant(n)
	case ast.Expr:
		c.constant(n)
	}
}

func (c *collector) dropStmt(n ast.Stmt) {
	if c.inList() {
		c.add(n, "drop-stmt", "removed: "+c.text(n), c.guard(), 0, c.around(n, unless))
	}
}

var boundary = map[token.Token]string{token.LSS: "<=", token.LEQ: "<", token.GTR: ">=", token.GEQ: ">"}

func (c *collector) binary(n *ast.BinaryExpr) {
	if c.isConst(n) {
		return
	}
	xs, xe, ys, ye := c.off(n.X.Pos()), c.off(n.X.End()), c.off(n.Y.Pos()), c.off(n.Y.End())
	op := c.off(n.OpPos)
	opEnd := op + len(n.Op.String())
	other := func(typ, other string) func(emit emitter, id string) string {
		return func(emit emitter, id string) string {
			x, y := emit(xs, xe), emit(ys, ye)
			return "func() " + typ + " { if zmut.Is(" + id + ") { return " + x + string(c.src[xe:op]) + other + string(c.src[opEnd:ys]) + y +
				" }; return " + x + string(c.src[xe:ys]) + y + " }()"
		}
	}
	switch n.Op {
	case token.LSS, token.LEQ, token.GTR, token.GEQ:
		if c.isBool(n) {
			c.add(n, "boundary", n.Op.String()+" to "+boundary[n.Op]+": "+c.text(n), "", 2, other("bool", boundary[n.Op]))
		}
	case token.EQL, token.NEQ:
		if c.isBool(n) {
			c.add(n, "eq-flip", "negated: "+c.text(n), "", 1, c.around(n, flip))
		}
	case token.LAND, token.LOR:
		if !c.isBool(n) {
			return
		}
		to, format := "||", always
		if n.Op == token.LOR {
			to, format = "&&", never
		}
		c.add(n, "and-or", n.Op.String()+" to "+to+": "+c.text(n), "", 2, other("bool", to))
		for _, t := range []ast.Expr{n.X, n.Y} {
			if b, ok := t.(*ast.BinaryExpr); (ok && b.Op == n.Op) || !c.isBool(t) {
				continue // a chain has its own terms
			}
			c.add(t, "drop-term", "term dropped from "+n.Op.String()+": "+c.text(t), "in: "+c.text(n), 1, c.around(t, format))
		}
	case token.ADD, token.SUB, token.MUL, token.QUO:
		t := c.info.Types[n].Type
		if b, ok := t.Underlying().(*types.Basic); !ok || b.Info()&types.IsNumeric == 0 || c.spell(t) == "" {
			return
		}
		to := map[token.Token]string{token.ADD: "-", token.SUB: "+", token.MUL: "/", token.QUO: "*"}[n.Op]
		c.add(n, "arith", n.Op.String()+" to "+to+": "+c.text(n), "", 2, other(c.spell(t), to))
	}
}

func (c *collector) ret(n *ast.ReturnStmt) {
	guard := c.guard()
	if c.inList() && c.droppable() {
		c.add(n, "drop-return", "removed: "+c.text(n), guard, 0, c.around(n, unless))
	}
	res := c.results()
	if res == nil || res.Len() != len(n.Results) {
		return
	}
	for i, e := range n.Results {
		id, _ := e.(*ast.Ident)
		switch t := res.At(i).Type(); {
		case id != nil && (id.Name == "true" || id.Name == "false") && types.Identical(t, types.Typ[types.Bool]):
			to := "zmut.Is(ID)"
			if id.Name == "true" {
				to = "!zmut.Is(ID)"
			}
			c.add(e, "bool-flip", "opposite of "+id.Name+": "+c.text(n), guard, 3, func(_ emitter, id string) string { return strings.ReplaceAll(to, "ID", id) })
		case types.Identical(t, types.Universe.Lookup("error").Type()) && (id == nil || id.Name != "nil"):
			c.add(e, "err-nil", "error to nil: "+c.text(n), guard, 1, c.around(e, "zmut.Err(ID, @)"))
		}
	}
}

func (c *collector) constant(e ast.Expr) {
	tv := c.info.Types[e]
	if tv.Value == nil {
		return
	}
	context := ""
	switch q := c.parent(1).(type) {
	case ast.Expr:
		if c.isConst(q) {
			return
		}
		switch q := q.(type) {
		case *ast.KeyValueExpr:
			if q.Key == e {
				cl, ok := c.parent(2).(*ast.CompositeLit)
				if !ok {
					return
				}
				if _, isMap := c.info.Types[cl].Type.Underlying().(*types.Map); !isMap {
					return
				}
			}
		case *ast.SelectorExpr:
			return
		case *ast.IndexExpr:
			if _, ok := c.info.Types[q.X].Type.Underlying().(*types.Array); ok && q.Index == e {
				return
			}
		case *ast.CallExpr:
			if q.Fun == e {
				return
			}
		}
		context = "in: " + c.text(q)
	case *ast.CaseClause:
		context = "in: case " + string(c.src[c.off(q.List[0].Pos()):c.off(q.List[len(q.List)-1].End())])
	case *ast.ReturnStmt:
		context = "in: " + c.text(q)
	case ast.Stmt:
		context = "in: " + c.text(q)
	}
	start, end := c.off(e.Pos()), c.off(e.End())
	own := func(path string) bool { return path == c.module || strings.HasPrefix(path, c.module+"/") }
	if named, ok := types.Unalias(tv.Type).(*types.Named); ok && named.Obj().Pkg() != nil && own(named.Obj().Pkg().Path()) {
		t := c.spell(named)
		if t == "" {
			return
		}
		var alts []string
		home := named.Obj().Pkg()
		for _, name := range home.Scope().Names() {
			k, ok := home.Scope().Lookup(name).(*types.Const)
			switch {
			case !ok || !types.Identical(k.Type(), named) || constant.Compare(k.Val(), token.EQL, tv.Value):
			case home == c.pkg:
				alts = append(alts, name)
			case k.Exported():
				alts = append(alts, c.importName(home)+"."+name)
			}
		}
		if len(alts) > 0 {
			x := c.add(e, "enum-swap", c.text(e)+" to ", context, 2, nil)
			x.Change += " " // oneLine took it
			x.alts = alts
			x.altAt = func(alt string) func(emit emitter, id string) string {
				return func(emit emitter, id string) string {
					return "zmut.Pick[" + t + "](" + id + ", " + emit(start, end) + ", " + alt + ")"
				}
			}
			return
		}
	}
	b, ok := tv.Type.Underlying().(*types.Basic)
	if !ok || b.Info()&types.IsInteger == 0 || b.Info()&types.IsUntyped != 0 || strings.HasPrefix(c.text(e), "'") {
		return
	}
	t := c.spell(tv.Type)
	v, exact := constant.Int64Val(constant.ToInt(tv.Value))
	if t == "" || !exact {
		return
	}
	how, call := " plus one", "zmut.Add["+t+"](ID, @)"
	switch {
	case t == "time.Duration" && v > 0:
		how, call = " tenfold", "zmut.Mul["+t+"](ID, @, 10)"
	case v >= 64:
		how, call = " doubled", "zmut.Mul["+t+"](ID, @, 2)"
	}
	c.add(e, "const", c.text(e)+how, context, 2, c.around(e, call))
}
