package strict

import (
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// colour has one of two values.
type colour string

func (c *colour) UnmarshalText(text []byte) error {
	if s := string(text); s != "red" && s != "blue" {
		return fmt.Errorf("%q is no colour", s)
	}
	*c = colour(text)
	return nil
}

func (c colour) MarshalText() ([]byte, error) {
	if c == "none" {
		return nil, errors.New("it has no name")
	}
	return []byte(c), nil
}

// size is written as one value, because its only field has no key.
type size struct {
	N colour `yaml:""`
}

func (s *size) UnmarshalText(text []byte) error { return s.N.UnmarshalText(text) }
func (s size) MarshalText() ([]byte, error)     { return []byte(s.N), nil }

// place is one value or a section.
type place struct {
	Town string `yaml:"town"`
}

func (p *place) UnmarshalText(text []byte) error { p.Town = string(text); return nil }

type car struct {
	Paint  colour            `yaml:"paint"`
	Size   size              `yaml:"size"`
	Doors  map[colour]int    `yaml:"doors"`
	Seats  []int             `yaml:"seats"`
	Weight float64           `yaml:"weight"`
	Text   string            `yaml:"text"`
	Number int               `yaml:"number"`
	Engine engine            `yaml:"engine"`
	Labels map[string]colour `yaml:"labels"`
	Home   place             `yaml:"home"`
	Wheel  string            `yaml:"wheel"`
	hidden int
}

// TestMistakes checks what is said of one mistake of each kind, and where, and that a wrong value leaves what was there.
func TestMistakes(t *testing.T) {
	start := func() car {
		return car{Paint: "red", Size: size{"red"}, Doors: map[colour]int{"red": 1}, Seats: []int{1}, Weight: 1, Text: "t", Number: 1, Engine: engine{Running: true}}
	}
	changes := map[string]func(*car){ // a list or map is replaced, without what is wrong in it
		"doors: {red: x}":                 func(c *car) { c.Doors = map[colour]int{"red": 0} },
		"seats: [1, ~]":                   func(c *car) { c.Seats = []int{1, 0} },
		"seats: [1, x]":                   func(c *car) { c.Seats = []int{1, 0} },
		"engine: {wheels: [{inches: x}]}": func(c *car) { c.Engine.Wheels = []wheel{{}} },
	}
	for in, want := range map[string]string{
		"paint: green":                    `1:8: paint: "green" is no colour`,
		"paint: 5":                        `1:8: paint: "5" is no colour`,
		"paint: [red]":                    "1:8: paint: a list where there should be text",
		"size: {n: red}":                  "1:7: size: a mapping where there should be one value; perhaps it needs quotes",
		"size: green":                     `1:7: size: "green" is no colour`,
		"doors: [1]":                      "1:8: doors: a list where there should be a mapping of keys to values",
		"doors: 3":                        "1:8: doors: a number where there should be a mapping",
		"doors: {green: 1}":               `1:9: doors: "green" is no colour`,
		"doors: {red: x}":                 "1:14: doors[red]: text where there should be a whole number",
		"doors: {1: 2}":                   "1:9: doors: a key that is not plain text",
		"seats: 1":                        "1:8: seats: a number where there should be a list, such as [a, b]",
		"seats: [1, ~]":                   "1:12: seats[1]: an empty item",
		"seats: [1, x]":                   "1:12: seats[1]: text where",
		"weight: 1.5":                     "1:9: weight: a number where there should be one value",
		"text: |\n  a\n":                  "1:7: text: a block of text where there should be text; put it in quotes",
		"text: .inf":                      "text: a number where",
		"text: true":                      "text: true or false where",
		"text: {a: b}":                    "text: a mapping where",
		"text: &x a":                      "text: anchors, aliases and tags are not supported",
		"text: !!str a":                   "text: anchors, aliases and tags are not supported",
		"number: 0x10":                    "1:9: number: 0x10 is not a whole number in decimal",
		"number: 2147483648":              "number: 2147483648 is not a whole number in decimal, or is too large",
		"number: -2147483649":             "number: -2147483649 is not a whole number",
		"engine: {running: 1}":            "1:19: engine.running: a number where there should be true or false",
		"engine: 1":                       "1:9: engine: a number where there should be a mapping",
		"engine: {wheels: [{inches: x}]}": "engine.wheels[0].inches: text where",
		"nr: 1":                           `1:1: unknown key "nr"; known here: paint, size, doors`,
		"paimt: red":                      `unknown key "paimt"; perhaps paint; known`,
		"apint: red":                      `unknown key "apint"; perhaps paint; known`,
		"pant: red":                       `unknown key "pant"; perhaps paint; known`,
		"paaaint: red":                    `unknown key "paaaint"; known`,
		"numbre: 1":                       `unknown key "numbre"; perhaps number; known`,
		"nmbe: 1":                         `unknown key "nmbe"; perhaps number; known`,
		"nmb: 1":                          `unknown key "nmb"; known`,
		"inches: 1":                       `unknown key "inches"; its place is engine.spare.inches; known`,
		"wheels: 1":                       `unknown key "wheels"; perhaps wheel; known`,
		"running: 1":                      `unknown key "running"; its place is engine.running; known`,
		"engine: {text: a}":               `1:10: engine: unknown key "text"; its place is text; known here: name, running, wheels, spare`,
		"text: a\ntext: b":                `2:1: mapping key "text" already defined at [1:1]; remove one of the two`,
		"engine:\n\tname: a":              "indent with spaces",
		"%YAML 1.2\n---\ntext: a":         "YAML directives are not supported",
		"text: a\n---\ntext: b":           "a second document; there must be only one",
		"text: \xff":                      "the file is not UTF-8 text",
		"text: \x00":                      "the file is not UTF-8 text",
		"\x00":                            "the file is not UTF-8 text",
		`"": 1`:                           `1:1: unknown key ""; known here`,
		"hidden: 1":                       `unknown key "hidden"`,
		"password=abc: 1":                 `unknown key "password=***"`,
	} {
		got, left := start(), start()
		if change := changes[in]; change != nil {
			change(&left)
		}
		doc := Parse("f", []byte(in))
		if doc.Decode(&got, nil); !reflect.DeepEqual(got, left) {
			t.Errorf("%q: %+v, want %+v", in, got, left)
		}
		var all *Error
		if err := doc.Err(); !errors.As(err, &all) || len(all.Problems) != 1 || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v\nwant %s", in, err, want)
		}
	}
}

