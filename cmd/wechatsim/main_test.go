package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// output can be written and read at the same time.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

// values are the KEY=VALUE lines.
func (o *output) values() map[string]string {
	o.mu.Lock()
	defer o.mu.Unlock()
	m := map[string]string{}
	for line := range strings.Lines(o.b.String()) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(line, "#") {
			m[k] = v
		}
	}
	return m
}

func TestRunPrintsCredentialsAndPushesATicket(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	pushed := make(chan struct{}, 10)
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pushed <- struct{}{}
		w.Write([]byte("success"))
	}))
	defer service.Close()
	key := strings.Repeat("k", 43)
	var out output
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"-addr", "127.0.0.1:0", "-event-url", service.URL, "-component", "wx1:secret:token:" + key}, &out)
	}()
	select {
	case <-pushed:
	case err := <-done:
		t.Fatal(err)
	}
	v := out.values()
	if v["COMPONENT_APPID"] != "wx1" || v["COMPONENT_APPSECRET"] != "secret" || v["COMPONENT_TOKEN"] != "token" ||
		v["COMPONENT_AES_KEY"] != key || v["ACCOUNT_APPID"] == "" {
		t.Errorf("printed %v", v)
	}
	resp, err := http.Get(v["WECHAT_URL"] + "/cgi-bin/token?grant_type=client_credential&appid=" + v["ACCOUNT_APPID"] +
		"&secret=" + v["ACCOUNT_APPSECRET"])
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var token struct {
		Value string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&token); err != nil || token.Value == "" {
		t.Errorf("token %+v, %v", token, err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-component", "wx1:secret:token"},
		{"-component", "wx1:secret:token:short"},
		{"-addr", "nowhere:x"},
		{"-unknown"},
		{"argument"},
	} {
		if err := run(t.Context(), args, &output{}); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
