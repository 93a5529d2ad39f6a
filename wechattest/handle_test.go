package wechattest_test

import (
	"errors"
	"net/url"
	"testing"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

func TestHandlePlaysAPathThatTheServerDoesNotKnow(t *testing.T) {
	sim := wechattest.Start(t)
	acct := sim.AddAccount(wechattest.AccountConfig{})
	a, err := wechatopen.NewAccount(acct.Credentials(), sim.Options()...)
	if err != nil {
		t.Fatal(err)
	}
	picture := []byte("\x89PNG\r\n\x1a\n")
	sim.Handle("/cgi-bin/tags/get", func(c wechattest.Call) (any, error) {
		sim.Now() // asks the server, as an answer may
		return map[string]string{"owner": c.AppID, "q": c.Query.Get("q")}, nil
	})
	sim.Handle("/wxa/getwxacode", func(wechattest.Call) (any, error) { return picture, nil })
	sim.Handle("/cgi-bin/tags/delete", func(wechattest.Call) (any, error) { return nil, &wechatopen.APIError{Code: 45058} })
	sim.Handle("/cgi-bin/tags/update", func(wechattest.Call) (any, error) { return nil, errors.New("of its own") })
	sim.Handle("/cgi-bin/token", func(wechattest.Call) (any, error) { return nil, errors.New("the server's own path") })

	var out map[string]string
	if err := a.Get(t.Context(), "/cgi-bin/tags/get", url.Values{"q": {"&"}}, &out); err != nil || out["q"] != "&" || out["owner"] != acct.AppID() {
		t.Errorf("Get: %v, %v", out, err)
	}
	var got []byte
	if err := a.Post(t.Context(), "/wxa/getwxacode", nil, &got); err != nil || string(got) != string(picture) {
		t.Errorf("Post: %q, %v", got, err)
	}
	for path, code := range map[string]int{"/cgi-bin/tags/delete": 45058, "/cgi-bin/tags/update": -1} {
		var refused *wechatopen.APIError
		if err := a.Post(t.Context(), path, nil, nil); !errors.As(err, &refused) || refused.Code != code {
			t.Errorf("%s: %v, want errcode %d", path, err, code)
		}
	}
	native, err := wechatopen.NewAccount(acct.Credentials(), append(sim.Options(), wechatopen.WithBasicToken())...)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := native.AccessToken().Token(t.Context()); err != nil {
		t.Errorf("a path that the server knows was taken from it: %v", err)
	}
	if n := sim.Count("/wxa/getwxacode"); n != 1 {
		t.Errorf("the journal counts %d calls", n)
	}
}
