package wechatopen

import (
	"context"
	"encoding/json"
	"time"
)

// passingError is a failure of the Store, of the Locker, or of another token that is needed first. It is not remembered:
// asking again costs no call of WeChat that the other token's own memory does not prevent.
type passingError struct{ err error }

func (e *passingError) Error() string { return e.err.Error() }
func (e *passingError) Unwrap() error { return e.err }

// lock takes the Locker's lock of a key.
func (o *options) lock(ctx context.Context, key string) (held context.Context, unlock func(), err error) {
	held, unlock, err = o.locker.Lock(ctx, key)
	if err != nil {
		return nil, nil, &passingError{errorf("lock of %s: %w", key, err)}
	}
	return held, unlock, nil
}

// loadRecord reads what this package wrote into the Store; the error wraps [ErrNotFound] if there is nothing. What cannot
// be read is an error that names the key, never a miss: nothing is overwritten by accident.
func loadRecord(ctx context.Context, s Store, key string, rec any, version *int) error {
	b, err := s.Get(ctx, key)
	if err != nil {
		return &passingError{errorf("store: %s: %w", key, err)}
	}
	if err := json.Unmarshal(b, rec); err != nil {
		return &passingError{errorf("store: the value of %s is not readable: damaged, or sealed by another program", key)}
	}
	if *version != 1 {
		return &passingError{errorf("store: the value of %s has version %d; this release reads version 1", key, *version)}
	}
	return nil
}

// storeRecord writes what loadRecord reads. It writes nothing once ctx has ended, which is how a lost lock shows.
func storeRecord(ctx context.Context, s Store, key string, rec any, ttl time.Duration) error {
	if err := ctx.Err(); err != nil {
		return &passingError{errorf("store: %s: not written: %w", key, err)}
	}
	b, err := json.Marshal(rec)
	if err != nil {
		return &passingError{errorf("store: %s: %w", key, err)}
	}
	if err := s.Set(ctx, key, b, ttl); err != nil {
		return &passingError{errorf("store: %s: %w", key, err)}
	}
	return nil
}
