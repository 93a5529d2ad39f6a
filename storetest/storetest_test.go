package storetest_test

import (
	"testing"

	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/storetest"
)

func TestMemoryStore(t *testing.T) {
	storetest.Store(t, func(*testing.T) wechatopen.Store { return wechatopen.NewMemoryStore() })
}

func TestLockerOfTheseTests(t *testing.T) { storetest.Locker(t, openLocker(goodLock)) }

func TestDurableStoreOfTheseTests(t *testing.T) { storetest.Durable(t, openDurable(func(*disk) {})) }
