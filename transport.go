package wechatopen

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Transport is an [net/http.RoundTripper] that puts a token into requests to WeChat's API, for those who bring a client
// of their own:
//
//	client := &http.Client{Transport: &wechatopen.Transport{Source: account.AccessToken()}}
//	resp, err := client.Get("https://api.weixin.qq.com/cgi-bin/user/info?openid=" + openID)
//
// When WeChat answers that the token is stale, it is replaced and the request repeated once, if it has no body or a
// GetBody, as requests made from a bytes.Reader, a bytes.Buffer or a strings.Reader have. The answer is WeChat's own: a
// refusal is a JSON object with an errcode and status 200. A request to another host is refused: no token leaves for it,
// after a redirect neither. [Trace].APICall is told of each request.
type Transport struct {
	// Source is whose token it is: [Account.AccessToken] or [Platform.ComponentToken]. Required.
	Source *CachedTokenSource

	// Base makes the requests. Nil: [http.DefaultTransport].
	Base http.RoundTripper
}

// maxRefusal bounds what is read of an answer to see whether it is a refusal.
const maxRefusal = 4 << 10

// RoundTrip makes a request with the token put in, and leaves r as it is.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	body := r.Body
	defer func() { // as a RoundTripper must, whatever happens; once a request has been made, its transport does
		if body != nil {
			body.Close()
		}
	}()
	if t.Source == nil {
		return nil, errorf("Transport.Source is nil")
	}
	if r.URL == nil {
		return nil, errorf("Transport: the request has no URL")
	}
	op, ok := t.Source.c.endpoints.apiPath(r.URL)
	if !ok {
		return nil, errorf("Transport: %s%s is not WeChat's API: no token is sent there", r.URL.Host, r.URL.Path)
	}
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	var resp *http.Response
	err := withToken(r.Context(), t.Source, op, func(token *Token) error {
		again := r.Clone(r.Context())
		again.Host = "" // the URL alone was checked; a proxy of plain HTTP would go by this
		if resp != nil {
			if r.Body != nil && r.Body != http.NoBody {
				if r.GetBody == nil {
					return errBodyIsSpent
				}
				b, err := r.GetBody()
				if err != nil {
					return err
				}
				again.Body = b
			}
			resp.Body.Close()
			resp = nil
		}
		name := tokenParam(op)
		for _, own := range []string{name, "access_token"} { // the documentation has the second one everywhere
			for countParam(again.URL.RawQuery, own) > 0 {
				again.URL.RawQuery = withoutParams(again.URL.RawQuery, own)
			}
		}
		again.URL.RawQuery = strings.TrimPrefix(again.URL.RawQuery+"&"+name+"="+url.QueryEscape(token.Value), "&")
		body = nil
		begin := time.Now()
		var err error
		if resp, err = base.RoundTrip(again); err != nil {
			err = errorf("%s: %w", op, redact(err, url.Values{name: {token.Value}}))
		} else {
			resp.Request = r
			err = refusalOf(op, resp)
		}
		t.Source.c.called(r.Context(), op, t.Source.appID, begin, err)
		return err
	})
	if resp != nil {
		return resp, nil // a refusal too is WeChat's answer
	}
	return nil, err
}

// apiPath is the path of a call if u is one of the API, where alone a token goes.
func (e Endpoints) apiPath(u *url.URL) (path string, ok bool) {
	api, err := url.Parse(e.API)
	if err != nil || u.Scheme != api.Scheme || !strings.EqualFold(u.Host, api.Host) || u.Opaque != "" { // by which a proxy goes
		return "", false
	}
	path, ok = strings.CutPrefix(u.Path, api.Path)
	return path, ok && strings.HasPrefix(path, "/") && !strings.Contains(path+"/", "/../")
}

// refusalOf is the refusal that an answer holds, if it does. What is read for it is put back.
func refusalOf(op string, resp *http.Response) error {
	kind := resp.Header.Get("Content-Type")
	if resp.StatusCode != http.StatusOK || kind != "" && !strings.Contains(kind, "json") && !strings.HasPrefix(kind, "text/") {
		return nil
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxRefusal))
	rest := io.MultiReader(bytes.NewReader(head), resp.Body)
	if err != nil {
		rest = io.MultiReader(bytes.NewReader(head), failingReader{err})
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{rest, resp.Body}
	if len(head) == maxRefusal {
		return nil
	}
	return decodeAnswer(op, head, nil)
}

type failingReader struct{ err error }

func (f failingReader) Read([]byte) (int, error) { return 0, f.err }

var errBodyIsSpent = errorf("the request has no GetBody and cannot be repeated")
