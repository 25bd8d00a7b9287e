package config

import (
	"maps"
	"slices"
)

// Ramp is the share of failing messages on which the author's policy is
// enforced; see policy.Ramp.
type Ramp struct {
	Percent int            `yaml:"percent"`
	Domains map[Domain]int `yaml:"domains"` // percentage for authors at or below each domain
}

func (k *checker) ramp(r Ramp) {
	k.between("policy.ramp.percent", r.Percent, 0, 100)
	for _, d := range slices.Sorted(maps.Keys(r.Domains)) {
		k.between("policy.ramp.domains["+string(d)+"]", r.Domains[d], 0, 100)
	}
}
