package main

import (
	"context"
	"os"
	"runtime/debug"
	"slices"
	"testing"
)

// TestMain lets the test be the server of its second process.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == serveArg {
		if err := serve(context.Background(), os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

// The bar is 75 % of a bare handler's requests a second; a clear regression is half of that.
func TestServerUnderLoad(t *testing.T) {
	if testing.Short() || raceDetector() {
		t.Skip("measures")
	}
	results, err := load(t.Context(), 20, 2_000)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		t.Logf("%-40s %7d requests a second, %v of processor time each, %.0f %%", r.Name, r.Rate, r.CPU, r.Share)
		if r.Share < 75/2 {
			t.Errorf("%s: %.0f %% of a bare handler's requests; the bar is 75 %%", r.Name, r.Share)
		}
	}
}

// raceDetector reports whether the test was built with -race, under which nothing takes the time that it takes.
func raceDetector() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
