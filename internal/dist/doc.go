// Package dist tests what `make dist` makes. Two builds give the same octets.
// The package starts, is upgraded and is removed in a fresh Debian as an
// operator expects. Package sbom below it is a tool of that target.
package dist
