package redisstore_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/redis/go-redis/v9"
)

func TestMain(m *testing.M) {
	redis.SetLogger(silence{})
	if task := os.Getenv(childTask); task != "" {
		if err := child(task); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if _, err := exec.LookPath("redis-server"); err != nil && !inCI() {
		fmt.Println("redisstore: redis-server is not installed: the tests against a real Redis are left out")
	}
	os.Exit(m.Run())
}

// inCI: nothing may be left out.
func inCI() bool { return os.Getenv("CI") == "true" }

// silence is for go-redis, which tells stderr of every connection that a test cuts.
type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}
