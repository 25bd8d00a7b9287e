package bimi

import (
	"context"
	"time"
)

// MarkKey is a digest over everything on which the judgement of a mark depends.
type MarkKey [32]byte

// Store keeps marks that were judged, so that a restart need not fetch them again, and the hosts of a
// farm share them. What a mark looks like in it is not the store's affair. Its methods are safe for
// concurrent use.
type Store interface {
	// PutMark keeps a mark until a time. It replaces the one with the same key.
	PutMark(ctx context.Context, key MarkKey, until time.Time, mark []byte) error
	// Mark returns a mark, or nil if there is none, or if its time is over.
	Mark(ctx context.Context, key MarkKey, now time.Time) ([]byte, error)
}
