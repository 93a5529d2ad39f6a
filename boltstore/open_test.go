package boltstore_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wechatopen/wechatopen/boltstore"
	"go.etcd.io/bbolt"
)

func TestFileIsForItsOwnerOnly(t *testing.T) {
	path := newPath(t)
	open(t, path)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if mode := info.Mode().Perm(); mode != 0o600 {
		t.Errorf("the file has mode %v, want 0600", mode)
	}
}

func TestOpenRefusesWhatIsNotItsOwnAndLeavesItAlone(t *testing.T) {
	bolt := func(change func(*bbolt.Tx) error) func(*testing.T, string) {
		return func(t *testing.T, path string) { tamper(t, path, change) }
	}
	write := func(b []byte) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	bucket := func(tx *bbolt.Tx, name string) *bbolt.Bucket {
		b, err := tx.CreateBucketIfNotExists([]byte(name))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	for name, c := range map[string]struct {
		make func(t *testing.T, path string)
		want string
	}{
		"a short text":       {write([]byte("hello\n")), "not a bolt database"},
		"a long text":        {write(bytes.Repeat([]byte("hello\n"), 10_000)), "not a bolt database"},
		"zeros":              {write(make([]byte, 1<<16)), "not a bolt database"},
		"another program's":  {bolt(func(tx *bbolt.Tx) error { bucket(tx, "users"); return nil }), "another program"},
		"another one's meta": {bolt(func(tx *bbolt.Tx) error { bucket(tx, "meta"); return nil }), "another program"},
		"another release's": {bolt(func(tx *bbolt.Tx) error {
			return bucket(tx, "meta").Put([]byte("layout"), []byte("wechatopen boltstore 2"))
		}), `"wechatopen boltstore 2"`},
		"one without values": {bolt(func(tx *bbolt.Tx) error {
			return bucket(tx, "meta").Put([]byte("layout"), []byte("wechatopen boltstore 1"))
		}), "damaged"},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			c.make(t, path)
			before, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 { // the second shows that the first let go of the file
				_, err := boltstore.Open(path)
				if err == nil || !strings.HasPrefix(err.Error(), "boltstore: "+path) || !strings.Contains(err.Error(), c.want) {
					t.Fatalf("Open: %v, want an error that names the file and says %q", err, c.want)
				}
			}
			if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
				t.Errorf("Open changed the file (%v)", err)
			}
		})
	}
}

func TestOpenRefusesAnUnusablePath(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "missing", "wechat.db"), ""} {
		if s, err := boltstore.Open(path); err == nil {
			s.Close()
			t.Errorf("Open(%q) succeeded", path)
		}
	}
}

func TestOpenNoticesDamage(t *testing.T) {
	path := newPath(t)
	s := open(t, path)
	for i := range 64 {
		set(t, s, fmt.Sprint("key", i), strings.Repeat("value", 200), 0)
	}
	s.Close()
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// A file cut off, and one with a page overwritten, either is refused or has lost nothing.
	damaged := map[string][]byte{}
	for size := os.Getpagesize(); size < len(whole); size += os.Getpagesize() {
		damaged[fmt.Sprint("cut at ", size)] = whole[:size]
		zeroed := bytes.Clone(whole)
		clear(zeroed[size : size+os.Getpagesize()])
		damaged[fmt.Sprint("zeros at ", size)] = zeroed
	}
	refused := 0
	for name, b := range damaged {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			if err := os.WriteFile(path, b, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := boltstore.Open(path)
			if err != nil {
				refused++
				if msg, named := strings.CutPrefix(err.Error(), "boltstore: "+path); !named ||
					!strings.Contains(msg, "damaged") && !strings.Contains(msg, "too small") {
					t.Errorf("Open: %v, want an error that names the file and says what is wrong with it", err)
				}
				return
			}
			defer s.Close()
			for i := range 64 {
				if get(t, s, fmt.Sprint("key", i)) == "" {
					t.Errorf("key%d is lost, and Open did not notice", i)
				}
			}
		})
	}
	if refused == 0 {
		t.Error("none was refused")
	}
	t.Logf("%d of %d damaged files refused", refused, len(damaged))
}

// A file that was made but not laid out: its process was killed just then.
func TestOpenTakesAnEmptyFile(t *testing.T) {
	for name, make := range map[string]func(path string){
		"no bytes":   func(path string) { os.WriteFile(path, nil, 0o600) },
		"no buckets": func(path string) { tamper(t, path, func(*bbolt.Tx) error { return nil }) },
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t)
			make(path)
			s := open(t, path)
			set(t, s, key, "value", 0)
			if got := get(t, s, key); got != "value" {
				t.Errorf("the value is %q", got)
			}
		})
	}
}

func TestOpenInTheSameProcessIsRefusedInTime(t *testing.T) {
	path := newPath(t)
	open(t, path)
	for _, timeout := range []time.Duration{-1, 0, 100 * time.Millisecond} {
		start := time.Now()
		_, err := boltstore.Open(path, boltstore.WithLockTimeout(timeout))
		if err == nil || !strings.Contains(err.Error(), "open already") {
			t.Fatalf("Open of an open file: %v", err)
		}
		if took := time.Since(start); took > timeout+5*time.Second {
			t.Errorf("Open took %v with a lock timeout of %v", took, timeout)
		}
	}
}
