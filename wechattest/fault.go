package wechattest

import (
	"net/http"
	"slices"
	"sync"
	"time"
)

// Fault is something that goes wrong on demand. With neither ErrCode, Status, Body, Cut nor Redirect the call is answered
// as ever, only later or edited. A call whose answer is replaced has no effect, unless After is set.
type Fault struct {
	Path    string          // of the calls it applies to; "" any API call, but no page
	Times   int             // how many calls it applies to; 0: until ClearFaults
	ErrCode int             // answer with this errcode; 0 none
	ErrMsg  string          // with this text; "" the usual one of ErrCode
	Status  int             // HTTP status of the answer; 0: 200
	Body    []byte          // sent instead of JSON; nil none, empty an empty answer
	Latency time.Duration   // real time that the answer takes; ends early when the client leaves or the server closes
	Gate    <-chan struct{} // the call waits until it is closed; nil no wait
	Cut     bool            // the connection is closed in the middle of the answer; before it, if Body is empty but not nil

	// After lets the call take effect first, and wait and be answered wrongly then: what WeChat did, and the caller
	// does not know.
	After bool

	// Edit changes the real answer; nil changes nothing. It may be called on several goroutines.
	Edit func(body []byte) []byte

	Redirect string // answer 302 to this URL; "" none
}

func (f *Fault) replaces() bool {
	return f.ErrCode != 0 || f.Status != 0 || f.Body != nil || f.Redirect != "" || f.Cut
}

func (f *Fault) reply() reply {
	var rp reply
	switch {
	case f.Redirect != "":
		return redirectReply(f.Redirect)
	case f.Body != nil:
		rp = reply{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: f.Body}
	case f.ErrCode != 0:
		msg := f.ErrMsg
		if msg == "" {
			msg = errText(f.ErrCode)
		}
		rp = errorReply(f.ErrCode, msg)
	case f.Status != 0:
		rp = textReply(f.Status, http.StatusText(f.Status))
	default:
		rp = jsonReply(okBody())
	}
	if f.Status != 0 {
		rp.status = f.Status
	}
	return rp
}

// faults are applied in the order in which they were injected, each to its number of calls, then the next.
type faults struct {
	mu   sync.Mutex
	list []*Fault
}

// take returns the fault for a call of path, or nil.
func (fs *faults) take(path string, api bool) *Fault {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	i := slices.IndexFunc(fs.list, func(f *Fault) bool { return f.Path == path || f.Path == "" && api })
	if i < 0 {
		return nil
	}
	f := *fs.list[i]
	if f.Times == 1 {
		fs.list = slices.Delete(fs.list, i, i+1)
	} else if f.Times > 1 {
		fs.list[i].Times--
	}
	return &f
}

// Inject adds a fault behind those that are still to come. A call meets one fault at most.
func (s *Server) Inject(f Fault) {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = append(s.faults.list, &f)
}

// ClearFaults removes all faults; calls that wait at a Gate go on waiting.
func (s *Server) ClearFaults() {
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.list = nil
}

// answer carries a call out, or whatever a fault makes of it. cut: the answer breaks off in the middle.
func (s *Server) answer(c *call) (rp reply, cut bool) {
	f := s.faults.take(c.r.URL.Path, s.routes[c.r.URL.Path].api != nil)
	if f == nil {
		return s.run(c), false
	}
	effect := f.After || !f.replaces() // the call itself is carried out
	if f.After {
		rp = s.run(c)
	}
	if !c.delay(f) {
		return textReply(http.StatusServiceUnavailable, ""), true // nobody is there to read it
	}
	if effect && !f.After {
		rp = s.run(c)
	}
	if f.replaces() {
		real := rp.body
		rp = f.reply()
		if f.Cut && f.After && f.Body == nil && f.ErrCode == 0 && f.Status == 0 {
			rp.body = real
		}
	}
	if effect && f.Edit != nil {
		rp.body = f.Edit(slices.Clone(rp.body))
	}
	return rp, f.Cut
}

// delay waits as the fault says, and reports false if the client left or the server closed meanwhile.
func (c *call) delay(f *Fault) bool {
	if f.Gate != nil && !c.wait(f.Gate) {
		return false
	}
	if f.Latency <= 0 {
		return true
	}
	t := time.NewTimer(f.Latency)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.r.Context().Done():
	case <-c.ctx.Done():
	}
	return false
}
