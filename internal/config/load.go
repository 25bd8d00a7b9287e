package config

import (
	"errors"
	"fmt"

	"sekimori/internal/config/strict"
)

// Load reads the daemon's configuration file at path. The file must state its
// mode. Otherwise a file that is empty or was cut off would silently run with
// the default mode. The error is an [*Error]. If the file cannot be read, it
// wraps the cause.
func Load(path string) (*Config, error) { return load(path, true) }

// LoadCandidate reads a candidate configuration, such as the file of the key
// shadow. The file need not state a mode, because its verdicts are only
// compared and never enforced.
func LoadCandidate(path string) (*Config, error) { return load(path, false) }

func load(path string, running bool) (*Config, error) {
	data, err := readFile(path, strict.MaxFile)
	if err != nil {
		return nil, &Error{Name: path, Err: err}
	}
	return parseConfig(path, data, running)
}

// Parse reads a configuration from data. name is the file name for errors. A key
// that data does not set has its default; even the key mode need not be set.
// Parse does not read the files that the configuration names. The error is an
// [*Error] that lists every problem.
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

// Place adds the line and column in the configuration file at path to those problems of err that are
// not in another file. It returns err itself if the file cannot be read any more.
func Place(path string, err error) error {
	data, failed := readFile(path, strict.MaxFile)
	if failed != nil {
		return err
	}
	doc := strict.Parse(path, data)
	doc.Decode(Default(), moved)
	return place(doc, err)
}

func place(doc *strict.Document, err error) error {
	switch e := err.(type) { //nolint:errorlint // a joined error is taken apart
	case *Error:
		if e.Name == "" && e.Err == nil {
			return doc.ErrorOf(e.Problems)
		}
	case interface{ Unwrap() []error }:
		var out []error
		for _, one := range e.Unwrap() {
			out = append(out, place(doc, one))
		}
		return errors.Join(out...)
	}
	return err
}

// modeNotStated returns a problem if the document does not state a mode.
// Otherwise it returns nil.
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

// notStated is the error for a file without a mode. Older versions accepted
// such a file and used the default, enforce.
const notStated = `not stated; add the line "mode: monitor" (evaluate, label and count, refuse nothing) or "mode: enforce" ` +
	`(act on verdicts, as a file without the line did before this version), or have "sekimori config set-mode" write it`
