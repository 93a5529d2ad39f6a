package wechattest

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"time"
)

const preAuthPath = "/cgi-bin/component/api_create_preauthcode"

// fetch gets path with whatever body comes.
func fetch(ctx context.Context, t *testing.T, s *Server, path string) (status int, body string, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, "GET", s.URL()+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(b), err
}

func TestFaultsComeInTurn(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	s.Inject(Fault{Path: preAuthPath, Times: 1, ErrCode: 40001})
	s.Inject(Fault{Path: preAuthPath, Times: 2, ErrCode: -1, ErrMsg: "busy"})
	s.Inject(Fault{Path: "/cgi-bin/other", ErrCode: 1})
	p.call("api_create_preauthcode", nil).want(t, 40001)
	p.call("api_create_preauthcode", nil).want(t, -1)
	if msg := p.call("api_create_preauthcode", nil).want(t, -1).str("errmsg"); msg[:5] != "busy " {
		t.Errorf("errmsg %q", msg)
	}
	p.call("api_create_preauthcode", nil).want(t, 0)
	s.Inject(Fault{ErrCode: 45009})
	for range 3 {
		p.call("api_create_preauthcode", nil).want(t, 45009)
	}
	if status, _, err := fetch(t.Context(), t, s, "/"); err != nil || status != 200 {
		t.Errorf("a page: %d, %v", status, err)
	}
	s.ClearFaults()
	p.call("api_create_preauthcode", nil).want(t, 0)
}

func TestFaultAfterLetsTheCallTakeEffect(t *testing.T) {
	s := Start(t)
	p := newPlatform(t, s, ComponentConfig{})
	a := s.AddAccount(AccountConfig{})
	code := p.NewAuthCode(a)
	s.Inject(Fault{Times: 1, ErrCode: -1})
	p.redeem(code).want(t, -1)
	if p.RefreshToken(a) != "" {
		t.Error("a fault let the call take effect")
	}
	s.Inject(Fault{Times: 1, ErrCode: -1, After: true})
	p.redeem(code).want(t, -1)
	if p.RefreshToken(a) == "" {
		t.Error("After did not let the call take effect")
	}
	p.redeem(code).want(t, 61009)
}

func TestFaultShapes(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	const path = "/cgi-bin/token"
	for name, tt := range map[string]struct {
		fault  Fault
		status int
		body   string
	}{
		"status":       {Fault{Status: 502}, 502, "Bad Gateway"},
		"body":         {Fault{Body: []byte("<html>")}, 200, "<html>"},
		"empty":        {Fault{Body: []byte{}}, 200, ""},
		"both":         {Fault{Body: []byte("x"), Status: 500}, 500, "x"},
		"edit":         {Fault{Edit: func(b []byte) []byte { return b[:2] }}, 200, `{"`},
		"redirect":     {Fault{Redirect: "http://127.0.0.1:1/"}, 302, ""},
		"only latency": {Fault{Latency: time.Millisecond, Edit: func([]byte) []byte { return nil }}, 200, ""},
	} {
		tt.fault.Times, tt.fault.Path = 1, path
		s.Inject(tt.fault)
		status, body, err := fetch(t.Context(), t, s, path)
		if err != nil || status != tt.status || body != tt.body {
			t.Errorf("%s: %d %q %v, want %d %q", name, status, body, err, tt.status, tt.body)
		}
	}
	s.Inject(Fault{Path: path, Times: 1, Cut: true})
	if _, body, err := fetch(t.Context(), t, s, path); err == nil || len(body) == 0 {
		t.Errorf("cut: %q, %v, want part of a body and an error", body, err)
	}
	s.Inject(Fault{Path: path, Times: 1, Cut: true, Body: []byte{}})
	if status, _, err := fetch(t.Context(), t, s, path); err == nil {
		t.Errorf("cut before the answer: status %d", status)
	}
}

func TestGateHoldsCalls(t *testing.T) {
	s := Start(t)
	s.AllowMisuse()
	gate := make(chan struct{})
	s.Inject(Fault{Path: "/cgi-bin/token", Gate: gate})
	done := make(chan error, 1)
	go func() {
		_, _, err := fetch(context.Background(), t, s, "/cgi-bin/token")
		done <- err
	}()
	if err := s.WaitCount(testContext(t), "/cgi-bin/token", 1); err != nil {
		t.Fatal(err)
	}
	if c := s.Calls("/cgi-bin/token"); c[0].Status != 0 {
		t.Errorf("answered before the gate opened: %+v", c)
	}
	close(gate)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestCloseEndsWaitingCalls(t *testing.T) {
	s, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	s.Inject(Fault{Path: "/cgi-bin/token", Latency: time.Hour})
	done := make(chan error, 1)
	go func() {
		_, _, err := fetch(context.Background(), t, s, "/cgi-bin/token")
		done <- err
	}()
	if err := s.WaitCount(testContext(t), "/cgi-bin/token", 1); err != nil {
		t.Fatal(err)
	}
	s.Close()
	s.Close()
	if err := <-done; err == nil {
		t.Error("the call was answered")
	}
	if _, err := s.AddComponent(ComponentConfig{EventURL: "http://127.0.0.1:1"}).PushTicket(t.Context()); err == nil {
		t.Error("a closed server pushes")
	}
}

func TestLatencyEndsWhenTheClientLeaves(t *testing.T) {
	s := Start(t)
	s.Inject(Fault{Path: "/cgi-bin/token", Latency: time.Hour})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := fetch(ctx, t, s, "/cgi-bin/token"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("err %v", err)
	}
}
