package redisstore_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/wechatopen/wechatopen/redisstore"
)

// findings are the errors that Check joined.
func findings(t *testing.T, client redis.UniversalClient) []error {
	t.Helper()
	err := redisstore.New(client).Check(t.Context())
	if err == nil {
		return nil
	}
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		t.Fatalf("Check returned %T, want joined errors", err)
	}
	return joined.Unwrap()
}

// settings are the names of the settings that findings are about.
func settings(t *testing.T, found []error, server string) (names []string) {
	t.Helper()
	for _, f := range found {
		var s *redisstore.SettingError
		if !errors.As(f, &s) {
			t.Fatalf("finding %v, want a *SettingError", f)
		}
		if server != "" && s.Server != server {
			t.Errorf("finding about server %s, want %s", s.Server, server)
		}
		for _, part := range []string{"redisstore: ", s.Server, s.Setting, s.Value, s.Advice} {
			if part == "" && s.Setting != "save" || !strings.Contains(f.Error(), part) {
				t.Errorf("finding %q lacks %q", f, part)
			}
		}
		names = append(names, s.Setting)
	}
	return names
}

func TestCheckFindsWhatLosesData(t *testing.T) {
	s := startServer(t)
	client := s.client()
	good := map[string]string{
		"appendonly": "yes", "appendfsync": "always", "no-appendfsync-on-rewrite": "no", "save": "",
		"maxmemory": "0", "maxmemory-policy": "noeviction",
	}
	for _, c := range []struct {
		name   string
		change map[string]string
		want   []string
	}{
		{"durable", nil, nil},
		{"durable with a limit", map[string]string{"maxmemory": "100mb"}, nil},
		{"durable with snapshots as well", map[string]string{"save": "3600 1"}, nil},
		{"an eviction that never happens", map[string]string{"maxmemory-policy": "allkeys-lru"}, nil},
		{"snapshots only", map[string]string{"appendonly": "no", "save": "3600 1"}, []string{"appendonly"}},
		{"nothing is written", map[string]string{"appendonly": "no"}, []string{"appendonly", "save"}},
		{"once a second", map[string]string{"appendfsync": "everysec"}, []string{"appendfsync"}},
		{"when the system likes", map[string]string{"appendfsync": "no"}, []string{"appendfsync"}},
		{"not during a rewrite", map[string]string{"no-appendfsync-on-rewrite": "yes"}, []string{"no-appendfsync-on-rewrite"}},
		{"everything is evicted", map[string]string{"maxmemory": "100mb", "maxmemory-policy": "allkeys-lru"}, []string{"maxmemory-policy"}},
		{"tokens are evicted", map[string]string{"maxmemory": "100mb", "maxmemory-policy": "volatile-ttl"}, []string{"maxmemory-policy"}},
		{
			"a cache", map[string]string{"appendonly": "no", "maxmemory": "100mb", "maxmemory-policy": "allkeys-random"},
			[]string{"appendonly", "maxmemory-policy", "save"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			conf := maps.Clone(good)
			maps.Copy(conf, c.change)
			for name, value := range conf {
				setting(t, client, name, value)
			}
			if got := settings(t, findings(t, client), s.addr); !slices.Equal(got, c.want) {
				t.Errorf("Check found %q, want %q", got, c.want)
			}
		})
	}
}

func TestCheckAdvisesAgainstRedisAsItIsInstalled(t *testing.T) {
	s := startServer(t)
	if got := settings(t, findings(t, s.client()), s.addr); !slices.Equal(got, []string{"appendonly"}) {
		t.Errorf("Check found %q, want appendonly", got)
	}
}

func TestCheckSaysWhatItCouldNotCheck(t *testing.T) {
	for name, args := range map[string][]string{
		"CONFIG renamed away":                    {"--rename-command", "CONFIG", ""},
		"CONFIG forbidden to the service's user": {"--user", "managed", "on", "nopass", "~*", "+@all", "-config"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startServer(t, args...)
			opts := &redis.Options{Addr: s.addr}
			if args[0] == "--user" {
				opts.Username, opts.Password = "managed", "any"
			}
			client := redis.NewClient(opts)
			defer client.Close()
			found := findings(t, client)
			if len(found) != 1 {
				t.Fatalf("%d findings (%v), want one", len(found), found)
			}
			var unchecked *redisstore.UncheckedError
			if !errors.As(found[0], &unchecked) || unchecked.Server != s.addr || unchecked.Err == nil {
				t.Errorf("finding %v (%T), want an *UncheckedError about %s", found[0], found[0], s.addr)
			}
		})
	}
}

func TestCheckOfALostServerIsAnotherError(t *testing.T) {
	client := redis.NewClient(&redis.Options{Addr: freeAddr(t), MaxRetries: -1, DialerRetries: 1})
	defer client.Close()
	found := findings(t, client)
	if len(found) != 1 {
		t.Fatalf("%d findings (%v), want one", len(found), found)
	}
	var s *redisstore.SettingError
	var u *redisstore.UncheckedError
	if errors.As(found[0], &s) || errors.As(found[0], &u) {
		t.Errorf("a server that cannot be reached is reported as %T", found[0])
	}
}

func TestCheckAsksEveryMasterOfACluster(t *testing.T) {
	masters := startCluster(t, durable...)
	if found := findings(t, clusterClient(t, masters, nil)); found != nil {
		t.Errorf("Check of a durable cluster found %v", found)
	}
	setting(t, masters[1].client(), "appendfsync", "everysec")
	if got := settings(t, findings(t, clusterClient(t, masters, nil)), masters[1].addr); !slices.Equal(got, []string{"appendfsync"}) {
		t.Errorf("Check found %q, want appendfsync of one master", got)
	}
	setting(t, masters[1].client(), "appendfsync", "always")
	replicas := clusterClient(t, masters, func(o *redis.ClusterOptions) { o.RouteRandomly = true })
	if got := settings(t, findings(t, replicas), ""); !slices.Equal(got, []string{"client"}) {
		t.Errorf("Check of a client that reads from replicas found %q, want client", got)
	}
	ring := redis.NewRing(&redis.RingOptions{Addrs: map[string]string{"a": masters[0].addr, "b": masters[1].addr}})
	defer ring.Close()
	if got := settings(t, findings(t, ring), ""); !slices.Equal(got, []string{"client"}) {
		t.Errorf("Check of a Ring found %q, want client", got)
	}
}
