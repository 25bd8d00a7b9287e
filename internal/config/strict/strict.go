// Package strict reads a YAML file into Go values and reports every mistake in
// it, with line, column and an excerpt.
//
// The decoder of the YAML module is not strict enough. It accepts 1.5 as an
// integer and true as text, ignores a second document and keys that are not
// text, and stops at the first mistake.
//
// This package does not know the meaning of the keys. The caller checks the
// values and adds the problems that it finds, each with the path of its key.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// MaxFile is the size of the largest file that Parse accepts, in octets. Ten thousand rules with
// notes fit in it.
const MaxFile = 4 << 20

// maxNesting is the largest number of open brackets, and the largest
// indentation of a line. The YAML parser is recursive: deep nesting would
// overflow the stack, and a Go program cannot recover from that.
const maxNesting = 100

// Document is a YAML file that was read, with the problems that were found in
// it. A nil Document is for values that do not come from a file: problems then
// have no line and column.
type Document struct {
	name     string
	lines    []string
	body     ast.Node                // nil if the file is empty or broken
	broken   bool                    // the file could not be parsed as one YAML document
	at       map[string]*token.Token // the token of each key's value, by path
	problems []Problem
}

// Parse reads the YAML document in data. name is the file name for errors. If
// data has a syntax error or more than one document, Broken returns true for
// the result.
func Parse(name string, data []byte) *Document {
	data = normal(data)
	d := &Document{
		name: name, lines: strings.Split(string(data[:min(len(data), MaxFile)]), "\n"), at: map[string]*token.Token{},
	}
	body, at, err := parse(data, parser.ParseBytes)
	if err != nil {
		d.problem(at, "", "%v", err)
	}
	d.body, d.broken = body, err != nil
	return d
}

// Broken reports whether the file could not be parsed as one YAML document.
// Then Err returns the reason, and Decode does nothing.
func (d *Document) Broken() bool { return d.broken }

// Decode decodes the document into the value to which `to` points, a struct or
// a slice. A field whose key is missing in the document, or has a wrong value,
// is left unchanged. A list or map is replaced even if some of its items are
// wrong. `renamed` maps old paths of keys to their present paths, for hints in
// errors; it may be nil.
func (d *Document) Decode(to any, renamed map[string]string) {
	if d.body == nil {
		return
	}
	v := reflect.ValueOf(to).Elem()
	(&decoder{Document: d, top: v.Type(), renamed: renamed}).value(d.body, v, "")
}

// Name returns the name of the file, or "" for a nil Document.
func (d *Document) Name() string {
	if d == nil {
		return ""
	}
	return d.name
}

// Key returns line and column of a key at the top level. set says whether the
// key has a value other than null. If the document does not have the key, line
// is 0.
func (d *Document) Key(name string) (line, column int, set bool) {
	m, ok := d.body.(ast.MapNode)
	if !ok {
		return 0, 0, false
	}
	for it := m.MapRange(); it.Next(); {
		key, text := it.Key().(*ast.StringNode)
		if !text || key.Value != name {
			continue
		}
		at := key.GetToken().Position
		_, null := it.Value().(*ast.NullNode)
		return at.Line, at.Column, !null
	}
	return 0, 0, false
}

// LastLine returns the number of the last line that is not empty, or 1 if all
// lines are empty.
func (d *Document) LastLine() int {
	line := len(d.lines)
	for line > 1 && d.lines[line-1] == "" {
		line--
	}
	return line
}

// Add adds problems that the caller found in the values. It leaves out a
// problem with a key if the document already has a problem with this key or
// with a key inside of it. A problem without a line gets the place of its key.
func (d *Document) Add(found []Problem) {
	bad := map[string]bool{}
	for _, p := range d.problems {
		for path := p.Path; path != ""; path = parent(path) {
			bad[path] = true
		}
	}
	for _, p := range found {
		if !bad[p.Path] {
			d.problems = append(d.problems, p)
		}
	}
}

// Err returns all problems found so far as an [*Error], or nil.
func (d *Document) Err() error { return d.ErrorOf(d.problems) }

