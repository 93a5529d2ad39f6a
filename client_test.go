package wechatopen_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// ownAccount is an account of one's own at the simulator.
func (w *world) ownAccount(opts ...wechatopen.Option) (*wechatopen.Account, *wechattest.Account) {
	w.t.Helper()
	own := w.sim.AddAccount(wechattest.AccountConfig{Name: "Own"})
	a, err := wechatopen.NewAccount(own.Credentials(), append(append(w.sim.Options(), wechatopen.WithStore(w.store), wechatopen.WithLogger(w.log.logger())), opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	return a, own
}

// attacks.md 37
func TestStaleTokenIsReplacedOnceAndTheCallRepeated(t *testing.T) {
	for _, code := range []int{40001, 40014, 42001, 42006} {
		w := newWorld(t)
		a := w.ready()
		old := tokenOf(t, a.AccessToken())
		w.sim.ResetJournal()
		w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: code})
		var out struct {
			AppID string              `json:"appid"`
			Body  map[string]string   `json:"body"`
			Query map[string][]string `json:"query"`
		}
		if err := a.Post(t.Context(), opEcho+"?kept=1", map[string]string{"name": "商店 <&>"}, &out); err != nil {
			t.Fatalf("%d: %v", code, err)
		}
		if out.AppID != w.shop.AppID() || out.Body["name"] != "商店 <&>" {
			t.Errorf("%d: the repeated call brought %+v", code, out)
		}
		calls := w.sim.Calls(opEcho)
		if len(calls) != 2 || w.sim.Count(opAuthorizerToken) != 1 {
			t.Fatalf("%d: %d calls, %d refreshes, want 2 and 1", code, len(calls), w.sim.Count(opAuthorizerToken))
		}
		if string(calls[0].Body) != string(calls[1].Body) || len(calls[1].Body) == 0 {
			t.Errorf("%d: the body was not repeated: %q, %q", code, calls[0].Body, calls[1].Body)
		}
		if calls[1].Query.Get("kept") != "1" || len(calls[1].Query["access_token"]) != 1 {
			t.Errorf("%d: the repeated query is %v", code, slices.Collect(maps.Keys(calls[1].Query)))
		}
		if calls[0].Query.Get("access_token") != old.Value || calls[1].Query.Get("access_token") == old.Value {
			t.Errorf("%d: not the old token, then a new one", code)
		}
	}
}

// attacks.md 37
func TestTokenThatWeChatEndedIsReplaced(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.AccessToken())
	w.comp.ExpireTokens() // the component's too
	w.sim.ResetJournal()
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{opEcho: 2, opAuthorizerToken: 2, opComponentToken: 1} {
		if n := w.sim.Count(path); n != want {
			t.Errorf("%s: %d calls, want %d", path, n, want)
		}
	}
}

// attacks.md 37
func TestRefusalForEverIsOneRefreshOneRepeatThenTheError(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.sim.ResetJournal()
	w.sim.Inject(wechattest.Fault{Path: opEcho, ErrCode: 40001})
	wantCode(t, a.Get(t.Context(), opEcho, nil, nil), 40001)
	if calls, refreshes := w.sim.Count(opEcho), w.sim.Count(opAuthorizerToken); calls != 2 || refreshes != 1 {
		t.Errorf("%d calls and %d refreshes, want 2 and 1", calls, refreshes)
	}
	together(100, nil, func(int) {
		if err := a.Get(t.Context(), opEcho, nil, nil); err == nil {
			t.Error("no error")
		}
	})
	if n := w.sim.Count(opAuthorizerToken); n != 1 {
		t.Errorf("%d refreshes after a hundred more callers, want 1", n)
	}
}

// attacks.md 37
func TestRefusalForAHundredCallersAtOnceIsOneRefresh(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.sim.ResetJournal()
	gate := make(chan struct{})
	w.sim.Inject(wechattest.Fault{Path: opEcho, ErrCode: 40001, Gate: gate})
	together(100, func() { close(gate) }, func(int) {
		var refusal *wechatopen.APIError
		if err := a.Get(t.Context(), opEcho, nil, nil); !errors.As(err, &refusal) || refusal.Code != 40001 {
			t.Errorf("error %v, want errcode 40001", err)
		}
	})
	if n := w.sim.Count(opAuthorizerToken); n != 1 {
		t.Errorf("%d refreshes, want 1", n)
	}
	if n := w.sim.Count(opEcho); n < 100 || n > 200 {
		t.Errorf("%d calls of a hundred callers, want one or two each", n)
	}
}

// attacks.md 37: one API that answers 40001 for reasons of its own must not use up what all the others need:
// stable_token replaces a token by force twenty times a day.
func TestOneRefusingAPIDoesNotTakeTheOthersDown(t *testing.T) {
	w := newWorld(t)
	a, _ := w.ownAccount()
	w.sim.Inject(wechattest.Fault{Path: "/cgi-bin/user/info", ErrCode: 40001})
	for minute := range 120 {
		_ = a.Get(t.Context(), "/cgi-bin/user/info", url.Values{"openid": {"o"}}, nil)
		if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
			t.Fatalf("after %d minutes another API is down: %v", minute, err)
		}
		w.sim.Advance(61 * time.Second)
	}
}

// attacks.md 37: nor may its refusals, which are not believed any more, hide that the token has really ended.
func TestEndedTokenIsReplacedThoughOneAPIRefusesAll(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.sim.Inject(wechattest.Fault{Path: "/cgi-bin/user/info", ErrCode: 40001})
	for range 60 {
		_ = a.Get(t.Context(), "/cgi-bin/user/info", url.Values{"openid": {"o"}}, nil)
		w.sim.Advance(61 * time.Second)
	}
	w.comp.ExpireTokens()
	var err error
	for range 3 {
		if err = a.Get(t.Context(), opEcho, nil, nil); err == nil {
			return
		}
		w.sim.Advance(time.Minute)
	}
	t.Errorf("two minutes after the token ended: %v", err)
}

