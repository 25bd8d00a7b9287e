// Package field runs the cases of the field: faults that users of mail filters
// reported, or that real mail shows, each with the verdict that is wanted, and
// the twins that must still be refused. The cases stand in testdata/field at
// the top of the repository, and in ../shared/field where that folder stands
// beside it; both have one format, which [Case] describes. The built program
// runs them, by the commands that an operator has. For tests only.
package field
