package config

import (
	"io"
	"sekimori/internal/config/strict"

	"github.com/goccy/go-yaml"
)

// Print writes the configuration in effect as YAML that Parse reads back.
// Passwords are masked.
func (c *Config) Print(w io.Writer) error {
	out, err := yaml.MarshalWithOptions(c.shown(), yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// shown returns the configuration without its secrets.
func (c *Config) shown() Config {
	shown := *c
	shown.Report.Store = strict.Mask(c.Report.Store)
	return shown
}

// MarshalYAML writes a listener in the short form if only its address is set.
func (l Listener) MarshalYAML() (any, error) {
	if l.Mode == 0 && l.Group == "" {
		return l.Address, nil
	}
	out := yaml.MapSlice{{Key: "address", Value: l.Address}}
	if l.Mode != 0 {
		out = append(out, yaml.MapItem{Key: "mode", Value: l.Mode})
	}
	if l.Group != "" {
		out = append(out, yaml.MapItem{Key: "group", Value: string(l.Group)})
	}
	return out, nil
}
