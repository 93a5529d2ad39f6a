package wechatopen

import (
	"bytes"
	"context"
	"crypto/rand"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
)

// AuthorizeHandler is where a merchant authorizes the platform. Mount it at one path of the launch domain (授权发起页域名)
// and send merchants there: it shows a page that leads to WeChat, and WeChat sends the browser back to the same path,
// where the code is redeemed and the grant stored.
//
// Only the browser that started an authorization can finish it. Parameters of the address at which it starts, such as
// ?shop=7, are there again when OnAuthorized is called; the merchant can change them, so what they may attach an account
// to is yours to check.
//
// Each view of the page asks WeChat for a pre-auth code, of which there is a daily quota: mount it behind the login of
// your own application.
type AuthorizeHandler struct {
	Platform *Platform // required

	// BaseURL is the public origin of the site: "https://saas.example.com". Required; it is never guessed from a request.
	BaseURL string

	// Cookies binds an authorization to the browser. Required.
	Cookies *Cookies

	// AuthType is what may authorize the platform: 1 official accounts, 2 mini programs, 3 both, 4 mini program promoters
	// (推客), 5 channels (视频号), 6 all of them, 8 sales assistants (带货助手). Zero: 3.
	AuthType int

	// BizAppID is the one account that may authorize the platform, by its administrator; it then decides, not AuthType.
	// Empty: any.
	BizAppID string

	// CategoryIDs are the permission sets (权限集) to ask for. Empty: all that the platform has released.
	CategoryIDs []int

	// OnAuthorized answers the browser of a merchant who has authorized the platform: note a.AppID and send the browser
	// on. Nil: a plain page that says so.
	OnAuthorized func(w http.ResponseWriter, r *http.Request, a *Authorization)

	// OnError answers in the handler's place; [HTTPStatus] says with what. [ErrState]: this browser did not start the
	// authorization, or it is over; let the merchant start again. Nil: the error is logged and the status answered.
	OnError func(w http.ResponseWriter, r *http.Request, err error)

	site site
}

// flowParam carries the flow's id through WeChat, which gives an authorization no state of its own.
const flowParam = "wxflow"

// ServeHTTP serves the start page, and the way back.
func (h *AuthorizeHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.Platform == nil {
		answerError(w, r, slog.Default(), h.OnError, "wechatopen: AuthorizeHandler", errorf("AuthorizeHandler.Platform is nil"))
		return
	}
	err := h.serve(w, r)
	if err != nil {
		answerError(w, r, h.Platform.c.logger, h.OnError, "wechatopen: authorization", err)
	}
}

func (h *AuthorizeHandler) serve(w http.ResponseWriter, r *http.Request) error {
	origin, err := h.site.at(h.BaseURL, h.Cookies)
	if err != nil {
		return errorf("AuthorizeHandler: %w", err)
	}
	w.Header().Set("Cache-Control", "no-store")
	if r.Method != http.MethodGet {
		// HEAD too: it would cost a pre-auth code and show nobody a page.
		w.Header().Set("Allow", http.MethodGet)
		return withStatus(http.StatusMethodNotAllowed, errorf("authorization page: method %s", r.Method))
	}
	path, query := requestURI(r)
	if code, ok := lastParam(query, "auth_code"); ok {
		return h.finish(w, r, query, code)
	}
	return h.start(w, r, origin+joinQuery(path, withoutParams(query, flowParam, "expires_in")))
}

