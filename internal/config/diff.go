package config

import "sekimori/internal/config/strict"

// Problem is one mistake in a configuration.
type Problem = strict.Problem

// Error lists all mistakes in a file.
type Error = strict.Error

// Change is a key with different values in two configurations.
type Change = strict.Change

// Diff lists the keys whose values differ between a and b. It gives the values
// as Print writes them, with secrets masked.
func Diff(a, b *Config) []Change { return strict.Diff(a.shown(), b.shown()) }
