package boltstore_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen/boltstore"
)

// The environment of a child process: what it is to do, and with which file.
const (
	childVar = "BOLTSTORE_TEST_CHILD"
	pathVar  = "BOLTSTORE_TEST_PATH"
)

func TestMain(m *testing.M) {
	switch os.Getenv(childVar) {
	case "hold":
		hold(os.Getenv(pathVar))
	case "write":
		write(os.Getenv(pathVar))
	default:
		os.Exit(m.Run())
	}
}

// hold has the file open until its input ends.
func hold(path string) {
	s, err := boltstore.Open(path)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("open")
	io.Copy(io.Discard, os.Stdin)
	s.Close()
}

const writers = 4

// write sets keys until it is killed, and says so after each: "<key> <value>". Each writer sets new keys and, again and
// again, one that it has set before; the values of that one grow.
func write(path string) {
	s, err := boltstore.Open(path, boltstore.WithLockTimeout(10*time.Second))
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	base := time.Now().UnixNano()
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for n := base; ; n++ {
				for _, key := range []string{fmt.Sprintf("again-%d", w), fmt.Sprintf("new-%d-%d", w, n)} {
					value := fmt.Sprintf("%020d", n)
					if err := s.Set(context.Background(), key, []byte(value), 0); err != nil {
						panic(err)
					}
					// One write of one line: it is whole or not there.
					os.Stdout.WriteString(key + " " + value + "\n")
				}
			}
		})
	}
	wg.Wait()
}

func child(t *testing.T, what, path string) (cmd *exec.Cmd, out *bufio.Scanner) {
	t.Helper()
	cmd = exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVar+"="+what, pathVar+"="+path)
	cmd.Stderr = os.Stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	return cmd, bufio.NewScanner(stdout)
}

func TestOpenInAnotherProcessIsRefusedUntilItEnds(t *testing.T) {
	path := newPath(t)
	cmd, out := child(t, "hold", path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if !out.Scan() || out.Text() != "open" {
		t.Fatalf("the child says %q", out.Text())
	}
	start := time.Now()
	_, err = boltstore.Open(path)
	if err == nil || !strings.Contains(err.Error(), path+" is open already") {
		t.Fatalf("Open of a file that another process has open: %v", err)
	}
	if took := time.Since(start); took < 900*time.Millisecond || took > 10*time.Second {
		t.Errorf("Open gave up after %v, want about a second", took)
	}

	// Who waits gets it when the other ends.
	time.AfterFunc(100*time.Millisecond, func() { stdin.Close() })
	open(t, path, boltstore.WithLockTimeout(time.Minute))
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestKilledProcessLosesNothingAcknowledged(t *testing.T) {
	const kills = 30
	path := newPath(t)
	acknowledged := map[string]string{}
	rounds := 0 // in which something was acknowledged
	for range kills {
		cmd, out := child(t, "write", path)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// At a random moment: of its start, while it opens the file too, or after a random number of writes.
		limit := rand.N(100)
		if limit < 15 {
			time.AfterFunc(rand.N(40*time.Millisecond), func() { cmd.Process.Kill() })
		}
		n := 0
		for out.Scan() {
			key, value, ok := strings.Cut(out.Text(), " ")
			if !ok || len(value) != 20 {
				t.Fatalf("the child says %q", out.Text())
			}
			acknowledged[key] = value
			if n++; n == limit {
				time.AfterFunc(rand.N(2*time.Millisecond), func() { cmd.Process.Kill() })
			}
		}
		cmd.Wait()
		if n > 0 {
			rounds++
		}
		s := open(t, path)
		for key, want := range acknowledged {
			// The write after the last one acknowledged may have reached the disk.
			if got := get(t, s, key); got < want || strings.HasPrefix(key, "new") && got != want {
				t.Fatalf("%s is %q, but %q was acknowledged", key, got, want)
			}
		}
		s.Close()
	}
	t.Logf("%d kills, %d of them after something was acknowledged; %d keys, all there", kills, rounds, len(acknowledged))
	if rounds < kills/2 {
		t.Errorf("only %d of %d processes came to write", rounds, kills)
	}
}
