package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/wechatopen/wechatopen/wechattest"
)

func noEnv(string) string { return "" }

func TestWalkHoldsAtEveryStep(t *testing.T) {
	var out bytes.Buffer
	if err := run(t.Context(), []string{"-walk"}, noEnv, &out); err != nil {
		t.Fatalf("%v\nafter:\n%s", err, &out)
	}
	lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
	if len(lines) != 18 {
		t.Errorf("walk printed %d lines, want one for each of its 18 steps:\n%s", len(lines), &out)
	}
	for i, line := range lines {
		if !strings.HasPrefix(line, fmt.Sprintf("%2d  ", i+1)) {
			t.Errorf("line %d is not numbered so: %q", i+1, line)
		}
	}
}

// world is the simulator and a shop platform beside it.
func world(t *testing.T) (wx *wechat, walkIt func(io.Writer) error, baseURL string) {
	t.Helper()
	srv := httptest.NewUnstartedServer(nil)
	baseURL = "http://" + srv.Listener.Addr().String()
	wx, err := startWeChat(baseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(wx.Close)
	site, err := newSite(wx, baseURL, t.TempDir(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := site.Close(); err != nil {
			t.Error(err)
		}
	})
	srv.Config = newServer(site)
	srv.Start()
	t.Cleanup(srv.Close)
	return wx, func(out io.Writer) error { return walk(t.Context(), site, out) }, baseURL
}

func TestWalkStopsWhereWeChatMisbehaves(t *testing.T) {
	for _, tt := range []struct {
		name  string
		fault wechattest.Fault
		want  string
	}{
		{"secret refused", wechattest.Fault{Path: pathComponentToken, ErrCode: 40125}, "step 2, component token: "},
		{"code refused", wechattest.Fault{Path: pathQueryAuth, ErrCode: 48001}, "step 4, authorization: "},
		{"login code refused", wechattest.Fault{Path: pathCodeExchange, ErrCode: 40029}, "step 9, login: "},
		{"no ticket", wechattest.Fault{Path: pathJSTicket, ErrCode: -1}, "step 12, JSSDK: "},
		{"no refresh", wechattest.Fault{Path: pathAuthorizerToken, ErrCode: 61023}, "step 14, refresh: "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wx, walkIt, _ := world(t)
			wx.Inject(tt.fault)
			err := walkIt(io.Discard)
			if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
				t.Errorf("walk: %v, want an error that begins with %q", err, tt.want)
			}
		})
	}
}

func TestHomePageRenders(t *testing.T) {
	_, _, baseURL := world(t)
	resp, err := http.Get(baseURL + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/html; charset=utf-8" {
		t.Errorf("home: status %d, type %q", resp.StatusCode, resp.Header.Get("Content-Type"))
	}
	for _, want := range []string{`id="connect" href="/wechat/authorize"`, "还没有店铺 · No shops yet"} {
		if !strings.Contains(string(body), want) {
			t.Errorf("home has no %q:\n%s", want, body)
		}
	}
}

func TestPagesOfNobodyAreNotFound(t *testing.T) {
	wx, _, baseURL := world(t)
	for _, path := range []string{
		"/nowhere",
		"/shop/" + wx.accounts[0].AppID() + "/", // known to WeChat, but has not authorized the platform
		"/wechat/jssdk/" + wx.accounts[0].AppID() + "?url=" + baseURL + "/",
	} {
		resp, err := http.Get(baseURL + path)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusNotFound {
			t.Errorf("%s: status %d, want 404", path, resp.StatusCode)
		}
	}
	if calls := wx.Calls(); len(calls) != 0 {
		t.Errorf("%d calls of WeChat, want none", len(calls))
	}
}

func TestFormOfAnotherSiteLogsNobodyOut(t *testing.T) {
	wx, _, baseURL := world(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, baseURL+"/shop/"+wx.accounts[0].AppID()+"/logout", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("status %d, want 403", resp.StatusCode)
	}
}

func TestRunServesUntilItsContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, w := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := run(ctx, nil, noEnv, w)
		w.CloseWithError(io.EOF)
		ended <- err
	}()
	lines := bufio.NewScanner(r)
	if !lines.Scan() {
		t.Fatalf("nothing printed; run: %v", <-ended)
	}
	fields := strings.Fields(lines.Text())
	go io.Copy(io.Discard, r)
	resp, err := http.Get(fields[len(fields)-1])
	if err != nil {
		t.Fatalf("the address on the first line, %q: %v", lines.Text(), err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("status %d, want 200", resp.StatusCode)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("run: %v, want nil after its context has ended", err)
	}
}

