package wechatopen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/wechattest"
)

// transportClient is a client of one's own that goes through a Transport.
func transportClient(a *wechatopen.Account) *http.Client {
	return &http.Client{Transport: &wechatopen.Transport{Source: a.AccessToken()}}
}

const staleAnswer = `{"errcode":40001,"errmsg":"invalid credential, access_token is invalid or not latest rid: 61725984-6126f6f9-040f19c4"}`

// closedOnce is a body that is to be closed once, and not to be read after that.
type closedOnce struct {
	io.Reader
	t      *testing.T
	closed atomic.Int64
}

func (c *closedOnce) Read(b []byte) (int, error) {
	if c.closed.Load() > 0 {
		c.t.Error("the body is read after it was closed")
	}
	return c.Reader.Read(b)
}

func (c *closedOnce) Close() error { c.closed.Add(1); return nil }

func TestTransportPutsTheTokenUnderTheNameOfThePath(t *testing.T) {
	w := newWorld(t)
	shop := w.ready()
	platformToken, shopToken := tokenOf(t, w.platform.ComponentToken()).Value, tokenOf(t, shop.AccessToken()).Value
	for _, test := range []struct {
		source            *wechatopen.CachedTokenSource
		path, query, want string
	}{
		{shop.AccessToken(), "/cgi-bin/user/info", "openid=o1&lang=en", "openid=o1&lang=en&access_token=" + shopToken},
		{shop.AccessToken(), "/cgi-bin/user/info", "", "access_token=" + shopToken},
		{shop.AccessToken(), "/cgi-bin/user/info", "z=1&a=%7e~+%20&a=&b&=c", "z=1&a=%7e~+%20&a=&b&=c&access_token=" + shopToken},
		{shop.AccessToken(), "/cgi-bin/user/info", "access_token=mine&b=2", "b=2&access_token=" + shopToken},
		{shop.AccessToken(), "/cgi-bin/user/info", "a=1&access_token=mine&access%5ftoken=&b=2&access_token", "a=1&b=2&access_token=" + shopToken},
		{w.platform.ComponentToken(), "/cgi-bin/component/api_query_auth", "a=1", "a=1&component_access_token=" + platformToken},
		{w.platform.ComponentToken(), "/cgi-bin/component/api_query_auth", "component_access_token=x&a=1", "a=1&component_access_token=" + platformToken},
		// The newer pages of the documentation have this name there too, with a placeholder that people copy.
		{w.platform.ComponentToken(), "/cgi-bin/component/api_query_auth", "access_token=COMPONENT_ACCESS_TOKEN", "component_access_token=" + platformToken},
		{w.platform.ComponentToken(), "/sns/component/jscode2session", "", "component_access_token=" + platformToken},
		{w.platform.ComponentToken(), "/sns/oauth2/component/access_token", "code=c", "code=c&component_access_token=" + platformToken},
		{w.platform.ComponentToken(), "/wxa/gettemplatelist", "", "access_token=" + platformToken},
		{shop.AccessToken(), "/cgi-bin/component/get_authorizer_option", "", "access_token=" + shopToken},
	} {
		var got string
		transport := &wechatopen.Transport{Source: test.source, Base: wire(func(r *http.Request) (*http.Response, error) {
			got = r.URL.RawQuery
			return wireAnswer(r, 200, wireOK), nil
		})}
		r := request(t, http.MethodGet, w.sim.URL()+test.path+"?"+test.query)
		r.URL.ForceQuery = false
		resp, err := transport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if want := test.want; got != want {
			t.Errorf("%s?%s:\n got %s\nwant %s", test.path, test.query, got, want)
		}
	}
}

func TestTransportLeavesTheRequestAsItIs(t *testing.T) {
	var calls atomic.Int64
	a, api := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Mine") != "kept" || r.Header.Get("Content-Type") != "text/x-mine" {
			t.Errorf("headers %v", r.Header)
		}
		if calls.Add(1) == 1 {
			_, _ = io.WriteString(w, staleAnswer)
			return
		}
		_, _ = io.WriteString(w, wireOK)
	})
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/cgi-bin/x?access_token=mine&a=%7e", strings.NewReader("body"))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("X-Mine", "kept")
	r.Header.Set("Content-Type", "text/x-mine")
	address, header, body := r.URL.String(), r.Header.Clone(), r.Body
	resp, err := (&wechatopen.Transport{Source: a.AccessToken(), Base: wire(func(r *http.Request) (*http.Response, error) {
		r.Header.Add("X-Base", "1")
		return http.DefaultTransport.RoundTrip(r)
	})}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if r.URL.String() != address || r.Body != body || cmp.Diff(header, r.Header) != "" {
		t.Errorf("the request was changed: %s %v", r.URL, r.Header)
	}
	if resp.Request != r {
		t.Error("the answer is to another request, whose URL holds the token")
	}
	if calls.Load() != 2 {
		t.Errorf("%d calls, want 2", calls.Load())
	}
}

