package svg

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// TestAttributes checks every attribute of the profile on every element: values that it may have, and one
// that it may not have.
func TestAttributes(t *testing.T) {
	text, err := os.ReadFile("testdata/attributes.txt")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if fields[0] == "#" {
			continue
		}
		lines++
		element, name, values := fields[0], fields[1], strings.Split(fields[2], "|")
		good, wrong := values, []string{"x y"}
		switch {
		case name == "xml:base" || name == "requiredFonts":
			good, wrong = nil, []string{"", "a"}
		case name == "viewBox":
			good, wrong = []string{"0 0 2 2"}, []string{"1"}
		case name == "href":
			good, wrong = []string{"#a"}, []string{"a", "//x.example/#a"}
		case element == "svg" && (name == "width" || name == "height"):
			good, wrong = []string{"1", "2px"}, []string{"50%", "a"}
		case strings.Contains(" role rel rev typeof content datatype resource about property ", " "+name+" "):
			good, wrong = []string{"1", "f(x)", "https://x.example/", `\`}, nil
		case fields[2] == "*":
			good, wrong = []string{"1", "#c00", "a b", "url(#a)", "inherit", "none"}, []string{"url(//x.example)", "f(x)", `\75`}
		case fields[2] == "NCName":
			good, wrong = []string{"a1"}, []string{"1", "#a"}
		case fields[2] == "NMTOKENS":
			good, wrong = []string{"1 a:b"}, []string{","}
		case fields[2] == "language":
			good, wrong = []string{"", "ja"}, []string{"1", "a,b"}
		case fields[2] == "ratio":
			good, wrong = []string{"none", "xMidYMid meet", " xMidYMid\n"}, []string{"meet none"}
		}
		for _, value := range good {
			if _, err := Check([]byte(placedIn(element, fmt.Sprintf(`%s="%s"`, name, value), ""))); err != nil {
				t.Errorf("%s %s=%q: %v", element, name, value, err)
			}
		}
		for _, value := range wrong {
			if _, err := Check([]byte(placedIn(element, fmt.Sprintf(`%s="%s"`, name, value), ""))); err == nil {
				t.Errorf("%s %s=%q is accepted", element, name, value)
			}
		}
	}
	ours := 0
	for _, e := range elements {
		names := map[string]bool{}
		for _, set := range e.sets {
			for name := range set {
				names[name] = true
			}
		}
		ours += len(names)
	}
	// The lists have neither xml:base nor requiredFonts.
	if without := lines - strings.Count(string(text), " xml:base ") - strings.Count(string(text), " requiredFonts "); ours != without {
		t.Errorf("the lists have %d attributes, the profile without what is refused %d", ours, without)
	}
}
