package wechattest

import (
	"net/url"
	"slices"
	"strings"
)

const defaultPolicy = "strict-origin-when-cross-origin"

// policies are the values of Referrer-Policy; others are ignored.
func policies() []string {
	return []string{"no-referrer", "no-referrer-when-downgrade", "origin", "origin-when-cross-origin", "same-origin",
		"strict-origin", defaultPolicy, "unsafe-url"}
}

// referrerPolicy is the last known policy of the headers, or def.
func referrerPolicy(headers []string, def string) string {
	policy := def
	for _, h := range headers {
		for _, p := range strings.Split(h, ",") {
			if p = strings.ToLower(strings.TrimSpace(p)); slices.Contains(policies(), p) {
				policy = p
			}
		}
	}
	return policy
}

// referer is what a browser sends when it goes from one URL to another under a policy; "" nothing.
func referer(policy, from, to string) string {
	f, err1 := url.Parse(from)
	t, err2 := url.Parse(to)
	if err1 != nil || err2 != nil || f.Scheme != "http" && f.Scheme != "https" {
		return ""
	}
	f.User, f.Fragment, f.RawFragment = nil, "", ""
	full, short := f.String(), origin(f)+"/"
	same := origin(f) == origin(t)
	downgrade := f.Scheme == "https" && t.Scheme != "https"
	switch policy {
	case "no-referrer":
		return ""
	case "no-referrer-when-downgrade":
		if downgrade {
			return ""
		}
		return full
	case "origin":
		return short
	case "origin-when-cross-origin":
		if same {
			return full
		}
		return short
	case "same-origin":
		if same {
			return full
		}
		return ""
	case "strict-origin":
		if downgrade {
			return ""
		}
		return short
	case "unsafe-url":
		return full
	}
	switch { // strict-origin-when-cross-origin
	case same:
		return full
	case downgrade:
		return ""
	}
	return short
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// farther is the Sec-Fetch-Site of a navigation that was redirected: a cross-site hop is not forgotten.
func farther(a, b string) string {
	for _, site := range []string{"none", "cross-site", "same-site"} {
		if a == site || b == site {
			return site
		}
	}
	return b
}

// fetchSite is the Sec-Fetch-Site of a navigation.
func fetchSite(from, to string) string {
	f, err1 := url.Parse(from)
	t, err2 := url.Parse(to)
	switch {
	case from == "" || err1 != nil || err2 != nil:
		return "none"
	case origin(f) == origin(t):
		return "same-origin"
	case f.Scheme == t.Scheme && f.Hostname() == t.Hostname():
		return "same-site"
	}
	return "cross-site"
}
