package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Bounds on a configuration file. The YAML parser calls itself for every level
// of nesting, and a stack overflow cannot be recovered from.
const (
	maxFile    = 1 << 20 // octets
	maxNesting = 100     // brackets open at a time, or columns a line begins with
)

// Load reads the configuration file at path. The error is an [*Error]; it
// wraps the cause when the file cannot be read.
func Load(path string) (*Config, error) {
	data, err := read(path)
	if err != nil {
		return nil, &Error{Name: path, Err: err}
	}
	return Parse(path, data)
}

func read(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxFile+1)) // Parse refuses the octet too many
}

// Parse reads a configuration; name is the file's, for errors. What data does
// not set keeps its default. The files it names are left alone. The error is an [*Error] that lists every
// problem.
func Parse(name string, data []byte) (*Config, error) {
	c := Default()
	d := &decoder{at: map[string]*token.Token{}}
	data = normal(data)
	from := d.source(name, data)
	body, tk, err := parse(data)
	if err != nil {
		d.problem(tk, "", "%v", err)
	} else {
		if body != nil {
			d.value(body, reflect.ValueOf(c).Elem(), "")
		}
		for i := range c.Policy.Overrides {
			c.Policy.Overrides[i].from, c.Policy.Overrides[i].path = from, fmt.Sprintf("policy.overrides[%d]", i)
		}
		c.fill()
		d.add(c.problems())
	}
	if len(d.problems) == 0 {
		return c, nil
	}
	return nil, d.err(from)
}

// parse returns the file's one document, nil if it is empty, or what is wrong
// and where.
func parse(data []byte) (body ast.Node, at *token.Token, err error) {
	if err := check(data); err != nil {
		return nil, nil, err
	}
	// The parser is not ours, and a daemon must survive a reload.
	defer func() {
		if p := recover(); p != nil {
			body, at, err = nil, nil, fmt.Errorf("the YAML parser cannot cope with this file: %v", p)
		}
	}()
	file, err := parser.ParseBytes(data, 0)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) {
			return nil, ye.GetToken(), errors.New(ye.GetMessage())
		}
		return nil, nil, err
	}
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.NullNode:
			continue
		case *ast.DirectiveNode:
			return nil, doc.Body.GetToken(), errors.New("YAML directives are not understood here")
		}
		if body != nil {
			return nil, doc.Body.GetToken(), errors.New("a second document; there must be one only")
		}
		body = doc.Body
	}
	return body, nil, nil
}

// check refuses what should not even be parsed.
func check(data []byte) error {
	if len(data) > maxFile {
		return fmt.Errorf("the file is larger than %s", Size(maxFile))
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return errors.New("the file is not UTF-8 text")
	}
	nesting, indent, begin := 0, 0, true
	for _, c := range data {
		switch c {
		case '\n':
			indent, begin = 0, true
			continue
		case ' ', '-', '?', '\t':
			if begin { // "- - - x" nests as well
				indent++
			}
		case '[', '{':
			nesting++
			begin = false
		case ']', '}':
			nesting = max(nesting-1, 0)
			begin = false
		default:
			begin = false
		}
		if nesting > maxNesting || indent > maxNesting {
			return errors.New("the file is nested too deeply")
		}
	}
	return nil
}
