package milter

// About how much stack a session and the evaluation of a message need, in octets.
const (
	sessionStack = 5 << 10
	messageStack = 12 << 10
)

// growForSession makes the stack of a connection's goroutine grow once, to the size that a
// session needs. The runtime checks when a function begins whether the stack is large enough.
// If not, it makes a stack of twice the size and copies all frames. A new connection would
// go through that three times, deep in the evaluators. Here the stack has few frames, so
// one growth is cheap. The garbage collector makes the stack of an idle connection smaller
// again.
//
// Calling the function is enough, whatever its argument. The argument only keeps the
// compiler from removing the array.
//
//go:noinline
func growForSession(use bool) {
	if use {
		var room [sessionStack]byte
		touch(room[:])
	}
}

// growForMessage does the same for the evaluation of a message.
//
//go:noinline
func growForMessage(use bool) {
	if use {
		var room [messageStack]byte
		touch(room[:])
	}
}

// touch uses the array, so that the compiler does not remove it.
//
//go:noinline
func touch([]byte) {}
