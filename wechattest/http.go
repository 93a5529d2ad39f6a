package wechattest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxBody bounds what is read of a request; that of an upload is bounded by maxUpload.
const maxBody = 4 << 20

// route is what the server does at one path: api or page is set.
type route struct {
	method string                   // "" GET or POST
	token  tokenUse                 // of an api
	free   bool                     // an api that is not counted against the daily quota
	plain  bool                     // answered as text/plain, as /sns/ is, though it is JSON
	upload bool                     // may take a file: the journal has the size of the body alone
	api    func(*call) (any, error) // called with Server.mu held; what it returns is sent as JSON, a reply as it is
	page   func(*call) reply        // called without
}

// call is one request on its way through the server.
type call struct {
	*Server
	r     *http.Request
	query url.Values
	body  []byte
	entry *Call

	token  *apiToken // what authorized the call; nil if the route needs no token
	appID  string    // for the journal
	misuse string    // for the journal
}

// reply is an answer before it is sent.
type reply struct {
	status      int
	contentType string
	header      http.Header // further headers; nil none
	body        []byte
	errCode     int
	rid         string
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	if !s.begin() {
		http.Error(w, "closed", http.StatusServiceUnavailable)
		return
	}
	defer s.running.Done()
	limit, upload := int64(maxBody), s.routes[r.URL.Path].upload
	if upload {
		limit = maxUpload
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	c := &call{Server: s, r: r, query: r.URL.Query(), body: body}
	c.entry = &Call{Time: s.Now(), Method: r.Method, Path: r.URL.Path, Query: c.query, Header: r.Header.Clone(),
		Body: body, Size: len(body), uri: r.URL.RequestURI()}
	if upload {
		c.entry.Body = nil
	}
	s.journal.add(c.entry)
	var rp reply
	var cut bool
	if err != nil {
		rp = textReply(http.StatusRequestEntityTooLarge, "body too large or cut off")
	} else {
		rp, cut = s.answer(c)
	}
	s.journal.finish(c.entry, rp, c.appID, c.misuse)
	s.cfg.Logf("wechattest: %s %s: %d errcode %d %s", r.Method, r.URL.Path, rp.status, rp.errCode, c.misuse)
	if cut && len(rp.body) == 0 {
		panic(http.ErrAbortHandler) // net/http's way to close the connection
	}
	for k, v := range rp.header {
		w.Header()[k] = v
	}
	if rp.contentType != "" {
		w.Header().Set("Content-Type", rp.contentType)
	}
	w.Header().Set("Content-Length", strconv.Itoa(len(rp.body)))
	w.WriteHeader(rp.status)
	if cut {
		w.Write(rp.body[:len(rp.body)/2])
		http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	w.Write(rp.body)
}

// run carries a call out, by the rules.
func (s *Server) run(c *call) reply {
	rt, ok := s.route(c.r.URL.Path)
	switch {
	case !ok:
		c.misuse = "there is no such path at WeChat, or the simulator does not know it"
		return textReply(http.StatusNotFound, "404 not found")
	case rt.page != nil && rt.allows(c.r.Method):
		return rt.page(c)
	case rt.page != nil:
		c.misuse = "method " + c.r.Method + " on a page"
		return textReply(http.StatusMethodNotAllowed, "method not allowed")
	}
	v, err := c.do(rt)
	if err != nil {
		var e *apiError
		if !errors.As(err, &e) {
			e = &apiError{code: -1}
		}
		if e.misuse != "" {
			c.misuse = e.misuse
		}
		return rt.as(errorReply(e.code, errText(e.code)))
	}
	if rp, ok := v.(reply); ok {
		return rp
	}
	return rt.as(jsonReply(v))
}

func (rt route) allows(method string) bool {
	return method == rt.method || rt.method == "" && (method == http.MethodGet || method == http.MethodPost) ||
		method == http.MethodHead && rt.page != nil && rt.method != http.MethodPost
}

// as gives an answer the content type of the route.
func (rt route) as(rp reply) reply {
	if rt.plain {
		rp.contentType = "text/plain"
	}
	return rp
}

func (c *call) do(rt route) (any, error) {
	if !rt.allows(c.r.Method) {
		if rt.method == http.MethodGet {
			return nil, misuse(43001, "GET is required")
		}
		return nil, misuse(43002, "POST is required")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.authorize(rt.token); err != nil {
		return nil, err
	}
	if c.token != nil && !rt.free {
		if err := c.spend(c.token.owner()); err != nil {
			return nil, err
		}
	}
	return rt.api(c)
}

// spend counts the call against the daily quota of appID.
func (c *call) spend(appID string) error {
	if !c.quota.spend(c.Now(), c.r.URL.Path, appID) {
		return refuse(45009)
	}
	return nil
}

// in decodes the JSON body into v, a pointer to a struct.
func (c *call) in(v any) error {
	if len(bytes.TrimSpace(c.body)) == 0 {
		return misuse(44002, "the body is empty; a JSON object is required")
	}
	if err := json.Unmarshal(c.body, v); err != nil {
		return misuse(47001, "the body is not the JSON object that is documented: "+err.Error())
	}
	if escapesChinese(c.body) {
		return misuse(47001, `the body writes Chinese as \u escapes; WeChat wants UTF-8`)
	}
	return nil
}

// escapesChinese reports whether JSON holds a \u escape at or above U+2E80, where Chinese begins. Escapes of ASCII and
// of line separators, which encoding/json makes, are harmless.
func escapesChinese(b []byte) bool {
	for i := 0; i+5 < len(b); i++ {
		if b[i] != '\\' {
			continue
		}
		if b[i+1] == 'u' {
			if n, err := strconv.ParseUint(string(b[i+2:i+6]), 16, 32); err == nil && n >= 0x2e80 {
				return true
			}
		}
		i++
	}
	return false
}

// wait blocks until done, or reports false when the client has gone or the server closes.
func (c *call) wait(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	case <-c.r.Context().Done():
	case <-c.ctx.Done():
	}
	return false
}

func encodeJSON(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		panic("wechattest: " + err.Error()) // an answer of ours that JSON cannot carry
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func jsonReply(v any) reply {
	return reply{status: http.StatusOK, contentType: "application/json; encoding=utf-8", body: encodeJSON(v)}
}

type errorBody struct {
	ErrCode int    `json:"errcode"`
	ErrMsg  string `json:"errmsg"`
}

func okBody() errorBody { return errorBody{0, "ok"} }

func errorReply(code int, msg string) reply {
	rid := newRID()
	rp := jsonReply(errorBody{code, msg + " rid: " + rid})
	rp.errCode, rp.rid = code, rid
	return rp
}

func textReply(status int, text string) reply {
	return reply{status: status, contentType: "text/plain; charset=utf-8", body: []byte(text)}
}

func redirectReply(to string) reply {
	rp := textReply(http.StatusFound, "")
	rp.header = http.Header{"Location": {to}}
	return rp
}

// addQuery puts a query behind a URL as WeChat does: after what is there, and before a fragment.
func addQuery(rawURL, query string) string {
	base, fragment, hasFragment := strings.Cut(rawURL, "#")
	switch {
	case !strings.Contains(base, "?"):
		base += "?"
	case !strings.HasSuffix(base, "?") && !strings.HasSuffix(base, "&"):
		base += "&"
	}
	base += query
	if hasFragment {
		base += "#" + fragment
	}
	return base
}
