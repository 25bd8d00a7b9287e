//go:build !linux

package wire

// acknowledge does nothing, because only Linux has the option TCP_QUICKACK.
func acknowledge(uintptr) {}
