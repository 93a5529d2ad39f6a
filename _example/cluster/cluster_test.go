package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
)

// The test binary starts itself as an instance, as the program does.
func TestMain(m *testing.M) {
	if os.Getenv(instanceEnv) != "" {
		main()
		return
	}
	redis.SetLogger(silence{})
	if _, err := exec.LookPath("redis-server"); err != nil && !inCI() {
		fmt.Println("cluster: redis-server is not installed: the walk through three processes is left out")
	}
	os.Exit(m.Run())
}

// inCI: nothing may be left out.
func inCI() bool { return os.Getenv("CI") == "true" }

// needRedis skips a test where no Redis can be started.
func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err == nil {
		return
	}
	if inCI() {
		t.Fatal("redis-server is not installed, and with CI=true nothing is left out; apt-get install redis-server")
	}
	t.Skip("left out: redis-server is not installed; apt-get install redis-server")
}

func TestWalkHoldsAtEveryStep(t *testing.T) {
	needRedis(t)
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-walk"}, &out); err != nil {
		t.Fatalf("%v\nafter:\n%s", err, &out)
	}
	if lines := strings.Count(out.String(), "\n"); lines != 10 {
		t.Errorf("walk printed %d lines, want 5 steps, an empty line, and a table of 3 tokens:\n%s", lines, &out)
	}
}

func TestWalkLeavesNothingInARedisOfOthers(t *testing.T) {
	needRedis(t)
	db, err := startRedis(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer db.close()
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-walk", "-redis", db.url}, &out); err != nil {
		t.Fatalf("%v\nafter:\n%s", err, &out)
	}
	if n := db.client.DBSize(t.Context()).Val(); n != 0 {
		t.Errorf("%d keys are left behind", n)
	}
}

func TestSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := run(t.Context(), []string{"-walk"}, new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "redis-server is not installed") {
		t.Errorf("without redis-server: %v", err)
	}
	err = run(t.Context(), []string{"-walk", "-redis", "127.0.0.1:1"}, new(bytes.Buffer))
	if err == nil || !strings.Contains(err.Error(), "no Redis at 127.0.0.1:1") {
		t.Errorf("without a Redis at the address: %v", err)
	}
	err = run(t.Context(), []string{"-redis", "redis://:hunter2@host:port"}, new(bytes.Buffer))
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("with a broken address: %v", err)
	}
}