// attacks.md 37: the same, where WeChat goes on handing out the token that it refuses.
func TestRefusedTokenThatComesAgainIsNotFetchedByEveryCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{answer: func(r *http.Request, _ int) (string, error) {
			if r.URL.Path == opBasicToken {
				return `{"access_token":"the same","expires_in":7200}`, nil
			}
			return `{"errcode":40001,"errmsg":"invalid credential"}`, nil
		}}
		a := b.account(t, wechatopen.WithBasicToken())
		for range 50 {
			wantCode(t, a.Get(t.Context(), opEcho, nil, nil), 40001)
			pass(time.Second)
		}
		if n := b.calls(opBasicToken); n > 4 {
			t.Errorf("%d fetches for fifty callers in fifty seconds, want 2 or little more", n)
		}
	})
}

func TestOtherRefusalsAreNotRepeated(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	old := tokenOf(t, a.AccessToken())
	for _, code := range []int{-1, 40003, 45009, 45011, 48001, 50002, 61003, 61007, 40013, 40125} {
		w.sim.ResetJournal()
		w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: code})
		wantCode(t, a.Get(t.Context(), opEcho, nil, nil), code)
		if n := len(w.sim.Calls()); n != 1 {
			t.Errorf("%d: %d calls, want 1", code, n)
		}
	}
	if got := tokenOf(t, a.AccessToken()); got.Value != old.Value {
		t.Error("the token was replaced")
	}
}

func TestOwnAccountUsesStableToken(t *testing.T) {
	w := newWorld(t)
	a, own := w.ownAccount()
	first := tokenOf(t, a.AccessToken())
	tokenOf(t, a.JSAPITicket())
	force := func() (out []bool) {
		for _, c := range w.sim.Calls(opStableToken) {
			var in struct {
				Force *bool `json:"force_refresh"`
			}
			if err := json.Unmarshal(c.Body, &in); err != nil || in.Force == nil {
				t.Fatalf("body without force_refresh: %v", err)
			}
			out = append(out, *in.Force)
			if len(c.Query) != 0 || c.Method != "POST" {
				t.Errorf("%s with a query: the secret belongs in the body", c.Method)
			}
		}
		return out
	}
	if got := force(); !slices.Equal(got, []bool{false}) {
		t.Fatalf("force_refresh %v, want one call without", got)
	}
	// WeChat refuses the token and hands it out again: it must be replaced by force.
	w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: 40001})
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := force(); !slices.Equal(got, []bool{false, false, true}) {
		t.Errorf("force_refresh %v, want a look first and force when the refused one comes back", got)
	}
	second := tokenOf(t, a.AccessToken())
	if second.Value == first.Value {
		t.Error("the refused token is current")
	}
	// Where another process has replaced it already, no force is needed.
	other, err := wechatopen.NewAccount(own.Credentials(), w.sim.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	if got := tokenOf(t, other.AccessToken()); got.Value != second.Value {
		t.Error("two processes without a common Store have different tokens")
	}
	w.sim.Advance(time.Minute)
	w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: 42001})
	if err := other.Get(t.Context(), opEcho, nil, nil); err != nil { // by force
		t.Fatal(err)
	}
	w.sim.ResetJournal()
	w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: 40001})
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
		t.Fatal(err)
	}
	if got := force(); !slices.Equal(got, []bool{false}) {
		t.Errorf("force_refresh %v, want none: WeChat had another token by then", got)
	}
	if n := w.sim.Count(opBasicToken); n != 0 {
		t.Errorf("%d calls of /cgi-bin/token", n)
	}
}

// WeChat answers the same stable token until five minutes before its end, with the life that is left.
func TestStableTokenLivesAcrossItsEnd(t *testing.T) {
	w := newWorld(t)
	a, _ := w.ownAccount()
	for range 5 * 60 { // five hours
		if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
			t.Fatal(err)
		}
		w.sim.Advance(time.Minute)
	}
	// Two or three for each of the tokens: one that finds the same token, one that finds the next. The last minutes of a
	// token are many a minute apart.
	if n := w.sim.Count(opStableToken); n > 15 {
		t.Errorf("%d fetches in five hours", n)
	}
	for _, c := range w.sim.Calls(opStableToken) {
		if bytes.Contains(c.Body, []byte(`"force_refresh":true`)) {
			t.Fatal("replaced by force though nobody refused it")
		}
	}
}

func TestWithBasicTokenUsesTheOlderCall(t *testing.T) {
	w := newWorld(t)
	a, own := w.ownAccount(wechatopen.WithBasicToken())
	first := tokenOf(t, a.AccessToken())
	calls := w.sim.Calls(opBasicToken)
	if len(calls) != 1 || calls[0].Method != "GET" || w.sim.Count(opStableToken) != 0 {
		t.Fatalf("%d calls of /cgi-bin/token, %d of stable_token, want one and none", len(calls), w.sim.Count(opStableToken))
	}
	if q := calls[0].Query; q.Get("grant_type") != "client_credential" || q.Get("appid") != own.AppID() || q.Get("secret") != own.Credentials().AppSecret {
		t.Error("not the documented query")
	}
	w.sim.Inject(wechattest.Fault{Path: opEcho, Times: 1, ErrCode: 40001})
	if err := a.Get(t.Context(), opEcho, nil, nil); err != nil {
		t.Fatal(err)
	}
	if n := w.sim.Count(opBasicToken); n != 2 || tokenOf(t, a.AccessToken()).Value == first.Value {
		t.Errorf("%d fetches, want 2 and another token", n)
	}
}

