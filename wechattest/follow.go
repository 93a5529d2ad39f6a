package wechattest

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"
)

// follow is that a user follows an account. Nobody does at first.
type follow struct {
	since time.Time
	scene string // of the QR code that the user came by; "" none
}

// Follow has u follow the account and pushes `subscribe` to whoever receives the account's messages, see [Account.Push].
// scene is what the QR code that u scanned stands for; "": u came another way. Who follows already and scans a code is
// pushed as `SCAN`; without a scene nothing happens. The error is that of the push; u follows in any case.
func (a *Account) Follow(ctx context.Context, u *User, scene string) (*PushResult, error) {
	a.s.mu.Lock()
	openID, now := a.openID(u), a.s.Now()
	event, key := "subscribe", scene
	if a.follows[openID] != nil {
		event = "SCAN"
	} else {
		if a.follows == nil {
			a.follows = map[string]*follow{}
		}
		a.follows[openID] = &follow{now, scene}
		if scene != "" {
			key = "qrscene_" + scene
		}
	}
	a.s.mu.Unlock()
	if event == "SCAN" && scene == "" {
		return &PushResult{}, nil
	}
	rest := "<Event>" + cdata(event) + "</Event>\n<EventKey>" + cdata(key) + "</EventKey>\n"
	if scene != "" {
		rest += "<Ticket>" + cdata(a.sceneTicket(scene)) + "</Ticket>\n"
	}
	return a.Push(ctx, a.MessageXML(openID, "event", 0, now, rest))
}

// Unfollow has u no longer follow the account, and pushes `unsubscribe`. If u does not follow, nothing happens. The
// error is that of the push; u does not follow in any case.
func (a *Account) Unfollow(ctx context.Context, u *User) (*PushResult, error) {
	a.s.mu.Lock()
	openID, now := a.openID(u), a.s.Now()
	followed := a.follows[openID] != nil
	delete(a.follows, openID)
	delete(a.tags, openID)
	a.s.mu.Unlock()
	if !followed {
		return &PushResult{}, nil
	}
	return a.Push(ctx, a.EventXML(openID, "unsubscribe", "", now))
}

// Follows reports whether u follows the account.
func (a *Account) Follows(u *User) bool {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	return a.follows[a.openID(u)] != nil
}

// SetTags sets the ids of the tags (标签) that the account gave u. Unfollow removes them.
func (a *Account) SetTags(u *User, ids ...int) {
	a.s.mu.Lock()
	defer a.s.mu.Unlock()
	if a.tags == nil {
		a.tags = map[string][]int{}
	}
	a.tags[a.openID(u)] = slices.Clone(ids)
}

// sceneTicket is the ticket of the QR code of a scene, always the same.
func (a *Account) sceneTicket(scene string) string {
	id := func(part string) string { return a.s.idFor("qrcode", a.appID, scene, part) }
	return "gQ" + (id("1") + id("2") + id("3") + id("4"))[:94]
}

// needFollower is what the user's side of an official account requires. It is called with s.mu held.
func (a *Account) needFollower(u *User) error {
	if !a.cfg.MiniProgram && a.follows[a.openID(u)] == nil {
		return fmt.Errorf("wechattest: %s does not follow %s", u.name, a.cfg.Name)
	}
	return nil
}

// sceneNumber is a scene as a number, 0 if it is a text.
func sceneNumber(scene string) int {
	n, _ := strconv.Atoi(scene)
	return n
}
