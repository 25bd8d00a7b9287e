//go:build linux

package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// A Mutant is one change of one place of the source.
type Mutant struct {
	ID      int    `json:"id"`
	File    string `json:"file"` // from the module's root
	Line    int    `json:"line"`
	Func    string `json:"func"`
	Op      string `json:"op"`
	Change  string `json:"change"`            // what was changed, with the expression's text
	Context string `json:"context,omitempty"` // in: a larger expression, or under: a condition
	Nth     int    `json:"nth"`               // of those in Func whose text is the same
	Start   int    `json:"start"`             // octets of the file
	End     int    `json:"end"`
	Outcome string `json:"outcome"` // killed, limit (killed by time or memory), survived, unreached
	Known   string `json:"known,omitempty"`
	By      string `json:"by,omitempty"`      // the first test that failed
	Noticed int    `json:"noticed,omitempty"` // with delays, in how many runs
}

// text is what is printed, and what a line of the known file may name.
func (m *Mutant) text() string {
	if m.Context == "" {
		return clip(m.Change)
	}
	return clip(m.Change) + "; " + clip(m.Context)
}

type emitter func(start, end int) string

type candidate struct {
	Mutant
	depth  int // of two at the same place the lower one is written outside
	render func(emit emitter, id string) string
	alts   []string // of an enum, spelled for this file
	altAt  func(alt string) func(emit emitter, id string) string
}

var verdictOps = map[string]bool{
	"cond-false": true, "case-false": true, "drop-term": true, "boundary": true, "enum-swap": true,
	"bool-flip": true, "err-nil": true, "drop-return": true, "and-or": true,
}

var weight = map[string]float64{
	"cond-false": 1.6, "drop-term": 1.6, "boundary": 1.6, "enum-swap": 1.6, "err-nil": 1.6, "case-false": 1.6, "const": 0.6,
}

// A listed is what go list says of one package.
type listed struct {
	Dir, ImportPath, Export   string
	GoFiles, CgoFiles         []string
	TestGoFiles, XTestGoFiles []string
	DepOnly                   bool
	Module                    *struct {
		Path, Dir, GoVersion string
		Main                 bool
	}
}

// list returns the packages of the patterns, and of the module that they belong to all those that they import.
func list(root string, patterns []string) (wanted, own []listed, exports map[string]string, err error) {
	args := append([]string{"list", "-export", "-deps", "-json=Dir,ImportPath,Export,GoFiles,CgoFiles,TestGoFiles,XTestGoFiles,DepOnly,Module"}, patterns...)
	cmd := exec.Command("go", args...)
	cmd.Dir = root
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	b, err := cmd.Output()
	if err != nil {
		return nil, nil, nil, fmt.Errorf("go list: %w\n%s", err, stderr.String())
	}
	exports = map[string]string{}
	for dec := json.NewDecoder(bytes.NewReader(b)); ; {
		var l listed
		if err := dec.Decode(&l); err == io.EOF {
			return wanted, own, exports, nil
		} else if err != nil {
			return nil, nil, nil, err
		}
		exports[l.ImportPath] = l.Export
		if l.Module == nil {
			continue
		}
		if !l.DepOnly {
			wanted = append(wanted, l)
		}
		if l.Module.Main {
			own = append(own, l)
		}
	}
}

// A source is one package, parsed, with all that could be changed in it.
type source struct {
	pkg    listed
	root   string
	fset   *token.FileSet
	files  []*ast.File
	names  []string // full paths, beside files
	texts  map[string][]byte
	places []*candidate
}

func load(root string, l listed, exports map[string]string) (*source, error) {
	s := &source{pkg: l, root: root, fset: token.NewFileSet(), texts: map[string][]byte{}}
	if len(l.CgoFiles) > 0 {
		return nil, fmt.Errorf("it uses cgo, which this tool cannot change")
	}
	for _, f := range l.GoFiles {
		full := filepath.Join(l.Dir, f)
		text, err := os.ReadFile(full)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(s.fset, full, text, parser.ParseComments)
		if err != nil {
			return nil, err
		}
		s.texts[full], s.files, s.names = text, append(s.files, parsed), append(s.names, full)
	}
	imp := importer.ForCompiler(s.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(exports[path])
	})
	info := &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	conf := types.Config{Importer: imp}
	if l.Module.GoVersion != "" {
		conf.GoVersion = "go" + l.Module.GoVersion
	}
	pkg, err := conf.Check(l.ImportPath, s.fset, s.files, info)
	if err != nil {
		return nil, err
	}
	for i, f := range s.files {
		rel, err := filepath.Rel(root, s.names[i])
		if err != nil {
			return nil, err
		}
		c := &collector{fset: s.fset, file: f, rel: filepath.ToSlash(rel), src: s.texts[s.names[i]], info: info, pkg: pkg, module: l.Module.Path, same: map[string]int{}}
		c.walk()
		s.places = append(s.places, c.out...)
	}
	return s, nil
}

// draw gives each mutant a number between 0 and 1 that depends on the seed and on what it changes, not on what
// stands before it in the file or on the file's name, so that an edit elsewhere leaves the choice as it was.
func draw(seed int64, parts ...string) (float64, uint64) {
	h := sha256.Sum256([]byte(strconv.FormatInt(seed, 10) + "\x00" + strings.Join(parts, "\x00")))
	n := binary.BigEndian.Uint64(h[:8])
	return (float64(n>>11) + 0.5) / (1 << 53), binary.BigEndian.Uint64(h[8:16])
}

