package wechatopen

import (
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
)

// RelayHandler lets sites on many domains log in with accounts whose domain for that is one: WeChat sends logins back to
// the domain that it knows, and nowhere else. Mount it there, and name its address as [OAuth.RelayURL] of the sites. What
// WeChat sends back, it sends on to the page that asked; whether that browser did ask is checked there, by the site's own
// cookie. It keeps nothing, and may run in any number of processes.
//
//	mux.Handle("/wechat/relay", &wechatopen.RelayHandler{Origins: []string{"https://shop.example.com"}})
type RelayHandler struct {
	// Origins are the sites that logins may be sent on to, "https://shop.example.com" each, without wildcards; plain http
	// only on this machine (localhost, 127.0.0.1), for development. Required. Anyone can have a login sent to a listed
	// site: each must be one that may see the codes of all.
	Origins []string

	// OnError answers in the handler's place; [HTTPStatus] says with what: 400 for what is no login of WeChat's, 403 for a
	// site that is not listed. Nil: the error is logged and the status answered.
	OnError func(w http.ResponseWriter, r *http.Request, err error)

	once    sync.Once
	allowed map[string]bool
	err     error
}

// relayParam names the page in the query of the relay.
const relayParam = "to"

// ServeHTTP sends the browser on.
func (h *RelayHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	to, err := h.target(w, r)
	if err != nil {
		header := w.Header()
		header.Set("Cache-Control", "no-store")
		header.Set("Referrer-Policy", "no-referrer") // the address may hold a code
		answerError(w, r, slog.Default(), h.OnError, "wechatopen: login not relayed", err)
		return
	}
	redirect(w, to)
}

// target is the page that asked, with what WeChat added at the end of its query, where the page looks for it.
func (h *RelayHandler) target(w http.ResponseWriter, r *http.Request) (string, error) {
	h.once.Do(h.prepare)
	if h.err != nil {
		return "", h.err
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", http.MethodGet+", "+http.MethodHead)
		return "", withStatus(http.StatusMethodNotAllowed, errorf("relay: method %s", r.Method))
	}
	values := map[string]string{}
	var added []string // by WeChat, in its order
	for pair := range strings.SplitSeq(r.URL.RawQuery, "&") {
		name, value, _ := strings.Cut(pair, "=")
		name = unescape(name)
		switch name {
		case relayParam, "code", "state", "appid":
		default:
			continue // of nobody who matters here
		}
		value, err := url.QueryUnescape(value)
		if _, twice := values[name]; err != nil || twice {
			return "", withStatus(http.StatusBadRequest, errorf("relay: the query has %s twice, or broken", name))
		}
		values[name] = value
		if name != relayParam {
			added = append(added, name+"="+escape(value))
		}
	}
	if values["state"] == "" {
		return "", withStatus(http.StatusBadRequest, errorf("relay: no state, which WeChat always brings"))
	}
	page, err := h.page(values[relayParam])
	if err != nil {
		return "", err
	}
	sep := "?"
	if strings.Contains(page, "?") {
		sep = "&"
	}
	return page + sep + strings.Join(added, "&"), nil
}

// page checks an address and builds it anew from what was checked, so that no browser can read it in another way.
func (h *RelayHandler) page(to string) (string, error) {
	strange := func(r rune) bool { return r <= ' ' || r >= 0x7f || r == '#' }
	u, err := url.Parse(to)
	beforeQuery, _, _ := strings.Cut(to, "?")
	if err != nil || len(to) > maxPageURL || strings.ContainsFunc(to, strange) || strings.Contains(beforeQuery, `\`) || u.Host == "" || u.User != nil {
		return "", withStatus(http.StatusBadRequest, errorf("relay: the query has no page to send the login on to, or not as OAuth writes it"))
	}
	origin := originOf(u)
	if !h.allowed[origin] {
		return "", withStatus(http.StatusForbidden, errorf("relay: %q is not one of Origins", origin))
	}
	path := u.EscapedPath()
	if path == "" {
		path = "/"
	}
	return joinQuery(origin+path, strings.ReplaceAll(u.RawQuery, `\`, "%5C")), nil
}

func (h *RelayHandler) prepare() {
	h.allowed = make(map[string]bool, len(h.Origins))
	notInHost := func(r rune) bool { return r >= 0x7f || !isAlnum(r) && !strings.ContainsRune(".-_:[]", r) }
	for _, o := range h.Origins {
		u, err := url.Parse(o)
		switch {
		case err != nil || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" || strings.ContainsFunc(u.Host, notInHost):
			h.err = errorf(`RelayHandler.Origins: each must be an origin such as "https://shop.example.com", in ASCII and without wildcards`)
			return
		case u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())):
			h.err = errorf("RelayHandler.Origins: each must begin with https://, or with http:// on this machine, for development")
			return
		}
		h.allowed[originOf(u)] = true
	}
	if len(h.allowed) == 0 {
		h.err = errorf("RelayHandler.Origins is empty: name the sites that logins may be sent on to")
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() || strings.EqualFold(host, "localhost")
}

// redirectURI is where WeChat sends the browser that logs in at a page: to the page, or to the relay that knows the way.
func (v *visit) redirectURI(page string) (string, error) {
	if v.o.RelayURL == "" {
		return page, nil
	}
	u, err := url.Parse(v.o.RelayURL)
	switch {
	case err != nil || u.Host == "" || u.User != nil || strings.ContainsAny(v.o.RelayURL, "?#"):
		return "", errorf(`OAuth: RelayURL must be the public address of a RelayHandler, such as "https://login.example.com/wechat/relay"`)
	case u.Scheme != "https" && !(u.Scheme == "http" && v.o.Cookies.Insecure):
		return "", errorf("OAuth: RelayURL must begin with https://, or with http:// and Cookies.Insecure set, for development")
	}
	return u.Scheme + "://" + u.Host + u.EscapedPath() + "?" + relayParam + "=" + escape(page), nil
}
