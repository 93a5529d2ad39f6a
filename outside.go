package wechatopen

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"html/template"
	"net/http"
	"strings"

	"github.com/wechatopen/wechatopen/internal/qr"
)

// outside reports whether a browser is about to be sent to WeChat's login page that is not WeChat's, and so could only
// read there that it is not. One whose own login came back is no such: whatever it is, it got through.
func (v *visit) outside() bool {
	if v.o.AnyBrowser || v.scope == ScopeLogin || v.flow != nil {
		return false
	}
	v.w.Header().Add("Vary", "User-Agent")
	return !inWeChat(v.r.UserAgent())
}

// inWeChat is false only for what calls itself a browser and is another than WeChat's, or WeChat Work's: programs without
// such a User-Agent have no use for a page that is meant for people.
func inWeChat(userAgent string) bool {
	return !strings.Contains(userAgent, "Mozilla/") || strings.Contains(strings.ToLower(userAgent), "micromessenger")
}

// answerOutside is for a browser that is outside.
func (v *visit) answerOutside() error {
	if v.o.OutsideWeChat != nil {
		v.o.OutsideWeChat.ServeHTTP(v.w, v.r)
		return nil
	}
	return writeOutsidePage(v.w, v.clean())
}

// maxQRAddress is the longest address that is shown as a QR code. Phones hardly read a finer one from a screen, and to
// draw it takes milliseconds of a processor, for which any visitor could ask.
const maxQRAddress = 1000

// writeOutsidePage shows the address of a page that opens in WeChat. Its status keeps crawlers and caches from taking it
// for that page.
func writeOutsidePage(w http.ResponseWriter, address string) error {
	data := outsidePageData{Nonce: rand.Text(), Address: address}
	if len(address) <= maxQRAddress {
		code, err := qr.Encode([]byte(address))
		if err != nil {
			return errorf("page: %w", err)
		}
		data.QR = newQRPicture(code)
	}
	var b bytes.Buffer
	if err := outsidePage.Execute(&b, data); err != nil {
		return errorf("page: %w", err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'nonce-"+data.Nonce+"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'")
	w.WriteHeader(http.StatusForbidden)
	_, _ = w.Write(b.Bytes()) // the browser has left
	return nil
}

type outsidePageData struct {
	Nonce, Address string
	QR             *qrPicture // nil if the address is longer than maxQRAddress
}

// qrPicture is a QR code as lines of an SVG picture, one unit a module.
type qrPicture struct {
	Side  int // modules, with the quiet zone
	Width int // pixels, a whole number a module
	Lines string
}

func newQRPicture(c *qr.Code) *qrPicture {
	const quiet, width, module = 4, 256, 4
	var b strings.Builder
	for y := range c.Size() {
		for x := 0; x < c.Size(); x++ {
			from := x
			for x < c.Size() && c.Dark(x, y) {
				x++
			}
			if x > from {
				fmt.Fprintf(&b, "M%d %d.5h%d", from+quiet, y+quiet, x-from)
			}
		}
	}
	side := c.Size() + 2*quiet
	return &qrPicture{Side: side, Width: side * max(module, (width+side-1)/side), Lines: b.String()}
}

var outsidePage = template.Must(template.New("outside").Parse(`<!doctype html>
<html lang="zh-CN">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>请在微信中打开 · Open in WeChat</title>
<style nonce="{{.Nonce}}">
:root { color-scheme: light }
body { font: 16px/1.6 system-ui, sans-serif; margin: 8vh auto; max-width: 46em; padding: 0 1em; text-align: center; color: #222; background: #fff }
h1 { font-size: 1.4em; margin: 0 }
h1 + p { font-size: 1.1em; margin: 0 }
svg { display: block; margin: 1em auto; max-width: 100%; height: auto; background: #fff }
textarea { box-sizing: border-box; width: 100%; max-width: 30em; padding: .6em; border: 1px solid #888; border-radius: .4em; font: 14px/1.4 ui-monospace, monospace; color: #222; background: #f7f7f7; resize: vertical; overflow-wrap: anywhere; -webkit-user-select: all; user-select: all }
</style>
<h1>请在微信中打开此页面</h1>
<p lang="en">Please open this page in WeChat</p>
{{with .QR}}<svg id="qr" xmlns="http://www.w3.org/2000/svg" width="{{.Width}}" height="{{.Width}}" viewBox="0 0 {{.Side}} {{.Side}}" shape-rendering="crispEdges" role="img" aria-label="二维码 · QR code"><path fill="#fff" d="M0 0h{{.Side}}v{{.Side}}H0z"/><path stroke="#000" d="{{.Lines}}"/></svg>
<p>电脑上：用微信扫描二维码。手机上：复制下面的网址，发到微信的聊天里，再点开。</p>
<p lang="en">On a computer: scan the code with WeChat. On a phone: copy the address below, send it to a chat in WeChat, and tap it there.</p>
{{else}}<p>复制下面的网址，发到微信的聊天里，再点开。</p>
<p lang="en">Copy the address below, send it to a chat in WeChat, and tap it there.</p>
{{end}}<textarea id="address" readonly rows="3" spellcheck="false" aria-label="网址 · Address">{{.Address}}</textarea>
`))
