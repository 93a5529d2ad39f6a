package wechattest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

func TestReferer(t *testing.T) {
	const from, same, cross = "https://u:p@a.example/x?y#z", "https://a.example/2", "https://b.example/"
	const full, short, down = "https://a.example/x?y", "https://a.example/", "http://b.example/"
	for _, tt := range []struct{ policy, same, cross, down string }{
		{"", full, short, ""},
		{"strict-origin-when-cross-origin", full, short, ""},
		{"no-referrer", "", "", ""},
		{"no-referrer-when-downgrade", full, full, ""},
		{"origin", short, short, short},
		{"origin-when-cross-origin", full, short, short},
		{"same-origin", full, "", ""},
		{"strict-origin", short, short, ""},
		{"unsafe-url", full, full, full},
	} {
		for to, want := range map[string]string{same: tt.same, cross: tt.cross, down: tt.down} {
			if got := referer(tt.policy, from, to); got != want {
				t.Errorf("%q to %s: %q, want %q", tt.policy, to, got, want)
			}
		}
	}
	if got := referer("unsafe-url", "", cross); got != "" {
		t.Errorf("from nowhere: %q", got)
	}
	if got := referrerPolicy([]string{"nonsense", "origin, no-referrer, later"}, ""); got != "no-referrer" {
		t.Errorf("policy %q", got)
	}
}

// site answers with the page of a path, and keeps the requests.
func site(t *testing.T, pages map[string]string) (*httptest.Server, *[]*http.Request) {
	var got []*http.Request
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.ParseForm()
		got = append(got, r)
		if to, ok := strings.CutPrefix(pages[r.URL.Path], "-> "); ok {
			http.Redirect(w, r, to, http.StatusFound)
			return
		}
		fmt.Fprint(w, pages[r.URL.Path])
	}))
	t.Cleanup(srv.Close)
	return srv, &got
}

func TestBrowserSendsForms(t *testing.T) {
	srv, got := site(t, map[string]string{"/": `<form method=post action="/p?x=1"><input type=hidden name=h value="1&amp;2">
		<input name=t value=old><input type=checkbox name=c1><input type=checkbox name=c2 checked>
		<input name=off value=1 disabled><select name=s><option value=a>A<option value=b selected>B</select>
		<textarea name=ta>text</textarea><button id=one name=choice value=1>1</button><button id=two name=choice value=2>2</button></form>
		<form action="/g?lost=1"><input name=q value=w><input type=submit id=get></form><p id=plain>`})
	s := Start(t)
	page, err := s.NewBrowser(nil).Open(t.Context(), srv.URL+"/")
	must(t, page, err)
	page.Fill("t", "新")
	done, err := page.Click(t.Context(), "two")
	must(t, done, err)
	want := url.Values{"h": {"1&2"}, "t": {"新"}, "c2": {"on"}, "s": {"b"}, "ta": {"text"}, "choice": {"2"}}
	r := (*got)[1]
	if r.Method != "POST" || r.PostForm.Encode() != want.Encode() || r.Header.Get("Referer") != srv.URL+"/" || r.Header.Get("Origin") != srv.URL {
		t.Errorf("%s %v, header %v", r.Method, r.PostForm, r.Header)
	}
	page, err = s.NewBrowser(nil).Open(t.Context(), srv.URL+"/")
	done, err = must(t, page, err).Click(t.Context(), "get")
	if must(t, done, err); done.URL != srv.URL+"/g?q=w" {
		t.Errorf("GET form went to %s", done.URL)
	}
	for _, id := range []string{"none", "plain"} {
		if _, err := page.Click(t.Context(), id); err == nil {
			t.Errorf("clicking %q worked", id)
		}
	}
}

func TestBrowserRedirects(t *testing.T) {
	srv, got := site(t, map[string]string{"/loop": "-> /loop", "/a": "-> /b", "/b": "-> /c#here", "/c": "end"})
	s := Start(t)
	b := s.NewBrowser(nil)
	page, err := b.Open(t.Context(), srv.URL+"/a")
	if must(t, page, err); page.URL != srv.URL+"/c#here" || len(page.Trail) != 3 {
		t.Errorf("trail %v", page.Trail)
	}
	if r := (*got)[2]; r.Header.Get("Referer") != "" || r.Header.Get("Sec-Fetch-Mode") != "navigate" {
		t.Errorf("header %v", r.Header)
	}
	b.MaxRedirects = 3
	if _, err := b.Open(t.Context(), srv.URL+"/loop"); err == nil {
		t.Error("a circle of redirects ended")
	}
	if n := len(*got) - 3; n != 4 {
		t.Errorf("%d requests, want 4", n)
	}
}

