package wechatopen_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	wechatopen "github.com/wechatopen/wechatopen"
)

const opMediaUpload = "/cgi-bin/media/upload"

// bareAPI is a server in the API's place that shows requests as they are, and an account of one's own at it. Each fetch of
// the token brings another one, wireToken(1) first. All else is calls'.
func bareAPI(t *testing.T, calls http.HandlerFunc, opts ...wechatopen.Option) (*wechatopen.Account, *httptest.Server) {
	t.Helper()
	api := httptest.NewServer(withTokens(calls))
	t.Cleanup(api.Close)
	return bareAccount(t, api.URL, opts...), api
}

func bareAccount(t *testing.T, api string, opts ...wechatopen.Option) *wechatopen.Account {
	t.Helper()
	a, err := wechatopen.NewAccount(goodCredentials(), append([]wechatopen.Option{
		wechatopen.WithEndpoints(wechatopen.Endpoints{API: api}), wechatopen.WithLogger((&logBuffer{}).logger()),
	}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func withTokens(calls http.HandlerFunc) http.Handler {
	var tokens atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == opStableToken {
			fmt.Fprintf(w, `{"access_token":%q,"expires_in":7200}`, wireToken(tokens.Add(1)))
			return
		}
		calls(w, r)
	})
}

func wireToken(n int64) string { return fmt.Sprintf("access-token+/%d", n) }

const wireOK = `{"errcode":0,"errmsg":"ok","media_id":"MEDIA"}`

// pattern is a content of any length that takes no memory.
type pattern struct{}

func (pattern) ReadAt(b []byte, off int64) (int, error) {
	for i := range b {
		b[i] = byte((off + int64(i)) % 251)
	}
	return len(b), nil
}

func patternBytes(n int64) []byte {
	b := make([]byte, n)
	_, _ = pattern{}.ReadAt(b, 0)
	return b
}

type formPart struct{ Disposition, ContentType, Body string }

func readForm(t *testing.T, r *http.Request) (parts []formPart) {
	t.Helper()
	kind, params, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		t.Errorf("Content-Type %q: %v", r.Header.Get("Content-Type"), err)
		return nil
	}
	form := multipart.NewReader(r.Body, params["boundary"])
	for {
		p, err := form.NextRawPart()
		if err == io.EOF {
			return parts
		}
		if err != nil {
			t.Errorf("form: %v", err)
			return parts
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Errorf("form: %v", err)
		}
		parts = append(parts, formPart{p.Header.Get("Content-Disposition"), p.Header.Get("Content-Type"), string(body)})
	}
}

