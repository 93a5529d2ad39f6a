package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
)

// output can be written and read at the same time.
type output struct {
	mu   sync.Mutex
	b    bytes.Buffer
	more chan struct{} // closed by the next Write; nil nobody waits
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more != nil {
		close(o.more)
		o.more = nil
	}
	return o.b.Write(p)
}

// written is closed when something is written.
func (o *output) written() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.more == nil {
		o.more = make(chan struct{})
	}
	return o.more
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// wait returns the value of key once the line of last was printed.
func (o *output) wait(t *testing.T, last, key string) string {
	t.Helper()
	for {
		more := o.written()
		if v := o.values(); v[last] != "" {
			return v[key]
		}
		select {
		case <-more:
		case <-time.After(10 * time.Second):
			t.Fatal("nothing is printed")
		}
	}
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

func TestChatWithAnAccountOfOnesOwn(t *testing.T) {
	key := strings.Repeat("k", 43)
	for _, mode := range [][]string{nil, {"-plain"}} {
		ctx, cancel := context.WithCancel(t.Context())
		own, err := wechatopen.NewAccount(wechatopen.Credentials{AppID: "wx0123456789abcdef", AppSecret: "s", Token: "token", EncodingAESKey: key})
		if err != nil {
			t.Fatal(err)
		}
		service := httptest.NewServer(&wechatopen.MessageHandler{Account: own, Plain: mode != nil,
			Handle: func(context.Context, *wechatopen.Message) (wechatopen.Reply, error) {
				return wechatopen.Text("welcome"), nil
			}})
		var out output
		done := make(chan error, 1)
		go func() {
			done <- run(ctx, append(mode, "-addr", "127.0.0.1:0", "-account", "wx0123456789abcdef:s:token:"+key, "-account-message-url", service.URL), &out)
		}()
		base := out.wait(t, "WEBSITE_APPSECRET", "WECHAT_URL")
		resp, err := http.PostForm(base+"/wechatsim/chat", url.Values{"appid": {own.AppID()}, "do": {"follow"}})
		if err != nil {
			t.Fatal(err)
		}
		page, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if !bytes.Contains(page, []byte("welcome")) {
			t.Errorf("%v: %s", mode, page)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		service.Close()
	}
}

func TestRunRefusesWrongFlags(t *testing.T) {
	for _, args := range [][]string{
		{"-component", "wx1:secret:token"},
		{"-component", "wx1:secret:token:short"},
		{"-addr", "nowhere:x"},
		{"-unknown"},
		{"argument"},
		{"-account", "wx1:secret"},
		{"-account", "wx1:s:t:" + strings.Repeat("k", 43), "-component", "wx1:s:t:" + strings.Repeat("k", 43)},
		{"-release-test"},
		{"-release-test", "-event-url", "http://127.0.0.1:1/"},
		{"-group", "6"},
		{"-group", "-1"},
	} {
		if err := run(t.Context(), args, &output{}); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
	err := run(t.Context(), []string{"-release-test", "-event-url", "http://127.0.0.1:1/", "-message-url", "http://127.0.0.1:1/"}, &output{})
	if err == nil || !strings.Contains(err.Error(), "-component") {
		t.Errorf("a release test of a platform that is made up: %v", err)
	}
}

// platformService is a platform made with the root package. It learns from out where WeChat is, at its first push.
func platformService(t *testing.T, out *output, credentials wechatopen.Credentials, handle func(*wechatopen.Platform) wechatopen.MessageFunc) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	var once sync.Once
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		once.Do(func() {
			base := out.values()["WECHAT_URL"]
			p, err := wechatopen.NewPlatform(credentials, wechatopen.WithStore(wechatopen.NewMemoryStore()),
				wechatopen.WithEndpoints(wechatopen.Endpoints{API: base, Open: base, MP: base}))
			if err != nil {
				t.Error(err)
				return
			}
			mux.Handle("/event", &wechatopen.TicketHandler{Platform: p})
			mux.Handle("/message/{appid}", &wechatopen.MessageHandler{Platform: p, Handle: handle(p)})
		})
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(service.Close)
	return service
}

func TestReleaseTestOfAService(t *testing.T) {
	credentials := wechatopen.Credentials{AppID: "wx0123456789abcdef", AppSecret: strings.Repeat("5", 32), Token: "pushtoken",
		EncodingAESKey: strings.Repeat("k", 43)}
	good := func(p *wechatopen.Platform) wechatopen.MessageFunc { return wechatopen.ReleaseTest(p, nil) }
	mute := func(p *wechatopen.Platform) wechatopen.MessageFunc { // says nothing to the text and to the event
		return func(ctx context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
			if strings.HasPrefix(m.Content, "QUERY_AUTH_CODE:") {
				return good(p)(ctx, m)
			}
			return nil, nil
		}
	}
	for name, tt := range map[string]struct {
		handle func(*wechatopen.Platform) wechatopen.MessageFunc
		group  string
		want   []string // in the report
		failed string   // in the error; "" passed
	}{
		"passes with every group": {good, "0", []string{"group 1\n", "group 5\n", "4/4", "ready for release"}, ""},
		"passes with one group":   {good, "3", []string{"group 3\n", "PASS  公众号事件 event (wx8e1097c5bc82cde9) [可选 optional]"}, ""},
		"fails without its answers": {mute, "2", []string{"PASS  推送 ticket component_verify_ticket", "FAIL  公众号文本消息 text message",
			"PASS  小程序客服消息", "no    公众号事件", "3/4", "not ready for release"}, "group 2"},
	} {
		t.Run(name, func(t *testing.T) {
			var out output
			service := platformService(t, &out, credentials, tt.handle)
			err := run(t.Context(), []string{"-release-test", "-group", tt.group, "-addr", "127.0.0.1:0",
				"-component", strings.Join([]string{credentials.AppID, credentials.AppSecret, credentials.Token, credentials.EncodingAESKey}, ":"),
				"-event-url", service.URL + "/event", "-message-url", service.URL + "/message/$APPID$"}, &out)
			if tt.failed == "" && err != nil || tt.failed != "" && (err == nil || !strings.Contains(err.Error(), tt.failed)) {
				t.Errorf("error %v, want %q", err, tt.failed)
			}
			for _, want := range tt.want {
				if got := out.String(); !strings.Contains(got, want) {
					t.Errorf("the report lacks %q:\n%s", want, got)
				}
			}
			for _, secret := range []string{credentials.AppSecret, credentials.Token, credentials.EncodingAESKey} {
				if strings.Contains(out.String(), secret) {
					t.Errorf("shows a secret of the service:\n%s", out.String())
				}
			}
		})
	}
}
