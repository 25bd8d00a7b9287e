package milter

// A session needs about sessionStack octets of stack, and the evaluation of a message needs about
// messageStack octets.
const (
	sessionStack = 5 << 10
	messageStack = 12 << 10
)

// growForSession makes the stack of a connection's goroutine grow to the size that a session needs.
// Otherwise the stack would grow later, deep in the evaluators: whenever a function needs more
// stack than there is, the runtime makes a stack of twice the size and copies all frames to it.
// growForSession is called while there are few frames, so this growth is cheap. The garbage
// collector later shrinks the stack of an idle connection.
//
// Calling the function is enough, whatever its argument is. The argument only keeps the compiler
// from removing the array.
//
//go:noinline
func growForSession(use bool) {
	if use {
		var room [sessionStack]byte
		touch(room[:])
	}
}

// growForMessage is like growForSession, but makes the stack grow to the size that the evaluation
// of a message needs.
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