func TestUploadIsAFormOfKnownLength(t *testing.T) {
	jpeg := string(patternBytes(100_000))
	file := func(f wechatopen.File) wechatopen.File {
		f.Content, f.Size = strings.NewReader(jpeg), int64(len(jpeg))
		return f
	}
	for name, test := range map[string]struct {
		file wechatopen.File
		want []formPart
	}{
		"bare": {file(wechatopen.File{Name: "cat.jpg"}), []formPart{
			{`form-data; name="media"; filename="cat.jpg"`, "image/jpeg", jpeg}}},
		"Chinese, spaces and quotes": {file(wechatopen.File{Name: `猫 "a"\b.png`}), []formPart{
			{`form-data; name="media"; filename="猫 \"a\"\\b.png"`, "image/png", jpeg}}},
		"line breaks": {file(wechatopen.File{Name: "a\r\nX-Evil: 1\r\n\r\n.jpg", Field: "a\"\r\nX-Evil: 1"}), []formPart{
			{`form-data; name="a\"%0D%0AX-Evil: 1"; filename="a%0D%0AX-Evil: 1%0D%0A%0D%0A.jpg"`, "image/jpeg", jpeg}}},
		"unknown extension": {file(wechatopen.File{Name: "cat.nobody-knows", Field: "access_key"}), []formPart{
			{`form-data; name="access_key"; filename="cat.nobody-knows"`, "application/octet-stream", jpeg}}},
		"its own type": {file(wechatopen.File{Name: "sound", ContentType: "audio/amr"}), []formPart{
			{`form-data; name="media"; filename="sound"`, "audio/amr", jpeg}}},
		"fields before the file": {file(wechatopen.File{Name: "film.mp4", ContentType: "video/mp4", Form: url.Values{
			"description": {`{"title":"标题 \"<&>\""}`}, "b": {"2", "3"}, "a\r\nX-Evil: 1": {"--\r\n"},
		}}), []formPart{
			{`form-data; name="a%0D%0AX-Evil: 1"`, "", "--\r\n"},
			{`form-data; name="b"`, "", "2"}, {`form-data; name="b"`, "", "3"},
			{`form-data; name="description"`, "", `{"title":"标题 \"<&>\""}`},
			{`form-data; name="media"; filename="film.mp4"`, "video/mp4", jpeg}}},
		"empty": {wechatopen.File{Name: "empty.jpg", Content: strings.NewReader("")}, []formPart{
			{`form-data; name="media"; filename="empty.jpg"`, "image/jpeg", ""}}},
		"longer than its size": {wechatopen.File{Name: "cat.jpg", Content: strings.NewReader(jpeg), Size: 3}, []formPart{
			{`form-data; name="media"; filename="cat.jpg"`, "image/jpeg", jpeg[:3]}}},
	} {
		t.Run(name, func(t *testing.T) {
			a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
				body := &countedBody{ReadCloser: r.Body}
				r.Body = body
				got := readForm(t, r)
				_, _ = io.Copy(io.Discard, r.Body)
				if diff := cmp.Diff(test.want, got); diff != "" {
					t.Errorf("the form differs (-want +got):\n%.600s", diff)
				}
				if len(r.TransferEncoding) != 0 || r.ContentLength != body.n || body.n == 0 {
					t.Errorf("Content-Length %d, transfer encoding %q of a body of %d bytes", r.ContentLength, r.TransferEncoding, body.n)
				}
				if r.Method != http.MethodPost || r.URL.RawQuery != "type=image&access_token="+url.QueryEscape(wireToken(1)) {
					t.Errorf("%s ?%s", r.Method, r.URL.RawQuery)
				}
				_, _ = io.WriteString(w, wireOK)
			})
			var out struct {
				ID string `json:"media_id"`
			}
			if err := a.Upload(t.Context(), opMediaUpload+"?type=image", test.file, &out); err != nil || out.ID != "MEDIA" {
				t.Errorf("%+v, %v", out, err)
			}
		})
	}
}

type countedBody struct {
	io.ReadCloser
	n int64
}

func (c *countedBody) Read(b []byte) (int, error) {
	n, err := c.ReadCloser.Read(b)
	c.n += int64(n)
	return n, err
}

func TestUploadRefusesWhatIsNoFile(t *testing.T) {
	a, _ := bareAPI(t, func(http.ResponseWriter, *http.Request) { t.Error("a call was made") })
	content := strings.NewReader("x")
	for name, f := range map[string]wechatopen.File{
		"no name":                  {Content: content, Size: 1},
		"no content":               {Name: "a.jpg", Size: 1},
		"negative size":            {Name: "a.jpg", Content: content, Size: -1},
		"line break in its type":   {Name: "a.jpg", Content: content, Size: 1, ContentType: "image/jpeg\r\nX-Evil: 1"},
		"line feed alone in there": {Name: "a.jpg", Content: content, Size: 1, ContentType: "image/jpeg\n"},
	} {
		err := a.Upload(t.Context(), opMediaUpload, f, nil)
		if err == nil || !strings.HasPrefix(err.Error(), "wechatopen: "+opMediaUpload+": File") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if err := a.Upload(t.Context(), "https://evil.example/upload", wechatopen.File{Name: "a.jpg", Content: content, Size: 1}, nil); err == nil {
		t.Error("a path on another host is taken")
	}
}

// attacks.md 37
func TestUploadIsRepeatedWholeWithANewToken(t *testing.T) {
	const size = 300_000
	var mu sync.Mutex
	var tokens, bodies []string
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		parts := readForm(t, r)
		mu.Lock()
		defer mu.Unlock()
		tokens = append(tokens, r.URL.Query().Get("access_token"))
		bodies = append(bodies, fmt.Sprint(parts))
		if len(tokens) == 1 {
			_, _ = io.WriteString(w, `{"errcode":40001,"errmsg":"invalid credential"}`)
			return
		}
		_, _ = io.WriteString(w, wireOK)
	})
	var progress []int64
	err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{
		Name: "cat.jpg", Content: pattern{}, Size: size, Form: url.Values{"description": {"{}"}},
		Progress: func(sent, total int64) {
			if total != size {
				t.Errorf("progress of %d bytes, want %d", total, size)
			}
			progress = append(progress, sent)
		},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{wireToken(1), wireToken(2)}; !slices.Equal(tokens, want) {
		t.Errorf("tokens %q, want %q", tokens, want)
	}
	if len(bodies) != 2 || bodies[0] != bodies[1] || !strings.Contains(bodies[1], string(patternBytes(size))) {
		t.Error("the file was not repeated whole")
	}
	begun, ended := 0, 0
	for i, sent := range progress {
		if i == 0 || sent <= progress[i-1] {
			begun++
		}
		if sent == size {
			ended++
		}
	}
	if begun != 2 || ended != 2 {
		t.Errorf("progress began %d times and ended %d times, want 2 and 2: %v", begun, ended, progress)
	}
}

