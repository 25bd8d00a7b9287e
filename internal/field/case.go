package field

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/goccy/go-yaml"
)

// Case is a folder with the file case.yaml and the files that it names. If Run is empty, "sekimori
// explain" is run on message.eml with zone.txt as the DNS.
type Case struct {
	Name string `yaml:"-"`
	Dir  string `yaml:"-"`

	Kind   string `yaml:"kind"`
	TwinOf string `yaml:"twin_of"` // only for Kind "twin": the kind of the similar cases. Their messages pass; the twin's message must not.
	Source string `yaml:"source"`
	Why    string `yaml:"why"`
	Also   string `yaml:"also"` // a further requirement, in words, that no test in this package can check

	// Run is the command: "" (explain), "replay" or "config" (config check). Args are its further
	// arguments. If Run is "milter", "postfix" or "tool", no command is run; another test does
	// what Steps describes.
	Run   string   `yaml:"run"`
	Args  []string `yaml:"args"`
	Steps []string `yaml:"steps"`
	// Config is the name of the configuration file. If it is empty, the configuration is "mode:
	// enforce".
	Config string `yaml:"config"`

	Session struct {
		IP       string `yaml:"ip"`
		HELO     string `yaml:"helo"`
		MailFrom string `yaml:"mail_from"`
		Rcpt     string `yaml:"rcpt"`
	} `yaml:"session"`

	Verdict        []string `yaml:"verdict"` // any of these verdicts is right
	LabelContains  []string `yaml:"label_contains"`
	LabelLacks     []string `yaml:"label_lacks"`
	OutputContains []string `yaml:"output_contains"`
	OutputLacks    []string `yaml:"output_lacks"`
	ReplyContains  []string `yaml:"reply_contains"`
	ReplyLacks     []string `yaml:"reply_lacks"`
	// JSON maps a path in the --json output to the allowed beginnings of the value. "absent" means
	// that the value may be missing or empty.
	JSON map[string][]string `yaml:"json"`
}

// ByHand reports whether the case is played by a test other than TestField.
func (c *Case) ByHand() bool { return slices.Contains([]string{"milter", "postfix", "tool"}, c.Run) }

// Load reads every case in the folder dir.
func Load(dir string) ([]Case, error) {
	dir, err := filepath.Abs(dir) // an absolute path, because each command runs in the folder of its case
	if err != nil {
		return nil, fmt.Errorf("field: %w", err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*", "case.yaml"))
	if err != nil {
		return nil, fmt.Errorf("field: %w", err)
	}
	var cases []Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("field: %w", err)
		}
		var c Case
		if err := yaml.UnmarshalWithOptions(text, &c, yaml.Strict()); err != nil {
			return nil, fmt.Errorf("field: %s: %w", file, err)
		}
		c.Dir = filepath.Dir(file)
		c.Name = filepath.Base(c.Dir)
		if err := c.complete(); err != nil {
			return nil, fmt.Errorf("field: %s: %w", file, err)
		}
		cases = append(cases, c)
	}
	return cases, nil
}

// complete returns an error if required keys are missing, or if the case requires nothing and
// therefore could not fail.
func (c *Case) complete() error {
	switch {
	case c.Kind == "" || c.Why == "":
		return fmt.Errorf("a case needs kind and why")
	case c.ByHand():
		return nil
	case len(c.Verdict)+len(c.LabelContains)+len(c.LabelLacks)+len(c.OutputContains)+len(c.OutputLacks)+len(c.ReplyContains)+len(c.ReplyLacks)+len(c.JSON) == 0:
		return fmt.Errorf("a case needs something that is wanted")
	case (c.Kind == "twin") != (c.TwinOf != ""):
		return fmt.Errorf("a twin, and only a twin, says what it is the twin of")
	}
	return nil
}

// Judge compares the output of the command with the case, and returns one line for each difference.
// text is the normal output. raw is the --json output, or nil if the command has no such output.
func (c *Case) Judge(text string, raw []byte) []string {
	var j judgement
	var doc any
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &doc); err != nil {
			return []string{fmt.Sprintf("the --json output does not parse: %v", err)}
		}
	}
	if len(c.Verdict) > 0 {
		j.oneOf("verdict.verdict", lookup(doc, "verdict.verdict"), c.Verdict, slices.Contains[[]string])
	}
	label := strings.Join(strings.Fields(lookup(doc, "authentication_results")), " ")
	j.contains("the label", label, c.LabelContains, c.LabelLacks)
	j.contains("the reply", lookup(doc, "verdict.reply.text"), c.ReplyContains, c.ReplyLacks)
	j.contains("the output", text+string(raw), c.OutputContains, c.OutputLacks)
	for path, wanted := range c.JSON {
		j.oneOf(path, lookup(doc, path), wanted, func(wanted []string, got string) bool {
			return slices.ContainsFunc(wanted, func(w string) bool {
				return w == "absent" && slices.Contains([]string{"", "null", "{}"}, got) || w != "absent" && strings.HasPrefix(got, w)
			})
		})
	}
	return j.wrong
}

// judgement collects the lines that Judge returns.
type judgement struct{ wrong []string }

func (j *judgement) contains(what, text string, wanted, unwanted []string) {
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			j.wrong = append(j.wrong, fmt.Sprintf("%s lacks %q: %s", what, w, text))
		}
	}
	for _, w := range unwanted {
		if strings.Contains(text, w) {
			j.wrong = append(j.wrong, fmt.Sprintf("%s has %q: %s", what, w, text))
		}
	}
}

func (j *judgement) oneOf(path, got string, wanted []string, ok func([]string, string) bool) {
	if !ok(wanted, got) {
		j.wrong = append(j.wrong, fmt.Sprintf("%s is %q, want one of %q", path, got, wanted))
	}
}

// lookup returns the value at a path such as verdict.reply.text or dkim.0.result. It returns a
// string as it is, any other value as JSON, and "" if there is no such value.
func lookup(doc any, path string) string {
	for key := range strings.SplitSeq(path, ".") {
		switch v := doc.(type) {
		case map[string]any:
			doc = v[key]
		case []any:
			i, err := strconv.Atoi(key)
			if err != nil || i < 0 || i >= len(v) {
				return ""
			}
			doc = v[i]
		default:
			return ""
		}
	}
	switch v := doc.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	text, err := json.Marshal(doc)
	if err != nil {
		return err.Error()
	}
	return string(text)
}