// choose takes n mutants, at most one of each place; at, if not empty, takes instead all of these lines.
func (s *source) choose(seed int64, n int, only map[string]bool, at []place, dropped map[string]bool) []*candidate {
	type ranked struct {
		c    *candidate
		rank float64
	}
	var all []ranked
	for _, c := range s.places {
		u, alt := draw(seed, c.Func, c.Op, c.Change, c.Context, strconv.Itoa(c.Nth))
		w := weight[c.Op]
		if w == 0 {
			w = 1
		}
		variants := []*candidate{c}
		if c.alts != nil {
			variants = nil
			for i, name := range c.alts {
				if len(at) > 0 || uint64(i) == alt%uint64(len(c.alts)) {
					v := *c
					v.Change += name
					v.render = c.altAt(name)
					variants = append(variants, &v)
				}
			}
		}
		for _, v := range variants {
			all = append(all, ranked{v, -math.Log(u) / w})
		}
	}
	sort.SliceStable(all, func(i, j int) bool { return all[i].rank < all[j].rank })
	taken := map[string]bool{}
	var chosen []*candidate
	for _, r := range all {
		c := r.c
		if dropped[c.key()] {
			continue
		}
		if len(at) > 0 {
			if wantedAt(at, c.File, c.Line) {
				chosen = append(chosen, c)
			}
			continue
		}
		if only != nil && !only[c.Op] {
			continue
		}
		where := fmt.Sprintf("%s:%d:%d", c.File, c.Start, c.End)
		if taken[where] || len(chosen) == n {
			continue
		}
		taken[where] = true
		chosen = append(chosen, c)
	}
	sort.SliceStable(chosen, func(i, j int) bool {
		if a, b := chosen[i], chosen[j]; a.File != b.File {
			return a.File < b.File
		}
		return before(chosen[i], chosen[j])
	})
	for i, c := range chosen {
		c.ID = i + 1
	}
	return chosen
}

// before orders the candidates of a file: an outer one comes before those within it.
func before(a, b *candidate) bool {
	switch {
	case a.Start != b.Start:
		return a.Start < b.Start
	case a.End != b.End:
		return a.End > b.End
	}
	return a.depth < b.depth
}

func (c *candidate) key() string {
	return fmt.Sprintf("%s:%d:%d:%s:%s", c.File, c.Start, c.End, c.Op, c.Change)
}

// write puts the changed files and the switch package into dir and returns the overlay for the go command.
// late has the delays by file, also of other packages.
func (s *source) write(dir string, chosen []*candidate, late map[string][]*candidate) (overlay string, written map[string]string, err error) {
	replace, written := map[string]string{}, map[string]string{}
	byFile := maps.Clone(late)
	if byFile == nil {
		byFile = map[string][]*candidate{}
	}
	for _, c := range chosen {
		full := filepath.Join(s.root, filepath.FromSlash(c.File))
		byFile[full] = append(slices.Clip(byFile[full]), c)
	}
	for i, full := range slices.Sorted(maps.Keys(byFile)) {
		cs := byFile[full]
		if len(cs) == 0 {
			continue
		}
		sort.SliceStable(cs, func(i, j int) bool { return before(cs[i], cs[j]) })
		text, err := os.ReadFile(full)
		if err != nil {
			return "", nil, err
		}
		fset := token.NewFileSet()
		clause, err := parser.ParseFile(fset, full, text, parser.PackageClauseOnly)
		if err != nil {
			return "", nil, err
		}
		head := fset.Position(clause.Name.End()).Offset
		out := string(text[:head]) + "; import zmut \"" + s.pkg.Module.Path + "/internal/zmut\"" + emitRange(text, cs, head, len(text))
		to := filepath.Join(dir, fmt.Sprintf("f%d_%s", i, filepath.Base(full)))
		if err := os.WriteFile(to, []byte(out), 0o600); err != nil {
			return "", nil, err
		}
		rel, err := filepath.Rel(s.root, full)
		if err != nil {
			return "", nil, err
		}
		replace[full], written[filepath.ToSlash(rel)] = to, to
	}
	z := filepath.Join(dir, "zmut.go")
	if err := os.WriteFile(z, []byte(zmutSource), 0o600); err != nil {
		return "", nil, err
	}
	replace[filepath.Join(s.pkg.Module.Dir, "internal", "zmut", "zmut.go")] = z
	b, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", nil, err
	}
	overlay = filepath.Join(dir, "overlay.json")
	return overlay, written, os.WriteFile(overlay, b, 0o600)
}

func emitRange(src []byte, cs []*candidate, start, end int) string {
	var out strings.Builder
	pos := start
	for i := 0; i < len(cs); {
		c := cs[i]
		if c.Start < start || c.End > end {
			i++
			continue
		}
		j := i + 1
		for j < len(cs) && cs[j].Start < c.End {
			j++
		}
		inner := cs[i+1 : j]
		out.Write(src[pos:c.Start])
		out.WriteString(c.render(func(a, b int) string { return emitRange(src, inner, a, b) }, strconv.Itoa(c.ID)))
		pos, i = c.End, j
	}
	out.Write(src[pos:end])
	return out.String()
}

// idSpace bounds the identifiers of one package.
const idSpace = 1 << 16