// TestValues checks what is decoded, and that a null leaves a value as it was.
func TestValues(t *testing.T) {
	start := func() car { return car{Paint: "red", Doors: map[colour]int{"red": 1}, Seats: []int{1}, hidden: 1} }
	for in, change := range map[string]func(*car){
		"paint: blue":                         func(c *car) { c.Paint = "blue" },
		"size: red":                           func(c *car) { c.Size.N = "red" },
		"doors: {blue: 2}":                    func(c *car) { c.Doors = map[colour]int{"blue": 2} },
		"doors: {}":                           func(*car) {},
		"seats: []":                           func(c *car) { c.Seats = []int{} },
		"number: 2147483647":                  func(c *car) { c.Number = 1<<31 - 1 },
		"number: 010":                         func(c *car) { c.Number = 10 },
		"number: -2147483648":                 func(c *car) { c.Number = -1 << 31 },
		"paint:\nseats: ~\ntext:\nengine:":    func(*car) {},
		"home: x":                             func(c *car) { c.Home.Town = "x" },
		"home: {town: x}":                     func(c *car) { c.Home.Town = "x" },
		"# only a comment":                    func(*car) {},
		"\ufefftext: a\r\nnumber: 1\r\n":      func(c *car) { c.Text, c.Number = "a", 1 },
		"text: \"a\\nb\"":                     func(c *car) { c.Text = "a\nb" },
		"labels: {x: red, y: blue}":           func(c *car) { c.Labels = map[string]colour{"x": "red", "y": "blue"} },
		"engine: {spare: {inches: 1}}\n---\n": func(c *car) { c.Engine.Spare.Inches = 1 },
	} {
		got, want := start(), start()
		change(&want)
		doc := Parse("f", []byte(in))
		if doc.Decode(&got, nil); doc.Err() != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %+v, %v", in, got, doc.Err())
		}
	}
}