func TestTokenGoesUnderTheNameOfThePath(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	comp, shop := tokenOf(t, w.platform.ComponentToken()).Value, tokenOf(t, a.AccessToken()).Value
	w.sim.AllowMisuse() // paths that the simulator does not know
	for _, tc := range []struct {
		call              func(path string) error
		path, name, value string
	}{
		{w.componentGet, "/cgi-bin/component/api_anything", "component_access_token", comp},
		{w.componentPost, "/cgi-bin/component/fastregisterweapp?action=create", "component_access_token", comp},
		{w.componentPost, "/cgi-bin/component/api_create_preauthcode", "component_access_token", comp},
		{w.componentGet, "/sns/component/jscode2session", "component_access_token", comp},
		{w.componentGet, "/sns/oauth2/component/access_token", "component_access_token", comp},
		{w.componentGet, "/wxa/gettemplatelist", "access_token", comp},
		{w.componentGet, "/cgi-bin/getcallbackip", "access_token", comp},
		{w.componentPost, "/cgi-bin/openapi/quota/get", "access_token", comp},
		{func(p string) error { return a.Get(w.t.Context(), p, nil, nil) }, "/cgi-bin/user/info", "access_token", shop},
		{func(p string) error { return a.Post(w.t.Context(), p, nil, nil) }, opEcho, "access_token", shop},
		{func(p string) error { return a.Get(w.t.Context(), p, nil, nil) }, "/cgi-bin/components/x", "access_token", shop},
		{func(p string) error { return a.Post(w.t.Context(), p, nil, nil) }, "/cgi-bin/component/get_authorizer_option", "access_token", shop},
		{func(p string) error { return a.Post(w.t.Context(), p, nil, nil) }, "/cgi-bin/component/set_authorizer_option", "access_token", shop},
	} {
		w.sim.ResetJournal()
		_ = tc.call(tc.path)
		path, _, _ := strings.Cut(tc.path, "?")
		calls := w.sim.Calls(path)
		if len(calls) == 0 {
			t.Errorf("%s: not called", tc.path)
			continue
		}
		q := calls[0].Query
		other := map[string]string{"access_token": "component_access_token", "component_access_token": "access_token"}[tc.name]
		if len(q[tc.name]) != 1 || q.Get(tc.name) != tc.value || q.Has(other) {
			t.Errorf("%s: the token is not in %s alone", tc.path, tc.name)
		}
	}
	w.sim.ResetJournal()
	if _, err := w.platform.AuthorizerOption(t.Context(), w.shop.AppID(), "voice_recognize"); err != nil {
		t.Fatal(err)
	}
	if c := w.sim.Calls("/cgi-bin/component/get_authorizer_option"); len(c) != 1 || c[0].Query.Get("access_token") != shop {
		t.Error("AuthorizerOption: not the authorizer's token under access_token")
	}
}

func (w *world) componentGet(path string) error {
	return w.platform.Get(w.t.Context(), path, nil, nil)
}

func (w *world) componentPost(path string) error {
	return w.platform.Post(w.t.Context(), path, nil, nil)
}

func TestBodiesAreSentAsUTF8(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	if err := a.Post(t.Context(), opEcho, map[string]string{"名": "<a href=\"x\">商店 & 😀</a>"}, nil); err != nil {
		t.Fatal(err)
	}
	c := w.sim.Calls(opEcho)[0]
	if want := `{"名":"<a href=\"x\">商店 & 😀</a>"}`; string(c.Body) != want {
		t.Errorf("sent %s, want %s", c.Body, want)
	}
	if ct := c.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/json") {
		t.Errorf("Content-Type %q", ct)
	}
	if err := a.Post(t.Context(), opEcho, nil, nil); err != nil {
		t.Fatal(err)
	}
	if c := w.sim.Calls(opEcho)[1]; string(c.Body) != "{}" {
		t.Errorf("nil was sent as %q; WeChat refuses an empty body with 44002", c.Body)
	}
	if err := a.Get(t.Context(), opEcho, url.Values{"q": {"商店 &=#"}}, nil); err != nil {
		t.Fatal(err)
	}
	if c := w.sim.Calls(opEcho)[2]; len(c.Body) != 0 || c.Header.Get("Content-Type") != "" || c.Query.Get("q") != "商店 &=#" {
		t.Errorf("a GET has body %q and query %v", c.Body, c.Query["q"])
	}
	w.sim.ResetJournal()
	if err := a.Post(t.Context(), opEcho, func() {}, nil); err == nil || !strings.Contains(err.Error(), opEcho) || len(w.sim.Calls()) != 0 {
		t.Errorf("a value that JSON has not: %v, %d calls", err, len(w.sim.Calls()))
	}
}

func TestQueryOfTheCallerIsNotChanged(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	q := url.Values{"a": {"1"}}
	if err := a.Get(t.Context(), opEcho, q, nil); err != nil {
		t.Fatal(err)
	}
	if len(q) != 1 {
		t.Errorf("the caller's query holds %v now", slices.Collect(maps.Keys(q)))
	}
}

