// Package field runs cases from practice: faults that users of mail filters reported, or
// peculiarities of real mail. Each case states the right verdict. A case may have twins: similar
// messages that must still be refused. The cases are in testdata/field at the top of the
// repository, and in ../shared/field if that folder is beside it. [Case] describes their format.
// The tests build the program and run the commands that an operator would use. For tests only.
package field
