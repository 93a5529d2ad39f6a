package redisstore_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// patience is how long something that must come about may take. Only a failure takes so long.
const patience = 15 * time.Second

// durable are the settings under which nothing that was acknowledged is lost.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"}

// server is a redis-server of its own on a free port of the loopback interface, with its data in a temporary folder.
type server struct {
	t    testing.TB
	addr string
	dir  string
	args []string
	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// program is the path of a program of the Debian packages redis-server and redis-tools.
func program(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	switch {
	case err == nil:
		return path
	case inCI():
		t.Fatalf("%s is not installed, and with CI=true nothing is left out; apt-get install redis-server", name)
	default:
		t.Skipf("left out: %s is not installed; apt-get install redis-server", name)
	}
	return ""
}

// startServer runs a server with settings in the form of its command line until the test ends.
func startServer(t testing.TB, settings ...string) *server {
	t.Helper()
	s := &server{t: t, dir: t.TempDir(), args: settings}
	t.Cleanup(func() {
		if s.cmd != nil {
			s.kill()
		}
	})
	for range 5 { // another process may take the port first
		s.addr = freeAddr(t)
		if s.tryStart() {
			return s
		}
	}
	log, _ := os.ReadFile(s.log())
	t.Fatalf("redis-server did not start:\n%s", log)
	return nil
}

// freeAddr is an address that nobody listens on. The port 10,000 above it, which a cluster needs, is free too.
func freeAddr(t testing.TB) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := l.Addr().(*net.TCPAddr)
		l.Close()
		bus, err := net.ListenTCP("tcp", &net.TCPAddr{IP: addr.IP, Port: addr.Port + 10_000})
		if err != nil {
			continue
		}
		bus.Close()
		return addr.String()
	}
	t.Fatal("no free port")
	return ""
}

func (s *server) log() string { return filepath.Join(s.dir, "log") }

// start runs the server again after a stop or a kill.
func (s *server) start() {
	s.t.Helper()
	if !s.tryStart() {
		log, _ := os.ReadFile(s.log())
		s.t.Fatalf("redis-server did not start again:\n%s", log)
	}
}

func (s *server) tryStart() bool {
	s.t.Helper()
	host, port, _ := net.SplitHostPort(s.addr)
	// The settings come first: for a sentinel they begin with the name of a file.
	args := append(slices.Clone(s.args), "--bind", host, "--port", port, "--dir", s.dir, "--logfile", s.log())
	cmd, done := exec.Command(program(s.t, "redis-server"), args...), make(chan struct{})
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { _ = cmd.Wait(); close(done) }()
	s.cmd, s.done = cmd, done

	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialerRetries: 1})
	defer c.Close()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		// Another server on the port would answer as well; only ours knows the folder.
		dir, err := c.ConfigGet(context.Background(), "dir").Result()
		if err == nil && dir["dir"] == s.dir || err != nil && strings.Contains(err.Error(), "unknown command") {
			return true
		}
		select {
		case <-done:
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
	s.kill()
	return false
}

// stop ends the server in good order.
func (s *server) stop() {
	s.t.Helper()
	c := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	defer c.Close()
	_ = c.Do(context.Background(), "SHUTDOWN").Err() // the answer is a closed connection
	s.await()
}

// kill ends the server with SIGKILL.
func (s *server) kill() {
	s.t.Helper()
	_ = s.cmd.Process.Kill()
	s.await()
}

func (s *server) await() {
	s.t.Helper()
	select {
	case <-s.done:
	case <-time.After(patience):
		s.t.Errorf("redis-server does not end")
	}
}

// client is a client of its own, closed when the test ends.
func (s *server) client() *redis.Client {
	c := redis.NewClient(&redis.Options{Addr: s.addr})
	s.t.Cleanup(func() { c.Close() })
	return c
}

// startCluster runs a cluster of three masters, each with some of the keys.
func startCluster(t testing.TB, settings ...string) (masters []*server) {
	t.Helper()
	cli := program(t, "redis-cli")
	var addrs []string
	for range 3 {
		s := startServer(t, append([]string{"--cluster-enabled", "yes"}, settings...)...)
		masters, addrs = append(masters, s), append(addrs, s.addr)
	}
	out, err := exec.Command(cli, append(append([]string{"--cluster", "create"}, addrs...), "--cluster-replicas", "0", "--cluster-yes")...).CombinedOutput()
	if err != nil {
		t.Fatalf("redis-cli --cluster create: %v\n%s", err, out)
	}
	for _, s := range masters {
		c := s.client()
		eventually(t, "the cluster is ready", func() bool {
			info, err := c.ClusterInfo(t.Context()).Result()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:3")
		})
	}
	return masters
}

func clusterClient(t testing.TB, masters []*server, change func(*redis.ClusterOptions)) *redis.ClusterClient {
	t.Helper()
	opts := &redis.ClusterOptions{}
	for _, s := range masters {
		opts.Addrs = append(opts.Addrs, s.addr)
	}
	if change != nil {
		change(opts)
	}
	c := redis.NewClusterClient(opts)
	t.Cleanup(func() { c.Close() })
	return c
}

// startSentinel runs a sentinel that watches master by the name of "main", and returns its address.
func startSentinel(t testing.TB, master *server) (addr string) {
	t.Helper()
	host, port, _ := net.SplitHostPort(master.addr)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, "sentinel monitor main %s %s 1\n", host, port), 0o600); err != nil {
		t.Fatal(err)
	}
	return startServer(t, conf, "--sentinel").addr
}

// eventually fails the test unless ok soon.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}
