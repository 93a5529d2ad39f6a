package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// cluster is the instances, as the program that started them has them.
type cluster struct {
	wx      *wechattest.Server
	members []*member
	ahead   time.Duration // of the clock

	mu      sync.Mutex
	fetches map[string]*[size]int // by key and instance
	failed  []string
}

// member is a process with an instance.
type member struct {
	url   *url.URL
	stdin io.WriteCloser
	cmd   *exec.Cmd

	heard chan report   // what is waited for: an address, a clock
	ended chan struct{} // closed when err is set
	err   error
}

func newSetup(wx *wechattest.Server, component *wechattest.Component, baseURL string, db *database) setup {
	secret := make([]byte, 32)
	rand.Read(secret)
	return setup{
		Credentials: component.Credentials(), Endpoints: wx.Endpoints(),
		BaseURL: baseURL, CookieSecret: secret, Redis: db.url, Prefix: db.prefix,
	}
}

func startCluster(ctx context.Context, wx *wechattest.Server, s setup) (*cluster, error) {
	c := &cluster{wx: wx, fetches: map[string]*[size]int{}}
	for range size {
		if err := c.startMember(ctx, s); err != nil {
			return nil, errors.Join(err, c.stop())
		}
	}
	return c, nil
}

func (c *cluster) startMember(ctx context.Context, s setup) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	i := len(c.members)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), instanceEnv+"="+strconv.Itoa(i+1))
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	m := &member{stdin: stdin, cmd: cmd, heard: make(chan report, 1), ended: make(chan struct{})}
	c.members = append(c.members, m)
	go func() {
		defer close(m.ended)
		m.err = errors.Join(c.listen(i, stdout, m.heard), cmd.Wait())
	}()
	r, err := m.ask(ctx, s)
	m.url = &url.URL{Scheme: "http", Host: r.Addr}
	return err
}

// listen takes what an instance reports until it ends.
func (c *cluster) listen(i int, stdout io.Reader, heard chan<- report) error {
	for lines := json.NewDecoder(stdout); ; {
		var r report
		if err := lines.Decode(&r); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		switch {
		case r.Fetched != "":
			c.mu.Lock()
			if c.fetches[r.Fetched] == nil {
				c.fetches[r.Fetched] = new([size]int)
			}
			c.fetches[r.Fetched][i]++
			c.mu.Unlock()
		case r.Failed != "":
			c.mu.Lock()
			c.failed = append(c.failed, fmt.Sprintf("instance %d: %s", i+1, r.Failed))
			c.mu.Unlock()
		default:
			heard <- r
		}
	}
}

// ask writes a line to an instance and waits for the answer.
func (m *member) ask(ctx context.Context, line any) (report, error) {
	if err := json.NewEncoder(m.stdin).Encode(line); err != nil {
		return report{}, err
	}
	select {
	case r := <-m.heard:
		return r, nil
	case <-m.ended:
		return report{}, fmt.Errorf("an instance ended: %w", m.err)
	case <-ctx.Done():
		return report{}, ctx.Err()
	}
}

// advance moves the clock of everyone.
func (c *cluster) advance(ctx context.Context, d time.Duration) error {
	c.wx.Advance(d)
	c.ahead += d
	for _, m := range c.members {
		if _, err := m.ask(ctx, c.ahead); err != nil {
			return err
		}
	}
	return nil
}

// stop ends all instances. All that they reported has been heard then.
func (c *cluster) stop() error {
	for _, m := range c.members {
		m.stdin.Close()
	}
	var errs []error
	for i, m := range c.members {
		select {
		case <-m.ended:
		case <-time.After(10 * time.Second):
			_ = m.cmd.Process.Kill()
			<-m.ended
		}
		if m.err != nil {
			errs = append(errs, fmt.Errorf("instance %d: %w", i+1, m.err))
		}
	}
	return errors.Join(errs...)
}

// fetched is how often a token was fetched, by all instances together.
func (c *cluster) fetched(key string) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if by := c.fetches[key]; by != nil {
		for _, k := range by {
			n += k
		}
	}
	return n
}

// printFetches prints who fetched what.
func (c *cluster) printFetches(out io.Writer) {
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprint(t, "fetched")
	for i := range size {
		fmt.Fprintf(t, "\tinstance %d", i+1)
	}
	fmt.Fprintln(t, "\ttogether")
	c.mu.Lock()
	keys := slices.Sorted(maps.Keys(c.fetches))
	c.mu.Unlock()
	for _, key := range keys {
		fmt.Fprint(t, strings.TrimPrefix(key, "wechatopen:"))
		for _, n := range c.fetches[key] {
			fmt.Fprintf(t, "\t%d", n)
		}
		fmt.Fprintf(t, "\t%d\n", c.fetched(key))
	}
	t.Flush()
}
