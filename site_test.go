package wechatopen_test

import (
	"net/http"
	"strings"
	"testing"
)

// What WeChat adds to an address is seen however it is written, beside a session too.
func TestCallbackWithASessionIsSeenHoweverItIsWritten(t *testing.T) {
	s := newLoginSite(t, nil)
	_, finish := s.logInByHand(s.oauth, "/page")
	cookie := loginCookieHeader([]*http.Cookie{loginCookie(finish, loginSessionName)})
	for query, clean := range map[string]string{
		"code=C&state=S": "", "a=b&code=C&state=S": "?a=b", "code=C&st%61te=S": "", "%63ode=C&%73tate": "", "state=S&code=C&a=b": "?a=b",
	} {
		a := s.at("/page?"+query, cookie)
		if want := s.site.URL + "/page" + clean; a.Status != http.StatusFound || a.Header.Get("Location") != want {
			t.Errorf("%s: status %d, Location %q, want %q", query, a.Status, a.Header.Get("Location"), want)
		}
	}
	for _, query := range []string{"", "?", "?a=b", "?code=C", "?state=S", "?a=%73", "?a=state", "?estate=S&code=C"} {
		if a := s.at("/page"+query, cookie); a.Status != http.StatusOK || strings.Contains(a.Body, "nobody") {
			t.Errorf("%q: status %d, body %q", query, a.Status, a.Body)
		}
	}
}
