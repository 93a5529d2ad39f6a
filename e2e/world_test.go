package e2e_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// world is WeChat, a platform, and the accounts that authorize it.
type world struct {
	t        *testing.T
	wx       *wechattest.Server
	comp     *wechattest.Component
	accounts []*wechattest.Account
	ahead    time.Duration
	setup    setup   // of its processes
	procs    []*proc // those that run
}

const (
	pathComponentToken = "/cgi-bin/component/api_component_token"
	pathAccessToken    = "/cgi-bin/component/api_authorizer_token"
	pathAccountInfo    = "/cgi-bin/component/api_get_authorizer_info"
	pathQueryAuth      = "/cgi-bin/component/api_query_auth"

	// tokenLife is a minute more than any token lives.
	tokenLife = 2*time.Hour + time.Minute
)

func newWorld(t *testing.T, s setup) *world {
	t.Helper()
	// One attempt: the tests see each failure of a push, and send it again themselves.
	wx := wechattest.Start(t, wechattest.Config{PushAttempts: 1})
	w := &world{t: t, wx: wx, comp: wx.AddComponent(wechattest.ComponentConfig{}), setup: s}
	w.setup.Credentials, w.setup.Endpoints = w.comp.Credentials(), wx.Endpoints()
	return w
}

// advance moves the clock of WeChat and of all processes.
func (w *world) advance(d time.Duration) {
	w.t.Helper()
	w.wx.Advance(d)
	w.ahead += d
	askAll(w.procs, command{Op: opCount}) // every command sets the clock
}

// ticket pushes a new ticket, as WeChat does every ten minutes.
func (w *world) ticket() {
	w.t.Helper()
	if _, err := w.comp.PushTicket(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

// authorize adds accounts that authorize the platform.
func (w *world) authorize(n int) {
	w.t.Helper()
	for range n {
		a := w.wx.AddAccount(wechattest.AccountConfig{})
		if _, err := w.comp.Authorize(w.t.Context(), a); err != nil {
			w.t.Fatal(err)
		}
		w.accounts = append(w.accounts, a)
	}
}

func (w *world) apps() (apps []string) {
	for _, a := range w.accounts {
		apps = append(apps, a.AppID())
	}
	return apps
}

func (w *world) ticketKey() string { return "wechatopen:" + w.comp.AppID() + ":ticket" }
func (w *world) componentTokenKey() string {
	return "wechatopen:" + w.comp.AppID() + ":component_token"
}
func (w *world) grantKey(app string) string { return w.accountKey(app) + "grant" }
func (w *world) accessTokenKey(app string) string {
	return w.accountKey(app) + "access_token"
}
func (w *world) accountKey(app string) string {
	return "wechatopen:" + w.comp.AppID() + ":" + app + ":"
}

// fetches counts the calls of a path, by appid.
func (w *world) fetches(path string) map[string]int {
	n := make(map[string]int)
	for _, c := range w.wx.Calls(path) {
		n[c.AppID]++
	}
	return n
}

// proc is a child, as the test has it.
type proc struct {
	w     *world
	name  string
	addr  string // of its push handler
	cmd   *exec.Cmd
	stdin io.WriteCloser
	ended chan struct{} // closed when the process has ended and all it said was heard
	err   error         // why it ended, once ended is closed

	mu     sync.Mutex
	lastID int
	heard  map[int]chan reply
}

// start runs a further process of the platform. It is ended with the test unless it is killed before.
func (w *world) start() *proc {
	w.t.Helper()
	self, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), childEnv+"=1")
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		w.t.Fatal(err)
	}
	hello := make(chan reply, 1)
	p := &proc{w: w, cmd: cmd, stdin: stdin, ended: make(chan struct{}), heard: map[int]chan reply{0: hello}}
	p.name = fmt.Sprint("process ", cmd.Process.Pid)
	go func() {
		defer close(p.ended)
		err := p.listen(stdout)
		p.err = errors.Join(err, cmd.Wait())
	}()
	w.t.Cleanup(p.close)
	s := w.setup
	s.Ahead = w.ahead
	if err := json.NewEncoder(stdin).Encode(s); err != nil {
		w.t.Fatal(err)
	}
	p.addr = p.await(hello).Addr
	w.procs = append(w.procs, p)
	return p
}

func (w *world) startMany(n int) (procs []*proc) {
	w.t.Helper()
	for range n {
		procs = append(procs, w.start())
	}
	return procs
}

// pushTo has WeChat push to a process.
func (w *world) pushTo(p *proc) { w.comp.SetEventURL("http://" + p.addr + "/") }

func (p *proc) listen(stdout io.Reader) error {
	for lines := json.NewDecoder(stdout); ; {
		var r reply
		switch err := lines.Decode(&r); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // killed in the middle of a line
			return nil
		case err != nil:
			return err
		}
		p.mu.Lock()
		ch := p.heard[r.ID]
		delete(p.heard, r.ID)
		p.mu.Unlock()
		if ch == nil {
			return fmt.Errorf("answer %d was not asked for", r.ID)
		}
		ch <- r
	}
}

// begin gives a command; the answer comes when it is done, and none if the process ends before.
func (p *proc) begin(c command) <-chan reply {
	p.w.t.Helper()
	p.mu.Lock()
	p.lastID++
	c.ID, c.Ahead = p.lastID, p.w.ahead
	ch := make(chan reply, 1)
	p.heard[c.ID] = ch
	err := json.NewEncoder(p.stdin).Encode(c)
	p.mu.Unlock()
	if err != nil {
		p.w.t.Fatalf("%s: %v", p.name, err)
	}
	return ch
}

func (p *proc) await(ch <-chan reply) reply {
	p.w.t.Helper()
	select {
	case r := <-ch:
		return r
	case <-p.ended:
		select {
		case r := <-ch: // its last words
			return r
		default:
			p.w.t.Fatalf("%s ended: %v", p.name, p.err)
		}
	case <-time.After(2 * patience):
		p.w.t.Fatalf("%s does not answer", p.name)
	}
	return reply{}
}

// ask gives a command and waits for its answer.
func (p *proc) ask(c command) reply {
	p.w.t.Helper()
	return p.await(p.begin(c))
}

// askAll gives all processes the same command at the same time.
func askAll(procs []*proc, c command) (replies []reply) {
	chans := make([]<-chan reply, len(procs))
	for i, p := range procs {
		p.w.t.Helper()
		chans[i] = p.begin(c)
	}
	for i, p := range procs {
		replies = append(replies, p.await(chans[i]))
	}
	return replies
}

// kill ends a process with SIGKILL.
func (p *proc) kill() {
	p.w.t.Helper()
	p.w.procs = slices.DeleteFunc(p.w.procs, func(q *proc) bool { return q == p })
	_ = p.cmd.Process.Kill()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.w.t.Errorf("%s does not end", p.name)
	}
}

func (p *proc) close() {
	_ = p.stdin.Close()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.w.t.Errorf("%s does not end with its input", p.name)
		p.kill()
	}
}
