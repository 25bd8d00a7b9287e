// Package dist tests what `make dist` makes: built twice it is the same, and
// installed in a Debian of its own it starts, is upgraded and goes away as an
// operator expects. The commands below it are the tools of that target.
package dist
