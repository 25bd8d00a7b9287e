// Package configs holds the example configuration and the full reference, so
// that the program can print them. Tests of package config load both.
package configs

import _ "embed" // for the files below

// Example is a short configuration for newcomers.
//
//go:embed sekimori.yaml
var Example []byte

// Reference has every key with its default and what it means.
//
//go:embed reference.yaml
var Reference []byte
