package wechattest

import (
	"errors"
	"net/http"

	"github.com/wechatopen/wechatopen"
)

// Handle plays a path of the API that the server does not know, so that a test can make any call. answer is called for
// each call with a valid token, of whomever, by GET or POST, and may be called on several goroutines. What it returns is
// sent as JSON, a []byte as it is, such as a picture. An error is a refusal: with the code of an
// [wechatopen.APIError], or -1, system error. A path that the server knows is left to the server.
func (s *Server) Handle(path string, answer func(c Call) (any, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handled == nil {
		s.handled = map[string]route{}
	}
	s.handled[path] = route{token: useAny, api: func(c *call) (any, error) {
		made := c.entry.copy()
		made.AppID = c.appID
		c.mu.Unlock() // answer may ask the server
		defer c.mu.Lock()
		v, err := answer(made)
		var refusal *wechatopen.APIError
		switch {
		case errors.As(err, &refusal):
			return nil, refuse(refusal.Code)
		case err != nil:
			return nil, refuse(-1)
		}
		if b, ok := v.([]byte); ok {
			return reply{status: http.StatusOK, contentType: http.DetectContentType(b), body: b}, nil
		}
		return v, nil
	}}
}

func (s *Server) route(path string) (route, bool) {
	if rt, ok := s.routes[path]; ok {
		return rt, true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	rt, ok := s.handled[path]
	return rt, ok
}
