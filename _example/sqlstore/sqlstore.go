// Package sqlstore shows a wechatopen.Store on a table of your database. The statements are those of SQLite and
// PostgreSQL; for another database change them, and run the test.
package sqlstore

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/wechatopen/wechatopen"
)

// Schema makes the table. PostgreSQL says BYTEA for BLOB. Names differ by case, which MySQL must be told (COLLATE
// utf8mb4_bin). expires is in Unix milliseconds, NULL for what is kept until it is deleted.
const Schema = `
CREATE TABLE IF NOT EXISTS wechat_state (
	name    VARCHAR(255) PRIMARY KEY,
	value   BLOB NOT NULL,
	expires BIGINT
);
CREATE INDEX IF NOT EXISTS wechat_state_expires ON wechat_state (expires);`

// Store is a wechatopen.Store on the table of Schema. The database must not lose what it has committed: leave
// synchronous and synchronous_commit on.
type Store struct{ DB *sql.DB }

// Get reads a value.
func (s Store) Get(ctx context.Context, key string) (value []byte, err error) {
	err = s.DB.QueryRowContext(ctx,
		`SELECT value FROM wechat_state WHERE name = $1 AND (expires IS NULL OR expires > $2)`,
		key, time.Now().UnixMilli()).Scan(&value)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, wechatopen.ErrNotFound
	}
	return value, wrap(key, err)
}

// Set writes a value, and removes those that are over.
func (s Store) Set(ctx context.Context, key string, value []byte, ttl time.Duration) error {
	now := time.Now()
	var expires sql.NullInt64
	if ttl > 0 {
		expires = sql.NullInt64{Int64: now.Add(ttl).UnixMilli() + 1, Valid: true} // rounded up: not early, and never NULL
	}
	if value == nil {
		value = []byte{} // a nil slice would be NULL
	}
	_, err := s.DB.ExecContext(ctx,
		`INSERT INTO wechat_state (name, value, expires) VALUES ($1, $2, $3)
		ON CONFLICT (name) DO UPDATE SET value = excluded.value, expires = excluded.expires`,
		key, value, expires)
	if err == nil && expires.Valid {
		_, err = s.DB.ExecContext(ctx, `DELETE FROM wechat_state WHERE expires <= $1`, now.UnixMilli())
	}
	return wrap(key, err)
}

// Delete removes a value.
func (s Store) Delete(ctx context.Context, key string) error {
	_, err := s.DB.ExecContext(ctx, `DELETE FROM wechat_state WHERE name = $1`, key)
	return wrap(key, err)
}

func wrap(key string, err error) error {
	if err != nil {
		return fmt.Errorf("sqlstore: %s: %w", key, err)
	}
	return nil
}