// attacks.md 37
func TestTransportRepeatsAStaleCallOnceWithItsWholeBody(t *testing.T) {
	content := strings.Repeat("商店 <&>", 20_000)
	for _, code := range []int{40001, 40014, 42001, 42006} {
		var mu sync.Mutex
		var got []string
		a, api := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got = append(got, r.Method+" "+r.URL.Query().Get("access_token")+" "+string(body))
			if len(got) == 1 {
				fmt.Fprintf(w, `{"errcode":%d,"errmsg":"stale"}`, code)
				return
			}
			_, _ = io.WriteString(w, wireOK)
		})
		resp, err := transportClient(a).Post(api.URL+"/cgi-bin/menu/create", "application/json", strings.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		answer, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(answer) != wireOK {
			t.Errorf("%d: answer %s, %v", code, answer, err)
		}
		if want := []string{"POST " + wireToken(1) + " " + content, "POST " + wireToken(2) + " " + content}; !slices.Equal(got, want) {
			t.Errorf("%d: %d requests; or not the whole body, or not a new token", code, len(got))
		}
	}
}

func TestTransportPassesOtherRefusalsOn(t *testing.T) {
	for _, refusal := range []string{
		`{"errcode":48001,"errmsg":"api unauthorized"}`, `{"errcode":45009}`, `{"errcode":0}`, `[40001]`, `{"errcode":"no"}`, `{`, ``, " \r\n{\"errcode\":40003}",
	} {
		var calls atomic.Int64
		a, api := bareAPI(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			_, _ = io.WriteString(w, refusal)
		})
		if got := get(t, transportClient(a), api.URL+"/cgi-bin/x"); got.Body != refusal || got.Status != 200 {
			t.Errorf("answer %d %q, want %q", got.Status, got.Body, refusal)
		}
		if calls.Load() != 1 {
			t.Errorf("%s: %d calls, want 1", refusal, calls.Load())
		}
	}
}

func TestTransportReturnsTheRefusalOfABodyThatCannotBeRepeated(t *testing.T) {
	for name, prepare := range map[string]func(*http.Request){
		"without GetBody": func(r *http.Request) { r.GetBody = nil },
		"GetBody that fails": func(r *http.Request) {
			r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("spent") }
		},
	} {
		var calls atomic.Int64
		a, api := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
			calls.Add(1)
			_, _ = io.Copy(io.Discard, r.Body)
			_, _ = io.WriteString(w, staleAnswer)
		})
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, api.URL+"/cgi-bin/x", strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		prepare(r)
		if got := do(t, transportClient(a), r); got.Status != 200 || got.Body != staleAnswer {
			t.Errorf("%s: answer %d %q", name, got.Status, got.Body)
		}
		if calls.Load() != 1 {
			t.Errorf("%s: %d calls, want 1", name, calls.Load())
		}
	}
}

// attacks.md 37
func TestTransportRepeatsARefusalForEverOnce(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	w.sim.ResetJournal()
	w.sim.Inject(wechattest.Fault{Path: opEcho, ErrCode: 40001})
	client := transportClient(a)
	if got := get(t, client, w.sim.URL()+opEcho); got.Status != 200 || !strings.HasPrefix(got.Body, `{"errcode":40001,`) {
		t.Errorf("answer %d %q", got.Status, got.Body)
	}
	if calls, refreshes := w.sim.Count(opEcho), w.sim.Count(opAuthorizerToken); calls != 2 || refreshes != 1 {
		t.Errorf("%d calls and %d refreshes, want 2 and 1", calls, refreshes)
	}
}

