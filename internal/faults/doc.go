// Package faults tests the daemon under overload, with slow or vanished peers, and without file
// descriptors or memory.
//
// matrix.txt lists the faults of the operations manual. For each fault it names the tests that
// cause it, in this package or in others. TestMatrix checks that these tests exist. "make faults"
// runs them.
package faults
