package wechattest

import "time"

// quota counts calls by account and path, by the day and the month of Beijing.
type quota struct {
	limits map[string]int            // calls per day and account; a path that is absent has no limit
	day    string                    // the day that used counts
	used   map[string]map[string]int // account, path
	month  string                    // the month that clears counts
	clears map[clearKey]int
}

// clearKey counts clears of everything apart from clears of single paths.
type clearKey struct {
	appID string
	all   bool
}

// How often an account may clear its quota: of all paths, and of single ones.
const (
	clearsPerMonth     = 10
	pathClearsPerMonth = 50
)

func defaultQuota() map[string]int {
	return map[string]int{"/cgi-bin/token": 2000, "/cgi-bin/message/custom/send": 500_000}
}

func (q *quota) roll(now time.Time) {
	now = now.In(beijing())
	if day := now.Format("2006-01-02"); day != q.day {
		q.day, q.used = day, map[string]map[string]int{}
	}
	if month := now.Format("2006-01"); month != q.month {
		q.month, q.clears = month, map[clearKey]int{}
	}
}

// spend counts a call, or reports false if the day's calls are used up.
func (q *quota) spend(now time.Time, path, appID string) bool {
	q.roll(now)
	limit, limited := q.limits[path]
	if limited && q.used[appID][path] >= limit {
		return false
	}
	if q.used[appID] == nil {
		q.used[appID] = map[string]int{}
	}
	q.used[appID][path]++
	return true
}

// clear forgets the calls of today, of one path or ("") of all, or reports false if the month's clears are used up.
func (q *quota) clear(now time.Time, appID, path string) bool {
	q.roll(now)
	key, limit := clearKey{appID, path == ""}, pathClearsPerMonth
	if key.all {
		limit = clearsPerMonth
	}
	if q.clears[key] >= limit {
		return false
	}
	q.clears[key]++
	if key.all {
		delete(q.used, appID)
	} else {
		delete(q.used[appID], path)
	}
	return true
}

// SetQuota limits how often each account may call path in a day, from midnight to midnight in Beijing; over it WeChat
// answers 45009. 0 allows no call; negative lifts the limit. At first only /cgi-bin/token (2000) and
// /cgi-bin/message/custom/send (500,000) are limited, the two whose numbers are published.
func (s *Server) SetQuota(path string, perDay int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if perDay < 0 {
		delete(s.quota.limits, path)
		return
	}
	s.quota.limits[path] = perDay
}
