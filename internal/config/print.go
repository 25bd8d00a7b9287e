package config

import (
	"io"
	"sekimori/internal/config/strict"

	"github.com/goccy/go-yaml"
)

// Print writes the configuration as YAML with all keys. Parse can read it back,
// but passwords are masked.
func (c *Config) Print(w io.Writer) error {
	out, err := yaml.MarshalWithOptions(c.shown(), yaml.IndentSequence(true))
	if err != nil {
		return err
	}
	_, err = w.Write(out)
	return err
}

// shown returns a copy of the configuration with secrets masked.
func (c *Config) shown() Config {
	shown := *c
	shown.Store.URL = strict.Mask(c.Store.URL)
	return shown
}

// MarshalYAML writes a relay as its network if only that is set, otherwise as a
// mapping.
func (r Relay) MarshalYAML() (any, error) {
	if len(r.By) == 0 {
		return r.Network.String(), nil
	}
	return yaml.MapSlice{{Key: "network", Value: r.Network}, {Key: "by", Value: r.By}}, nil
}

// MarshalYAML writes a listener as plain text if only its address is set,
// otherwise as a mapping.
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
