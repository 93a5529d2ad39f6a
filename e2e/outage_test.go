package e2e_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// attacks.md 13, 39
func TestRedisGoneForAWhile(t *testing.T) {
	needRedis(t)
	for _, tt := range []struct {
		name       string
		end, again func(*redisServer)
	}{
		{"stopped", (*redisServer).stop, (*redisServer).start},
		{"killed", (*redisServer).kill, (*redisServer).start},
		// It answers what is asked of it, and refuses what is to be written, locks too.
		{"full", func(r *redisServer) { r.set("maxmemory", "1") }, func(r *redisServer) { r.set("maxmemory", "0") }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := startRedis(t, durable...)
			o := &outage{world: newWorld(t, setup{Redis: r.addr, Lease: 3 * time.Second})}
			o.run(func() { tt.end(r) }, func() { tt.again(r) })
		})
	}
}

// outage is Redis being away under the load of four processes.
type outage struct {
	*world
	fetched map[string]int // calls of WeChat before it, by path
}

const (
	loadCallers = 10
	// loadSeen is how much every process must have served for a state to count as seen.
	loadSeen = 2000
)

func (o *outage) run(end, again func()) {
	t, ctx := o.t, o.t.Context()
	procs := o.startMany(processes)
	o.pushTo(procs[0])
	o.ticket()
	o.authorize(6)
	// One account is caught by the outage in the middle of its refresh; the others are under load.
	caught, loaded := o.accounts[5].AppID(), o.apps()[:5]
	for _, got := range askAll(procs, command{Op: opAsk, Apps: loaded, Callers: len(loaded)}) {
		if got.Failed > 0 {
			t.Fatalf("before the outage: %q", got.Errors)
		}
	}
	var loads []<-chan reply
	for _, p := range procs {
		loads = append(loads, p.begin(command{Op: opLoad, Apps: loaded, Callers: loadCallers}))
	}
	o.seen(procs, "before the outage")

	gate := make(chan struct{})
	o.wx.Inject(wechattest.Fault{Path: pathAccessToken, Times: 1, Gate: gate, After: true})
	before := o.wx.Count(pathAccessToken)
	renewed := procs[1].begin(command{Op: opRenew, Apps: []string{caught}})
	if err := o.wx.WaitCount(ctx, pathAccessToken, before+1); err != nil {
		t.Fatal(err)
	}
	o.fetched = o.counts()
	gone := time.Now()
	end()
	close(gate) // WeChat's answer, with a new refresh token, finds no Redis to be kept in

	served := o.seen(procs, "Redis is gone")
	if got := procs[1].await(renewed); got.Failed == 0 {
		t.Error("a token was served whose refresh token could not be stored")
	}

	// Eight minutes before their end the tokens are to be refreshed, and cannot be.
	o.advance(2*time.Hour - 8*time.Minute)
	for _, p := range procs {
		eventually(t, "all tokens could not be refreshed", func() bool { return p.ask(command{Op: opCount}).Kept > len(loaded) })
	}
	served += o.seen(procs, "Redis is gone and the tokens near their end")

	// Then they are over, and nobody fetches others without the lock.
	o.advance(10 * time.Minute)
	for _, p := range procs {
		eventually(t, "callers are told", func() bool { return p.ask(command{Op: opCount}).Failed > loadCallers })
	}
	// What WeChat pushes now is refused, so that it comes again. Its code is good for an hour.
	late := o.wx.AddAccount(wechattest.AccountConfig{})
	authorized := o.comp.AuthorizedXML("authorized", late, o.comp.NewAuthCode(late), "", o.wx.Now())
	for _, xml := range []string{authorized, o.comp.TicketXML(o.comp.NewTicket(), o.wx.Now())} {
		if res, err := o.comp.Push(ctx, xml); err == nil || res.Status < http.StatusInternalServerError {
			t.Errorf("a push without Redis was answered %d, %v; want 5xx", res.Status, err)
		}
	}
	if got := o.counts(); !maps.Equal(got, o.fetched) {
		t.Errorf("calls of WeChat without Redis: from %v to %v", o.fetched, got)
	}

	away := time.Since(gone)
	again()
	back := time.Now()
	eventually(t, "every process has tokens again", func() bool {
		failed := 0
		for _, got := range askAll(procs, command{Op: opAsk, Apps: loaded, Callers: len(loaded)}) {
			failed += got.Failed
		}
		return failed == 0
	})
	after := time.Since(back)
	askAll(procs, command{Op: opStop})
	failed := 0
	tokens := make(map[string]map[string]bool)
	for i, p := range procs {
		got := p.await(loads[i])
		failed += got.Failed
		for app, values := range got.Tokens {
			for _, v := range values {
				if tokens[app] == nil {
					tokens[app] = make(map[string]bool)
				}
				tokens[app][v] = true
			}
		}
	}
	for app, values := range tokens {
		if len(values) > 2 {
			t.Errorf("%d different tokens of %s were served; want that of before the outage and that of after it", len(values), app)
		}
	}
	fetched := o.counts()
	want := map[string]int{
		pathComponentToken: o.fetched[pathComponentToken] + 1,
		pathAccessToken:    o.fetched[pathAccessToken] + len(loaded),
		pathAccountInfo:    0,
		pathQueryAuth:      o.fetched[pathQueryAuth],
	}
	if !maps.Equal(fetched, want) {
		t.Errorf("calls of WeChat once Redis is back: %v; want %v", fetched, want)
	}

	// Nothing that was granted is lost: not what WeChat changed just then, nor what it pushed meanwhile.
	if got := procs[2].ask(command{Op: opRenew, Apps: []string{caught}}); got.Failed > 0 {
		t.Errorf("the account that was caught in its refresh: %q", got.Errors)
	}
	lookups := o.wx.Count(pathAccountInfo)
	if lookups != 1 {
		t.Errorf("%d look-ups; want one, of the account that was caught in its refresh", lookups)
	}
	if _, err := o.comp.Push(ctx, authorized); err != nil {
		t.Errorf("the authorization that was pushed meanwhile, sent again: %v", err)
	}
	o.accounts = append(o.accounts, late)
	o.advance(tokenLife)
	o.ticket()
	got := procs[3].ask(command{Op: opInspect, Keys: []string{o.ticketKey()}})
	if rec := strings.Fields(got.Values[o.ticketKey()]); len(rec) != 3 || rec[2] != o.comp.Ticket() { // version, time, ticket
		t.Errorf("the ticket pushed after the outage is not in the Store, which has a record of %d words for it", len(rec))
	}
	for _, got := range askAll(procs, command{Op: opAsk, Apps: o.apps(), Callers: len(o.accounts)}) {
		if got.Failed > 0 {
			t.Errorf("after the outage: %q", got.Errors)
		}
	}
	stored := o.grants(procs[3], o.apps())
	for _, a := range o.accounts {
		if stored[a.AppID()] != o.comp.RefreshToken(a) {
			t.Errorf("the grant of %s is not that of WeChat", a.AppID())
		}
	}
	t.Logf("Redis away for %v under %d callers: %d valid tokens served, none refused, no fetch; %d refusals once they were over; "+
		"all served again %v after it was back, by one fetch each; %d of %d grants there, one by a look-up",
		away.Round(time.Millisecond), processes*loadCallers, served, failed, after.Round(time.Millisecond), len(stored), len(o.accounts))
}

// seen waits until the load of every process has gone on for a while, and returns how many tokens were served
// meanwhile. None may have been refused so far, nor fetched.
func (o *outage) seen(procs []*proc, when string) (served int) {
	o.t.Helper()
	for _, p := range procs {
		first, n := p.ask(command{Op: opCount}).Served, 0
		eventually(o.t, when+": tokens are served", func() bool {
			got := p.ask(command{Op: opCount})
			if got.Failed > 0 {
				o.t.Fatalf("%s: %d callers got no token, which was valid: %q", when, got.Failed, got.Errors)
			}
			n = got.Served - first
			return n >= loadSeen
		})
		served += n
	}
	if got := o.counts(); o.fetched != nil && !maps.Equal(got, o.fetched) {
		o.t.Errorf("%s: calls of WeChat from %v to %v", when, o.fetched, got)
	}
	return served
}

// counts are the calls that fetch something from WeChat.
func (o *outage) counts() map[string]int {
	n := make(map[string]int)
	for _, path := range []string{pathComponentToken, pathAccessToken, pathAccountInfo, pathQueryAuth} {
		n[path] = o.wx.Count(path)
	}
	return n
}
