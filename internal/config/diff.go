package config

import "sekimori/internal/config/strict"

// Problem, Error and Change are those of package strict: one mistake, all
// mistakes in a file, and a key with different values in two configurations.
type (
	Problem = strict.Problem
	Error   = strict.Error
	Change  = strict.Change
)

// Diff lists the keys by which b differs from a, with the values as Print
// writes them, secrets masked.
func Diff(a, b *Config) []Change { return strict.Diff(a.shown(), b.shown()) }
