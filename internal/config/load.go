package config

import (
	"bytes"
	"errors"
	"fmt"
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

// Load reads the daemon's configuration file at path, which must state its
// mode: an empty file, or one that was cut off, would else quietly turn
// protection off or on. The error is an [*Error]; it wraps the cause when the
// file cannot be read.
func Load(path string) (*Config, error) { return load(path, true) }

// LoadCandidate is Load for a configuration by which nothing is done, such as
// that of shadow: it need not state a mode.
func LoadCandidate(path string) (*Config, error) { return load(path, false) }

func load(path string, running bool) (*Config, error) {
	data, err := readFile(path, maxFile)
	if err != nil {
		return nil, &Error{Name: path, Err: err}
	}
	return parseConfig(path, data, running)
}

// Parse reads a configuration; name is the file's, for errors. What data does
// not set keeps its default, mode as well. The files it names are left alone.
// The error is an [*Error] that lists every problem.
func Parse(name string, data []byte) (*Config, error) { return parseConfig(name, data, false) }

func parseConfig(name string, data []byte, running bool) (*Config, error) {
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
		d.add(c.problems())
		if running {
			d.wantMode(body, from)
		}
	}
	if len(d.problems) == 0 {
		return c, nil
	}
	return nil, d.err(from)
}

// wantMode complains where the document states no mode.
func (d *decoder) wantMode(body ast.Node, from *source) {
	p := Problem{Path: "mode", Message: notStated, Line: len(from.lines), Column: 1}
	if m, ok := body.(ast.MapNode); ok {
		for it := m.MapRange(); it.Next(); {
			key, text := it.Key().(*ast.StringNode)
			if !text || key.Value != p.Path {
				continue
			}
			if _, null := it.Value().(*ast.NullNode); !null {
				return
			}
			p.Line, p.Column = key.GetToken().Position.Line, key.GetToken().Position.Column
		}
	}
	for p.Line > 1 && from.lines[p.Line-1] == "" { // the end of the text, not of the file
		p.Line--
	}
	d.problems = append(d.problems, p)
}

// notStated says what to write. Before the key had to be stated it was enforce.
const notStated = `not stated; add the line "mode: monitor" (evaluate, label and count, refuse nothing) or "mode: enforce" ` +
	`(act on verdicts, as a file without the line did before this version), or have "sekimori config set-mode" write it`

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