func TestAnswersAreJudgedWhateverTheyAre(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.AccessToken())
	const limit = 16 << 20
	for _, tc := range []struct {
		name  string
		fault wechattest.Fault
		json  string // in the error when a struct is asked for; "" success
		raw   string // in the error when bytes are asked for; "" success
	}{
		{"html", wechattest.Fault{Body: []byte("<html>busy</html>")}, "not a JSON object", ""},
		{"empty", wechattest.Fault{Body: []byte{}}, "not a JSON object", ""},
		{"blank", wechattest.Fault{Body: []byte(" \r\n")}, "not a JSON object", ""},
		{"array", wechattest.Fault{Body: []byte(`[{"errcode":0}]`)}, "not a JSON object", ""},
		{"string", wechattest.Fault{Body: []byte(`"ok"`)}, "not a JSON object", ""},
		{"null", wechattest.Fault{Body: []byte(`null`)}, "not a JSON object", ""},
		{"half", wechattest.Fault{Body: []byte(`{"errcode":0,"errmsg":"o`)}, "not a JSON object", "not a JSON object"},
		{"two", wechattest.Fault{Body: []byte(`{"errcode":0}{"errcode":40001}`)}, "not a JSON object", "not a JSON object"},
		{"image", wechattest.Fault{Body: []byte("\x89PNG\r\n")}, "not a JSON object", ""},
		{"object", wechattest.Fault{Body: []byte(" \n{\"errcode\":0,\"a\":\"b\"}")}, "", ""},
		{"without errcode", wechattest.Fault{Body: []byte(`{"a":"b"}`)}, "", ""},
		{"errcode null", wechattest.Fault{Body: []byte(`{"errcode":null,"a":"b"}`)}, "", ""},
		{"errcode string 0", wechattest.Fault{Body: []byte(`{"errcode":"0","a":"b"}`)}, "", ""},
		{"errcode string", wechattest.Fault{Body: []byte(`{"errcode":"40003","errmsg":"invalid openid"}`)}, "errcode 40003: invalid openid", "errcode 40003"},
		{"errcode without errmsg", wechattest.Fault{Body: []byte(`{"errcode":40003}`)}, "errcode 40003", "errcode 40003"},
		{"errcode float", wechattest.Fault{Body: []byte(`{"errcode":4.0003e4,"errmsg":"x"}`)}, "errcode 40003", "errcode 40003"},
		{"errcode beside a result", wechattest.Fault{Body: []byte(`{"a":"b","errcode":40003,"errmsg":"x"}`)}, "errcode 40003", "errcode 40003"},
		{"errcode object", wechattest.Fault{Body: []byte(`{"errcode":{}}`)}, opEcho + ": ", opEcho + ": "},
		{"wrong type", wechattest.Fault{Body: []byte(`{"a":7}`)}, `field "a"`, ""},
		{"status 500", wechattest.Fault{Status: 500}, "http status 500", "http status 500"},
		{"status 502 with JSON", wechattest.Fault{Status: 502, Body: []byte(`{"a":"b"}`)}, "http status 502", "http status 502"},
		{"status 404", wechattest.Fault{Status: 404}, "http status 404", "http status 404"},
		{"cut", wechattest.Fault{Cut: true, Body: bytes.Repeat([]byte("x"), 100_000)}, opEcho + ": ", opEcho + ": "},
		{"16 MiB", wechattest.Fault{Body: bytes.Repeat([]byte("x"), limit)}, "not a JSON object", ""},
		{"more than 16 MiB", wechattest.Fault{Body: bytes.Repeat([]byte("x"), limit+1)}, "more than 16777216 bytes", "more than 16777216 bytes"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.fault.Path, tc.fault.Times = opEcho, 1
			check := func(err error, want string) {
				t.Helper()
				switch {
				case want == "" && err != nil:
					t.Errorf("error %v, want success", err)
				case want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "wechatopen: ")):
					t.Errorf("error %v, want one that says %q", err, want)
				}
			}
			var out struct {
				A string `json:"a"`
			}
			w.sim.Inject(tc.fault)
			check(a.Get(t.Context(), opEcho, nil, &out), tc.json)
			if tc.json == "" && out.A == "" {
				t.Error("nothing was decoded")
			}
			var raw []byte
			w.sim.Inject(tc.fault)
			err := a.Post(t.Context(), opEcho, nil, &raw)
			check(err, tc.raw)
			if err == nil && !bytes.Equal(raw, tc.fault.Body) {
				t.Errorf("%d bytes, want %d as they were sent", len(raw), len(tc.fault.Body))
			}
			if err != nil && raw != nil {
				t.Error("bytes beside an error")
			}
		})
	}
}

