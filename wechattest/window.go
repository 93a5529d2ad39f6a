package wechattest

import "time"

// contact is how long and how often an account may still write to a user by message/custom/send. WeChat's documentation
// counts by what the user did last; that a window of one kind does not shorten that of the other is a choice.
type contact struct {
	message window // since the user wrote
	action  window // since the user followed, scanned or tapped
}

type window struct {
	ends time.Time
	left int
}

const (
	messageWindow, messageCount = 48 * time.Hour, 5
	actionWindow, actionCount   = time.Minute, 3
)

// openWindow lets the account write to a user who did something. It is called with s.mu held.
func (a *Account) openWindow(openID, msgType, event string) {
	if a.contacts == nil {
		a.contacts = map[string]*contact{}
	}
	k := a.contacts[openID]
	if k == nil {
		k = &contact{}
		a.contacts[openID] = k
	}
	now := a.s.Now()
	if msgType != "event" {
		k.message = window{now.Add(messageWindow), messageCount}
		return
	}
	switch event {
	case "subscribe", "SCAN", "CLICK", "scancode_push", "scancode_waitmsg":
		k.action = window{now.Add(actionWindow), actionCount}
	case "unsubscribe":
		*k = contact{}
	}
}

// spendWindow counts a message to a user, or refuses it. It is called with s.mu held.
func (a *Account) spendWindow(openID string) error {
	k := a.contacts[openID]
	switch {
	case k == nil && a.openIDs[openID] == nil:
		return refuse(40003)
	case k == nil && !a.cfg.MiniProgram && a.follows[openID] == nil:
		return refuse(43004)
	case k == nil:
		return refuse(45015)
	}
	open, now := false, a.s.Now()
	for _, w := range []*window{&k.action, &k.message} {
		if !now.Before(w.ends) {
			continue
		}
		if w.left > 0 {
			w.left--
			return nil
		}
		open = true
	}
	if open {
		return refuse(45047)
	}
	return refuse(45015)
}
