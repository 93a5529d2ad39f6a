package main

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestTheTablesAreRead(t *testing.T) {
	costs := readCosts("    bench_guard_test.go:30: \n" +
		"                            floor         here  ratio    bar  allocs   bar\n" +
		"        message, reply       2100.0 ns  4200.5 ns   2.00   2.50      21    25\n" +
		"--- PASS: TestCostsStayUnderTheirBars (1.00s)\n")
	if d := cmp.Diff([]cost{{"message, reply", "2100.0 ns", "4200.5 ns", "2.00", "2.50", "21", "25"}}, costs); d != "" {
		t.Error(d)
	}
	curves, cold, memory := readCurves(strings.Join([]string{
		"BenchmarkAccounts/1/token-one-2         	 1000	        12.5 ns/op	       0 B/op	       0 allocs/op",
		"BenchmarkAccounts/100000/token-one-2    	 1000	        14 ns/op	       0 B/op	       0 allocs/op",
		"BenchmarkAccounts/100000/token-one-2    	 1000	        13 ns/op	       0 B/op	       0 allocs/op",
		"BenchmarkAccounts/100000/account-all    	 1000	        99 ns/op	       577.4 B/account	       0 B/op	       0 allocs/op",
		"BenchmarkColdToken/10-2                 	 1000	        5000 ns/op	 500 ns/caller",
	}, "\n"))
	if d := cmp.Diff([]curve{
		{"account-all", []point{{100000, 99 * time.Nanosecond}}},
		{"token-one", []point{{1, 12 * time.Nanosecond}, {100000, 13 * time.Nanosecond}}},
	}, curves); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(curve{"cold token", []point{{10, 5 * time.Microsecond}}}, cold); d != "" || memory != "577" {
		t.Error(memory, d)
	}
	if svg := string(chart(curves)); !strings.HasSuffix(svg, "</svg>\n") || strings.Count(svg, "<circle") != 3 {
		t.Errorf("the chart is\n%s", svg)
	}
}
