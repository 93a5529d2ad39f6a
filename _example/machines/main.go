package main

import (
	"context"
	"log"
	"net/http"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/redisstore"
)

func main() {
	ctx := context.Background()
	store := redisstore.New(redis.NewClient(&redis.Options{
		Addr: os.Getenv("REDIS_ADDR"), Password: os.Getenv("REDIS_PASSWORD"), ContextTimeoutEnabled: true,
	}))
	if err := store.Check(ctx); err != nil {
		log.Print(err) // names each setting under which Redis can lose an authorization
	}
	platform, err := wechatopen.NewPlatform(wechatopen.Credentials{
		AppID: os.Getenv("WECHAT_COMPONENT_APPID"), AppSecret: os.Getenv("WECHAT_COMPONENT_SECRET"),
		Token: os.Getenv("WECHAT_TOKEN"), EncodingAESKey: os.Getenv("WECHAT_AES_KEY"),
	}, wechatopen.WithStore(store), wechatopen.WithLocker(store))
	if err != nil {
		log.Fatal(err)
	}
	go platform.KeepFresh(ctx, wechatopen.FreshOptions{}) // in every process: they share the work
	http.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: platform})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
