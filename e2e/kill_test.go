package e2e_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen/wechattest"
)

// attacks.md 40
func TestNothingAnsweredIsLostToKillsWithBolt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, setup{Bolt: filepath.Join(t.TempDir(), "wechat.db")})
	newLives(w).live(200, func(p *proc, _ int) { p.kill() })
}

// attacks.md 40
func TestNothingAnsweredIsLostToKillsWithRedis(t *testing.T) {
	t.Parallel()
	r := startRedis(t, durable...)
	// A life begins with waiting for the leases of the one before.
	w := newWorld(t, setup{Redis: r.addr, Lease: 750 * time.Millisecond})
	newLives(w).live(50, func(p *proc, i int) {
		if i%2 == 0 {
			p.kill()
			return
		}
		r.kill() // before its client, which may have been answered a moment ago
		p.kill()
		r.start()
	})
}

// longestTraffic bounds how long the traffic of a life goes on before the kill.
const longestTraffic = 60 * time.Millisecond

// lives are those of one process that is killed again and again, and what WeChat knows of it.
type lives struct {
	*world
	old []*wechattest.Account // get updateauthorized and are refreshed all the time

	killing atomic.Bool // from now on a push may fail

	mu        sync.Mutex
	tickets   []string              // in the order of their pushes
	kept      int                   // how many of tickets, up to the last that was answered success
	fresh     []*wechattest.Account // authorized in this life
	unsettled []unsettled           // pushes that were not answered
	pushes    int                   // answered success

	lookups, unanswered, refreshed int
}

// unsettled is an authorization that WeChat pushes again.
type unsettled struct {
	account *wechattest.Account
	xml     string
}

func newLives(w *world) *lives { return &lives{world: w} }

func (l *lives) live(kills int, kill func(p *proc, i int)) {
	t := l.t
	p := l.start()
	l.pushTo(p)
	l.pushTicket()
	l.authorize(5)
	l.old = slices.Clone(l.accounts)
	start := time.Now()
	for i := range kills {
		l.traffic(p, func() { kill(p, i) })
		p = l.start()
		l.pushTo(p)
		l.check(p, false)
		if t.Failed() {
			t.Fatalf("after kill %d", i+1)
		}
	}
	took := time.Since(start)
	l.check(p, true)
	t.Logf("%d kills in %v: %d pushes answered success and %d not; %d tickets, %d accounts, %d calls of %s; "+
		"after the kills %d accounts refreshed, %d of them with a look-up; %d look-ups in all",
		kills, took.Round(time.Millisecond), l.pushes, l.unanswered, len(l.tickets), len(l.accounts), l.wx.Count(pathAccessToken), pathAccessToken,
		l.refreshed, l.lookups, l.wx.Count(pathAccountInfo))
}

// traffic pushes and refreshes until kill, which comes at a random moment, has ended the process.
func (l *lives) traffic(p *proc, kill func()) {
	l.t.Helper()
	l.killing.Store(false)
	var wg sync.WaitGroup
	wg.Go(func() {
		for l.pushTicket() {
		}
	})
	wg.Go(func() {
		for i := 0; ; i++ {
			a := l.wx.AddAccount(wechattest.AccountConfig{})
			if !l.pushAuthorized("authorized", a) || !l.pushAuthorized("updateauthorized", l.old[i%len(l.old)]) {
				return
			}
		}
	})
	var apps []string
	for _, a := range l.old {
		apps = append(apps, a.AppID())
	}
	p.begin(command{Op: opChurn, Apps: apps, Callers: 2})
	<-time.After(rand.N(longestTraffic)) // the random moment
	l.killing.Store(true)
	kill()
	wg.Wait()
}

// pushed notes how a push was answered, and reports whether the process still lives.
func (l *lives) pushed(what string, err error) bool {
	if err == nil {
		l.pushes++
		return true
	}
	l.unanswered++
	if !l.killing.Load() {
		l.t.Errorf("%s, with the process alive: %v", what, err)
	}
	return false
}

