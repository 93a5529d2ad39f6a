package boltstore_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/boltstore"
)

// A platform whose merchants' authorizations outlive the process.
func ExampleOpen() {
	dir, err := os.MkdirTemp("", "example") // a real service has a directory of its own, such as /var/lib/myservice
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	store, err := boltstore.Open(filepath.Join(dir, "wechat.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()

	platform, err := wechatopen.NewPlatform(wechatopen.Credentials{
		AppID:          "wx0123456789abcdef",
		AppSecret:      "0123456789abcdef0123456789abcdef",
		Token:          "a-token-of-your-choice",
		EncodingAESKey: strings.Repeat("a", 43),
	}, wechatopen.WithStore(store))
	if err != nil {
		log.Fatal(err)
	}

	// WeChat has pushed no ticket yet, so there is no token; the Store was asked for it.
	_, err = platform.ComponentToken().Token(context.Background())
	fmt.Println(errors.Is(err, wechatopen.ErrNoTicket))
	// Output: true
}