// WeChat may refuse a call before it has read the body. What net/http goes on sending must not be read from the file any
// more when Upload has returned, nor beside the repeated call.
func TestUploadReadsNothingAfterItsAnswer(t *testing.T) {
	const size = 64 << 20
	for range 5 {
		var calls atomic.Int64
		a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
			_ = http.NewResponseController(w).EnableFullDuplex() // so that the server does not read the rest before it answers
			if calls.Add(1) == 1 {
				_, _ = io.WriteString(w, `{"errcode":42001,"errmsg":"access_token expired"}`)
			} else {
				_, _ = io.WriteString(w, `{"errcode":45009,"errmsg":"reach max api daily quota limit"}`)
			}
		})
		var returned atomic.Bool
		content := readerAtFunc(func(b []byte, off int64) (int, error) {
			if returned.Load() {
				t.Error("the file is read after Upload has returned")
			}
			return pattern{}.ReadAt(b, off)
		})
		progress := 0 // unguarded: the race detector sees a second goroutine
		err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{
			Name: "film.mp4", Content: content, Size: size, Progress: func(int64, int64) { progress++ },
		}, nil)
		returned.Store(true)
		if err == nil {
			t.Error("no error")
		}
		progress++
	}
}

type readerAtFunc func(b []byte, off int64) (int, error)

func (f readerAtFunc) ReadAt(b []byte, off int64) (int, error) { return f(b, off) }

// flakyConn fails one write before anything of it is sent, as a connection does that the server closed while it was idle.
type flakyConn struct {
	net.Conn
	fail *atomic.Bool
}

func (c *flakyConn) Write(b []byte) (int, error) {
	if c.fail.CompareAndSwap(true, false) {
		return 0, syscall.EPIPE
	}
	return c.Conn.Write(b)
}

func TestUploadIsSentAgainOnAnotherConnection(t *testing.T) {
	const size = 300_000
	var fail atomic.Bool
	var uploads atomic.Int64
	transport := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		return &flakyConn{c, &fail}, err
	}}
	defer transport.CloseIdleConnections()
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		uploads.Add(1)
		if parts := readForm(t, r); len(parts) != 1 || parts[0].Body != string(patternBytes(size)) {
			t.Error("the file did not arrive whole")
		}
		_, _ = io.WriteString(w, wireOK)
	}, wechatopen.WithHTTPClient(&http.Client{Transport: transport}))
	tokenOf(t, a.AccessToken()) // leaves a connection that is kept alive
	fail.Store(true)
	if err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{Name: "cat.jpg", Content: pattern{}, Size: size}, nil); err != nil {
		t.Fatal(err)
	}
	if fail.Load() || uploads.Load() != 1 {
		t.Errorf("connection cut: %t; %d uploads", !fail.Load(), uploads.Load())
	}
}

func TestUploadOfAFileShorterThanItsSizeIsAnError(t *testing.T) {
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			t.Error("the server was given a whole body")
		}
		_, _ = io.WriteString(w, wireOK)
	})
	for _, size := range []int64{6, 1 << 20} {
		err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{Name: "cat.jpg", Content: strings.NewReader("short"), Size: size}, nil)
		if err == nil || !strings.Contains(err.Error(), "File.Content is shorter than File.Size") {
			t.Errorf("size %d: error %v", size, err)
		}
	}
}

