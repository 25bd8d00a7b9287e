package recorder

import (
	"errors"
	"testing"
)

func TestRun(t *testing.T) {
	for name, tt := range map[string]struct {
		f    func(testing.TB)
		want string
	}{
		"nothing": {func(tb testing.TB) { tb.Helper() }, ""},
		"fatal": {func(tb testing.TB) {
			tb.Logf("%d", 1)
			tb.Fatalf("at %d", 2)
			tb.Errorf("never")
		}, "log: 1\nfatal: at 2"},
		"an error goes on": {func(tb testing.TB) {
			tb.Error(errors.New("x"))
			tb.Errorf("%s", "y")
			tb.Fatal("z")
		}, "error: x\nerror: y\nfatal: z"},
		"skip": {func(tb testing.TB) {
			tb.Skipf("no %s", "data")
			tb.Errorf("never")
		}, "skip: no data"},
		"an error is a failure": {func(tb testing.TB) {
			tb.Logf("%t", tb.Failed())
			tb.Errorf("x")
			tb.Logf("%t", tb.Failed())
		}, "log: false\nerror: x\nlog: true"},
		"so is a fatal one, and a skip is none": {func(tb testing.TB) {
			tb.Cleanup(func() { tb.Logf("%t", tb.Failed()) })
			tb.Cleanup(func() { tb.Fatal("y") })
			tb.Cleanup(func() { tb.Logf("%t", tb.Failed()) })
			tb.Skipf("x")
		}, "skip: x\nlog: false\nfatal: y\nlog: true"},
		"cleanups, the last first, after whatever end": {func(tb testing.TB) {
			tb.Cleanup(func() { tb.Errorf("first") })
			tb.Cleanup(func() { tb.Fatal("second") })
			tb.Skipf("end")
		}, "skip: end\nfatal: second\nerror: first"},
	} {
		if got := Run(t, tt.f); got != tt.want {
			t.Errorf("%s: %q, want %q", name, got, tt.want)
		}
	}
}
