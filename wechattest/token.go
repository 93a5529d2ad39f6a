package wechattest

import (
	"net/url"
	"slices"
	"strings"
	"time"
)

const tokenLife = 7200 * time.Second

type tokenKind int

const (
	componentToken tokenKind = iota
	authorizerToken
	nativeToken
)

// apiToken is a token for server calls.
type apiToken struct {
	value     string
	kind      tokenKind
	component *Component // of a component or authorizer token
	account   *Account   // of an authorizer or native token
	grant     *grant     // of an authorizer token
	expires   time.Time
	replaced  bool
}

// owner is the appid whose quota the token spends.
func (t *apiToken) owner() string {
	if t.account != nil {
		return t.account.appID
	}
	return t.component.appID
}

// tokenSlot holds the tokens of one owner that may still be valid, the newest last.
type tokenSlot struct{ tokens []*apiToken }

func (sl *tokenSlot) newest() *apiToken {
	if len(sl.tokens) == 0 {
		return nil
	}
	return sl.tokens[len(sl.tokens)-1]
}

// issue makes t the newest token of a slot. Those before it stay valid for the overlap and no longer.
func (s *Server) issue(sl *tokenSlot, t apiToken) *apiToken {
	now := s.Now()
	sl.tokens = slices.DeleteFunc(sl.tokens, func(old *apiToken) bool {
		if !old.replaced {
			old.replaced = true
			if end := now.Add(s.cfg.TokenOverlap); end.Before(old.expires) {
				old.expires = end
			}
		}
		dead := !now.Before(old.expires)
		if dead {
			delete(s.tokens, old.value)
		}
		return dead
	})
	t.value, t.expires = newAPIToken(), now.Add(tokenLife)
	sl.tokens = append(sl.tokens, &t)
	s.tokens[t.value] = &t
	return &t
}

// expire ends the newest token of a slot at once, and with it all.
func (s *Server) expire(sl *tokenSlot) {
	for _, t := range sl.tokens {
		t.expires = s.Now()
	}
}

// checkToken finds a token. A dead one answers 42001 if its time was over, 40001 if it was replaced.
func (s *Server) checkToken(value string) (*apiToken, error) {
	t := s.tokens[value]
	switch {
	case t == nil:
		return nil, refuse(40001)
	case t.grant != nil && t.grant.revoked:
		return nil, refuse(61003)
	case !s.Now().Before(t.expires) && t.replaced:
		return nil, refuse(40001)
	case !s.Now().Before(t.expires):
		return nil, refuse(42001)
	}
	return t, nil
}

// tokenUse says which token a route needs.
type tokenUse int

const (
	noToken      tokenUse = iota
	useComponent          // the component's
	useAccount            // an authorizer's, or that of an account of one's own
	useAny                // any of the three
)

// authorize checks the token of a call and keeps it in c.token.
func (c *call) authorize(use tokenUse) error {
	if use == noToken {
		return nil
	}
	value, why := tokenParam(c.r.URL.Path, c.query)
	if value == "" {
		return misuse(41001, why)
	}
	t, err := c.checkToken(value)
	if err != nil {
		return err
	}
	c.journal.setOwner(c.entry, t.owner())
	c.appID = t.owner()
	switch {
	case use == useComponent && t.kind != componentToken:
		return misuse(61014, "an account's token on an API of the component")
	case use == useAccount && t.kind == componentToken:
		return misuse(61015, "the component's token on an API of accounts")
	}
	c.token = t
	return nil
}

// tokenParam finds the token in the query. The APIs of components take it under either of two names, as old and new
// documentation have it; all others take one.
func tokenParam(path string, q url.Values) (value, why string) {
	if v := q.Get("access_token"); v != "" {
		return v, ""
	}
	if v := q.Get("component_access_token"); v != "" {
		if strings.HasPrefix(path, "/cgi-bin/component/") || strings.HasPrefix(path, "/wxa/component/") || strings.HasPrefix(path, "/sns/component/") {
			return v, ""
		}
		return "", "the token is to be named access_token here"
	}
	return "", "no access_token"
}