// TestNesting checks the bounds on what the parser of YAML is given.
func TestNesting(t *testing.T) {
	for _, tt := range []struct {
		why, in string
		deep    bool
	}{
		{"brackets", strings.Repeat("[", maxNesting) + strings.Repeat("]", maxNesting), false},
		{"a bracket more", strings.Repeat("[", maxNesting+1), true},
		{"braces too", strings.Repeat("{", maxNesting+1), true},
		{"brackets that were closed", strings.Repeat("[]{}", maxNesting+1), false},
		{"more are closed than opened", strings.Repeat("]", 5) + strings.Repeat("[", maxNesting+1), true},
		{"an indented line", strings.Repeat(" ", maxNesting) + "a", false},
		{"a column more", strings.Repeat(" ", maxNesting+1) + "a", true},
		{"items of items", strings.Repeat("- ", maxNesting/2) + "-", true},
		{"keys of keys", strings.Repeat("? ", maxNesting/2) + "?", true},
		{"tabs", strings.Repeat("\t", maxNesting+1), true},
		{"spaces within a line", "a" + strings.Repeat(" ", 2*maxNesting), false},
		{"spaces after a bracket", "[" + strings.Repeat(" ", 2*maxNesting), false},
		{"spaces after a closed one", "]" + strings.Repeat(" ", 2*maxNesting), false},
		{"one is closed", strings.Repeat("[", maxNesting) + "][", false},
		{"one is closed, two more", strings.Repeat("[", maxNesting) + "][[", true},
		{"none was open", "]" + strings.Repeat("[", maxNesting), false},
		{"the second line", "a\n" + strings.Repeat(" ", maxNesting+1) + "a", true},
		{"each line begins anew", strings.Repeat(strings.Repeat(" ", maxNesting)+"a\n", 3), false},
	} {
		if err := check([]byte(tt.in)); (err != nil) != tt.deep {
			t.Errorf("%s: %v", tt.why, err)
		}
	}
	if err := check(make([]byte, MaxFile+1)); err == nil || !strings.Contains(err.Error(), "larger than 4MiB") {
		t.Error(err)
	}
	if err := check([]byte(strings.Repeat("#", MaxFile))); err != nil {
		t.Error(err)
	}
	if n := len(Parse("f", []byte(strings.Repeat("#", MaxFile+1))).lines[0]); n != MaxFile {
		t.Errorf("%d octets of a file that is too large are kept", n)
	}
}