// attacks.md 37
func TestTransportRefreshesOnceForAHundredCallersAtOnce(t *testing.T) {
	w := newWorld(t)
	a := w.ready()
	old := tokenOf(t, a.AccessToken()).Value
	w.comp.ExpireTokens()
	w.sim.ResetJournal()
	client := transportClient(a)
	together(100, nil, func(i int) {
		resp, err := client.Post(w.sim.URL()+opEcho, "application/json", strings.NewReader(fmt.Sprintf(`{"caller":"%d"}`, i)))
		if err != nil {
			t.Error(err)
			return
		}
		defer resp.Body.Close()
		if body, err := io.ReadAll(resp.Body); err != nil || !strings.Contains(string(body), fmt.Sprintf(`{"caller":"%d"}`, i)) {
			t.Errorf("caller %d: %s, %v", i, body, err)
		}
	})
	refreshed := 0
	for _, c := range w.sim.Calls(opAuthorizerToken) {
		if c.ErrCode == 0 {
			refreshed++
		}
	}
	if refreshed != 1 || tokenOf(t, a.AccessToken()).Value == old {
		t.Errorf("%d refreshes, want 1", refreshed)
	}
}

// attacks.md 43: no token leaves for another host.
func TestTransportRefusesOtherHosts(t *testing.T) {
	var elsewhere atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		elsewhere.Add(1)
		t.Errorf("a request reached another host: %s %s", r.Host, r.URL)
	}))
	defer other.Close()
	otherHost := strings.TrimPrefix(other.URL, "http://")
	a, api := bareAPI(t, func(http.ResponseWriter, *http.Request) { t.Error("a request reached the API") })
	host := strings.TrimPrefix(api.URL, "http://")
	_, port, _ := strings.Cut(host, ":")
	_, otherPort, _ := strings.Cut(otherHost, ":")
	for _, address := range []string{
		other.URL + "/cgi-bin/user/info",
		"http://" + host + "@" + otherHost + "/",
		"http://" + host + "%40" + otherHost + "/",
		"http://" + host + ":x@" + otherHost + "/",
		"http://127.0.0.1:" + otherPort + "/?" + host,
		"http://127.0.0.1:" + otherPort + "/#" + host,
		"http://localhost:" + port + "/",
		"http://127.0.0.1.:" + port + "/",
		"http://127.0.0.1/",
		"http://127.0.0.1:/",
		"http://127.0.0.1:0" + port + "/",
		"http://0x7f000001:" + port + "/",
		"http://" + host + ".evil.example/",
		"https://" + host + "/",
		"ftp://" + host + "/",
		"HTTP://" + otherHost + "/",
		"//" + otherHost + "/",
		"/cgi-bin/user/info",
		"http:" + host,
	} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
		if err != nil {
			continue // net/url refuses it before anyone asks the Transport
		}
		base := wire(func(r *http.Request) (*http.Response, error) {
			t.Errorf("%s: a request leaves", address)
			return http.DefaultTransport.RoundTrip(r)
		})
		if resp, err := (&wechatopen.Transport{Source: a.AccessToken(), Base: base}).RoundTrip(r); err == nil {
			t.Errorf("%s: no error", address)
			resp.Body.Close()
		}
	}
	// What a proxy would take for another host's.
	for _, opaque := range []string{"//" + otherHost + "/", "x"} {
		r := request(t, http.MethodGet, api.URL+"/cgi-bin/x")
		r.URL.Opaque = opaque
		proxy := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(other.URL) }}
		if resp, err := (&wechatopen.Transport{Source: a.AccessToken(), Base: proxy}).RoundTrip(r); err == nil {
			t.Errorf("%s: no error", opaque)
			resp.Body.Close()
		}
	}
	if elsewhere.Load() != 0 {
		t.Errorf("%d requests elsewhere", elsewhere.Load())
	}
}

// A proxy of plain HTTP goes by the Host of a request, which a reverse proxy copies from its visitor's.
func TestTransportGoesByTheURLAlone(t *testing.T) {
	a, api := bareAPI(t, func(http.ResponseWriter, *http.Request) { t.Error("not by the proxy") })
	var asked string
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Host + " " + r.URL.Host
		io.WriteString(w, wireOK)
	}))
	defer proxy.Close()
	base := &http.Transport{Proxy: func(*http.Request) (*url.URL, error) { return url.Parse(proxy.URL) }}
	r := request(t, http.MethodGet, api.URL+"/cgi-bin/x")
	r.Host = "evil.example"
	resp, err := (&wechatopen.Transport{Source: a.AccessToken(), Base: base}).RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if host := strings.TrimPrefix(api.URL, "http://"); asked != host+" "+host {
		t.Errorf("the proxy was asked for %q", asked)
	}
	if r.Host != "evil.example" {
		t.Errorf("the caller's request has become one to %q", r.Host)
	}
}

