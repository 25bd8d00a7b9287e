// Package dist tests the packages that `make dist` builds. Two builds must give identical files.
// Each package must install, upgrade and uninstall in a fresh Debian, and the installed daemon must
// work. The command in sbom is used by `make dist`.
package dist
