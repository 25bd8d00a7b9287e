package config

import (
	"fmt"
	"sekimori/internal/config/strict"
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
	data, err := readFile(path, strict.MaxFile)
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
	c, doc := Default(), strict.Parse(name, data)
	doc.Decode(c, moved)
	for i := range c.Policy.Overrides {
		c.Policy.Overrides[i].from, c.Policy.Overrides[i].path = doc, fmt.Sprintf("policy.overrides[%d]", i)
	}
	if !doc.Broken() {
		doc.Add(c.problems())
		if running {
			doc.Add(modeNotStated(doc))
		}
	}
	if err := doc.Err(); err != nil {
		return nil, err
	}
	return c, nil
}

// modeNotStated returns a problem where the document states no mode.
func modeNotStated(doc *strict.Document) []Problem {
	line, column, set := doc.Key("mode")
	switch {
	case set:
		return nil
	case line == 0:
		line, column = doc.LastLine(), 1
	}
	return []Problem{{Path: "mode", Message: notStated, Line: line, Column: column}}
}

// notStated says what to write. Before the key had to be stated it was enforce.
const notStated = `not stated; add the line "mode: monitor" (evaluate, label and count, refuse nothing) or "mode: enforce" ` +
	`(act on verdicts, as a file without the line did before this version), or have "sekimori config set-mode" write it`
