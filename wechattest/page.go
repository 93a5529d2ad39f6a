package wechattest

import (
	"bytes"
	"embed"
	"fmt"
	"hash/fnv"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

//go:embed pages/*.html
var pageFiles embed.FS

func parsePages() *template.Template {
	return template.Must(template.ParseFS(pageFiles, "pages/*.html"))
}

// userCookie tells who uses a browser. It is set on the server's own origin.
const userCookie = "wechatsim_user"

// pageData is what every page shows, and in Data what only one does.
type pageData struct {
	Title  string
	Me     *User
	Users  []*User
	Back   string // where the person selector comes back to; "" no selector
	Hidden []hidden
	Data   any
}

// hidden is an input that a form carries on.
type hidden struct{ Name, Value string }

// ID is the value of the person in forms.
func (u *User) ID() string { return u.id }

// maxListed bounds the lists on pages.
const maxListed = 200

func (c *call) render(name, title string, d pageData) reply {
	c.mu.Lock()
	d.Title, d.Me = title, c.me()
	d.Users = c.userOrder[:min(len(c.userOrder), maxListed)]
	c.mu.Unlock()
	if c.r.Method == http.MethodGet {
		d.Back = c.r.URL.RequestURI()
	}
	var b bytes.Buffer
	if err := c.pages.ExecuteTemplate(&b, name, d); err != nil {
		return textReply(http.StatusInternalServerError, "wechattest: "+err.Error())
	}
	return reply{status: http.StatusOK, contentType: "text/html; charset=utf-8", body: b.Bytes(),
		header: http.Header{"Cache-Control": {"no-store"}}}
}

// me is whose browser the call comes from: by the cookie, else the first person; nil if there is nobody. It is called
// with mu held.
func (c *call) me() *User {
	if k, err := c.r.Cookie(userCookie); err == nil && c.users[k.Value] != nil {
		return c.users[k.Value]
	}
	if len(c.userOrder) > 0 {
		return c.userOrder[0]
	}
	return nil
}

// pageError is a refusal that a person sees.
type pageError struct {
	number int // 0: WeChat shows none
	zh, en string
	misuse string
}

func (c *call) errorPage(e *pageError) reply {
	if e.misuse != "" {
		c.misuse = e.misuse
	}
	rp := c.render("error.html", "出错了 Error", pageData{Data: map[string]any{"Number": e.number, "ZH": e.zh, "EN": e.en}})
	rp.errCode = e.number
	return rp
}

func (c *call) noContent() reply { return reply{status: http.StatusNoContent} }

// picture is a square in a color of the name with its first letter.
func (c *call) picture() reply {
	name := c.query.Get("name")
	h := fnv.New32a()
	h.Write([]byte(name))
	letter, _ := utf8.DecodeRuneInString(name)
	svg := fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 64 64"><rect width="64" height="64" `+
		`fill="hsl(%d 45%% 55%%)"/><text x="32" y="42" font-size="28" text-anchor="middle" fill="#fff" `+
		`font-family="sans-serif">%s</text></svg>`, h.Sum32()%360, template.HTMLEscapeString(string(letter)))
	return reply{status: http.StatusOK, contentType: "image/svg+xml", body: []byte(svg)}
}

// becomeUser sets the cookie of another person and goes back.
func (c *call) becomeUser() reply {
	form, err := url.ParseQuery(string(c.body))
	c.mu.Lock()
	known := err == nil && c.users[form.Get("user")] != nil
	c.mu.Unlock()
	if !known {
		return textReply(http.StatusBadRequest, "nobody of that id")
	}
	back := form.Get("back")
	if !strings.HasPrefix(back, "/") || strings.HasPrefix(back, "//") || strings.HasPrefix(back, `/\`) {
		back = "/"
	}
	rp := redirectReply(back)
	rp.status = http.StatusSeeOther
	k := http.Cookie{Name: userCookie, Value: form.Get("user"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode}
	rp.header.Set("Set-Cookie", k.String())
	return rp
}