// attacks.md 34 has 200 MB; what is read is bounded wherever it comes from.
func TestEndlessAnswerIsNotReadToItsEnd(t *testing.T) {
	var read atomic.Int64
	b := &bubble{answer: func(_ *http.Request, n int) (string, error) { return numberedToken(n, 7200), nil }}
	a := b.account(t, wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
		if r.URL.Path != opEcho {
			return b.RoundTrip(r)
		}
		resp := wireAnswer(r, 200, "")
		resp.ContentLength, resp.Body = -1, io.NopCloser(readerFunc(func(p []byte) (int, error) {
			read.Add(int64(len(p)))
			return copy(p, bytes.Repeat([]byte(" "), len(p))), nil
		}))
		return resp, nil
	})}))
	if err := a.Get(t.Context(), opEcho, nil, nil); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("error %v", err)
	}
	if n := read.Load(); n > 17<<20 {
		t.Errorf("%d bytes read", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestRequestIDIsTakenOutOfTheMessage(t *testing.T) {
	long := strings.Repeat("长", 200)
	var msg string
	b := &bubble{answer: func(r *http.Request, n int) (string, error) {
		if r.URL.Path != opEcho {
			return numberedToken(n, 7200), nil
		}
		body, err := json.Marshal(map[string]any{"errcode": 40003, "errmsg": msg})
		return string(body), err
	}}
	a := b.account(t)
	for _, tc := range []struct{ sent, msg, rid string }{
		{"invalid openid rid: 61725984-6126f6f9-040f19c4", "invalid openid", "61725984-6126f6f9-040f19c4"},
		{"invalid openid, rid: 61725984-6126f6f9-040f19c4", "invalid openid", "61725984-6126f6f9-040f19c4"},
		{"a rid: b rid: 61725984-6126f6f9-040f19c4 ", "a rid: b", "61725984-6126f6f9-040f19c4"},
		{"rid: 61725984-6126f6f9-040f19c4", "", "61725984-6126f6f9-040f19c4"},
		{"invalid openid", "invalid openid", ""},
		{"", "", ""},
		{long + " rid: 61725984-6126f6f9-040f19c4", strings.Repeat("长", 85), "61725984-6126f6f9-040f19c4"}, // 256 bytes, and no half a character
	} {
		msg = tc.sent
		err := a.Get(t.Context(), opEcho+"?openid=o", nil, nil)
		var got *wechatopen.APIError
		if !errors.As(err, &got) {
			t.Fatalf("error %v", err)
		}
		if want := (wechatopen.APIError{Op: opEcho, Code: 40003, Msg: tc.msg, RID: tc.rid}); *got != want {
			t.Errorf("%q:\n got %+v\nwant %+v", tc.sent, *got, want)
		}
		text := err.Error()
		for _, part := range []string{"wechatopen: " + opEcho + ": ", "40003", tc.msg, tc.rid} {
			if !strings.Contains(text, part) {
				t.Errorf("%q: the error does not say %q", text, part)
			}
		}
	}
	msg = "x rid: " + strings.Repeat("y", 10_000)
	if err := a.Get(t.Context(), opEcho, nil, nil); len(err.Error()) > 500 {
		t.Errorf("an error of %d bytes", len(err.Error()))
	}
}

// A path that names a host would carry the token there.
func TestPathCannotLeaveTheHost(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.AccessToken())
	w.sim.ResetJournal()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the other host was called") }))
	defer elsewhere.Close()
	host := strings.TrimPrefix(elsewhere.URL, "http://")
	for _, path := range []string{elsewhere.URL, elsewhere.URL + "/cgi-bin/x", "//" + host + "/x", "@" + host + "/x", ".evil.example/x", ":80/x", "cgi-bin/x", "", "?x", "#x", "/x#y", "/%zz", "mailto:x", "http:" + opEcho, "\\\\" + host + "/x", "/x\ny"} {
		for _, err := range []error{a.Get(t.Context(), path, nil, nil), a.Post(t.Context(), path, nil, nil), w.platform.Get(t.Context(), path, nil, nil)} {
			if err == nil || !strings.HasPrefix(err.Error(), "wechatopen: ") {
				t.Errorf("%q: %v, want an error", path, err)
			}
		}
	}
	if n := len(w.sim.Calls()); n != 0 {
		t.Errorf("%d calls of WeChat", n)
	}
}

// attacks.md 43
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, given := range []bool{false, true} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			var elsewhere atomic.Int32
			other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				elsewhere.Add(1)
				io.WriteString(w, numberedToken(1, 7200))
			}))
			defer other.Close()
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL+"/stolen?"+r.URL.RawQuery, status)
			}))
			defer api.Close()
			opts := []wechatopen.Option{wechatopen.WithEndpoints(wechatopen.Endpoints{API: api.URL}), wechatopen.WithLogger(slog.New(slog.DiscardHandler))}
			asked := false
			if given {
				opts = append(opts, wechatopen.WithHTTPClient(&http.Client{CheckRedirect: func(*http.Request, []*http.Request) error {
					asked = true
					return nil
				}}))
			}
			for _, basic := range []bool{false, true} { // POST and GET
				o := opts
				if basic {
					o = append(slices.Clone(opts), wechatopen.WithBasicToken())
				}
				a, err := wechatopen.NewAccount(goodCredentials(), o...)
				if err != nil {
					t.Fatal(err)
				}
				if err := noToken(t, a.AccessToken()); !strings.Contains(err.Error(), fmt.Sprint("http status ", status)) {
					t.Errorf("%d: error %v", status, err)
				}
			}
			if n := elsewhere.Load(); n != 0 || asked {
				t.Errorf("%d, client given %t: followed %d times", status, given, n)
			}
		}
	}
}

// attacks.md 43
func TestRedirectOfWeChatDoesNotCarryATokenAway(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.AccessToken())
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("followed") }))
	defer other.Close()
	w.sim.Inject(wechattest.Fault{Path: opEcho, Redirect: other.URL + "/?keep"})
	for range 2 {
		if err := a.Get(t.Context(), opEcho, nil, nil); err == nil || !strings.Contains(err.Error(), "302") || strings.Contains(err.Error(), other.URL) {
			t.Errorf("error %v", err)
		}
		if err := a.Post(t.Context(), opEcho, nil, nil); err == nil {
			t.Error("no error")
		}
	}
}

// attacks.md 43
func TestUnknownCertificateIsRefused(t *testing.T) {
	var reached atomic.Int32
	api := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		reached.Add(1)
		io.WriteString(w, numberedToken(1, 7200))
	}))
	api.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of the handshake
	api.StartTLS()
	defer api.Close()
	for _, opt := range []wechatopen.Option{nil, wechatopen.WithHTTPClient(&http.Client{})} {
		a, err := wechatopen.NewAccount(goodCredentials(), wechatopen.WithEndpoints(wechatopen.Endpoints{API: api.URL}), opt)
		if err != nil {
			t.Fatal(err)
		}
		if err := noToken(t, a.AccessToken()); !strings.Contains(err.Error(), "certificate") {
			t.Errorf("error %v, want one of the certificate", err)
		}
	}
	if n := reached.Load(); n != 0 {
		t.Errorf("%d requests went through", n)
	}
	// The same server with its certificate known, to see that nothing else was in the way.
	a, err := wechatopen.NewAccount(goodCredentials(), wechatopen.WithEndpoints(wechatopen.Endpoints{API: api.URL}), wechatopen.WithHTTPClient(api.Client()))
	if err != nil {
		t.Fatal(err)
	}
	tokenOf(t, a.AccessToken())
}

// secrets are values that must not be printed, each with what it is.
type secrets map[string]string

func (s secrets) add(name string, values ...string) {
	for _, v := range values {
		if len(v) >= 8 {
			s[v] = name
		}
	}
}

// addCalls adds every secret of the journal: what went out in queries and bodies.
func (s secrets) addCalls(calls []wechattest.Call) {
	secretName := func(k string) bool {
		k = strings.ToLower(k)
		return strings.Contains(k, "token") || strings.Contains(k, "secret") || strings.Contains(k, "ticket") || strings.Contains(k, "code") && k != "errcode"
	}
	for _, c := range calls {
		for k, v := range c.Query {
			if secretName(k) {
				s.add(k, v...)
			}
		}
		var body map[string]any
		if json.Unmarshal(c.Body, &body) == nil {
			for k, v := range body {
				if str, ok := v.(string); ok && secretName(k) {
					s.add(k, str)
				}
			}
		}
	}
}

