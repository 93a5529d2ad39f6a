// Package wechattest plays WeChat's side of the Open Platform over real HTTP, so that a platform or an official account
// can be developed and tested without WeChat.
//
//	wx := wechattest.Start(t)                                   // closed, and checked for misuse, when the test ends
//	comp := wx.AddComponent(wechattest.ComponentConfig{EventURL: app.URL + "/wechat/event"})
//	p, err := wechatopen.NewPlatform(comp.Credentials(), wx.Options()...)
//	_, err = comp.PushTicket(ctx)                               // as WeChat does every ten minutes
//
// It follows rules rather than giving canned answers: codes are used once and in time, tokens expire, overlap and are
// replaced, refresh tokens rotate, the order of parameters, the Referer and the redirect domain are checked, quotas are
// counted, and the wrong kind of token is refused with WeChat's own code. [Server.Advance] moves its clock, so no test
// has to sleep. [Server.Calls] is a journal of every request, so that a test can assert "exactly one".
// [Server.Inject] makes faults on demand. [Browser] plays a visitor's browser.
//
// People live on the other side: [Account.Follow], [Account.Say] and [Account.Tap] do what a user does, and what it means
// is pushed to whoever receives the account's messages. Menus, templates, media and customer-service messages are kept
// by WeChat's rules, the windows in which an account may write to a user included; [Account.Conversation] and
// [Account.Sent] are what a user and a test see of it. [Component.ReleaseReport] runs the whole-network release test
// (全网发布检测), as "wechatsim -release-test" does. By hand the same is done at [Server.URL] in any browser: its first page
// leads to a chat with each account.
//
// Encryption and signatures are written here from the protocol alone and share no code with the library under test.
package wechattest
