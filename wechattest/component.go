package wechattest

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/wechatopen/wechatopen"
)

// ComponentConfig is a third-party platform as it is registered at WeChat. Empty credentials are made up.
type ComponentConfig struct {
	AppID, AppSecret, Token, EncodingAESKey string

	EventURL   string // where tickets and authorization events are pushed; "" nothing is pushed
	MessageURL string // where messages of authorizers are pushed; $APPID$ in it becomes the authorizer's appid
	Domain     string // host[:port] that links to the authorization page and that redirect_uri has; "" not checked
}

// Component is a third-party platform.
type Component struct {
	s             *Server
	appID, secret string

	// Guarded by s.mu.
	token, aesKey        string
	eventURL, messageURL string
	domain               string
	tickets              []ticket // oldest first
	stopped              bool     // no tickets are pushed
	untaken              int      // tickets in a row that were pushed in vain
	slot                 tokenSlot
	grants               map[string]*grant // by appid
	order                []*grant          // by seq
	seq                  int
	pending              []string // events that FlushPushes is to push
}

// ticket is a component_verify_ticket.
type ticket struct {
	value   string
	created time.Time
}

const ticketLife = 12 * time.Hour

// grant is the authorization of one account to one component.
type grant struct {
	account  *Account
	seq      int    // the order of api_get_authorizer_list
	refresh  string // "" until the code is redeemed
	authTime time.Time
	funcInfo []int
	slot     tokenSlot
	revoked  bool
}

// AddComponent registers a third-party platform. It panics if the appid is taken.
func (s *Server) AddComponent(cfg ComponentConfig) *Component {
	c := &Component{
		s: s, appID: orElse(cfg.AppID, newAppID), secret: orElse(cfg.AppSecret, newSecret),
		token: orElse(cfg.Token, newMessageToken), aesKey: orElse(cfg.EncodingAESKey, newAESKey),
		eventURL: cfg.EventURL, messageURL: cfg.MessageURL, domain: cfg.Domain,
		grants: map[string]*grant{},
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checkFree(c.appID)
	s.components[c.appID] = c
	s.compOrder = append(s.compOrder, c)
	return c
}

// checkFree panics if an appid is in use.
func (s *Server) checkFree(appID string) {
	if s.components[appID] != nil || s.accounts[appID] != nil {
		panic("wechattest: appid " + appID + " is already registered")
	}
}

func orElse(v string, made func() string) string {
	if v == "" {
		return made()
	}
	return v
}

func newAppID() string        { return "wx" + randomHex(16) }
func newSecret() string       { return randomHex(32) }
func newMessageToken() string { return randomAlnum(16) }
func newAESKey() string       { return randomAlnum(43) }

// AppID is the component_appid.
func (c *Component) AppID() string { return c.appID }

// Credentials are what the console shows, for NewPlatform.
func (c *Component) Credentials() wechatopen.Credentials {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return wechatopen.Credentials{AppID: c.appID, AppSecret: c.secret, Token: c.token, EncodingAESKey: c.aesKey}
}

// set changes one of the fields that the console lets a developer edit.
func (c *Component) set(field *string, v string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	*field = v
}

// SetEventURL sets where tickets and authorization events are pushed; "" nowhere.
func (c *Component) SetEventURL(url string) { c.set(&c.eventURL, url) }

// SetMessageURL sets where messages of authorizers are pushed; $APPID$ in it becomes the authorizer's appid; "" nowhere.
func (c *Component) SetMessageURL(url string) { c.set(&c.messageURL, url) }

// SetDomain sets the host[:port] of the launch page, of the authorization's and the login's redirect_uri; "" any.
func (c *Component) SetDomain(domain string) { c.set(&c.domain, domain) }

// SetKeys changes the message verification token and the EncodingAESKey at once, as the console does. "" keeps one.
func (c *Component) SetKeys(token, encodingAESKey string) {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if token != "" {
		c.token = token
	}
	if encodingAESKey != "" {
		c.aesKey = encodingAESKey
	}
}

// Ticket is the newest component_verify_ticket; "" before the first.
func (c *Component) Ticket() string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if len(c.tickets) == 0 {
		return ""
	}
	return c.tickets[len(c.tickets)-1].value
}

// NewTicket makes a ticket without pushing it. It is valid for 12 hours, beside those before it.
func (c *Component) NewTicket() string {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	return c.newTicket().value
}

// newTicket is called with s.mu held.
func (c *Component) newTicket() ticket {
	now := c.s.Now()
	c.tickets = slices.DeleteFunc(c.tickets, func(t ticket) bool { return now.Sub(t.created) > ticketLife+keepExpired })
	t := ticket{newTicketValue(), now}
	c.tickets = append(c.tickets, t)
	return t
}

// checkTicket is called with s.mu held.
func (c *Component) checkTicket(value string) error {
	for _, t := range c.tickets {
		if t.value == value {
			if c.s.Now().Sub(t.created) >= ticketLife {
				return refuse(61005)
			}
			return nil
		}
	}
	return refuse(61006)
}

// PushTicket makes a new ticket and pushes it to the event URL. It returns an error unless the push was answered
// "success", or if pushes are stopped; the ticket is made in any case.
func (c *Component) PushTicket(ctx context.Context) (*PushResult, error) {
	c.s.mu.Lock()
	t, stopped := c.newTicket(), c.stopped
	c.s.mu.Unlock()
	if stopped {
		return nil, errors.New("wechattest: ticket pushes are stopped; api_start_push_ticket starts them")
	}
	res, err := c.Push(ctx, c.TicketXML(t.value, t.created))
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	if err == nil {
		c.untaken = 0
	} else if c.untaken++; c.untaken == c.s.cfg.StopAfter {
		c.stopped = true
	}
	return res, err
}

// StopPushes puts the ticket service into the stopped state, in which PushTicket fails, until the platform calls
// api_start_push_ticket.
func (c *Component) StopPushes() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.stopped = true
}

// ExpireTokens ends the component's token and the access tokens of all its authorizers at once, as if their time were
// over: calls with them answer 42001.
func (c *Component) ExpireTokens() {
	c.s.mu.Lock()
	defer c.s.mu.Unlock()
	c.s.expire(&c.slot)
	for _, g := range c.order {
		c.s.expire(&g.slot)
	}
}

// hostMatches reports whether host[:port] is that of a registered domain. "" matches all; a domain without a port
// matches every port.
func hostMatches(domain, host, hostname string) bool {
	switch {
	case domain == "":
		return true
	case strings.Contains(domain, ":"):
		return strings.EqualFold(domain, host)
	}
	return strings.EqualFold(domain, hostname)
}