func (s secrets) check(t *testing.T, where, text string) {
	t.Helper()
	for v, name := range s {
		if strings.Contains(text, v) || strings.Contains(text, url.QueryEscape(v)) {
			t.Errorf("%s holds a secret (%s): %s", where, name, text)
		}
	}
}

// checkError looks at an error in every form in which it can be printed, and at all that it wraps.
func (s secrets) checkError(t *testing.T, where string, err error) {
	t.Helper()
	s.check(t, where, fmt.Sprintf("%v|%+v|%#v|%q", err, err, err, err))
	var ue *url.Error
	if errors.As(err, &ue) { // what errors.As brings to light is logged, too
		s.check(t, where+", its *url.Error", ue.URL+" "+ue.Error())
	}
	var walk func(error)
	walk = func(err error) {
		s.check(t, where+" (unwrapped)", fmt.Sprintf("%v|%+v", err, err))
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			if e.Unwrap() != nil {
				walk(e.Unwrap())
			}
		case interface{ Unwrap() []error }:
			for _, e := range e.Unwrap() {
				walk(e)
			}
		}
	}
	walk(err)
}

// attacks.md 42: every kind of call, failing in every way.
func TestNoSecretInAnErrorOrTheLog(t *testing.T) {
	const answered = "55_T0kenInAnAnswer@@@"
	leak := []byte(answered)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer other.Close()
	quoting := func(text string) http.RoundTripper { // a transport that fails and says what it was about
		return wire(func(r *http.Request) (*http.Response, error) {
			if text == "" {
				return nil, &url.Error{Op: "proxy", URL: r.URL.String(), Err: errors.New("refused")}
			}
			return nil, fmt.Errorf(text, r.URL)
		})
	}
	badRedirect := wire(func(r *http.Request) (*http.Response, error) { // net/http quotes a Location that it cannot parse
		resp := wireAnswer(r, 302, "")
		resp.Header.Set("Location", "http://login.proxy.example/%zz?back="+r.URL.String())
		return resp, nil
	})
	for _, tc := range []struct {
		name      string
		fault     wechattest.Fault  // of every call
		transport http.RoundTripper // in place of the network, if not nil
		cancelled bool
		some      bool // not every call notices
	}{
		{name: "errcode", fault: wechattest.Fault{ErrCode: -1}},
		{name: "stale for ever", fault: wechattest.Fault{ErrCode: 40001}},
		{name: "expired for ever", fault: wechattest.Fault{ErrCode: 42001}},
		{name: "quota", fault: wechattest.Fault{ErrCode: 45009}},
		{name: "unauthorized", fault: wechattest.Fault{ErrCode: 61003}},
		{name: "dead refresh token", fault: wechattest.Fault{ErrCode: 61023}},
		{name: "ticket", fault: wechattest.Fault{ErrCode: 61005}},
		{name: "status", fault: wechattest.Fault{Status: 502, Body: leak}},
		{name: "html", fault: wechattest.Fault{Body: append([]byte("<html>"), leak...)}},
		{name: "half JSON", fault: wechattest.Fault{Body: append([]byte(`{"access_token":"`), leak...)}},
		{name: "array", fault: wechattest.Fault{Body: []byte(`["` + answered + `"]`)}},
		{name: "wrong types", some: true, fault: wechattest.Fault{Body: []byte(`{"expires_in":"` + answered + `","ticket":{"` + answered + `":1},"total_count":"` + answered +
			`","authorization_info":"` + answered + `","authorizer_info":"` + answered + `","option_value":{"` + answered + `":1}}`)}},
		{name: "empty object", some: true, fault: wechattest.Fault{Body: []byte(`{}`)}},
		{name: "token without life", some: true, fault: wechattest.Fault{Body: []byte(`{"component_access_token":"` + answered + `","access_token":"` + answered + `","authorizer_access_token":"` + answered + `","ticket":"` + answered + `"}`)}},
		{name: "cut", fault: wechattest.Fault{Cut: true}},
		{name: "redirect", fault: wechattest.Fault{Redirect: other.URL + "/" + answered}},
		{name: "transport quotes the URL", transport: quoting("proxy: GET %s: refused")},
		{name: "transport returns a url.Error", transport: quoting("")},
		{name: "bad redirect", transport: badRedirect},
		{name: "caller has left", cancelled: true, some: true},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var mu sync.Mutex
			var traced []error
			broken := atomic.Bool{}
			transport := wire(func(r *http.Request) (*http.Response, error) {
				if tc.transport != nil && broken.Load() {
					return tc.transport.RoundTrip(r)
				}
				return http.DefaultTransport.RoundTrip(r)
			})
			w := newWorld(t, wechatopen.WithHTTPClient(&http.Client{Transport: transport}), wechatopen.WithTrace(&wechatopen.Trace{
				APICall: func(_ context.Context, c wechatopen.APICall) {
					mu.Lock()
					defer mu.Unlock()
					traced = append(traced, c.Err)
				},
				TokenFetch: func(_ context.Context, f wechatopen.TokenFetch) {
					mu.Lock()
					defer mu.Unlock()
					traced = append(traced, f.Err)
				},
			}))
			a := w.ready()
			hc := wechatopen.WithHTTPClient(&http.Client{Transport: transport})
			stable, own := w.ownAccount(hc)
			basic, own2 := w.ownAccount(hc, wechatopen.WithBasicToken())
			known := secrets{}
			known.add("answer", answered)
			// Live ones of every kind, and then the same calls in vain.
			login := w.comp.NewLoginCode(w.shop, w.alice, wechatopen.ScopeUserInfo)
			user, err := a.ExchangeCode(t.Context(), login)
			if err != nil {
				t.Fatal(err)
			}
			known.add("user token", login, user.AccessToken, user.RefreshToken)
			pre, err := w.platform.CreatePreAuthCode(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			known.add("pre-auth code", pre.Code)
			login2, ownLogin, authCode := w.comp.NewLoginCode(w.shop, w.alice, wechatopen.ScopeBase), own.NewLoginCode(w.alice, wechatopen.ScopeBase), w.comp.NewAuthCode(w.shop)
			known.add("code", login2, ownLogin, authCode)
			for _, x := range []*wechatopen.Account{a, stable, basic} {
				tokenOf(t, x.JSAPITicket())
				tokenOf(t, x.CardTicket())
			}
			for _, c := range []wechatopen.Credentials{w.comp.Credentials(), w.shop.Credentials(), own.Credentials(), own2.Credentials()} {
				known.add("credentials", c.AppSecret, c.Token, c.EncodingAESKey)
			}
			known.add("ticket", w.comp.Ticket())
			known.add("stored", storedValues(w.store.snapshot())...)
			known.add("refresh token", w.comp.RefreshToken(w.shop))

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if tc.cancelled {
				cancel()
			} else if tc.transport == nil {
				w.sim.Inject(tc.fault)
			}
			broken.Store(true)
			page := jsOrigin + "/?code=" + login
			failed, total := 0, 0
			for _, round := range []string{"warm", "cold"} {
				for _, call := range []struct {
					name string
					do   func() error
				}{
					{"Platform.Get", func() error { return w.platform.Get(ctx, "/cgi-bin/getcallbackip", nil, nil) }},
					{"Platform.Post", func() error {
						return w.platform.Post(ctx, "/cgi-bin/component/api_get_authorizer_list", map[string]any{"component_appid": w.comp.AppID(), "offset": 0, "count": 1}, nil)
					}},
					{"StartPushTicket", func() error { return w.platform.StartPushTicket(ctx) }},
					{"CreatePreAuthCode", func() error { _, err := w.platform.CreatePreAuthCode(ctx); return err }},
					{"QueryAuth", func() error { _, err := w.platform.QueryAuth(ctx, authCode); return err }},
					{"AuthorizerInfo", func() error { _, err := w.platform.AuthorizerInfo(ctx, w.shop.AppID()); return err }},
					{"Authorizers", func() error {
						for _, err := range w.platform.Authorizers(ctx) {
							return err
						}
						return nil
					}},
					{"Recover", func() error { _, err := w.platform.Recover(ctx); return err }},
					{"AuthorizerOption", func() error {
						_, err := w.platform.AuthorizerOption(ctx, w.shop.AppID(), "voice_recognize")
						return err
					}},
					{"SetAuthorizerOption", func() error { return w.platform.SetAuthorizerOption(ctx, w.shop.AppID(), "voice_recognize", "1") }},
					{"Platform.ClearQuota", func() error { return w.platform.ClearQuota(ctx) }},
					{"Account.Get", func() error { return a.Get(ctx, opEcho, url.Values{"js_code": {login2}}, nil) }},
					{"Account.Post", func() error {
						return a.Post(ctx, opEcho, map[string]string{"secret_of_yours": "sesame-open-sesame"}, nil)
					}},
					{"Account.ClearQuota", func() error { return a.ClearQuota(ctx) }},
					{"ExchangeCode", func() error { _, err := a.ExchangeCode(ctx, login2); return err }},
					{"RefreshUserToken", func() error { _, err := a.RefreshUserToken(ctx, user.RefreshToken); return err }},
					{"CheckUserToken", func() error { return a.CheckUserToken(ctx, user.AccessToken, user.OpenID) }},
					{"UserInfo", func() error { _, err := a.UserInfo(ctx, user.AccessToken, user.OpenID, ""); return err }},
					{"own ExchangeCode", func() error { _, err := stable.ExchangeCode(ctx, ownLogin); return err }},
					{"own Get", func() error { return stable.Get(ctx, opEcho, nil, nil) }},
					{"basic Get", func() error { return basic.Get(ctx, opEcho, nil, nil) }},
					{"JSConfig", func() error { _, err := a.JSConfig(ctx, page); return err }},
					{"ComponentToken", func() error { _, err := w.platform.ComponentToken().Token(ctx); return err }},
					{"AccessToken", func() error { _, err := a.AccessToken().Token(ctx); return err }},
					{"JSAPITicket", func() error { _, err := a.JSAPITicket().Token(ctx); return err }},
					{"CardTicket", func() error { _, err := a.CardTicket().Token(ctx); return err }},
					{"own AccessToken", func() error { _, err := stable.AccessToken().Token(ctx); return err }},
					{"own JSAPITicket", func() error { _, err := stable.JSAPITicket().Token(ctx); return err }},
					{"basic AccessToken", func() error { _, err := basic.AccessToken().Token(ctx); return err }},
				} {
					total++
					if err := call.do(); err != nil {
						failed++
						known.checkError(t, round+" "+call.name, err)
					} else if round == "cold" && !tc.some {
						t.Errorf("%s %s: no error", round, call.name)
					}
				}
				// Now the tokens are over, and fetching them fails as well.
				w.sim.Advance(3 * time.Hour)
			}
			if failed < total/3 {
				t.Fatalf("%d of %d calls failed: this shows little", failed, total)
			}
			// What else was sent meanwhile must not have been printed either.
			known.addCalls(w.sim.Calls())
			known.add("stored", storedValues(w.store.snapshot())...)
			known.check(t, "the log", w.log.String())
			mu.Lock()
			defer mu.Unlock()
			for _, err := range traced {
				if err != nil {
					known.checkError(t, "Trace", err)
				}
			}
		})
	}
}

