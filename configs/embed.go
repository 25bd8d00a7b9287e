// Package configs embeds the example configuration and the full reference, so
// that the program can print them. Tests of package config load both files.
package configs

import _ "embed" // for the go:embed directives below

// Example is a short configuration to begin with.
//
//go:embed sekimori.yaml
var Example []byte

// Reference is a configuration with every key, its default, and a comment that
// explains it.
//
//go:embed reference.yaml
var Reference []byte
