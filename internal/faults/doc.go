// Package faults tests how the daemon behaves when the world around it does
// not: overload, peers that are slow or gone, no descriptors, no memory.
//
// matrix.txt maps every fault of the operations manual that concerns what
// exists to the tests that inject it, here and elsewhere; TestMatrix holds it
// to them, and "make faults" runs them.
package faults
