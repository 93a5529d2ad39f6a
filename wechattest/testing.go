package wechattest

// TB is what Start needs of *testing.T, *testing.B or *testing.F.
type TB interface {
	Helper()
	Logf(format string, args ...any)
	Errorf(format string, args ...any)
	Cleanup(func())
}

// Start is [New] for a test. The server is closed when the test ends, and every call that WeChat's documentation calls a
// bug of the caller (see Call.Misuse) then fails the test, unless [Server.AllowMisuse] says that it is expected. At most
// one Config may be given. If the server cannot listen, the test fails and Start panics.
func Start(tb TB, cfg ...Config) *Server {
	tb.Helper()
	var c Config
	if len(cfg) > 0 {
		c = cfg[0]
	}
	s, err := New(c)
	if err != nil {
		tb.Errorf("%v", err)
		panic(err)
	}
	tb.Cleanup(func() {
		tb.Helper()
		s.Close()
		for _, m := range s.journal.misuses() {
			tb.Errorf("wechattest: misuse of WeChat: %s %s: %s", m.Method, m.Path, m.Misuse)
		}
	})
	return s
}

// AllowMisuse says that misuse of these paths is expected and does not fail a test begun with [Start]. None given: all.
// It holds for calls made before, too.
func (s *Server) AllowMisuse(paths ...string) { s.journal.allow(paths) }
