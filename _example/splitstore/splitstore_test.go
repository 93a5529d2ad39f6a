package splitstore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/storetest"
)

func TestStore(t *testing.T) {
	storetest.Store(t, func(*testing.T) wechatopen.Store {
		return Store{Kept: wechatopen.NewMemoryStore(), Expiring: wechatopen.NewMemoryStore()}
	})
}

func TestEachValueIsWhereItBelongs(t *testing.T) {
	kept, expiring := wechatopen.NewMemoryStore(), wechatopen.NewMemoryStore()
	s := Store{Kept: kept, Expiring: expiring}
	for ttl, c := range map[time.Duration]struct{ in, notIn wechatopen.Store }{0: {kept, expiring}, time.Hour: {expiring, kept}} {
		if err := s.Set(t.Context(), "key", []byte("value"), ttl); err != nil {
			t.Fatal(err)
		}
		if v, err := c.in.Get(t.Context(), "key"); string(v) != "value" {
			t.Errorf("ttl %v: the value is not where it belongs: %v", ttl, err)
		}
		if _, err := c.notIn.Get(t.Context(), "key"); !errors.Is(err, wechatopen.ErrNotFound) {
			t.Errorf("ttl %v: the value is in both (%v)", ttl, err)
		}
	}
}

func TestAStoreThatIsDownIsNotAMiss(t *testing.T) {
	up := wechatopen.NewMemoryStore()
	for _, s := range []Store{{Kept: up, Expiring: down{}}, {Kept: down{}, Expiring: up}} {
		if _, err := s.Get(t.Context(), "key"); !errors.Is(err, errDown) {
			t.Errorf("Get: %v", err)
		}
		if err := s.Delete(t.Context(), "key"); !errors.Is(err, errDown) {
			t.Errorf("Delete: %v", err)
		}
	}
}

var errDown = errors.New("down")

type down struct{}

func (down) Get(context.Context, string) ([]byte, error)              { return nil, errDown }
func (down) Set(context.Context, string, []byte, time.Duration) error { return errDown }
func (down) Delete(context.Context, string) error                     { return errDown }