func TestTransportRefusesARequestWithoutAURL(t *testing.T) {
	a, _ := bareAPI(t, func(http.ResponseWriter, *http.Request) { t.Error("a request reached the API") })
	if _, err := (&wechatopen.Transport{Source: a.AccessToken()}).RoundTrip(&http.Request{}); err == nil {
		t.Error("no error")
	}
}

// An API behind a path of a host that has others: no token for those, and the path of WeChat's names it.
func TestTransportKeepsToThePathOfTheEndpoint(t *testing.T) {
	var got []string
	server := httptest.NewServer(withTokens(nil))
	defer server.Close()
	base := wire(func(r *http.Request) (*http.Response, error) {
		got = append(got, r.URL.Path+"?"+strings.SplitN(r.URL.RawQuery, "=", 2)[0])
		return wireAnswer(r, 200, wireOK), nil
	})
	tokens := wire(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/wechat")
		return http.DefaultTransport.RoundTrip(r)
	})
	a := bareAccount(t, server.URL+"/wechat/", wechatopen.WithHTTPClient(&http.Client{Transport: tokens}))
	transport := &wechatopen.Transport{Source: a.AccessToken(), Base: base}
	for path, ok := range map[string]bool{
		"/wechat/cgi-bin/component/x": true,
		"/wechat/cgi-bin/y":           true,
		"/wechatevil/cgi-bin/x":       false,
		"/other":                      false,
		"/":                           false,
		"/wechat/../other":            false,
		"/wechat/%2e%2e/other":        false,
	} {
		resp, err := transport.RoundTrip(request(t, http.MethodGet, server.URL+path))
		if (err == nil) != ok {
			t.Errorf("%s: error %v", path, err)
		}
		if err == nil {
			resp.Body.Close()
		}
	}
	slices.Sort(got)
	if want := []string{"/wechat/cgi-bin/component/x?component_access_token", "/wechat/cgi-bin/y?access_token"}; !slices.Equal(got, want) {
		t.Errorf("requests %q, want %q", got, want)
	}
}

// attacks.md 43
func TestTransportSendsNoTokenAfterARedirectElsewhere(t *testing.T) {
	other := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed: %s, Referer %q", r.URL, r.Referer())
	}))
	defer other.Close()
	for _, status := range []int{301, 302, 303, 307, 308} {
		a, api := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, other.URL+"/?"+r.URL.RawQuery, status)
		})
		resp, err := transportClient(a).Post(api.URL+"/cgi-bin/x", "text/plain", strings.NewReader("body"))
		if err == nil {
			t.Errorf("%d: answer %d, want an error", status, resp.StatusCode)
			resp.Body.Close()
			continue
		}
		if text := err.Error(); !strings.Contains(text, "is not WeChat's API") {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestTransportDoesNotHoldUpAnswers(t *testing.T) {
	picture := patternBytes(3 << 20)
	small := patternBytes(100)
	for name, test := range map[string]struct {
		kind string
		body []byte
	}{
		"picture":          {"image/jpeg", picture},
		"small picture":    {"image/jpeg", small},
		"large JSON":       {"application/json", []byte(`{"errcode":40001,"long":"` + strings.Repeat("x", 1<<20) + `"}`)},
		"JSON of 4 KiB":    {"application/json", []byte(`{"long":"` + strings.Repeat("x", 4<<10-11) + `"}`)},
		"JSON of 4095":     {"application/json", []byte(`{"long":"` + strings.Repeat("x", 4<<10-12) + `"}`)},
		"bytes as text":    {"text/plain", picture},
		"no Content-Type":  {"", picture},
		"empty":            {"application/json", nil},
		"refusal in a jpg": {"image/jpeg", []byte(staleAnswer)},
	} {
		var calls atomic.Int64
		a, api := bareAPI(t, func(w http.ResponseWriter, _ *http.Request) {
			calls.Add(1)
			w.Header()["Content-Type"] = nil
			if test.kind != "" {
				w.Header().Set("Content-Type", test.kind)
			}
			_, _ = w.Write(test.body)
		})
		if got := get(t, transportClient(a), api.URL+"/cgi-bin/media/get"); got.Body != string(test.body) {
			t.Errorf("%s: %d bytes, want %d and the same", name, len(got.Body), len(test.body))
		}
		if calls.Load() != 1 {
			t.Errorf("%s: %d calls", name, calls.Load())
		}
	}
}

func TestTransportPassesAStreamOn(t *testing.T) {
	for kind, first := range map[string]string{
		"text/event-stream":        strings.Repeat("data: x\n\n", 4<<10/9+1),
		"image/gif":                "GIF",
		"application/octet-stream": "x",
		"video/mp4":                "x",
	} {
		done := make(chan struct{})
		a, api := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", kind)
			_, _ = io.WriteString(w, first)
			_ = http.NewResponseController(w).Flush()
			select { // the rest comes when the first bytes have been read
			case <-done:
				_, _ = io.WriteString(w, "the end")
			case <-time.After(10 * time.Second):
			}
		})
		resp, err := transportClient(a).Get(api.URL + "/cgi-bin/stream")
		if err != nil {
			t.Fatal(err)
		}
		got := make([]byte, len(first))
		if _, err := io.ReadFull(resp.Body, got); err != nil || string(got) != first {
			t.Errorf("%s: %v", kind, err)
		}
		close(done)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != "the end" {
			t.Errorf("%s: the rest is %q, %v", kind, rest, err)
		}
		resp.Body.Close()
	}
}

