//go:build !linux

package e2e

import "errors"

// namespace fails, because only Linux has network namespaces. The tests behind Sendmail are then
// skipped.
func namespace() (chan func(), error) { return nil, errors.New("a network namespace needs Linux") }
