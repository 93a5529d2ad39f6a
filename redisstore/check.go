package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"
)

// SettingError is a finding of [Store.Check]: a setting under which what Redis acknowledged can be lost.
type SettingError struct {
	Server  string // address of the server
	Setting string // name of the setting in redis.conf, such as "appendonly", or "client" for one of the client
	Value   string // what it is
	Advice  string // what may be lost, and what to set
}

func (e *SettingError) Error() string {
	return fmt.Sprintf("redisstore: %s: %s is %q: %s", e.Server, e.Setting, e.Value, e.Advice)
}

// UncheckedError is a finding of [Store.Check]: a server that does not tell its settings. Managed services often forbid
// the command CONFIG; look the settings up in their console.
type UncheckedError struct {
	Server string // address of the server
	Err    error  // its answer
}

func (e *UncheckedError) Error() string {
	return fmt.Sprintf("redisstore: %s: settings could not be checked (see that appendonly is yes, appendfsync always "+
		"and maxmemory-policy noeviction): %v", e.Server, e.Err)
}

// Unwrap returns the server's answer.
func (e *UncheckedError) Unwrap() error { return e.Err }

// Check asks every server of the client, each master of a cluster, whether its settings keep what it acknowledges. It
// returns nil if they do, and otherwise all findings, joined: a *[SettingError] for each setting to change, an
// *[UncheckedError] for a server that does not tell, and another error for one that cannot be reached. Call it when the
// service starts, and log what it returns.
func (s *Store) Check(ctx context.Context) error {
	c := checker{findings: s.checkClient()}
	err := c.eachServer(ctx, s.client)
	// Servers are asked at once and answer in any order.
	slices.SortFunc(c.findings, func(a, b error) int { return cmp.Compare(a.Error(), b.Error()) })
	if err != nil {
		c.add(fmt.Errorf("redisstore: check: %w", err))
	}
	return errors.Join(c.findings...)
}

// checkClient finds clients for which a key that is there can seem to be absent.
func (s *Store) checkClient() (findings []error) {
	switch c := s.client.(type) {
	case *redis.Ring:
		findings = append(findings, &SettingError{"every shard", "client", "redis.Ring",
			"it looks for the keys of a shard that is down on another, where they are not; use a cluster or sentinels"})
	case *redis.ClusterClient:
		if c.Options().ReadOnly {
			findings = append(findings, &SettingError{"every replica", "client", "ReadOnly",
				"a replica may not have yet what was written; leave ReadOnly, RouteByLatency and RouteRandomly unset"})
		}
	}
	return findings
}

// checker collects findings of servers that are asked concurrently.
type checker struct {
	mu       sync.Mutex
	findings []error
}

func (c *checker) add(findings ...error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.findings = append(c.findings, findings...)
}

func (c *checker) eachServer(ctx context.Context, client redis.UniversalClient) error {
	one := func(ctx context.Context, client *redis.Client) error {
		c.add(checkServer(ctx, client, client.Options().Addr)...)
		return nil
	}
	switch client := client.(type) {
	case interface {
		ForEachMaster(context.Context, func(context.Context, *redis.Client) error) error
	}:
		return client.ForEachMaster(ctx, one)
	case interface {
		ForEachShard(context.Context, func(context.Context, *redis.Client) error) error
	}:
		return client.ForEachShard(ctx, one)
	case *redis.Client:
		return one(ctx, client)
	}
	c.add(checkServer(ctx, client, "server")...)
	return nil
}

// checkServer returns the findings about one server.
func checkServer(ctx context.Context, client redis.Cmdable, server string) []error {
	conf := make(map[string]string)
	for _, name := range []string{"appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save", "maxmemory", "maxmemory-policy"} {
		// One by one: several in one command need Redis 7.
		answer, err := client.ConfigGet(ctx, name).Result()
		var refusal redis.Error
		switch {
		case errors.As(err, &refusal):
			return []error{&UncheckedError{server, err}}
		case err != nil:
			return []error{fmt.Errorf("redisstore: check %s: %w", server, err)}
		}
		value, ok := answer[name]
		if !ok {
			return []error{&UncheckedError{server, fmt.Errorf("CONFIG GET %s: no such setting", name)}}
		}
		conf[name] = value
	}

	var findings []error
	bad := func(name, advice string) {
		findings = append(findings, &SettingError{server, name, conf[name], advice})
	}
	switch {
	case conf["appendonly"] != "yes":
		bad("appendonly", "what was written since the last snapshot is lost when the server dies; set appendonly yes")
		if conf["save"] == "" {
			bad("save", "there are no snapshots either, so everything is lost when the server stops; set appendonly yes")
		}
	case conf["appendfsync"] == "everysec":
		bad("appendfsync", "the last second may be lost when the machine dies; set appendfsync always")
	case conf["appendfsync"] != "always":
		bad("appendfsync", "the last half minute may be lost when the machine dies; set appendfsync always")
	case conf["no-appendfsync-on-rewrite"] == "yes":
		bad("no-appendfsync-on-rewrite", "what is written during a rewrite may be lost when the machine dies; set no-appendfsync-on-rewrite no")
	}
	if policy := conf["maxmemory-policy"]; conf["maxmemory"] != "0" && policy != "noeviction" {
		what := "locks and tokens are"
		if strings.HasPrefix(policy, "allkeys-") {
			what = "everything, the merchants' authorizations too, is"
		}
		bad("maxmemory-policy", what+" evicted when memory is full; set maxmemory-policy noeviction")
	}
	return findings
}
