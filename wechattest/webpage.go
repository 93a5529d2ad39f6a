package wechattest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// Page is what a Browser shows.
type Page struct {
	URL    string
	Status int
	Header http.Header
	Body   string
	Trail  []string // every URL visited to get here, in order; the last is URL

	browser *Browser
	root    *html.Node
	policy  string
	filled  map[string]string
	files   []file
}

func (b *Browser) page(v visit, a answer, trail []string) (*Page, error) {
	root, err := html.Parse(bytes.NewReader(a.body))
	if err != nil {
		return nil, fmt.Errorf("wechattest: browser: %w", err)
	}
	p := &Page{URL: v.url, Status: a.status, Header: a.header, Body: string(a.body), Trail: trail, browser: b, root: root,
		policy: referrerPolicy(a.header.Values("Referrer-Policy"), defaultPolicy), filled: map[string]string{}}
	for n := range root.Descendants() {
		if n.Data == "meta" && strings.EqualFold(attr(n, "name"), "referrer") {
			p.policy = referrerPolicy([]string{attr(n, "content")}, p.policy)
		}
	}
	return p, nil
}

// attr is an attribute of n; "" if it has none of that name.
func attr(n *html.Node, name string) string {
	v, _ := lookupAttr(n, name)
	return v
}

func lookupAttr(n *html.Node, name string) (string, bool) {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val, true
		}
	}
	return "", false
}

func hasAttr(n *html.Node, name string) bool {
	_, ok := lookupAttr(n, name)
	return ok
}

func (p *Page) find(id string) *html.Node {
	for n := range p.root.Descendants() {
		if n.Type == html.ElementNode && attr(n, "id") == id {
			return n
		}
	}
	return nil
}

// Has reports whether an element of the page has this id.
func (p *Page) Has(id string) bool { return p.find(id) != nil }

// Attr is an attribute of the element with this id, such as the href of a link; "" if there is none.
func (p *Page) Attr(id, name string) string {
	if n := p.find(id); n != nil {
		return attr(n, name)
	}
	return ""
}

// Text is what a person can read on the page, with single spaces.
func (p *Page) Text() string {
	var b strings.Builder
	var walk func(*html.Node)
	walk = func(n *html.Node) {
		switch {
		case n.Type == html.TextNode:
			b.WriteString(n.Data)
		case n.Type == html.ElementNode && slices.Contains([]string{"head", "script", "style", "template", "noscript"}, n.Data),
			hasAttr(n, "hidden"):
			return
		}
		if n.Type == html.ElementNode {
			b.WriteByte(' ')
		}
		for k := n.FirstChild; k != nil; k = k.NextSibling {
			walk(k)
		}
		if n.Type == html.ElementNode {
			b.WriteByte(' ')
		}
	}
	walk(p.root)
	return strings.Join(strings.Fields(b.String()), " ")
}

// Fill sets the value of the named field in whichever form is sent next.
func (p *Page) Fill(name, value string) { p.filled[name] = value }

// Attach chooses a file for the file input of this name, in whichever form is sent next.
func (p *Page) Attach(name, filename string, content []byte) {
	p.files = append(p.files, file{name, filename, content})
}

// Click follows the link, or sends the form of the button, that has this id.
func (p *Page) Click(ctx context.Context, id string) (*Page, error) {
	n := p.find(id)
	if n == nil {
		return nil, fmt.Errorf("wechattest: browser: %s has no element %q; it reads %.200q", p.URL, id, p.Text())
	}
	switch {
	case hasAttr(n, "disabled"):
		return nil, fmt.Errorf("wechattest: browser: element %q is disabled", id)
	case n.Data == "a" && hasAttr(n, "href"):
		return p.follow(ctx, n)
	case n.Data == "button" || n.Data == "input":
		return p.submit(ctx, n)
	}
	return nil, fmt.Errorf("wechattest: browser: element %q is <%s>, neither link nor button", id, n.Data)
}

func (p *Page) follow(ctx context.Context, a *html.Node) (*Page, error) {
	target, err := p.resolve(attr(a, "href"))
	if err != nil {
		return nil, err
	}
	return p.browser.visit(ctx, visit{method: http.MethodGet, url: target, from: p.URL, policy: p.policyOf(a)})
}

