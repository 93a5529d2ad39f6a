package boltstore

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// The layout of the file. A release that lays it out in another way changes layout, and so refuses the files of others.
const layout = "wechatopen boltstore 1"

var (
	metaBucket   = []byte("meta")   // layoutKey → layout
	valuesBucket = []byte("values") // key → entry
	endsBucket   = []byte("ends")   // end and key of each entry that has an end → nothing

	layoutKey = []byte("layout")
)

// batchDelay is how long a write waits for others to share its way to the disk.
const batchDelay = time.Millisecond

// Store is a [wechatopen.Store] in a file. It is safe for concurrent use; get one from [Open].
type Store struct {
	db    *bbolt.DB
	clock func() time.Time
}

// Option changes what [Open] does.
type Option func(*options)

type options struct {
	clock       func() time.Time
	lockTimeout time.Duration
}

// WithClock sets the clock that ttls obey, [time.Now] if nil.
func WithClock(now func() time.Time) Option {
	return func(o *options) { o.clock = now }
}

// WithLockTimeout sets how long Open waits for another process to close the file: one second if not set, not at all if 0
// or less.
func WithLockTimeout(d time.Duration) Option {
	return func(o *options) { o.lockTimeout = d }
}

// Open opens the file at path, and creates it if there is none. Its directory must be there.
//
// It returns an error, and leaves the file as it is, if another process has it open, if another program or another
// release has made it, or if it is damaged: it is read once from end to end, so that this shows at the start.
func Open(path string, opts ...Option) (*Store, error) {
	o := options{lockTimeout: time.Second}
	for _, opt := range opts {
		opt(&o)
	}
	if o.clock == nil {
		o.clock = time.Now
	}
	db, err := open(path, o.lockTimeout)
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("boltstore: %s is open already, and was not closed within %v; one process at a time can use it: %w", path, o.lockTimeout, err)
	case errors.Is(err, bolterrors.ErrInvalid), errors.Is(err, bolterrors.ErrVersionMismatch), errors.Is(err, bolterrors.ErrChecksum):
		return nil, fmt.Errorf("boltstore: %s is not a bolt database, or is damaged: %w", path, err)
	case err != nil:
		return nil, fmt.Errorf("boltstore: %s: %w", path, err)
	}
	return &Store{db: db, clock: o.clock}, nil
}

// Close closes the file once the calls that are under way have ended. Later calls return an error; a second Close does
// nothing.
func (s *Store) Close() error {
	if err := s.db.Close(); err != nil {
		return fmt.Errorf("boltstore: close: %w", err)
	}
	return nil
}

func open(path string, lockTimeout time.Duration) (db *bbolt.DB, err error) {
	// A damaged file may send bbolt to a page that makes no sense, where it panics, or to one beyond the end of the
	// file, where reading mapped memory is a fault.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("the file is damaged: %v", p)
		}
		if err != nil && db != nil {
			db.Close()
			db = nil
		}
	}()
	db, err = bbolt.Open(path, 0o600, &bbolt.Options{Timeout: max(lockTimeout, 1)}) // 0 means for ever to bbolt
	if err != nil {
		return nil, err
	}
	db.MaxBatchDelay = batchDelay
	return db, cmp.Or(prepare(db), syncDir(filepath.Dir(path)))
}

// prepare checks the layout of a file, or lays a new one out.
func prepare(db *bbolt.DB) error {
	created := false
	err := db.View(func(tx *bbolt.Tx) error {
		if first, _ := tx.Cursor().First(); first == nil {
			created = true // or its process was killed just then
			return nil
		}
		meta := tx.Bucket(metaBucket)
		if meta == nil || meta.Get(layoutKey) == nil {
			return errors.New("the bolt database of another program")
		}
		if got := meta.Get(layoutKey); string(got) != layout {
			return fmt.Errorf("the file has the layout %.40q; this release reads %q", got, layout)
		}
		for _, name := range [][]byte{valuesBucket, endsBucket} {
			b := tx.Bucket(name)
			if b == nil {
				return fmt.Errorf("the file is damaged: the bucket %q is missing", name)
			}
			if err := b.ForEach(func(_, _ []byte) error { return nil }); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || !created {
		return err
	}
	return db.Update(func(tx *bbolt.Tx) error {
		for _, name := range [][]byte{metaBucket, valuesBucket, endsBucket} {
			if _, err := tx.CreateBucket(name); err != nil {
				return err
			}
		}
		return tx.Bucket(metaBucket).Put(layoutKey, []byte(layout))
	})
}

// syncDir makes sure that a new file is still in its directory after a power cut. Not every system can do that.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return nil // a directory whose files may be opened but not listed
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, os.ErrPermission) {
		return err
	}
	return nil
}
