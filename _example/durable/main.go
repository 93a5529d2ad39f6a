package main

import (
	"encoding/hex"
	"log"
	"net/http"
	"os"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/boltstore"
)

func main() {
	file, err := boltstore.Open("wechatopen.db") // created for this user alone
	if err != nil {
		log.Fatal(err)
	}
	key, err := hex.DecodeString(os.Getenv("STORE_KEY")) // not kept with the file, nor with its backups
	if err != nil {
		log.Fatal("STORE_KEY is not hexadecimal: make it with openssl rand -hex 32")
	}
	store, err := wechatopen.NewSealedStore(file, key)
	if err != nil {
		log.Fatal(err)
	}
	platform, err := wechatopen.NewPlatform(wechatopen.Credentials{
		AppID: os.Getenv("WECHAT_COMPONENT_APPID"), AppSecret: os.Getenv("WECHAT_COMPONENT_SECRET"),
		Token: os.Getenv("WECHAT_TOKEN"), EncodingAESKey: os.Getenv("WECHAT_AES_KEY"),
	}, wechatopen.WithStore(store))
	if err != nil {
		log.Fatal(err)
	}
	http.Handle("/wechat/events", &wechatopen.TicketHandler{Platform: platform})
	log.Fatal(http.ListenAndServe(":8080", nil))
}
