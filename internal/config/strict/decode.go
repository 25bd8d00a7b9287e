package strict

import (
	"encoding"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"
)

// decoder decodes a YAML syntax tree into a Go value, and adds the mistakes
// that it finds to the Document.
type decoder struct {
	*Document
	top     reflect.Type // the type into which the whole document is decoded; used for hints
	renamed map[string]string
}

// value decodes the node n, which has the given path, into v. If n is null or
// not valid for v, v is left unchanged.
func (d *decoder) value(n ast.Node, v reflect.Value, path string) {
	tk := n.GetToken()
	d.at[path] = tk
	switch n.(type) {
	case *ast.NullNode:
		return
	case *ast.AnchorNode, *ast.AliasNode, *ast.TagNode:
		d.problem(tk, path, "anchors, aliases and tags are not supported; write the value out")
		return
	}
	if text, ok := v.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if s, ok := scalar(n); ok {
			if err := text.UnmarshalText([]byte(s)); err != nil {
				d.problem(tk, path, "%v", err)
			}
			return
		}
		if v.Kind() == reflect.Struct && Keys(v.Type())[0] == "" { // the type has no keys, so it is not a section
			d.mistyped(n, path, "one value; perhaps it needs quotes")
			return
		}
	}
	switch v.Kind() {
	case reflect.Struct:
		d.mapping(n, v, path)
	case reflect.Map:
		d.items(n, v, path)
	case reflect.Slice:
		d.sequence(n, v, path)
	case reflect.Bool:
		if b, ok := n.(*ast.BoolNode); ok {
			v.SetBool(b.Value)
			return
		}
		d.mistyped(n, path, "true or false")
	case reflect.Int:
		d.integer(n, v, path)
	case reflect.String:
		if s, ok := n.(*ast.StringNode); ok {
			v.SetString(s.Value)
			return
		}
		d.mistyped(n, path, "text; put it in quotes, on one line")
	default:
		d.mistyped(n, path, "one value")
	}
}

// scalar returns the text of a scalar. For a string this is its value, without
// quotes and escapes. For a number or a boolean it is the text in the file. For
// any other node scalar returns false.
func scalar(n ast.Node) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func (d *decoder) mistyped(n ast.Node, path, want string) {
	d.problem(n.GetToken(), path, "%s where there should be %s", kind(n), want)
}

// kind returns the kind of a node in words for an error message.
func kind(n ast.Node) string {
	switch n.(type) {
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a mapping"
	case *ast.SequenceNode:
		return "a list"
	case *ast.StringNode:
		return "text"
	case *ast.LiteralNode:
		return "a block of text"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	}
	return "something else"
}

func (d *decoder) integer(n ast.Node, v reflect.Value, path string) {
	if _, ok := n.(*ast.IntegerNode); !ok {
		d.mistyped(n, path, "a whole number")
		return
	}
	// Only decimal numbers are accepted. YAML would read 010 as 8, which most
	// people do not expect.
	i, err := strconv.Atoi(n.GetToken().Value)
	if err != nil || i > 1<<31-1 || i < -1<<31 {
		d.problem(n.GetToken(), path, "%s is not a whole number in decimal, or is too large", n.GetToken().Value)
		return
	}
	v.SetInt(int64(i))
}

func (d *decoder) sequence(n ast.Node, v reflect.Value, path string) {
	seq, ok := n.(*ast.SequenceNode)
	if !ok {
		d.mistyped(n, path, "a list, such as [a, b]")
		return
	}
	out := reflect.MakeSlice(v.Type(), len(seq.Values), len(seq.Values))
	for i, item := range seq.Values {
		at := path + "[" + strconv.Itoa(i) + "]"
		if _, null := item.(*ast.NullNode); null {
			d.problem(item.GetToken(), at, "an empty item")
		}
		d.value(item, out.Index(i), at)
	}
	v.Set(out)
}

// entries calls f for every key of the mapping n.
func (d *decoder) entries(n ast.Node, path string, f func(key string, tk *token.Token, value ast.Node)) {
	m, ok := n.(ast.MapNode)
	if !ok {
		d.mistyped(n, path, "a mapping of keys to values")
		return
	}
	for it := m.MapRange(); it.Next(); {
		key, ok := it.Key().(*ast.StringNode)
		if !ok {
			d.problem(it.Key().GetToken(), path, "a key that is not plain text")
			continue
		}
		f(key.Value, key.GetToken(), it.Value())
	}
}

// items decodes a mapping with arbitrary keys into the map v.
func (d *decoder) items(n ast.Node, v reflect.Value, path string) {
	out := reflect.MakeMap(v.Type())
	d.entries(n, path, func(key string, tk *token.Token, value ast.Node) {
		k, item := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
		k.SetString(key)
		if text, ok := k.Addr().Interface().(encoding.TextUnmarshaler); ok {
			if err := text.UnmarshalText([]byte(key)); err != nil {
				d.problem(tk, path, "%v", err)
				return
			}
		}
		d.value(value, item, path+"["+k.String()+"]")
		out.SetMapIndex(k, item)
	})
	if out.Len() > 0 {
		v.Set(out)
	}
}

func (d *decoder) mapping(n ast.Node, v reflect.Value, path string) {
	fields := Keys(v.Type())
	d.entries(n, path, func(key string, tk *token.Token, value ast.Node) {
		i := slices.Index(fields, key)
		if i < 0 {
			hint := d.hint(path, key, fields)
			if hint != "" {
				hint += "; "
			}
			d.problem(tk, path, "unknown key %q; %sknown here: %s", Mask(key), hint, strings.Join(fields, ", "))
			return
		}
		d.value(value, v.Field(i), Join(path, key))
	})
}

// parent returns the path of the section or list that contains the key.
func parent(path string) string { return path[:max(strings.LastIndexAny(path, ".["), 0)] }