func TestTransportPassesOnABodyThatFails(t *testing.T) {
	broken := errors.New("connection lost")
	for _, n := range []int{0, 1, 100, 4<<10 - 1, 4 << 10, 10 << 10} {
		a, api := bareAPI(t, nil)
		failed := false
		body := &closedOnce{t: t, Reader: io.MultiReader(bytes.NewReader(bytes.Repeat([]byte("{"), n)), readerFunc(func([]byte) (int, error) {
			if failed { // it says so once
				return 0, io.EOF
			}
			failed = true
			return 0, broken
		}))}
		calls := 0
		transport := &wechatopen.Transport{Source: a.AccessToken(), Base: wire(func(r *http.Request) (*http.Response, error) {
			calls++
			resp := wireAnswer(r, 200, "")
			resp.Header.Set("Content-Type", "application/json")
			resp.Body, resp.ContentLength = body, -1
			return resp, nil
		})}
		resp, err := transport.RoundTrip(request(t, http.MethodGet, api.URL+"/cgi-bin/x"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		if !errors.Is(err, broken) || len(got) != n {
			t.Errorf("%d bytes and %v, want %d and %v", len(got), err, n, broken)
		}
		resp.Body.Close()
		if calls != 1 || body.closed.Load() != 1 {
			t.Errorf("%d calls; answer closed %d times", calls, body.closed.Load())
		}
	}
}

// A RoundTripper closes the body whatever happens, and the bodies of answers that it does not return.
func TestTransportClosesEachBodyOnce(t *testing.T) {
	good, api := bareAPI(t, nil)
	down := bareAccount(t, "http://127.0.0.1:1", wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(*http.Request) (*http.Response, error) {
		return nil, errors.New("no network")
	})}))
	// answers are those of Base, one after the other; "" fails.
	for name, test := range map[string]struct {
		source  *wechatopen.CachedTokenSource
		address string
		answers []string
		want    int // requests
		noBody  bool
		getBody string // "", "none" or "fails"
	}{
		"no Source":                 {nil, api.URL, nil, 0, false, ""},
		"another host":              {good.AccessToken(), "http://evil.example", nil, 0, false, ""},
		"no token":                  {down.AccessToken(), "http://127.0.0.1:1", nil, 0, false, ""},
		"taken":                     {good.AccessToken(), api.URL, []string{wireOK}, 1, false, ""},
		"Base fails":                {good.AccessToken(), api.URL, []string{""}, 1, false, ""},
		"repeated":                  {good.AccessToken(), api.URL, []string{staleAnswer, wireOK}, 2, false, ""},
		"repeated without a body":   {good.AccessToken(), api.URL, []string{staleAnswer, wireOK}, 2, true, ""},
		"repeated, then Base fails": {good.AccessToken(), api.URL, []string{staleAnswer, ""}, 2, false, ""},
		"not repeatable":            {good.AccessToken(), api.URL, []string{staleAnswer}, 1, false, "none"},
		"GetBody fails":             {good.AccessToken(), api.URL, []string{staleAnswer}, 1, false, "fails"},
	} {
		t.Run(name, func(t *testing.T) {
			var bodies, answers []*closedOnce
			calls := 0
			transport := &wechatopen.Transport{Source: test.source, Base: wire(func(r *http.Request) (*http.Response, error) {
				calls++
				if r.Body != nil {
					_, _ = io.Copy(io.Discard, r.Body)
					r.Body.Close()
				}
				if test.answers[calls-1] == "" {
					return nil, errors.New("no network")
				}
				resp := wireAnswer(r, 200, "")
				answers = append(answers, &closedOnce{t: t, Reader: strings.NewReader(test.answers[calls-1])})
				resp.Body = answers[len(answers)-1]
				return resp, nil
			})}
			r := request(t, http.MethodPost, test.address+"/cgi-bin/x")
			if !test.noBody {
				newBody := func() (io.ReadCloser, error) {
					bodies = append(bodies, &closedOnce{t: t, Reader: strings.NewReader("body")})
					return bodies[len(bodies)-1], nil
				}
				r.Body, _ = newBody()
				switch test.getBody {
				case "":
					r.GetBody = newBody
				case "fails":
					r.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("spent") }
				}
			}
			if test.source == good.AccessToken() { // whose token is replaced once a minute at most
				transport.Source = bareAccount(t, api.URL).AccessToken()
			}
			resp, err := transport.RoundTrip(r)
			if (err == nil) != (resp != nil) {
				t.Fatalf("answer %v and error %v", resp, err)
			}
			if err == nil {
				if got, err := io.ReadAll(resp.Body); string(got) != test.answers[len(test.answers)-1] || err != nil {
					t.Errorf("answer %q, %v", got, err)
				}
				resp.Body.Close()
			}
			if calls != test.want {
				t.Errorf("%d requests, want %d", calls, test.want)
			}
			for i, b := range append(bodies, answers...) {
				if n := b.closed.Load(); n != 1 {
					t.Errorf("body %d (of %d of requests) closed %d times", i, len(bodies), n)
				}
			}
		})
	}
}

