package config

import (
	"time"

	"sekimori/internal/history"
)

// History says which decisions are kept in the store, and how long.
type History struct {
	Keep       Duration     `yaml:"keep"` // how long a UTC day is kept after its end
	What       history.What `yaml:"what"`
	Size       Size         `yaml:"size"`       // largest size of all days in the store
	Recipients bool         `yaml:"recipients"` // whether the recipients of a message are kept
}

const (
	leastHistory = 24 * time.Hour
	maxHistory   = 400 * 24 * time.Hour // the store looks into every day
	// leastHistorySize is the smallest value of history.size. A few thousand decisions fit.
	leastHistorySize = 16 << 20
)

func defaultHistory() History {
	return History{Keep: Duration(7 * 24 * time.Hour), What: history.Failing, Size: 10 << 30}
}

func (k *checker) history(h History) {
	word(k, "history.what", h.What, history.Whats)
	if d := time.Duration(h.Keep); d < leastHistory || d > maxHistory {
		k.add("history.keep", "%s is not between %s and %s", h.Keep, Duration(leastHistory), Duration(maxHistory))
	}
	if h.Size < leastHistorySize {
		k.add("history.size", "%s is too small; it must be at least %s", h.Size, Size(leastHistorySize))
	}
}