// start serves the page that leads to WeChat. It must be a page: WeChat looks at the Referer.
func (h *AuthorizeHandler) start(w http.ResponseWriter, r *http.Request, back string) error {
	p := h.Platform
	code, err := p.CreatePreAuthCode(r.Context())
	if err != nil {
		return err
	}
	f := &flow{Kind: flowAuthorize, AppID: p.creds.AppID}
	if err := h.Cookies.startFlow(w, r, f, authorizeFlowAge, p.c.now()); err != nil {
		return err
	}
	sep := "?"
	if strings.Contains(back, "?") {
		sep = "&"
	}
	link := AuthorizeLink{
		PreAuthCode: code.Code, RedirectURI: back + sep + flowParam + "=" + f.ID,
		AuthType: h.AuthType, BizAppID: h.BizAppID, CategoryIDs: h.CategoryIDs,
	}
	data := startPageData{Nonce: rand.Text(), Phone: isPhone(r)}
	link.Phone = data.Phone
	data.Link = p.AuthorizeURL(link)
	link.Phone = !data.Phone
	data.Other = p.AuthorizeURL(link)
	header := w.Header()
	header.Set("Referrer-Policy", "strict-origin-when-cross-origin")
	return writePage(w, startPage, data, "script-src 'nonce-"+data.Nonce+"'; ")
}

// finish redeems the code that came back, for the browser that started.
func (h *AuthorizeHandler) finish(w http.ResponseWriter, r *http.Request, query, code string) error {
	p := h.Platform
	// The address holds the code: it goes nowhere from here.
	w.Header().Set("Referrer-Policy", "no-referrer")
	if code == "" {
		return withStatus(http.StatusBadRequest, errorf("authorization: auth_code is empty"))
	}
	id, _ := lastParam(query, flowParam)
	f := h.Cookies.getFlow(r, id, flowAuthorize, p.creds.AppID, authorizeFlowAge, p.c.now())
	if f == nil {
		return errorf("authorization: %w", ErrState)
	}
	var auth *Authorization
	err := p.c.finishFlow(r.Context(), p.prefix, f, code, authorizeFlowAge, func(ctx context.Context, _ *flowRecord) (err error) {
		auth, err = p.QueryAuth(ctx, code)
		return err
	})
	if isSpent(err) {
		return errorf("%w: %w", ErrState, err)
	}
	if err != nil {
		return err
	}
	h.Cookies.clearFlow(w, f)
	if h.OnAuthorized != nil {
		h.OnAuthorized(w, r, auth)
		return nil
	}
	return writePage(w, donePage, nil, "")
}

// isPhone decides which link comes first; the page shows both.
func isPhone(r *http.Request) bool {
	ua := r.UserAgent()
	return strings.Contains(ua, "Mobile") || strings.Contains(ua, "Android") || strings.Contains(ua, "iPhone")
}

// writePage sends a small page that can load nothing and be framed by nobody.
func writePage(w http.ResponseWriter, t *template.Template, data any, policy string) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return errorf("page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; "+policy+"style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	_, _ = w.Write(b.Bytes()) // the browser has left
	return nil
}

type startPageData struct {
	Nonce       string
	Phone       bool
	Link, Other string
}

const pageHead = `<!doctype html>
<html lang="zh-CN">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>微信授权 · WeChat</title>
<style>
body { font: 16px/1.6 system-ui, sans-serif; margin: 20vh auto 0; max-width: 24em; padding: 0 1em; text-align: center; color: #222 }
a.go { display: block; padding: .7em; border-radius: .4em; background: #07c160; color: #fff; text-decoration: none }
p { color: #666; font-size: 14px }
</style>
`

// The script goes where the link goes: a person need not tap, and without scripts still can. location.replace keeps the
// way back from ending here again.
var startPage = template.Must(template.New("start").Parse(pageHead + `<h1>微信授权</h1>
<a class="go" id="authorize" href="{{.Link}}">前往微信授权 · Continue to WeChat</a>
<p>{{if .Phone}}<a id="authorize-other" href="{{.Other}}">改用电脑扫码 · Scan a QR code instead</a>{{else}}<a id="authorize-other" href="{{.Other}}">在手机微信中打开 · Inside WeChat on a phone</a>{{end}}</p>
<script nonce="{{.Nonce}}">location.replace(document.getElementById("authorize").href)</script>
`))

var donePage = template.Must(template.New("done").Parse(pageHead + `<h1 id="authorized">授权成功 · Authorized</h1>
<p>可以关闭此页面。You can close this page.</p>
`))