// attacks.md 42
func TestTransportErrorsHoldNoToken(t *testing.T) {
	a, api := bareAPI(t, nil)
	known := secrets{}
	known.add("access_token", wireToken(1))
	for name, fail := range map[string]func(*http.Request) error{
		"quoted": func(r *http.Request) error { return fmt.Errorf("cannot reach %s", r.URL) },
		"*url.Error": func(r *http.Request) error {
			return &url.Error{Op: "Get", URL: r.URL.String(), Err: io.ErrUnexpectedEOF}
		},
		"wrapped": func(r *http.Request) error {
			return fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: r.URL.String(), Err: io.EOF})
		},
		"token alone": func(r *http.Request) error { return errors.New("bad token " + r.URL.Query().Get("access_token")) },
	} {
		client := &http.Client{Transport: &wechatopen.Transport{Source: a.AccessToken(), Base: wire(func(r *http.Request) (*http.Response, error) {
			return nil, fail(r)
		})}}
		_, err := client.Get(api.URL + "/cgi-bin/user/info?openid=o1")
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		known.checkError(t, name, err)
	}
}

func TestTransportEndsWithTheContext(t *testing.T) {
	arrived := make(chan struct{}, 10)
	a, api := bareAPI(t, func(_ http.ResponseWriter, r *http.Request) {
		arrived <- struct{}{}
		<-r.Context().Done()
	})
	tokenOf(t, a.AccessToken())
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		cancel()
	}()
	r := request(t, http.MethodGet, api.URL+"/cgi-bin/x").WithContext(ctx)
	if resp, err := transportClient(a).Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, error %v", resp, err)
	}
	// Waiting for a token ends too.
	waiting := bareAccount(t, "http://api.example", wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
		cancel()
		<-r.Context().Done()
		return nil, r.Context().Err()
	})}))
	ctx, cancel = context.WithCancel(t.Context())
	defer cancel()
	r = request(t, http.MethodGet, "http://api.example/cgi-bin/x").WithContext(ctx)
	if resp, err := transportClient(waiting).Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, error %v", resp, err)
	}
}

func TestTransportSaysWhyThereIsNoToken(t *testing.T) {
	w := newWorld(t)
	client := &http.Client{Transport: &wechatopen.Transport{Source: w.platform.ComponentToken()}}
	if _, err := client.Get(w.sim.URL() + opEcho); !errors.Is(err, wechatopen.ErrNoTicket) {
		t.Errorf("%v, want ErrNoTicket", err)
	}
	if _, err := (&http.Client{Transport: &wechatopen.Transport{}}).Get(w.sim.URL() + opEcho); err == nil || !strings.Contains(err.Error(), "Source is nil") {
		t.Errorf("%v", err)
	}
	if n := w.sim.Count(opEcho); n != 0 {
		t.Errorf("%d calls", n)
	}
}