// policyOf is the page's policy, or that of the link or form.
func (p *Page) policyOf(n *html.Node) string {
	if slices.Contains(strings.Fields(strings.ToLower(attr(n, "rel"))), "noreferrer") {
		return "no-referrer"
	}
	return referrerPolicy([]string{attr(n, "referrerpolicy")}, p.policy)
}

func (p *Page) resolve(ref string) (string, error) {
	base, err := url.Parse(p.URL)
	if err == nil {
		base, err = base.Parse(strings.TrimSpace(ref))
	}
	if err != nil {
		return "", fmt.Errorf("wechattest: browser: %w", err)
	}
	return base.String(), nil
}

func (p *Page) submit(ctx context.Context, button *html.Node) (*Page, error) {
	form := p.formOf(button)
	if form == nil {
		return nil, fmt.Errorf("wechattest: browser: button %q is in no form", attr(button, "id"))
	}
	action := attr(form, "action")
	if v, ok := lookupAttr(button, "formaction"); ok {
		action = v
	}
	target, err := p.resolve(action)
	if err != nil {
		return nil, err
	}
	v := visit{method: http.MethodGet, from: p.URL, policy: p.policyOf(form), url: target}
	fields := p.fields(form, button)
	if strings.EqualFold(attr(form, "method"), "post") {
		v.method, v.form = http.MethodPost, fields
		if strings.EqualFold(attr(form, "enctype"), "multipart/form-data") {
			v.files = append([]file{}, p.files...)
		}
		return p.browser.visit(ctx, v)
	}
	u, err := url.Parse(target)
	if err != nil {
		return nil, fmt.Errorf("wechattest: browser: %w", err)
	}
	u.RawQuery = fields.Encode()
	v.url = u.String()
	return p.browser.visit(ctx, v)
}

func (p *Page) formOf(n *html.Node) *html.Node {
	if id, ok := lookupAttr(n, "form"); ok {
		return p.find(id)
	}
	for f := range n.Ancestors() {
		if f.Data == "form" {
			return f
		}
	}
	return nil
}

// fields are the form's values as a browser sends them when button is pressed.
func (p *Page) fields(form, button *html.Node) url.Values {
	out := url.Values{}
	for n := range p.root.Descendants() {
		name := attr(n, "name")
		if n.Type != html.ElementNode || name == "" || hasAttr(n, "disabled") || p.formOf(n) != form {
			continue
		}
		if value, ok := fieldValue(n, n == button); ok {
			if f, filled := p.filled[name]; filled && n != button {
				value = f
			}
			out.Add(name, value)
		}
	}
	for name, value := range p.filled {
		if !out.Has(name) {
			out.Set(name, value)
		}
	}
	return out
}

// fieldValue is what a field sends; ok is false if it sends nothing.
func fieldValue(n *html.Node, pressed bool) (value string, ok bool) {
	switch n.Data {
	case "button":
		return attr(n, "value"), pressed
	case "textarea":
		return nodeText(n), true
	case "select":
		return selected(n)
	case "input":
		switch strings.ToLower(attr(n, "type")) {
		case "submit", "image", "button", "reset":
			return attr(n, "value"), pressed
		case "file":
			return "", false // sent beside the fields
		case "checkbox", "radio":
			v, has := lookupAttr(n, "value")
			if !has {
				v = "on"
			}
			return v, hasAttr(n, "checked")
		}
		return attr(n, "value"), true
	}
	return "", false
}

func selected(n *html.Node) (value string, ok bool) {
	for o := range n.Descendants() {
		if o.Data != "option" || ok && !hasAttr(o, "selected") {
			continue
		}
		v, has := lookupAttr(o, "value")
		if !has {
			v = strings.TrimSpace(nodeText(o))
		}
		value, ok = v, true
	}
	return value, ok
}

func nodeText(n *html.Node) string {
	var b strings.Builder
	for k := range n.Descendants() {
		if k.Type == html.TextNode {
			b.WriteString(k.Data)
		}
	}
	return b.String()
}
