package boltstore

import (
	"bytes"
	"encoding/binary"
	"errors"
	"time"

	"go.etcd.io/bbolt"
)

// entry is a value as it is kept: eight bytes of end, then the value.
type entry struct {
	end   uint64 // Unix milliseconds from which on the value is absent; 0: kept until it is deleted
	value []byte
}

const endSize = 8

func newEntry(value []byte, now time.Time, ttl time.Duration) entry {
	e := entry{value: value}
	if ttl > 0 {
		e.end = uint64(max(now.Add(ttl).UnixMilli()+1, 1)) // rounded up: not a moment less than ttl
	}
	return e
}

func decode(raw []byte) (entry, error) {
	if len(raw) < endSize {
		return entry{}, errors.New("the value is damaged")
	}
	return entry{end: binary.BigEndian.Uint64(raw), value: raw[endSize:]}, nil
}

func (e entry) encode() []byte {
	return append(binary.BigEndian.AppendUint64(nil, e.end), e.value...)
}

func (e entry) over(now time.Time) bool { return e.end != 0 && now.UnixMilli() >= int64(e.end) }

// endKey is the key of the entry in the bucket of ends, which is so in the order of the ends.
func (e entry) endKey(key string) []byte {
	return append(binary.BigEndian.AppendUint64(nil, e.end), key...)
}

// sweepLimit bounds what one write removes. More than one, so that what is over becomes less while new keys come.
const sweepLimit = 8

// sweep removes a few of the entries that are over, those first that have been so for longest.
func sweep(tx *bbolt.Tx, now time.Time) error {
	values, ends := tx.Bucket(valuesBucket), tx.Bucket(endsBucket)
	var over [][]byte
	c := ends.Cursor()
	for k, _ := c.First(); k != nil && len(over) < sweepLimit; k, _ = c.Next() {
		if e, err := decode(k); err == nil && !e.over(now) {
			break
		}
		over = append(over, bytes.Clone(k))
	}
	for _, k := range over {
		if err := ends.Delete(k); err != nil {
			return err
		}
		end, err := decode(k)
		if err != nil {
			continue
		}
		key := end.value
		// What does not end at that moment is not removed, whatever the bucket of ends says.
		if e, err := decode(values.Get(key)); err == nil && e.end == end.end {
			if err := values.Delete(key); err != nil {
				return err
			}
		}
	}
	return nil
}