// attacks.md 42
func TestCancelledCallsAreStillToldApart(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	tokenOf(t, a.AccessToken())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Get(ctx, opEcho, nil, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want context.Canceled behind the redaction", err)
	}
	gate := make(chan struct{})
	defer close(gate)
	w.sim.Inject(wechattest.Fault{Path: opEcho, Gate: gate})
	ctx, cancel = context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if err := a.Get(ctx, opEcho, nil, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v, want context.DeadlineExceeded", err)
	}
}

// attacks.md 42
func TestSecretsDoNotPrint(t *testing.T) {
	const secret = "S3cret@@@value-that-must-not-print"
	at := time.Unix(1700000000, 0)
	token := wechatopen.Token{Value: secret, Expiry: at}
	creds := wechatopen.Credentials{AppID: "wx1", AppSecret: secret, Token: secret, EncodingAESKey: secret, PreviousToken: secret, PreviousEncodingAESKey: secret}
	code := wechatopen.PreAuthCode{Code: secret, Expiry: at}
	user := wechatopen.UserToken{AccessToken: secret, RefreshToken: secret, OpenID: "o1", Expiry: at}
	event := wechatopen.Event{AppID: "wx1", InfoType: "authorized", CreateTime: at, AuthorizationCode: secret, PreAuthCode: secret, Raw: []byte(secret),
		MiniProgram: &wechatopen.MiniProgramEvent{AuthCode: secret}}
	for _, v := range []any{
		token, &token, creds, &creds, code, &code, user, &user, event, &event,
		[]wechatopen.Token{token}, []any{token, creds, code, user, event}, map[string]wechatopen.Credentials{"c": creds},
		struct{ Token wechatopen.Token }{token}, struct{ Event wechatopen.Event }{event}, struct{ User *wechatopen.UserToken }{&user},
	} {
		for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x"} {
			got := fmt.Sprintf(format, v)
			if strings.Contains(got, secret) || strings.Contains(got, fmt.Sprintf("%x", secret)) || strings.Contains(got, fmt.Sprint([]byte(secret))) {
				t.Errorf("%T with %s prints %s", v, format, got)
			}
		}
		if got := fmt.Errorf("failed: %v", v).Error() + fmt.Sprint(v) + fmt.Sprintln(v); strings.Contains(got, secret) {
			t.Errorf("%T prints %s", v, got)
		}
	}
	// slog asks the value itself; what lies deeper is printed by fmt or JSON.
	for _, v := range []any{token, &token, creds, &creds, code, &code, user, &user, event, &event} {
		for name, handler := range map[string]func(io.Writer) slog.Handler{
			"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
			"JSON": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
		} {
			var buf bytes.Buffer
			l := slog.New(handler(&buf))
			l.Info("m", "v", v)
			l.With("v", v).WithGroup("g").Info("m", slog.Group("h", slog.Any("v", v)))
			if strings.Contains(buf.String(), secret) || strings.Contains(buf.String(), "LogValue panicked") {
				t.Errorf("slog %s of %T: %s", name, v, &buf)
			}
		}
	}
	// They still say what they are.
	for v, want := range map[any]string{token: "2023", creds.String(): "wx1", code: "pre-auth", user: "o1", event.String(): "authorized"} {
		if got := fmt.Sprint(v); !strings.Contains(got, want) {
			t.Errorf("%T prints %q, without %q", v, got, want)
		}
	}
	if got := fmt.Sprint(wechatopen.Token{}); !strings.Contains(got, "no token") {
		t.Errorf("an empty token prints %q", got)
	}
	for _, v := range []any{(*wechatopen.Token)(nil), (*wechatopen.Event)(nil), (*wechatopen.UserToken)(nil)} {
		if got := fmt.Sprintf("%v %+v", v, v); strings.Contains(got, "PANIC") {
			t.Errorf("nil %T prints %s", v, got)
		}
	}
}

