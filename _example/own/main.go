package main

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/wechatopen/wechatopen"
)

func main() {
	site := "https://shop.example.com" // what browsers and WeChat know this program by
	account, err := wechatopen.NewAccount(wechatopen.Credentials{
		AppID: os.Getenv("WECHAT_APPID"), AppSecret: os.Getenv("WECHAT_SECRET"),
		Token: os.Getenv("WECHAT_TOKEN"), EncodingAESKey: os.Getenv("WECHAT_AES_KEY"),
	})
	if err != nil {
		log.Fatal(err)
	}
	cookies, err := wechatopen.NewCookies([]byte(os.Getenv("COOKIE_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	this := wechatopen.FixedAccount(account)
	oauth := &wechatopen.OAuth{Account: this, BaseURL: site, Cookies: cookies, Scope: wechatopen.ScopeUserInfo}
	echo := func(_ context.Context, m *wechatopen.Message) (wechatopen.Reply, error) {
		if m.MsgType != "text" {
			return nil, nil // WeChat is told that the message has arrived, the user sees nothing
		}
		return wechatopen.Text(m.Content), nil
	}

	http.Handle("/wechat/message", &wechatopen.MessageHandler{Account: account, Handle: echo})
	http.Handle("/wechat/jssdk", &wechatopen.JSSDKHandler{Account: this, AllowedOrigins: []string{site}})
	http.Handle("/hello", oauth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := wechatopen.UserFromContext(r.Context())
		fmt.Fprintln(w, "hello", user.Nickname)
	})))
	log.Fatal(http.ListenAndServe(":8080", nil))
}