// realEnv is an environment with real credentials, as far as anyone can see without WeChat.
func realEnv(t *testing.T) map[string]string {
	return map[string]string{
		"WECHAT_COMPONENT_APPID":  "wx0123456789abcdef",
		"WECHAT_COMPONENT_SECRET": "value-of-the-secret",
		"WECHAT_TOKEN":            "valueofthetoken",
		"WECHAT_AES_KEY":          "valueoftheaeskeyvalueoftheaeskeyvalueofthea",
		"WECHAT_COOKIE_SECRET":    strings.Repeat("5ec2e7", 11),
		"WECHAT_STATE":            filepath.Join(t.TempDir(), "state.db"),
	}
}

func TestRealStateIsInAFileOfItsOwner(t *testing.T) {
	env := realEnv(t)
	flagged := filepath.Join(t.TempDir(), "flagged.db")
	for _, tt := range []struct {
		name, path string
		args       []string
	}{
		{"environment", env["WECHAT_STATE"], nil},
		{"flag", flagged, []string{"-state", flagged}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			cancel() // it starts, makes the file, and ends
			args := append([]string{"-base-url", "https://shop.example.com"}, tt.args...)
			if err := run(ctx, args, func(k string) string { return env[k] }, io.Discard); err != nil {
				t.Fatal(err)
			}
			info, err := os.Stat(tt.path)
			if err != nil {
				t.Fatal(err)
			}
			if mode := info.Mode().Perm(); runtime.GOOS != "windows" && mode != 0o600 {
				t.Errorf("the file of the state has mode %v, want 0600", mode)
			}
		})
	}
}

func TestConfigNamesWhatIsWrongNeverItsValue(t *testing.T) {
	good := realEnv(t)
	for _, tt := range []struct {
		name, change, to string
		args             []string
		want             string
	}{
		{name: "no appid", change: "WECHAT_COMPONENT_APPID", want: "WECHAT_COMPONENT_APPID"},
		{name: "no secret", change: "WECHAT_COMPONENT_SECRET", want: "WECHAT_COMPONENT_SECRET"},
		{name: "no token", change: "WECHAT_TOKEN", want: "WECHAT_TOKEN"},
		{name: "no key", change: "WECHAT_AES_KEY", want: "WECHAT_AES_KEY"},
		{name: "no cookie secret", change: "WECHAT_COOKIE_SECRET", want: "WECHAT_COOKIE_SECRET"},
		{name: "short cookie secret", change: "WECHAT_COOKIE_SECRET", to: "5ec2e7", want: "WECHAT_COOKIE_SECRET"},
		{name: "cookie secret not hex", change: "WECHAT_COOKIE_SECRET", to: strings.Repeat("value!", 11), want: "WECHAT_COOKIE_SECRET"},
		{name: "no base URL", args: []string{"-base-url", ""}, want: "-base-url"},
		{name: "base URL without TLS", args: []string{"-base-url", "http://shop.example.com"}, want: "-base-url"},
		{name: "state in no directory", change: "WECHAT_STATE", to: filepath.Join(t.TempDir(), "none", "state.db"), want: "state.db"},
		{name: "walk", args: []string{"-walk"}, want: "-walk"},
		{name: "key of a wrong length", change: "WECHAT_AES_KEY", to: "valueoftheaeskey", want: "EncodingAESKey"},
		{name: "help", args: []string{"-help"}, want: "WECHAT_AES_KEY"},
		{name: "secret as an argument", args: []string{"value-of-the-secret"}, want: "flags"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := func(k string) string {
				if k == tt.change {
					return tt.to
				}
				return good[k]
			}
			var out bytes.Buffer
			err := run(t.Context(), append([]string{"-base-url", "https://shop.example.com"}, tt.args...), env, &out)
			said := fmt.Sprint(err, out.String())
			if err == nil && tt.name != "help" {
				t.Fatal("run: no error")
			}
			if !strings.Contains(said, tt.want) {
				t.Errorf("%q does not name %s", said, tt.want)
			}
			for _, secret := range []string{"value", "5ec2e7"} {
				if strings.Contains(said, secret) {
					t.Errorf("%q holds the value of a secret", said)
				}
			}
		})
	}
}