func TestUploadPassesOnWhatReadingFailsWith(t *testing.T) {
	a, _ := bareAPI(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	broken := errors.New("disk is broken")
	err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{Name: "cat.jpg", Size: 1 << 20, Content: readerAtFunc(func(b []byte, off int64) (int, error) {
		if off > 100_000 {
			return 0, broken
		}
		return pattern{}.ReadAt(b, off)
	})}, nil)
	if !errors.Is(err, broken) {
		t.Errorf("error %v, want %v", err, broken)
	}
}

func TestUploadEndsWithItsContext(t *testing.T) {
	a, _ := bareAPI(t, func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := a.Upload(ctx, opMediaUpload, wechatopen.File{Name: "cat.jpg", Content: pattern{}, Size: 1 << 40, Progress: func(sent, _ int64) {
		if sent > 1<<20 {
			cancel()
		}
	}}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, want that of the context", err)
	}
}

// pipes is a network inside a synctest bubble.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	c, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.TCPAddr{} }
func (p pipes) DialContext(context.Context, string, string) (net.Conn, error) {
	client, server := net.Pipe()
	p <- server
	return client, nil
}

func TestUploadMayTakeLongerTheLargerItIs(t *testing.T) {
	for name, test := range map[string]struct {
		size    int64
		takes   time.Duration
		given   bool // a client, with its own limit
		timeout bool
	}{
		"small in time":          {1000, 9 * time.Second, false, false},
		"small and late":         {1000, 11 * time.Second, false, true},
		"2 MiB in 40 s":          {2 << 20, 40 * time.Second, false, false},
		"2 MiB in 43 s":          {2 << 20, 43 * time.Second, false, true},
		"given client of 10 s":   {2 << 20, 11 * time.Second, true, true},
		"given client, in 9 s":   {2 << 20, 9 * time.Second, true, false},
		"a small one after that": {1000, 10*time.Second + 1, false, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := make(pipes)
				server := &http.Server{Handler: withTokens(func(w http.ResponseWriter, r *http.Request) {
					_, _ = io.Copy(io.Discard, r.Body)
					select {
					case <-time.After(test.takes):
					case <-r.Context().Done():
					}
					_, _ = io.WriteString(w, wireOK)
				})}
				go func() { _ = server.Serve(network) }()
				defer server.Close()
				transport := &http.Transport{DialContext: network.DialContext}
				defer transport.CloseIdleConnections()
				var opts []wechatopen.Option
				if test.given {
					opts = append(opts, wechatopen.WithHTTPClient(&http.Client{Transport: transport, Timeout: 10 * time.Second}))
				} else { // the default client has a copy of the default transport
					before := http.DefaultTransport
					http.DefaultTransport = transport
					defer func() { http.DefaultTransport = before }()
				}
				a := bareAccount(t, "http://api.example", opts...)
				begin := time.Now()
				err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{Name: "film.mp4", Content: pattern{}, Size: test.size}, nil)
				if (err != nil) != test.timeout {
					t.Errorf("after %v: error %v", time.Since(begin), err)
				}
				var timeout net.Error
				if test.timeout && !(errors.As(err, &timeout) && timeout.Timeout()) {
					t.Errorf("%v is no timeout", err)
				}
				// What an upload may take beyond the limit is its own.
				if err := a.Get(t.Context(), opEcho, nil, nil); (err != nil) != (test.takes > 10*time.Second) {
					t.Errorf("a call without a file that takes %v: error %v", test.takes, err)
				}
			})
		})
	}
}

func TestUploadKeepsNothingOfTheFileInMemory(t *testing.T) {
	const size = 64 << 20
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if n, err := io.Copy(io.Discard, r.Body); n < size || err != nil {
			t.Errorf("%d bytes, %v", n, err)
		}
		_, _ = io.WriteString(w, wireOK)
	})
	upload := func() {
		if err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{Name: "film.mp4", Content: pattern{}, Size: size}, nil); err != nil {
			t.Error(err)
		}
	}
	upload()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	upload()
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("an upload of %d bytes takes %d bytes of memory", size, n)
	} else {
		t.Logf("an upload of %d bytes takes %d bytes of memory", size, n)
	}
}

func TestOneFileIsUploadedByManyAtOnce(t *testing.T) {
	content := patternBytes(200_000)
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if parts := readForm(t, r); len(parts) != 1 || parts[0].Body != string(content) {
			t.Error("the file did not arrive whole")
		}
		_, _ = io.WriteString(w, wireOK)
	})
	file := wechatopen.File{Name: "cat.jpg", Content: bytes.NewReader(content), Size: int64(len(content))}
	together(20, nil, func(int) {
		if err := a.Upload(t.Context(), opMediaUpload, file, nil); err != nil {
			t.Error(err)
		}
	})
}

