package e2e_test

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// durable are the settings under which nothing that was acknowledged is lost.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"}

// redisServer is a redis-server of its own on a free port of the loopback interface.
type redisServer struct {
	t      *testing.T
	addr   string
	dir    string
	args   []string
	cmd    *exec.Cmd
	ended  chan struct{} // closed when the process has ended
	client *redis.Client
}

// startRedis runs a server until the test ends. settings have the form of its command line.
func startRedis(t *testing.T, settings ...string) *redisServer {
	t.Helper()
	needRedis(t)
	s := &redisServer{t: t, dir: t.TempDir(), args: settings}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
	})
	for range 5 { // another process may take the port first
		s.addr = freeAddr(t)
		if s.tryStart() {
			s.client = redis.NewClient(&redis.Options{Addr: s.addr})
			t.Cleanup(func() { s.client.Close() })
			return s
		}
	}
	t.Fatalf("redis-server did not start:\n%s", s.said())
	return nil
}

// needRedis leaves a test out, or fails it, where redis-server is not installed.
func needRedis(t *testing.T) {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		const install = "redis-server is not installed; apt-get install redis-server"
		if inCI() {
			t.Fatalf("with CI=true nothing is left out: %s", install)
		}
		t.Skipf("left out: %s", install)
	}
}

func freeAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (s *redisServer) log() string { return filepath.Join(s.dir, "log") }

func (s *redisServer) said() []byte {
	b, _ := os.ReadFile(s.log())
	return b
}

// start runs the server again after a stop or a kill.
func (s *redisServer) start() {
	s.t.Helper()
	if !s.tryStart() {
		s.t.Fatalf("redis-server did not start again:\n%s", s.said())
	}
}

func (s *redisServer) tryStart() bool {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	args := append([]string{"--bind", host, "--port", port, "--dir", s.dir, "--logfile", s.log(), "--save", ""}, s.args...)
	cmd, ended := exec.Command("redis-server", args...), make(chan struct{})
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(ended) }()
	s.cmd, s.ended = cmd, ended

	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1})
	defer c.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// Another server on the port would answer as well; only ours knows the folder.
		conf, err := c.ConfigGet(context.Background(), "dir").Result()
		if err == nil && conf["dir"] == s.dir {
			return true
		}
		select {
		case <-ended:
			return false
		case <-time.After(2 * time.Millisecond):
		}
	}
	s.kill()
	return false
}

// stop ends the server in good order.
func (s *redisServer) stop() {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer c.Close()
	_ = c.Do(context.Background(), "SHUTDOWN").Err() // the answer is a closed connection
	s.await()
}

// kill ends the server with SIGKILL.
func (s *redisServer) kill() {
	s.t.Helper()
	_ = s.cmd.Process.Kill()
	s.await()
}

func (s *redisServer) await() {
	s.t.Helper()
	select {
	case <-s.ended:
	case <-time.After(patience):
		s.t.Errorf("redis-server does not end")
	}
}

// set changes a setting of the running server.
func (s *redisServer) set(name, value string) {
	s.t.Helper()
	if err := s.client.ConfigSet(context.Background(), name, value).Err(); err != nil {
		s.t.Fatal(err)
	}
}
