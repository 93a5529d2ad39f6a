package wechattest

import "time"

// Now is the time at WeChat: the base clock of the Config and everything that Advance added.
func (s *Server) Now() time.Time {
	return s.cfg.Now().Add(time.Duration(s.skew.Load()))
}

// Advance moves the clock forward by d, and with it the age of every ticket, code, token and quota.
func (s *Server) Advance(d time.Duration) { s.skew.Add(int64(d)) }

// beijing is the time zone by which WeChat counts days and months. It has no summer time.
func beijing() *time.Location { return time.FixedZone("CST", 8*60*60) }
