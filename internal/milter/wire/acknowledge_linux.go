package wire

import "syscall"

// acknowledge makes the kernel acknowledge at once what was read from a TCP connection. The kernel
// would delay that for 40 ms, hoping for a reply that can carry it. But most frames of an MTA get no
// reply, and an MTA that does not set TCP_NODELAY (Postfix 3.7.11, seen with strace) does not send the next frame before
// the last one is acknowledged (Nagle, RFC 9293 §3.7.4). The option lasts only until the kernel
// changes it back (tcp(7)), so it is set before each wait.
func acknowledge(fd uintptr) {
	_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_QUICKACK, 1) // it only saves time
}