func TestUploadRefusedIsAnAPIError(t *testing.T) {
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, `{"errcode":40004,"errmsg":"invalid media type rid: 61725984-6126f6f9-040f19c4"}`)
	})
	err := a.Upload(t.Context(), opMediaUpload+"?type=nothing", wechatopen.File{Name: "cat.jpg", Content: pattern{}, Size: 10}, nil)
	var refusal *wechatopen.APIError
	if !errors.As(err, &refusal) || *refusal != (wechatopen.APIError{Op: opMediaUpload, Code: 40004, Msg: "invalid media type", RID: "61725984-6126f6f9-040f19c4"}) {
		t.Errorf("%#v", err)
	}
}

// attacks.md 42
func TestUploadErrorsHoldNoToken(t *testing.T) {
	known := secrets{}
	known.add("access_token", wireToken(1), wireToken(2))
	file := wechatopen.File{Name: "cat.jpg", Content: pattern{}, Size: 100_000}
	for name, fail := range map[string]func(r *http.Request) (*http.Response, error){
		"a transport that quotes the URL": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("cannot reach %s", r.URL)
		},
		"a *url.Error": func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Post", URL: r.URL.String(), Err: io.ErrUnexpectedEOF}
		},
		"an answer that breaks off": func(r *http.Request) (*http.Response, error) {
			resp := wireAnswer(r, 200, "")
			resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"media_id":`), readerFunc(func([]byte) (int, error) {
				return 0, fmt.Errorf("reading %s", r.URL)
			})))
			return resp, nil
		},
		"an answer that quotes the URL": func(r *http.Request) (*http.Response, error) {
			return wireAnswer(r, 200, r.URL.String()), nil
		},
		"status 502": func(r *http.Request) (*http.Response, error) { return wireAnswer(r, 502, r.URL.String()), nil },
	} {
		tokens := withTokens(nil)
		a := bareAccount(t, "https://api.example", wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			if r.URL.Path == opStableToken {
				rec := httptest.NewRecorder()
				tokens.ServeHTTP(rec, r)
				return rec.Result(), nil
			}
			return fail(r)
		})}))
		err := a.Upload(t.Context(), opMediaUpload, file, nil)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		known.checkError(t, name, err)
	}
}

func TestUploadOfAPlatformCarriesTheComponentToken(t *testing.T) {
	w := newWorld(t)
	w.ready()
	token := tokenOf(t, w.platform.ComponentToken()).Value
	for path, name := range map[string]string{
		"/cgi-bin/component/uploadprivacyextfile": "component_access_token",
		"/wxa/uploadicp": "access_token",
	} {
		var got url.Values
		p := w.newPlatform(wechatopen.WithHTTPClient(&http.Client{Transport: wire(func(r *http.Request) (*http.Response, error) {
			got = r.URL.Query()
			if parts := readForm(t, r); len(parts) != 1 {
				t.Errorf("%d parts", len(parts))
			}
			return wireAnswer(r, 200, wireOK), nil
		})}))
		if err := p.Upload(t.Context(), path, wechatopen.File{Name: "a.pdf", Content: pattern{}, Size: 10}, nil); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(url.Values{name: {token}}, got); diff != "" {
			t.Errorf("%s: query (-want +got):\n%s", path, diff)
		}
	}
}

// A file of the disk is neither moved nor closed.
func TestUploadLeavesTheFileWhereItWas(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "cat.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(patternBytes(50_000)); err != nil {
		t.Fatal(err)
	}
	a, _ := bareAPI(t, func(w http.ResponseWriter, r *http.Request) {
		if parts := readForm(t, r); len(parts) != 1 || parts[0].Body != string(patternBytes(50_000)) {
			t.Error("the file did not arrive whole")
		}
		_, _ = io.WriteString(w, wireOK)
	})
	if _, err := f.Seek(17, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if err := a.Upload(t.Context(), opMediaUpload, wechatopen.File{Name: "cat.jpg", Content: f, Size: 50_000}, nil); err != nil {
		t.Fatal(err)
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 17 || err != nil {
		t.Errorf("the file is at %d, %v", at, err)
	}
}