// ErrorOf returns the given problems as an [*Error] with line, column and
// excerpt, or nil if there are none. It does not add them to the document.
func (d *Document) ErrorOf(problems []Problem) error {
	if d == nil {
		return result("", problems)
	}
	for i := range problems {
		d.locate(&problems[i])
	}
	sortByPlace(problems)
	for i := range problems[:min(len(problems), MaxProblems)] {
		problems[i].Excerpt = excerpt(d.lines, problems[i].Line, problems[i].Column)
	}
	return result(d.name, problems)
}

// Line returns the line of a key. If the file does not have the key, it is the
// line of the innermost section or list around it, or 0 if there is none.
func (d *Document) Line(path string) int {
	p := Problem{Path: path}
	d.locate(&p)
	return p.Line
}

// locate sets line and column of a problem that has none. If the file does not
// have the problem's key, the place is that of the innermost section or list
// around it.
func (d *Document) locate(p *Problem) {
	if d == nil || p.Line > 0 {
		return
	}
	for path := p.Path; path != ""; path = parent(path) {
		if tk := d.at[path]; tk != nil && tk.Position != nil {
			p.Line, p.Column = tk.Position.Line, tk.Position.Column
			return
		}
	}
}

func (d *Document) problem(tk *token.Token, path, format string, args ...any) {
	p := Problem{Path: path, Message: fmt.Sprintf(format, args...)}
	if tk != nil && tk.Position != nil {
		p.Line, p.Column = tk.Position.Line, tk.Position.Column
	}
	d.problems = append(d.problems, p)
}

// normal removes a byte order mark, and turns CRLF into LF.
func normal(data []byte) []byte {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	// The YAML parser counts some lines that end in CRLF twice.
	return bytes.ReplaceAll(data, []byte("\r\n"), []byte("\n"))
}

// reader is a parser of YAML.
type reader func([]byte, parser.Mode, ...parser.Option) (*ast.File, error)

// parse returns the document in the file, or nil if the file is empty. If err
// is not nil, `at` is the place of the error in the file, or nil if the place
// is not known. read is the parser; a test has another one.
func parse(data []byte, read reader) (body ast.Node, at *token.Token, err error) {
	if err := check(data); err != nil {
		return nil, nil, err
	}
	// The parser is third-party code. A panic in it must not end the daemon
	// during a reload.
	defer func() {
		if p := recover(); p != nil {
			body, at, err = nil, nil, fmt.Errorf("the YAML parser cannot cope with this file: %v", p)
		}
	}()
	file, err := read(data, 0)
	if err != nil {
		var ye yaml.Error
		if errors.As(err, &ye) {
			return nil, ye.GetToken(), errors.New(cure(ye.GetMessage()))
		}
		return nil, nil, err
	}
	for _, doc := range file.Docs {
		switch doc.Body.(type) {
		case nil, *ast.CommentGroupNode, *ast.NullNode:
			continue
		case *ast.DirectiveNode:
			return nil, doc.Body.GetToken(), errors.New("YAML directives are not supported")
		}
		if body != nil {
			return nil, doc.Body.GetToken(), errors.New("a second document; there must be only one")
		}
		body = doc.Body
	}
	return body, nil, nil
}

// cure adds to a message of the YAML parser what to do, where that is not plain.
func cure(message string) string {
	switch {
	case strings.Contains(message, "tab character"), strings.Contains(message, "'\t'"):
		return message + "; indent with spaces, because YAML does not allow tabs there"
	case strings.Contains(message, "already defined"):
		return message + "; remove one of the two"
	}
	return message
}

// check returns an error for a file that must not be given to the parser.
func check(data []byte) error {
	if len(data) > MaxFile {
		return fmt.Errorf("the file is larger than %dMiB", MaxFile>>20)
	}
	if !utf8.Valid(data) || bytes.IndexByte(data, 0) >= 0 {
		return errors.New("the file is not UTF-8 text")
	}
	nesting, indent, begin := 0, 0, true
	for _, c := range data {
		switch c {
		case '\n':
			indent, begin = 0, true
		case ' ', '-', '?', '\t':
			if begin { // each "-" in "- - - x" is a level of nesting too
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