// attacks.md 42: the objects that hold secrets are logged by mistake, too.
func TestPlatformsAndAccountsDoNotPrintTheirSecrets(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	own, ownAccount := w.ownAccount()
	known := secrets{}
	for _, c := range []wechatopen.Credentials{w.comp.Credentials(), ownAccount.Credentials()} {
		known.add("credentials", c.AppSecret, c.Token, c.EncodingAESKey)
	}
	known.add("token", tokenOf(t, own.AccessToken()).Value, tokenOf(t, a.AccessToken()).Value, tokenOf(t, w.platform.ComponentToken()).Value)
	known.add("cookie secret", strings.Repeat("k", 32), strings.Trim(strings.Repeat("107 ", 32), " "), strings.Repeat("6b", 32))
	if err := own.AccessToken().Invalidate(t.Context(), tokenOf(t, own.AccessToken())); err != nil { // it is remembered
		t.Fatal(err)
	}
	shows := func(text string) bool {
		for v := range known {
			if strings.Contains(text, v) {
				return true
			}
		}
		return false
	}
	for name, v := range map[string]any{
		"Platform": w.platform, "Account": own, "authorizer": a, "token source": own.AccessToken(), "Cookies": w.cookies,
		"TicketHandler": &wechatopen.TicketHandler{Platform: w.platform}, "JSSDKHandler": &wechatopen.JSSDKHandler{Account: wechatopen.FixedAccount(own)},
		"OAuth": &wechatopen.OAuth{Cookies: w.cookies}, "AuthorizeHandler": &wechatopen.AuthorizeHandler{Platform: w.platform, Cookies: w.cookies},
	} {
		var leaky []string
		for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
			if shows(fmt.Sprintf(format, v)) {
				leaky = append(leaky, format)
			}
		}
		var buf bytes.Buffer
		slog.New(slog.NewTextHandler(&buf, nil)).Info("m", "v", v)
		slog.New(slog.NewJSONHandler(&buf, nil)).Info("m", "v", v)
		if shows(buf.String()) {
			leaky = append(leaky, "slog")
		}
		if leaky != nil {
			t.Errorf("%s prints its secrets with %v", name, leaky)
		}
	}
}
