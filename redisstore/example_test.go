package redisstore_test

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/redisstore"
)

// A platform that runs as several processes keeps its state and its locks in one Redis.
func Example() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:6379", ContextTimeoutEnabled: true})
	defer client.Close()
	store := redisstore.New(client)
	if err := store.Check(context.Background()); err != nil {
		log.Print(err) // names each setting to change in redis.conf
	}
	platform, err := wechatopen.NewPlatform(wechatopen.Credentials{
		AppID:          os.Getenv("WECHAT_APPID"),
		AppSecret:      os.Getenv("WECHAT_APPSECRET"),
		Token:          os.Getenv("WECHAT_TOKEN"),
		EncodingAESKey: os.Getenv("WECHAT_AESKEY"),
	}, wechatopen.WithStore(store), wechatopen.WithLocker(store))
	if err != nil {
		log.Fatal(err)
	}
	_ = &wechatopen.TicketHandler{Platform: platform}
}

// A service that can live with the loss of a second refuses to start under anything worse.
func ExampleStore_Check() {
	client := redis.NewUniversalClient(&redis.UniversalOptions{Addrs: []string{"127.0.0.1:6379"}})
	defer client.Close()
	err := redisstore.New(client).Check(context.Background())
	findings, _ := err.(interface{ Unwrap() []error })
	if findings == nil {
		return // nothing found
	}
	for _, finding := range findings.Unwrap() {
		var setting *redisstore.SettingError
		var unchecked *redisstore.UncheckedError
		switch {
		case errors.As(finding, &setting) && setting.Setting == "appendfsync" && setting.Value == "everysec":
		case errors.As(finding, &unchecked):
			log.Print(finding) // a managed service: its console shows the settings
		default:
			log.Fatal(finding)
		}
	}
}
