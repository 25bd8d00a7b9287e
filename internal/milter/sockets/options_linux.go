package sockets

import "syscall"

var systemOptions = []tcpOption{
	// A connection is accepted when its first octets have come, or after a second. An MTA speaks
	// first and at once, so the daemon wakes once for both.
	{syscall.IPPROTO_TCP, syscall.TCP_DEFER_ACCEPT, 1},
}