func (l *lives) pushTicket() bool {
	ticket := l.comp.NewTicket()
	l.mu.Lock()
	l.tickets = append(l.tickets, ticket)
	n := len(l.tickets)
	l.mu.Unlock()
	_, err := l.comp.Push(context.Background(), l.comp.TicketXML(ticket, l.wx.Now()))
	l.mu.Lock()
	defer l.mu.Unlock()
	if err == nil {
		l.kept = n
	}
	return l.pushed("ticket", err)
}

func (l *lives) pushAuthorized(infoType string, a *wechattest.Account) bool {
	xml := l.comp.AuthorizedXML(infoType, a, l.comp.NewAuthCode(a), "", l.wx.Now())
	_, err := l.comp.Push(context.Background(), xml)
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil {
		l.unsettled = append(l.unsettled, unsettled{a, xml})
	} else {
		l.settle(a)
	}
	return l.pushed(infoType, err)
}

// settle notes that the platform has said of an account that its grant is kept. mu is held.
func (l *lives) settle(a *wechattest.Account) {
	l.fresh = append(l.fresh, a)
	if !slices.Contains(l.accounts, a) {
		l.accounts = append(l.accounts, a)
	}
}

// check looks at what the life before left behind, and has this one go on with it. With all, all accounts are refreshed,
// and otherwise those that the life before touched; the others' grants are compared.
func (l *lives) check(p *proc, all bool) {
	t := l.t
	got := p.ask(command{Op: opInspect, Keys: []string{l.ticketKey()}})
	rec := strings.Fields(got.Values[l.ticketKey()]) // version, time, ticket
	if len(rec) != 3 || got.Failed > 0 {
		t.Errorf("the ticket in the Store: a record of %d words, %q", len(rec), got.Errors)
	} else if i := slices.Index(l.tickets, rec[2]) + 1; i < l.kept {
		t.Errorf("ticket %d is in the Store, and ticket %d was answered success", i, l.kept)
	}
	stored := l.grants(p, l.apps())
	for _, a := range l.accounts {
		if stored[a.AppID()] == "" {
			t.Errorf("%s was answered success, and its grant is not in the Store", a.AppID())
		}
	}

	// WeChat sends again what was not answered, three times in all.
	for _, u := range l.unsettled {
		_, err := l.comp.Push(t.Context(), u.xml)
		if err != nil {
			t.Logf("sent again: %v: %q", err, p.ask(command{Op: opCount}).Pushes)
			_, err = l.comp.Push(t.Context(), u.xml)
		}
		if err != nil {
			t.Errorf("sent again, twice: %v: %q", err, p.ask(command{Op: opCount}).Pushes)
		}
		l.settle(u.account)
	}
	l.unsettled = nil

	stored = l.grants(p, l.apps())
	touched := make(map[*wechattest.Account]bool)
	for _, a := range slices.Concat(l.old, l.fresh) {
		touched[a] = true
	}
	var apps []string
	stale := 0
	for _, a := range l.accounts {
		isStale := stored[a.AppID()] != l.comp.RefreshToken(a)
		if isStale {
			stale++ // the kill fell between WeChat's answer and the write
		}
		if isStale && !touched[a] {
			t.Errorf("the grant of %s is not that of WeChat, and nothing was under way for it", a.AppID())
		}
		if all || touched[a] {
			apps = append(apps, a.AppID())
		}
	}
	l.fresh = nil

	// With the ticket that is in the Store.
	l.advance(tokenLife)
	before, refreshes := l.wx.Count(pathAccountInfo), l.wx.Count(pathAccessToken)
	if got := p.ask(command{Op: opAsk, Apps: apps, Callers: len(apps)}); got.Failed > 0 {
		t.Errorf("%d of %d accounts were not refreshed: %q", got.Failed, len(apps), got.Errors)
	}
	if n := l.wx.Count(pathAccountInfo) - before; n != stale {
		t.Errorf("%d accounts were looked up; want the %d whose refresh token is not that of WeChat", n, stale)
	}
	if n, want := l.wx.Count(pathAccessToken)-refreshes, len(apps)+stale; n != want {
		t.Errorf("%d calls of %s; want %d", n, pathAccessToken, want)
	}
	l.lookups += stale
	l.refreshed += len(apps)
	if !l.pushTicket() { // tickets last twelve hours, which is six lives
		t.Error("no ticket pushed")
	}
}
