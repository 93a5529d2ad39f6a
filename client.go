package wechatopen

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	// maxAnswer bounds what is read of an answer of the API. The largest, a page of 500 authorizers, has some 100 KB;
	// media that Get fetches as bytes may have 10 MB.
	maxAnswer = 16 << 20
	// callTime is the time limit of the default HTTP client.
	callTime = 10 * time.Second
	// calmTime is how long after a token was replaced because WeChat refused it, it is not replaced again for the same
	// reason: when the new token is refused too, the trouble is elsewhere.
	calmTime = time.Minute
	// maxDoubt is how long an API that refuses every token may go without having it replaced: stable_token replaces one by
	// force 20 times a day.
	maxDoubt = 2 * time.Hour
)

// client calls WeChat's API.
type client struct {
	options
	http *http.Client
}

func newClient(o options) *client {
	hc := http.Client{Timeout: callTime}
	if o.httpClient != nil {
		hc = *o.httpClient
	} else if t, ok := http.DefaultTransport.(*http.Transport); ok {
		t = t.Clone() // a private pool of connections
		t.MaxIdleConnsPerHost = 32
		hc.Transport = t
	}
	hc.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &client{options: o, http: &hc}
}

// tokenParam is the name under which a path takes its token. The current pages of the documentation say access_token
// everywhere; the older ones, and every SDK in use, say component_access_token for what a component does as itself.
func tokenParam(path string) string {
	switch opName(path) {
	case pathGetOption, pathSetOption: // newer than the old pages
		return "access_token"
	}
	if strings.HasPrefix(path, "/cgi-bin/component/") || strings.HasPrefix(path, "/sns/component/") || strings.HasPrefix(path, "/sns/oauth2/component/") {
		return "component_access_token"
	}
	return "access_token"
}

// get calls a path of the API without a token of its own and decodes the answer into out.
func (c *client) get(ctx context.Context, appID, path string, query url.Values, out any) error {
	return c.call(ctx, http.MethodGet, appID, path, query, nil, out)
}

// post is get for calls with a JSON body.
func (c *client) post(ctx context.Context, appID, path string, query url.Values, in, out any) error {
	body, err := jsonPayload(in)
	if err != nil {
		return errorf("%s: %w", opName(path), err)
	}
	return c.call(ctx, http.MethodPost, appID, path, query, body, out)
}

// callAs makes a call with src's token put in.
func (c *client) callAs(ctx context.Context, src *CachedTokenSource, method, path string, query url.Values, in *payload, out any) error {
	if _, err := parsePath(path); err != nil {
		return err
	}
	return withToken(ctx, src, path, func(t *Token) error {
		q := make(url.Values, len(query)+1)
		for k, v := range query {
			q[k] = v
		}
		q.Set(tokenParam(path), t.Value)
		return c.call(ctx, method, src.appID, path, q, in, out)
	})
}

// postAs is callAs with a JSON body.
func (c *client) postAs(ctx context.Context, src *CachedTokenSource, path string, in, out any) error {
	body, err := jsonPayload(in)
	if err != nil {
		return errorf("%s: %w", opName(path), err)
	}
	return c.callAs(ctx, src, http.MethodPost, path, nil, body, out)
}

// withToken attempts a call with src's token. When WeChat says that the token is stale, exactly that token is replaced
// and the call attempted once more.
func withToken(ctx context.Context, src *CachedTokenSource, path string, attempt func(*Token) error) error {
	t, err := src.Token(ctx)
	if err != nil {
		return &passingError{err}
	}
	err = attempt(t)
	if !isStaleToken(err) {
		return err
	}
	fresh, terr := src.replace(ctx, opName(path), t)
	if terr != nil {
		return errorf("%w; and no new token: %w", err, terr)
	}
	if fresh.Value == t.Value {
		return err
	}
	err = attempt(fresh)
	if isStaleToken(err) {
		src.refusedFresh(opName(path))
	}
	return err
}

// isStaleToken reports whether WeChat refused the token of a call.
func isStaleToken(err error) bool {
	return hasCode(err, codeInvalidCredential, codeInvalidToken, codeTokenExpired, codeCompTokenExpired)
}

// payload is the body of a call.
type payload struct {
	contentType string
	size        int64
	open        func() io.Reader // from its beginning, for each attempt
	extraTime   time.Duration    // that sending it may take, beyond callTime
}

func jsonPayload(in any) (*payload, error) {
	b, err := encodeJSON(in)
	return &payload{
		contentType: "application/json; charset=utf-8",
		size:        int64(len(b)),
		open:        func() io.Reader { return bytes.NewReader(b) },
	}, err
}

// sending is one attempt to send a payload. WeChat may answer before it has read everything, and net/http then goes on
// sending: what a caller gave is read by one goroutine at a time, and not at all after the attempt.
type sending struct {
	mu    sync.Mutex
	ended bool
}

func (s *sending) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}

// sentBody is the body of a request of an attempt, of which net/http may make several.
type sentBody struct {
	*sending
	r      io.Reader
	closed bool
}

func (b *sentBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ended || b.closed {
		return 0, http.ErrBodyReadAfterClose
	}
	return b.r.Read(p)
}

func (b *sentBody) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	return nil
}

