package redisstore_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/redisstore"
)

const (
	// childTask makes the test binary one of several processes instead; childRedis is the address of their server.
	childTask  = "REDISSTORE_TEST_TASK"
	childRedis = "REDISSTORE_TEST_REDIS"

	taskHold  = "hold"
	taskCount = "count"

	counterKey = "wechatopen:test:counter"
	counters   = 250 // goroutines of a process
)

// child is what a further process does.
func child(task string) error {
	client := redis.NewClient(&redis.Options{Addr: os.Getenv(childRedis)})
	defer client.Close()
	switch task {
	case taskHold:
		return hold(redisstore.New(client, redisstore.WithLease(lease)))
	case taskCount:
		return count(redisstore.New(client))
	}
	return fmt.Errorf("unknown task %q", task)
}

// hold takes the lock, says so, and holds it until the process is killed or its input ends.
func hold(s *redisstore.Store) error {
	held, _, err := s.Lock(context.Background(), lockedKey)
	if err != nil {
		return err
	}
	fmt.Println("held")
	_, _ = bufio.NewReader(os.Stdin).ReadByte()
	return context.Cause(held)
}

// count adds to the counter from many goroutines, by reading and writing it.
func count(s *redisstore.Store) error {
	ctx, cancel := context.WithTimeout(context.Background(), 4*patience)
	defer cancel()
	errs := make([]error, counters)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = countOne(ctx, s) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

func countOne(ctx context.Context, s *redisstore.Store) error {
	held, unlock, err := s.Lock(ctx, counterKey)
	if err != nil {
		return err
	}
	defer unlock()
	n := 0
	switch b, err := s.Get(held, counterKey); {
	case err == nil:
		if n, err = strconv.Atoi(string(b)); err != nil {
			return err
		}
	case !errors.Is(err, wechatopen.ErrNotFound):
		return err
	}
	return s.Set(held, counterKey, []byte(strconv.Itoa(n+1)), 0)
}

func childCommand(t *testing.T, task string, s *server) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self)
	cmd.Env = append(os.Environ(), childTask+"="+task, childRedis+"="+s.addr)
	return cmd
}

// attacks.md 40
func TestAKilledHolderKeepsOthersWaitingForItsLeaseAtMost(t *testing.T) {
	t.Parallel()
	s := startServer(t)
	cmd := childCommand(t, taskHold, s)
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "held\n" {
		t.Fatalf("the holder says %q, %v", line, err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	client := s.client()
	start := time.Now()
	left, err := client.PTTL(t.Context(), lockedKey+"#lock").Result()
	if err != nil || left > lease {
		t.Fatalf("the killed holder's lease lasts %v, %v; want %v at most", left, err, lease)
	}
	lockNow(t, redisstore.New(client))
	waited := time.Since(start)
	t.Logf("waited %v for the %v that were left of a lease of %v", waited, left, lease)
	// A millisecond or two is for the rounding of Redis.
	if waited < left-2*time.Millisecond {
		t.Errorf("the next holder waited %v, less than the %v that were left of the lease", waited, left)
	}
}

func TestFourProcessesLoseNoUpdate(t *testing.T) {
	const processes = 4
	s := startServer(t)
	start := time.Now()
	var wg sync.WaitGroup
	for range processes {
		cmd := childCommand(t, taskCount, s)
		wg.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, firstLines(string(out), 5))
			}
		})
	}
	wg.Wait()
	b, err := redisstore.New(s.client()).Get(t.Context(), counterKey)
	if want := strconv.Itoa(processes * counters); err != nil || string(b) != want {
		t.Errorf("the counter is %s, %v; want %s", b, err, want)
	}
	t.Logf("%d processes of %d goroutines: %v", processes, counters, time.Since(start))
}

func firstLines(s string, n int) string {
	lines := strings.SplitN(s, "\n", n+1)
	return strings.Join(lines[:min(n, len(lines))], "\n")
}