func TestBrowserTellsWhereANavigationComesFrom(t *testing.T) {
	other, _ := site(t, nil)
	pages := map[string]string{"/": `<a id=own href=/x>x</a><a id=away href=/leave>y</a>`}
	srv, got := site(t, pages)
	pages["/leave"] = "-> " + strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/x"
	page, err := Start(t).NewBrowser(nil).Open(t.Context(), srv.URL+"/")
	must(t, page, err)
	for _, id := range []string{"own", "away"} {
		if _, err := page.Click(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range []string{"none", "same-origin", "same-origin"} {
		if v := (*got)[i].Header.Get("Sec-Fetch-Site"); v != want {
			t.Errorf("request %d: Sec-Fetch-Site %q, want %q", i, v, want)
		}
	}
	for _, tt := range [][3]string{{"", "none", "none"}, {"same-origin", "cross-site", "cross-site"},
		{"cross-site", "same-origin", "cross-site"}, {"same-origin", "same-site", "same-site"}, {"", "same-origin", "same-origin"}} {
		if v := farther(tt[0], tt[1]); v != tt[2] {
			t.Errorf("farther(%q, %q) = %q", tt[0], tt[1], v)
		}
	}
}

func TestBrowserRefusesCookiesThatBrowsersRefuse(t *testing.T) {
	s := Start(t)
	for _, tt := range []struct {
		url    string
		cookie http.Cookie
		kept   bool
	}{
		{"http://a.example/", http.Cookie{Name: "k", Value: "v"}, true},
		{"http://a.example/", http.Cookie{Name: "k", Value: strings.Repeat("v", 4095)}, true},
		{"http://a.example/", http.Cookie{Name: "k", Value: strings.Repeat("v", 4096)}, false},
		{"http://a.example/", http.Cookie{Name: "k", Value: "v", Secure: true}, false},
		{"https://a.example/", http.Cookie{Name: "k", Value: "v", Secure: true}, true},
		{"https://a.example/", http.Cookie{Name: "__Host-k", Value: "v", Secure: true, Path: "/"}, true},
		{"https://a.example/", http.Cookie{Name: "__Host-k", Value: "v", Secure: true, Path: "/x"}, false},
		{"https://a.example/", http.Cookie{Name: "__Host-k", Value: "v", Path: "/"}, false},
		{"https://a.example/", http.Cookie{Name: "__Host-k", Value: "v", Secure: true, Path: "/", Domain: "a.example"}, false},
	} {
		u, _ := url.Parse(tt.url)
		jar := s.NewBrowser(nil).Client.Jar
		jar.SetCookies(u, []*http.Cookie{&tt.cookie})
		if got := len(jar.Cookies(u)) == 1; got != tt.kept {
			t.Errorf("%s at %s: kept %v, want %v", &tt.cookie, tt.url, got, tt.kept)
		}
	}
}

func TestBrowserWithoutCookiesIsStillSomebody(t *testing.T) {
	s, ap := Start(t), newApp(t)
	a := s.AddAccount(AccountConfig{})
	s.AddUser(UserConfig{})
	u := s.AddUser(UserConfig{})
	b := s.NewBrowser(u)
	b.NoCookies = true
	page, err := b.Open(t.Context(), loginLink(s, "/connect/oauth2/authorize", a.AppID(), ap.URL+"/callback", "snsapi_base", ""))
	at, _ := url.Parse(must(t, page, err).URL)
	if got := exchange(t, s, a, at.Query().Get("code")).str("openid"); got != a.OpenID(u) {
		t.Errorf("openid %q", got)
	}
	own, _ := url.Parse(ap.URL)
	if n := len(b.Client.Jar.Cookies(own)); n != 0 {
		t.Errorf("%d cookies were kept", n)
	}
}

func TestTextIsWhatCanBeRead(t *testing.T) {
	srv, _ := site(t, map[string]string{"/": `<title>no</title><style>no</style><p>one<b>two</b>
		three</p><script>no</script><div hidden>no</div><meta name=referrer content=no-referrer><a id=l href="/x" rel=noreferrer>four</a>`})
	page, err := Start(t).NewBrowser(nil).Open(t.Context(), srv.URL+"/")
	if must(t, page, err); page.Text() != "one two three four" || page.policy != "no-referrer" || page.Attr("l", "href") != "/x" {
		t.Errorf("text %q, policy %q", page.Text(), page.policy)
	}
}
