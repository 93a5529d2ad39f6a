package main

import (
	"fmt"
	"log"
	"net/http"
	"os"

	"github.com/wechatopen/wechatopen"
)

func main() {
	site := "https://saas.example.com" // what browsers and WeChat know this program by
	platform, err := wechatopen.NewPlatform(wechatopen.Credentials{
		AppID: os.Getenv("WECHAT_COMPONENT_APPID"), AppSecret: os.Getenv("WECHAT_COMPONENT_SECRET"),
		Token: os.Getenv("WECHAT_TOKEN"), EncodingAESKey: os.Getenv("WECHAT_AES_KEY"),
	})
	if err != nil {
		log.Fatal(err)
	}
	cookies, err := wechatopen.NewCookies([]byte(os.Getenv("COOKIE_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	shop := platform.Account(os.Getenv("SHOP_APPID")) // a merchant's account, once it has authorized the platform
	oauth := &wechatopen.OAuth{Account: wechatopen.FixedAccount(shop), BaseURL: site, Cookies: cookies}

	http.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: platform})
	http.Handle("/wechat/authorize", &wechatopen.AuthorizeHandler{Platform: platform, BaseURL: site, Cookies: cookies})
	http.Handle("/hello", oauth.Require(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := wechatopen.UserFromContext(r.Context())
		fmt.Fprintln(w, "hello", user.OpenID)
	})))
	log.Fatal(http.ListenAndServe(":8080", nil))
}
