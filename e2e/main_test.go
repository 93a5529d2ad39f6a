package e2e_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// childEnv makes the test binary a process of a platform instead.
	childEnv = "WECHATOPEN_E2E_CHILD"

	// patience is how long something that must come about may take. Only a failure takes so long.
	patience = 30 * time.Second
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	if os.Getenv(childEnv) != "" {
		if err := child(os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "child:", err)
			os.Exit(1)
		}
		return
	}
	if _, err := exec.LookPath("redis-server"); err != nil && !inCI() {
		fmt.Println("e2e: redis-server is not installed: the tests with Redis are left out")
	}
	os.Exit(m.Run())
}

// inCI: nothing may be left out.
func inCI() bool { return os.Getenv("CI") == "true" }

// silence is for go-redis, which tells stderr of every connection that a test cuts.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

// eventually fails the test unless ok soon.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
