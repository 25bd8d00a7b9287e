package deploy

import (
	"regexp"
	"slices"
	"strings"
	"testing"
)

// selector is a metric name in a PromQL expression, with its label matchers.
type selector struct {
	name     string
	matchers []matcher
}

type matcher struct{ label, op, value string }

// expression has the metrics and labels that a PromQL expression names.
type expression struct {
	selectors []selector
	labels    []string // labels in parentheses after words such as by and on
}

var (
	// tokens matches the tokens of PromQL. A range in brackets is one token, and so is a number
	// with its unit.
	tokens = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|\[[^\]]*\]|[a-zA-Z_:][a-zA-Z0-9_:]*|[0-9][0-9a-zA-Z_.]*|[=!]~|[!=<>]=|\S`)
	word   = regexp.MustCompile(`^[a-zA-Z_:]`)
	// listing has the words that are followed by a list of labels in parentheses.
	listing = []string{"by", "without", "on", "ignoring", "group_left", "group_right"}
	// plain has the words of PromQL that are not metric names even if no parenthesis follows.
	plain = []string{"and", "or", "unless", "bool", "offset", "sum", "min", "max", "avg", "count", "topk", "bottomk", "quantile"}
)

// parseExpression finds the metrics and labels in a PromQL expression. The syntax of expr must be
// right; in another test, promtool checks it.
func parseExpression(expr string) expression {
	var e expression
	tok := tokens.FindAllString(expr, -1)
	at := func(i int) string {
		if i < len(tok) {
			return tok[i]
		}
		return ""
	}
	for i := 0; i < len(tok); i++ {
		switch {
		case slices.Contains(listing, tok[i]) && at(i+1) == "(":
			for i += 2; i < len(tok) && tok[i] != ")"; i++ {
				if tok[i] != "," {
					e.labels = append(e.labels, tok[i])
				}
			}
		case !word.MatchString(tok[i]), slices.Contains(plain, tok[i]), at(i+1) == "(":
		default:
			s := selector{name: tok[i]}
			if at(i+1) == "{" {
				for i += 2; i < len(tok) && tok[i] != "}"; i++ {
					if word.MatchString(tok[i]) {
						s.matchers = append(s.matchers, matcher{tok[i], at(i + 1), strings.Trim(at(i+2), `"`)})
						i += 2
					}
				}
			}
			e.selectors = append(e.selectors, s)
		}
	}
	return e
}

// matches reports whether the selector selects a series with these labels. A missing label counts
// as the empty string, as in Prometheus.
func (s selector) matches(labels map[string]string) bool {
	for _, m := range s.matchers {
		value := labels[m.label]
		var ok bool
		switch m.op {
		case "=":
			ok = value == m.value
		case "!=":
			ok = value != m.value
		case "=~", "!~":
			ok = regexp.MustCompile("^(?:"+m.value+")$").MatchString(value) == (m.op == "=~")
		}
		if !ok {
			return false
		}
	}
	return true
}

func TestParseExpression(t *testing.T) {
	const expr = `histogram_quantile(0.99, sum by (job, le) (rate(a_bucket{x="}",y=~"p|q"}[5m]))) > 5
		and on (job) b offset 1w unless sum(rate(c{z!="sum"}[1h] offset 1w)) / ignoring (kind) group_left () (d + e) > 8e3`
	e := parseExpression(expr)
	var got []string
	for _, s := range e.selectors {
		text := s.name
		for _, m := range s.matchers {
			text += " " + m.label + m.op + m.value
		}
		got = append(got, text)
	}
	if want := []string{"a_bucket x=} y=~p|q", "b", "c z!=sum", "d", "e"}; !slices.Equal(got, want) {
		t.Errorf("selectors %q, want %q", got, want)
	}
	if want := []string{"job", "le", "job", "kind"}; !slices.Equal(e.labels, want) {
		t.Errorf("labels %q, want %q", e.labels, want)
	}
}

func TestSelectorMatches(t *testing.T) {
	labels := map[string]string{"result": "fail", "policy": "reject"}
	for _, c := range []struct {
		matchers []matcher
		want     bool
	}{
		{nil, true},
		{[]matcher{{"result", "=", "fail"}}, true},
		{[]matcher{{"result", "=", "fails"}}, false},
		{[]matcher{{"result", "=", "fail"}, {"policy", "=", "none"}}, false},
		{[]matcher{{"result", "!=", "fail"}}, false},
		{[]matcher{{"result", "=~", "pass|fail"}}, true},
		{[]matcher{{"result", "=~", "fai"}}, false}, // false, because the expression must match the whole value
		{[]matcher{{"result", "!~", "pass|none"}}, true},
		{[]matcher{{"no_such_label", "=", "x"}}, false},
	} {
		if got := (selector{"m", c.matchers}).matches(labels); got != c.want {
			t.Errorf("%v: %v, want %v", c.matchers, got, c.want)
		}
	}
}
