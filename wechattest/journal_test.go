package wechattest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestJournal(t *testing.T) {
	s := Start(t, Config{Now: atNoon})
	p := newPlatform(t, s, ComponentConfig{})
	s.Advance(time.Minute)
	p.preAuthCode()
	p.redeem("none").want(t, 61009)
	calls := s.Calls()
	if len(calls) != 3 || s.Count(preAuthPath) != 1 {
		t.Fatalf("%d calls, count %d", len(calls), s.Count(preAuthPath))
	}
	c := s.Calls(preAuthPath)[0]
	if c.Method != "POST" || c.Status != 200 || c.ErrCode != 0 || c.AppID != p.AppID() || c.Misuse != "" ||
		!c.Time.Equal(atNoon().Add(time.Minute)) || c.Query.Get("component_access_token") != p.access ||
		string(c.Body) != `{"component_appid":"`+p.AppID()+`"}` {
		t.Errorf("call %+v", c)
	}
	if calls[2].ErrCode != 61009 {
		t.Errorf("call %+v", calls[2])
	}
	calls[0].Query.Set("x", "y")
	if s.Calls()[0].Query.Has("x") {
		t.Error("Calls does not copy")
	}
	s.ResetJournal()
	if len(s.Calls()) != 0 || s.Count(preAuthPath) != 0 {
		t.Error("ResetJournal left something")
	}
}

func TestJournalKeepsTheNewest(t *testing.T) {
	s := Start(t, Config{JournalSize: 3})
	s.AllowMisuse()
	for _, path := range []string{"/1", "/2", "/3", "/4", "/5"} {
		resp, err := http.Get(s.URL() + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	var paths []string
	for _, c := range s.Calls() {
		paths = append(paths, c.Path)
	}
	if got := strings.Join(paths, ""); got != "/3/4/5" || s.Count("/1") != 1 {
		t.Errorf("calls %q, count of the first %d", got, s.Count("/1"))
	}
	if n := s.journal.newest(2); len(n) != 2 || n[0].Path != "/5" || n[1].Path != "/4" {
		t.Errorf("newest %+v", n)
	}
}

func TestMisuseFailsTheTest(t *testing.T) {
	for name, tt := range map[string]struct {
		allow func(*Server)
		want  int
	}{
		"reported":      {func(*Server) {}, 2},
		"all allowed":   {func(s *Server) { s.AllowMisuse() }, 0},
		"one allowed":   {func(s *Server) { s.AllowMisuse("/cgi-bin/none") }, 1},
		"other allowed": {func(s *Server) { s.AllowMisuse("/cgi-bin/other") }, 2},
	} {
		r := &recorder{}
		s := Start(r)
		tt.allow(s)
		request(t, s, "/cgi-bin/token", url.Values{"grant_type": {"client_credential"}}, nil).want(t, 41002)
		resp, err := http.Get(s.URL() + "/cgi-bin/none")
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != 404 {
			t.Errorf("unknown path: status %d", resp.StatusCode)
		}
		s.ResetJournal()
		r.end()
		if len(r.errors) != tt.want {
			t.Errorf("%s: %q, want %d", name, r.errors, tt.want)
		}
	}
}
