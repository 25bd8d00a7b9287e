// Package field runs cases from the field: faults that users of mail filters
// reported or that real mail shows, each with the right verdict. A case may have
// twins, which are similar messages that must still be refused. The cases are in
// testdata/field at the top of the repository, and in ../shared/field if that
// folder is beside it. [Case] describes their format. The tests run them with the
// built program, by the commands that an operator uses. For tests only.
package field
