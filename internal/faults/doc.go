// Package faults tests the daemon under overload, with peers that are slow or
// gone, and without descriptors or memory.
//
// matrix.txt names, for every fault of the operations manual, the tests that
// inject it, here and in other packages. TestMatrix checks that the tests exist,
// and "make faults" runs them.
package faults
