package wechattest

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"
)

// Call is one HTTP request that reached the server.
type Call struct {
	Time    time.Time // on the movable clock, when the request had been read
	Method  string
	Path    string
	Query   url.Values
	Header  http.Header
	Body    []byte // nil of an upload, whose Size alone is kept
	Size    int    // of the body, in bytes
	Status  int    // HTTP status of the answer; 0 while it is being answered
	ErrCode int    // errcode of the answer, or the number on an error page; 0 if there is none
	AppID   string // the account, or else the component, that the call is about; "" unknown
	Misuse  string // why WeChat's documentation calls this a bug of the caller; "" fine

	rid    string
	owner  string // appid whose token the call carried
	uri    string
	answer []byte
}

func (c *Call) copy() Call {
	n := *c
	n.Query, n.Header, n.Body = url.Values(http.Header(c.Query).Clone()), c.Header.Clone(), slices.Clone(c.Body)
	return n
}

// maxMisuses bounds what a test is told; the first ones tell the most.
const maxMisuses = 100

// journal keeps the newest calls, in the order in which they arrived. While it is not full, calls grows; then the
// oldest, at head, is overwritten.
type journal struct {
	limit int

	mu       sync.Mutex
	calls    []*Call
	head     int
	counts   map[string]int
	byRID    map[string]*Call
	arrived  chan struct{} // closed when the next call arrives; nil nobody waits
	misused  []Call
	allowed  map[string]bool
	allowAll bool
}

func (j *journal) add(c *Call) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.counts == nil {
		j.counts, j.byRID = map[string]int{}, map[string]*Call{}
	}
	j.counts[c.Path]++
	if j.arrived != nil {
		close(j.arrived)
		j.arrived = nil
	}
	if len(j.calls) < j.limit {
		j.calls = append(j.calls, c)
		return
	}
	delete(j.byRID, j.calls[j.head].rid)
	j.calls[j.head] = c
	j.head = (j.head + 1) % j.limit
}

// finish records how a call was answered.
func (j *journal) finish(c *Call, rp reply, appID, misuse string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c.Status, c.ErrCode, c.AppID, c.Misuse = rp.status, rp.errCode, appID, misuse
	if rp.rid != "" && j.byRID != nil {
		c.rid, c.answer = rp.rid, rp.body
		j.byRID[c.rid] = c
	}
	if misuse != "" && len(j.misused) < maxMisuses {
		j.misused = append(j.misused, c.copy())
	}
}

func (j *journal) setOwner(c *Call, owner string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c.owner = owner
}

func (j *journal) findRID(rid string) (Call, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c, ok := j.byRID[rid]
	if !ok {
		return Call{}, false
	}
	return c.copy(), true
}

func (j *journal) newest(n int) []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	n = min(n, len(j.calls))
	out := make([]Call, 0, n)
	for i := range n {
		out = append(out, j.calls[(j.head+len(j.calls)-1-i)%len(j.calls)].copy())
	}
	return out
}

func (j *journal) allow(paths []string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(paths) == 0 {
		j.allowAll = true
	}
	if j.allowed == nil {
		j.allowed = map[string]bool{}
	}
	for _, p := range paths {
		j.allowed[p] = true
	}
}

// misuses are those that were not allowed.
func (j *journal) misuses() []Call {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.allowAll {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(j.misused), func(c Call) bool { return j.allowed[c.Path] })
}

// Calls returns copies of the journal's calls of the given paths, in the order in which they arrived. No path given: all.
// A call is listed as soon as it was read; its Status is 0 until it is answered.
func (s *Server) Calls(paths ...string) []Call {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	var out []Call
	for i := range j.calls {
		c := j.calls[(j.head+i)%len(j.calls)]
		if len(paths) == 0 || slices.Contains(paths, c.Path) {
			out = append(out, c.copy())
		}
	}
	return out
}

// Count is how many requests for path have arrived since the start or the last ResetJournal, answered or not.
func (s *Server) Count(path string) int {
	s.journal.mu.Lock()
	defer s.journal.mu.Unlock()
	return s.journal.counts[path]
}

// WaitCount blocks until Count(path) is n or more. The error is that of ctx.
func (s *Server) WaitCount(ctx context.Context, path string, n int) error {
	j := &s.journal
	for {
		j.mu.Lock()
		if j.counts[path] >= n {
			j.mu.Unlock()
			return nil
		}
		if j.arrived == nil {
			j.arrived = make(chan struct{})
		}
		arrived := j.arrived
		j.mu.Unlock()
		select {
		case <-arrived:
		case <-ctx.Done():
			return fmt.Errorf("wechattest: waiting for %d calls of %s: %w", n, path, ctx.Err())
		}
	}
}

// ResetJournal forgets every call and count. What Start reports as misuse is kept.
func (s *Server) ResetJournal() {
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	j.calls, j.head, j.counts, j.byRID = nil, 0, nil, nil
}
