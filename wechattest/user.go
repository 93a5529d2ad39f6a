package wechattest

import (
	"fmt"
	"net/url"
)

// UserConfig is a person with WeChat.
type UserConfig struct {
	Name     string // "" made up
	Avatar   string // URL of the picture; "" one that the simulator serves
	Snapshot bool   // sees snapshot pages: logs in with an openid that is made up, and is_snapshotuser
	Refuses  bool   // refuses consent wherever WeChat asks for it
	Platform int    // of the phone, as conditional menus tell them: 1 iOS, 2 Android, 3 others; 0: iOS
}

// User is a person with WeChat.
type User struct {
	s            *Server
	id           string // in the cookie that tells who uses a browser
	name, avatar string
	platform     int

	// Guarded by s.mu.
	snapshot, refuses bool
}

// AddUser adds a person. The first one is who a browser opened by hand belongs to until it says otherwise.
func (s *Server) AddUser(cfg UserConfig) *User {
	s.mu.Lock()
	defer s.mu.Unlock()
	u := &User{s: s, id: fmt.Sprintf("u%d", len(s.userOrder)+1), name: cfg.Name, avatar: cfg.Avatar,
		snapshot: cfg.Snapshot, refuses: cfg.Refuses, platform: max(cfg.Platform, 1)}
	u.name = orElse(u.name, func() string { return "微信用户 " + u.id })
	u.avatar = orElse(u.avatar, func() string { return s.pictureURL(u.name) })
	s.users[u.id] = u
	s.userOrder = append(s.userOrder, u)
	return u
}

// pictureURL is where the simulator serves a picture with the first letter of a name.
func (s *Server) pictureURL(name string) string {
	return s.url + "/wechatsim/picture?name=" + url.QueryEscape(name)
}

// Name is the nickname.
func (u *User) Name() string { return u.name }

// AvatarURL is where the picture is.
func (u *User) AvatarURL() string { return u.avatar }

// UnionID is the person's id across accounts: 28 characters beginning with "o".
func (u *User) UnionID() string { return u.s.idFor("unionid", u.id) }

// SetSnapshot has the person see snapshot pages from now on, or no longer.
func (u *User) SetSnapshot(on bool) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.snapshot = on
}

// SetRefuses has the person refuse consent from now on, or no longer.
func (u *User) SetRefuses(on bool) {
	u.s.mu.Lock()
	defer u.s.mu.Unlock()
	u.refuses = on
}