// encodeJSON leaves <, > and & as they are, as it leaves Chinese: WeChat does not decode \u escapes.
func encodeJSON(in any) ([]byte, error) {
	if in == nil {
		return []byte("{}"), nil // an empty body is errcode 44002
	}
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(in); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

func opName(path string) string {
	op, _, _ := strings.Cut(path, "?")
	return op
}

// call makes one call. in is nil for one without a body.
func (c *client) call(ctx context.Context, method, appID, path string, query url.Values, in *payload, out any) error {
	op := opName(path)
	begin := time.Now()
	err := c.roundTrip(ctx, method, op, path, query, in, out)
	c.called(ctx, op, appID, begin, err)
	return err
}

func (c *client) called(ctx context.Context, op, appID string, begin time.Time, err error) {
	if c.trace.APICall != nil {
		c.trace.APICall(ctx, APICall{Op: op, AppID: appID, Duration: time.Since(begin), Err: err})
	}
}

func (c *client) roundTrip(ctx context.Context, method, op, path string, query url.Values, in *payload, out any) error {
	u, err := parsePath(path)
	if err != nil {
		return err
	}
	if u.RawQuery != "" && len(query) > 0 {
		u.RawQuery += "&"
	}
	u.RawQuery += query.Encode()
	req, err := http.NewRequestWithContext(ctx, method, c.endpoints.API+u.String(), nil)
	if err != nil {
		return errorf("%s: %w", op, redact(err, query))
	}
	hc := c.http
	if in != nil {
		attempt := &sending{}
		defer attempt.end()
		req.GetBody = func() (io.ReadCloser, error) { return &sentBody{sending: attempt, r: in.open()}, nil }
		req.Body, _ = req.GetBody()
		req.ContentLength = in.size
		req.Header.Set("Content-Type", in.contentType)
		if in.extraTime > 0 && c.httpClient == nil { // the limit of a client that was given is its owner's
			longer := *hc
			longer.Timeout += in.extraTime
			hc = &longer
		}
	}
	resp, err := hc.Do(req)
	if err != nil {
		return errorf("%s: %w", op, redact(err, query))
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errorf("%s: http status %d", op, resp.StatusCode)
	}
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err != nil {
		return errorf("%s: reading the answer: %w", op, redact(err, query))
	}
	if len(answer) > maxAnswer {
		return errorf("%s: answer of more than %d bytes", op, maxAnswer)
	}
	return decodeAnswer(op, answer, out)
}

// parsePath refuses what could carry a token to another host.
func parsePath(path string) (*url.URL, error) {
	u, err := url.Parse(path)
	if err != nil || u.Scheme != "" || u.Host != "" || u.Fragment != "" || !strings.HasPrefix(path, "/") {
		return nil, errorf("path of a call must be one on the API host, such as /cgi-bin/user/info")
	}
	return u, nil
}

// decodeAnswer tells a refusal from a result whatever the Content-Type: the /sns/ calls answer JSON as text/plain.
func decodeAnswer(op string, answer []byte, out any) error {
	isObject := bytes.HasPrefix(bytes.TrimLeft(answer, " \t\r\n"), []byte("{"))
	raw, wantsBytes := out.(*[]byte)
	if wantsBytes && !isObject {
		*raw = answer
		return nil
	}
	var status struct {
		ErrCode Int    `json:"errcode"`
		ErrMsg  string `json:"errmsg"`
	}
	if err := json.Unmarshal(answer, &status); err != nil || !isObject {
		return errorf("%s: the answer is not a JSON object", op) // and is not quoted: it may hold a token
	}
	if status.ErrCode != 0 {
		msg, rid := splitRID(status.ErrMsg)
		return &APIError{Op: op, Code: int(status.ErrCode), Msg: msg, RID: rid}
	}
	if wantsBytes {
		*raw = answer
		return nil
	}
	if out == nil {
		return nil
	}
	if err := json.Unmarshal(answer, out); err != nil {
		var te *json.UnmarshalTypeError
		if errors.As(err, &te) {
			return errorf("%s: field %q of the answer is not a %s", op, te.Field, te.Type)
		}
		return errorf("%s: the answer does not have the shape that is asked for", op)
	}
	return nil
}

// splitRID takes "invalid code rid: 61725984-6126f6f9-040f19c4" apart.
func splitRID(s string) (msg, rid string) {
	const maxMsg = 256
	if i := strings.LastIndex(s, "rid: "); i >= 0 {
		s, rid = strings.TrimRight(s[:i], " ,"), strings.TrimSpace(s[i+len("rid: "):])
		if len(rid) > 64 {
			rid = ""
		}
	}
	if len(s) > maxMsg {
		s = strings.ToValidUTF8(s[:maxMsg], "")
	}
	return s, rid
}

// Int is a number of WeChat's JSON. It is read from a number, from a number in quotes, and as 0 from an empty string or
// null: WeChat sends all of these.
type Int int64

// String is the number in decimal.
func (i Int) String() string { return strconv.FormatInt(int64(i), 10) }

// UnmarshalJSON reads the number.
func (i *Int) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "" || s == "null" {
		*i = 0
		return nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		f, ferr := strconv.ParseFloat(s, 64) // 7.2e3
		if ferr != nil || f != float64(int64(f)) {
			return errors.New("not a whole number")
		}
		n = int64(f)
	}
	*i = Int(n)
	return nil
}
