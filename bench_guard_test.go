package wechatopen_test

import (
	"flag"
	"fmt"
	"math"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"testing"

	wechatopen "github.com/wechatopen/wechatopen"
)

// benchCase is a subject with the most that it may cost, its time as a multiple of a floor's: measured in one run, a
// ratio holds on any machine and beside noise.
type benchCase struct {
	name           string
	floor, subject func(*testing.B)
	ratio          float64 // what is asked for; the guard fails at twice that
	allocs         int64   // the guard fails above it
}

// TestCostsStayUnderTheirBars fails when something costs clearly more than it may.
func TestCostsStayUnderTheirBars(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("measures")
	}
	// On one processor, so that it is the work that counts, and not how soon another processor wakes up for a goroutine.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	var table strings.Builder
	fmt.Fprintf(&table, "%-24s %10s %10s %6s %6s %7s %4s\n", "", "floor", "here", "ratio", "bar", "allocs", "bar")
	for _, c := range slices.Concat(pushCases(t), sessionCases(t)) {
		m := c.measure(t)
		fmt.Fprintf(&table, "%-24s %7.1f ns %7.1f ns %6.2f %6.2f %7d %4d\n", c.name, m.floor, m.subject, m.ratio, c.ratio, m.allocs, c.allocs)
		if m.ratio > 2*c.ratio {
			t.Errorf("%s takes %.2f times its floor; the bar is %.2f, and twice that a failure", c.name, m.ratio, c.ratio)
		}
		if m.allocs > c.allocs {
			t.Errorf("%s makes %d allocations; the bar is %d", c.name, m.allocs, c.allocs)
		}
	}
	t.Log("\n" + table.String())
}

func sessionCases(tb testing.TB) []benchCase {
	base, profile := newBenchSession(tb, wechatopen.ScopeBase), newBenchSession(tb, wechatopen.ScopeUserInfo)
	return []benchCase{
		{name: "token", floor: benchTokenOAuth2, subject: benchToken, ratio: 15.0 / 54, allocs: 0},
		{name: "session", floor: base.floor, subject: base.require, ratio: 2, allocs: 20},
		{name: "session, with profile", floor: profile.floor, subject: profile.require, ratio: 2, allocs: 20},
		{name: "page signature", floor: benchJSConfigFloor, subject: benchJSConfig, ratio: 1.5, allocs: 3},
	}
}

// measurement is of one operation, in nanoseconds.
type measurement struct {
	floor, subject, ratio float64
	allocs                int64
}

// measure runs floor and subject in turns, each for a short time, and takes the medians: a ratio is of two that ran one
// after the other, so that a machine that is slower for a while slows both.
func (c benchCase) measure(t *testing.T) measurement {
	t.Helper()
	benchtime := flag.Lookup("test.benchtime").Value
	before := benchtime.String()
	defer func() { _ = benchtime.Set(before) }()
	if err := benchtime.Set("20ms"); err != nil {
		t.Fatal(err)
	}
	allocs := int64(math.MaxInt64)
	var floors, subjects, ratios []float64
	for range 25 {
		floor, subject := testing.Benchmark(c.floor), testing.Benchmark(c.subject)
		if floor.N == 0 || subject.N == 0 {
			t.Fatalf("%s: a benchmark failed", c.name)
		}
		floors, subjects = append(floors, perOp(floor)), append(subjects, perOp(subject))
		ratios = append(ratios, perOp(subject)/perOp(floor))
		allocs = min(allocs, subject.AllocsPerOp())
	}
	return measurement{median(floors), median(subjects), median(ratios), allocs}
}

func median(of []float64) float64 {
	slices.Sort(of)
	return of[len(of)/2]
}

func perOp(r testing.BenchmarkResult) float64 { return float64(r.T.Nanoseconds()) / float64(r.N) }

// raceDetector reports whether the test was built with -race, under which nothing takes the time that it takes.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
