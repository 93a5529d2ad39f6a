package wechattest

import (
	"testing"
	"time"
)

func TestPoolForgetsWhatIsLongOver(t *testing.T) {
	var p pool[int]
	now := atNoon()
	p.put(now, "old", 1, time.Hour)
	p.put(now, "extended", 2, time.Hour).expires = now.Add(100 * time.Hour)
	now = now.Add(time.Hour)
	if it := p.get("old"); it == nil || !it.expired(now) {
		t.Errorf("after its life: %+v", it)
	}
	now = now.Add(keepExpired + time.Second)
	p.put(now, "new", 3, time.Hour)
	if p.get("old") != nil || p.get("extended") == nil || p.get("new") == nil || len(p.queue) != 2 {
		t.Errorf("items %v, queue %v", p.items, p.queue)
	}
	now = now.Add(200 * time.Hour)
	p.put(now, "newest", 4, time.Hour)
	if len(p.items) != 1 || len(p.queue) != 1 {
		t.Errorf("items %v, queue %v", p.items, p.queue)
	}
}
