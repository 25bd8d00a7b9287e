package milter

// What a session and the evaluation of a message need of their goroutine's
// stack, in octets, about.
const (
	sessionStack = 5 << 10
	messageStack = 12 << 10
)

// growForSession makes room on the stack of a connection. The runtime looks for
// room when a function begins; a stack without it is doubled, and moved with
// all the frames that are on it: a new connection's three times, deep in the
// evaluators. Here few frames are on it, and it grows at once. These functions
// are called with false: the room need not be used. From an idle connection the
// garbage collector takes it back.
//
//go:noinline
func growForSession(use bool) {
	if use {
		var room [sessionStack]byte
		touch(room[:])
	}
}

// growForMessage makes room for a message.
//
//go:noinline
func growForMessage(use bool) {
	if use {
		var room [messageStack]byte
		touch(room[:])
	}
}

// touch keeps the compiler from doing away with the room.
//
//go:noinline
func touch([]byte) {}
