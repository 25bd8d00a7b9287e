//go:build !linux

package sockets

// systemOptions is empty, because only Linux has the option TCP_DEFER_ACCEPT.
var systemOptions = []tcpOption{}
