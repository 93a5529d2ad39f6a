package e2e_test

import (
	"encoding/json"
	"testing"
	"time"
)

// grant is what the tests read of a grant in the Store.
type grant struct {
	RefreshToken string `json:"refresh_token"`
}

// grants reads the refresh tokens in the Store through p, by appid; an account without one is missing.
func (w *world) grants(p *proc, apps []string) map[string]string {
	w.t.Helper()
	var keys []string
	for _, app := range apps {
		keys = append(keys, w.grantKey(app))
	}
	got := p.ask(command{Op: opInspect, Keys: keys})
	if got.Failed > 0 {
		w.t.Fatalf("the Store: %q", got.Errors)
	}
	tokens := make(map[string]string)
	for _, app := range apps {
		value, ok := got.Values[w.grantKey(app)]
		if !ok {
			continue
		}
		var g grant
		if err := json.Unmarshal([]byte(value), &g); err != nil || g.RefreshToken == "" {
			w.t.Errorf("the grant of %s: %q, %v", app, value, err)
			continue
		}
		tokens[app] = g.RefreshToken
	}
	return tokens
}

// The simulator replaces the refresh token with each refresh, and refuses the one before at once.
func TestTheStoredRefreshTokenWorksAfterTenThousandRotations(t *testing.T) {
	const accounts, rounds = 50, 200
	t.Parallel()
	r := startRedis(t)
	w := newWorld(t, setup{Redis: r.addr})
	procs := w.startMany(processes)
	w.pushTo(procs[0])
	w.ticket()
	w.authorize(accounts)
	apps := w.apps()
	start := time.Now()
	round := func() {
		t.Helper()
		w.advance(tokenLife)
		w.ticket()
		for _, got := range askAll(procs, command{Op: opAsk, Apps: apps, Callers: accounts}) {
			if got.Failed > 0 {
				t.Fatalf("%d callers got no token: %q", got.Failed, got.Errors)
			}
		}
	}
	for range rounds {
		round()
	}
	took := time.Since(start)

	stored := w.grants(procs[0], apps)
	n, refused := w.fetches(pathAccessToken), 0
	for _, c := range w.wx.Calls(pathAccessToken) {
		if c.ErrCode != 0 {
			refused++
		}
	}
	total := 0
	for _, a := range w.accounts {
		total += n[a.AppID()]
		if n[a.AppID()] != rounds {
			t.Errorf("%s was refreshed %d times; want %d", a.AppID(), n[a.AppID()], rounds)
		}
		if stored[a.AppID()] != w.comp.RefreshToken(a) {
			t.Errorf("the stored refresh token of %s is not that of WeChat", a.AppID())
		}
	}
	round() // the stored ones work
	lookups := w.wx.Count(pathAccountInfo)
	if refused > 0 || lookups > 0 {
		t.Errorf("%d refreshes were refused, and %d accounts looked up; want none", refused, lookups)
	}
	t.Logf("%d refreshes of %d accounts by %d processes in %v: %d refused, %d look-ups, all %d stored refresh tokens work",
		total, accounts, processes, took.Round(time.Millisecond), refused, lookups, len(stored))
}
