package sqlstore

import (
	"database/sql"
	"path/filepath"
	"testing"

	_ "github.com/ncruces/go-sqlite3/driver"
	_ "github.com/ncruces/go-sqlite3/embed"
	"github.com/wechatopen/wechatopen"
	"github.com/wechatopen/wechatopen/storetest"
)

func TestStore(t *testing.T) {
	storetest.Store(t, func(t *testing.T) wechatopen.Store { return open(t, newPath(t)) })
}

func TestStoreIsDurable(t *testing.T) {
	storetest.Durable(t, func(t *testing.T) (wechatopen.Store, func() wechatopen.Store) {
		path := newPath(t)
		return open(t, path), func() wechatopen.Store { return open(t, path) }
	})
}

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "state.sqlite") }

func open(t *testing.T, path string) Store {
	db, err := sql.Open("sqlite3", "file:"+path+"?_pragma=busy_timeout(10000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	if _, err := db.Exec(Schema); err != nil {
		t.Fatal(err)
	}
	return Store{db}
}
