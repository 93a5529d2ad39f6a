package wechattest

import (
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// qrLogin is a login of a website that waits until somebody confirms it on a phone.
type qrLogin struct {
	query    string // of the page with the QR code
	scanned  bool
	location string // where the login goes on; "" nobody has decided yet
}

// qrLoginLife is how long a QR code can be scanned. WeChat does not say.
const qrLoginLife = 5 * time.Minute

// qrConnectPage shows a QR code, which a phone opens as qrConfirmPage, and buttons that scan and decide at once.
func (c *call) qrConnectPage() reply {
	c.mu.Lock()
	l, e := c.checkLogin(c.r.URL.RawQuery, true)
	if e != nil {
		c.mu.Unlock()
		return c.errorPage(e)
	}
	if l.user.refuses {
		c.mu.Unlock()
		return l.back("")
	}
	uuid := randomURLSafe(16)
	q := &qrLogin{query: c.r.URL.RawQuery}
	c.qrLogins.put(c.Now(), uuid, q, qrLoginLife)
	c.mu.Unlock()
	return c.showQR(uuid, q.query, l, false)
}

func (c *call) showQR(uuid, query string, l *loginRequest, scanned bool) reply {
	return c.render("qr.html", "微信登录 WeChat Login", pageData{
		Hidden: []hidden{{"q", query}, {"page", "/connect/qrconnect"}},
		Data:   map[string]any{"Account": l.account, "UUID": uuid, "Scanned": scanned},
	})
}

// qrLogin finds a login by its uuid. It is called with mu held.
func (c *call) qrLogin(uuid string) (*qrLogin, *pageError) {
	it := c.qrLogins.get(uuid)
	if it == nil || it.expired(c.Now()) {
		return nil, &pageError{zh: "二维码已过期，请刷新登录页", en: "the QR code has expired: open the login page again"}
	}
	return it.value, nil
}

// qrConfirmPage is what the QR code opens on a phone.
func (c *call) qrConfirmPage() reply {
	c.mu.Lock()
	uuid := c.query.Get("uuid")
	var l *loginRequest
	q, e := c.qrLogin(uuid)
	if e == nil && q.location != "" {
		e = &pageError{zh: "二维码已被使用", en: "the QR code was used before"}
	}
	if e == nil {
		if l, e = c.checkLogin(q.query, true); e == nil {
			q.scanned = true
		}
	}
	c.mu.Unlock()
	if e != nil {
		return c.errorPage(e)
	}
	return c.render("consent.html", "微信登录 WeChat Login", pageData{
		Hidden: []hidden{{"uuid", uuid}}, Data: map[string]any{"Account": l.account, "QR": true}})
}

// qrConfirmed is the buttons of the phone.
func (c *call) qrConfirmed(form url.Values) reply {
	c.mu.Lock()
	var l *loginRequest
	q, e := c.qrLogin(form.Get("uuid"))
	if e == nil && q.location != "" {
		e = &pageError{zh: "二维码已被使用", en: "the QR code was used before"}
	}
	if e == nil {
		if l, e = c.checkLogin(q.query, true); e == nil {
			code := ""
			if form.Get("choice") == "allow" {
				code = c.loginCode(l.login)
			}
			q.location = l.target(code)
		}
	}
	c.mu.Unlock()
	if e != nil {
		return c.errorPage(e)
	}
	return c.render("message.html", "微信登录 WeChat Login", pageData{
		Data: map[string]string{"ZH": "请回到电脑上继续", "EN": "Go on at the computer."}})
}

// qrWaitPage is the computer's page after a while: it goes on when the phone has decided.
func (c *call) qrWaitPage() reply {
	c.mu.Lock()
	uuid := c.query.Get("uuid")
	var l *loginRequest
	q, e := c.qrLogin(uuid)
	if e == nil {
		l, e = c.checkLogin(q.query, true)
	}
	if e != nil {
		c.mu.Unlock()
		return c.errorPage(e)
	}
	location, scanned, query := q.location, q.scanned, q.query
	c.mu.Unlock()
	if location != "" {
		return redirectReply(location)
	}
	return c.showQR(uuid, query, l, scanned)
}

// qrPicture looks like a QR code, but cannot be scanned: no phone with WeChat would take the address of a simulator.
func (c *call) qrPicture() reply {
	const size, eye = 25, 7
	sum := sha256.Sum256([]byte(c.query.Get("uuid")))
	var b strings.Builder
	for y := range size {
		for x := range size {
			dark := sum[(y*size+x)/8%len(sum)]>>((y*size+x)%8)&1 == 1
			// The eyes in three corners are squares within squares, with a light edge.
			ex, ey := x, y
			if x > size/2 {
				ex = size - 1 - x
			}
			if y > size/2 {
				ey = size - 1 - y
			}
			if ex <= eye && ey <= eye && (x < size/2 || y < size/2) {
				ring := max(max(3-ex, ex-3), max(3-ey, ey-3))
				dark = ring != 2 && ring != 4
			}
			if dark {
				fmt.Fprintf(&b, "M%d %dh1v1h-1z", x, y)
			}
		}
	}
	return reply{status: http.StatusOK, contentType: "image/svg+xml", body: fmt.Appendf(nil,
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="-2 -2 %d %[1]d"><path fill="#fff" d="M-2-2h%[1]dv%[1]dh-%[1]dz"/><path d="%s"/></svg>`, size+4, b.String())}
}