// TestParser checks what is said if the parser of YAML fails, in each of its ways.
func TestParser(t *testing.T) {
	for want, read := range map[string]reader{
		"the YAML parser cannot cope with this file: oh": func([]byte, parser.Mode, ...parser.Option) (*ast.File, error) { panic("oh") },
		"mode 0": func(_ []byte, m parser.Mode, _ ...parser.Option) (*ast.File, error) {
			return nil, fmt.Errorf("mode %d", m)
		}, // no comments
	} {
		if body, at, err := parse([]byte("a: b"), read); body != nil || at != nil || err == nil || err.Error() != want {
			t.Errorf("%v, %v, %v, want %s", body, at, err, want)
		}
	}
	for message, want := range map[string]string{
		"found a tab character": "found a tab character; indent with spaces, because YAML does not allow tabs there",
		"found '\t'":            "found '\t'; indent with spaces, because YAML does not allow tabs there",
		"x already defined":     "x already defined; remove one of the two",
		"x":                     "x",
	} {
		if got := cure(message); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestPlaces checks where a key stands, or the section around it.
func TestPlaces(t *testing.T) {
	doc := Parse("f", []byte("# c\ntext: a\nnumber:\nengine:\n  wheels: [{inches: 1},\n    {inches: 2}]\n\n\n"))
	doc.Decode(&car{}, nil)
	for path, want := range map[string]int{
		"text": 2, "engine.wheels[1].inches": 6, "engine.wheels[1].other": 6, "engine.wheels[7]": 5, "engine.name": 5, "labels": 0, "": 0,
	} {
		if got := doc.Line(path); got != want {
			t.Errorf("%s is in line %d, want %d", path, got, want)
		}
	}
	doc.at["labels"] = &token.Token{} // without a place
	if doc.problem(doc.at["labels"], "labels", "m"); doc.Line("labels") != 0 || doc.problems[0].Line != 0 {
		t.Errorf("a key without a place: %v", doc.problems)
	}
	if got := (*Document)(nil).Line("text"); got != 0 {
		t.Errorf("a key of no file is in line %d", got)
	}
	for name, want := range map[string]string{"text": "2 1 true", "number": "3 1 false", "labels": "0 0 false"} {
		line, column, set := doc.Key(name)
		if got := fmt.Sprint(line, column, set); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if line, column, set := Parse("f", []byte("[a]")).Key("a"); line != 0 || column != 0 || set {
		t.Error("a list has a key")
	}
	for in, want := range map[string]int{"": 1, "\n\n": 1, "a: 1\n\nb: 2\n\n": 3, "a: 1": 1} {
		if got := Parse("f", []byte(in)).LastLine(); got != want {
			t.Errorf("the last line of %q is %d, want %d", in, got, want)
		}
	}
	if got := (*Document)(nil).Name() + doc.Name(); got != "f" {
		t.Error(got)
	}
	if doc.Broken() || !Parse("f", []byte("a: [")).Broken() {
		t.Error("which is broken")
	}
}

// TestErrors checks the text of errors, and how many problems one lists.
func TestErrors(t *testing.T) {
	cause := &Error{Name: "f", Err: fs.ErrNotExist}
	if !errors.Is(cause.OrNil(), fs.ErrNotExist) || cause.Error() != "config: file does not exist" || (&Error{}).OrNil() != nil {
		t.Error(cause)
	}
	for e, want := range map[*Error]string{
		{Problems: []Problem{{Message: "m", Line: 1, Column: 2}, {Message: "n"}}}: "config: 1:2: m\nconfig: n",
		{Name: "f", Problems: []Problem{{Path: "p", Message: "m", Excerpt: "x"}}}: "config: f: p: m\nx",
	} {
		if e.OrNil() == nil || e.Error() != want {
			t.Errorf("%q, want %q", e.Error(), want)
		}
	}
	many := slices.Repeat([]Problem{{Message: "m", Line: 1, Column: 2}}, MaxProblems+2)
	doc := Parse("f", []byte("abc"))
	doc.Add(many)
	for range 2 { // the first call must not change what the second one says
		want := strings.Repeat("config: f:1:2: m\n  >   1 | abc\n        |  ^\n", MaxProblems) + "config: f: and 2 more problems"
		if err := doc.Err(); err == nil || err.Error() != want || doc.problems[MaxProblems].Excerpt != "" {
			t.Errorf("many problems: %v", err)
		}
	}
	for n, last := range map[int]string{MaxProblems: "m", MaxProblems + 1: "and 1 more problems"} {
		var all *Error
		if !errors.As(result("", slices.Repeat([]Problem{{Message: "m"}}, n)), &all) || all.Problems[len(all.Problems)-1].Message != last {
			t.Errorf("of %d problems: %v", n, all)
		}
	}
	got := []Problem{{Line: 2, Column: 1}, {Line: 1, Column: 5}, {Line: 1, Column: 2}}
	if sortByPlace(got); got[0].Column != 2 || got[1].Column != 5 || got[2].Line != 2 {
		t.Error(got)
	}
	for n, want := range map[int]string{0: "", 1: "a", 2: "a or b", 3: "a, b or c"} {
		if got := OneOf([]string{"a", "b", "c"}[:n]); got != want {
			t.Errorf("%d words: %q", n, got)
		}
	}
}

// TestDiff checks which keys differ, and in what form their values are shown.
func TestDiff(t *testing.T) {
	a := car{Paint: "red", Engine: engine{Spare: wheel{1}}}
	for want, change := range map[string]func(*car){
		"[]":                          func(*car) {},
		"[{paint red blue}]":          func(c *car) { c.Paint = "blue" },
		"[{paint red ?}]":             func(c *car) { c.Paint = "none" },
		`[{text "" a}]`:               func(c *car) { c.Text = "a" },
		`[{size "" red}]`:             func(c *car) { c.Size.N = "red" },
		"[{engine.spare.inches 1 2}]": func(c *car) { c.Engine.Spare.Inches = 2 },
		"[{seats [] [1, 2]}]":         func(c *car) { c.Seats = []int{1, 2} },
		"[{doors [] {red: 1}}]":       func(c *car) { c.Doors = map[colour]int{"red": 1} },
	} {
		b := a
		b.Seats, b.Doors = []int{}, map[colour]int{} // as nil
		change(&b)
		if got := fmt.Sprint(Diff(a, b)); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// TestWords checks the list of keys, and which words are alike.
func TestWords(t *testing.T) {
	want := "paint size doors seats weight text number engine engine.name engine.running engine.wheels engine.spare engine.spare.inches labels home wheel"
	if got := strings.Join(Paths(reflect.TypeFor[car]()), " "); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
	if got := Paths(reflect.TypeFor[[]car]()); got != nil {
		t.Error(got)
	}
	for word, want := range map[string]string{
		"weight": "weight", "wieght": "weight", "wight": "weight", "weihgtx": "weight", "weightxx": "weight", "weightxxx": "", "tex": "text", "txt": "text", "ab": "",
		"o": "", "onn": "", "": "",
		"weihgtxx": "", "rad": "red", "rod": "red", "ode": "", "transpo": "transport", "transp": "",
	} {
		if got := Nearest(word, []string{"weight", "text", "on", "red", "rid", "transport"}); got != want {
			t.Errorf("%s: %q, want %q", word, got, want)
		}
	}
	if n := testing.AllocsPerRun(1, func() { Nearest("weightxxx", []string{"weight"}) }); n != 0 {
		t.Errorf("%v allocations for a word that is too long to be similar", n)
	}
	type box struct {
		Interval int `yaml:"interval"`
		Other    int `yaml:"other"`
	}
	top := reflect.TypeFor[struct {
		Box    box `yaml:"box"`
		Second box `yaml:"second"`
	}]()
	for near, want := range map[string]string{ // of a key that is known in other places
		"intervel": "perhaps intervel", "intervxx": "its place is box.interval or second.interval", "": "its place is box.interval or second.interval",
	} {
		if got := (&decoder{top: top}).hint("here", "interval", []string{near}); got != want {
			t.Errorf("%s: %q, want %q", near, got, want)
		}
	}
	if got := (&decoder{top: top}).hint("here", "wexght", []string{"weight"}); got != "perhaps weight" {
		t.Error(got)
	}
	for s, want := range map[string]string{
		"postgres://u:p@h/d": "postgres://u:***@h/d", "host=h password=p x=y": "host=h password=*** x=y", "Token: abc": "Token: ***", "plain": "plain",
	} {
		if got := Mask(s); got != want {
			t.Errorf("%s is masked as %s", s, got)
		}
	}
}
