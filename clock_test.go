package wechatopen_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	wechatopen "github.com/wechatopen/wechatopen"
)

// The clock of these tests is the bubble's, which is what a platform without WithClock has.

func TestTokenIsServedToItsLastMomentAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{answer: func(_ *http.Request, n int) (string, error) {
			if n > 1 {
				return "", errors.New("down")
			}
			return numberedToken(1, 7200), nil
		}}
		s := b.account(t).AccessToken()
		end := tokenOf(t, s).Expiry
		time.Sleep(time.Until(end) - 3*time.Second)
		for ; time.Now().Before(end); time.Sleep(70 * time.Millisecond) {
			tokenOf(t, s)
			if left := time.Until(end); left <= 70*time.Millisecond {
				time.Sleep(left - time.Nanosecond)
				tokenOf(t, s)
				time.Sleep(time.Nanosecond)
				noToken(t, s)
			}
		}
		noToken(t, s)
	})
}

// A session has its end to the second, though the clock is not read for every request.
func TestSessionIsServedToItsLastMomentAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(300 * time.Millisecond) // logged in between two seconds
		s := newBenchSession(t, wechatopen.ScopeBase)
		status := func() int {
			w := httptest.NewRecorder()
			s.page.ServeHTTP(w, s.request)
			return w.Code
		}
		end := s.user.Expiry
		time.Sleep(time.Until(end) - 2500*time.Millisecond)
		for ; time.Until(end) > 70*time.Millisecond; time.Sleep(70 * time.Millisecond) {
			if code := status(); code != http.StatusOK {
				t.Fatalf("status %d, %v before the end", code, time.Until(end))
			}
		}
		time.Sleep(time.Until(end) - time.Nanosecond)
		if code := status(); code != http.StatusOK {
			t.Errorf("status %d at the last moment", code)
		}
		time.Sleep(time.Nanosecond)
		if code := status(); code != http.StatusFound {
			t.Errorf("status %d at the end", code)
		}
	})
}

func TestPageIsSignedWithATimeOfThisSecondOrTheLast(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := shopOnWire(t, func(r *http.Request) (*http.Response, error) {
			return wireAnswer(r, 200, `{"access_token":"token","ticket":"ticket","expires_in":7200}`), nil
		})
		for range 200 {
			config, err := a.JSConfig(t.Context(), "https://shop.example.com/")
			if err != nil {
				t.Fatal(err)
			}
			if late := time.Since(time.Unix(config.Timestamp, 0)); late < 0 || late >= 2*time.Second {
				t.Errorf("signed with a time %v ago", late)
			}
			time.Sleep(170 * time.Millisecond)
		}
	})
}

// Who does not ask pays nothing: there is no timer that goes on by itself.
func TestIdlePlatformDoesNotWatchTheClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{answer: func(*http.Request, int) (string, error) { return numberedToken(1, 7200), nil }}
		source := b.account(t).AccessToken()
		for range 2 { // fetched, and then found
			tokenOf(t, source)
		}
		allocations := func() uint64 {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.Mallocs
		}
		before := allocations()
		time.Sleep(24 * time.Hour)
		if n := allocations() - before; n > 5000 {
			t.Errorf("%d allocations in a day of sleep", n)
		}
	})
}
