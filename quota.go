package wechatopen

import (
	"context"
	"log/slog"
	"net/netip"
	"net/url"
	"time"
)

// Quota is how often an API may be called.
type Quota struct {
	DailyLimit, Used, Remain int64 // of the day, by Beijing time

	Rate          RateLimit // of the account; zero where there is none
	ComponentRate RateLimit // of the component for the account; zero where there is none
}

// RateLimit is a number of calls within a time.
type RateLimit struct {
	Calls int64
	Per   time.Duration
}

// Quota is the account's quota of an API by its path, "/cgi-bin/message/custom/send". Errcode 76021: unknown path.
// WeChat's page: openapi/quota/get.
func (a *Account) Quota(ctx context.Context, path string) (*Quota, error) {
	return getQuota(ctx, a, path)
}

// Quota is the component's quota of an API by its path. Errcode 76022: the API is an account's.
func (p *Platform) Quota(ctx context.Context, path string) (*Quota, error) {
	return getQuota(ctx, p, path)
}

// caller is a Platform or an Account.
type caller interface {
	Get(ctx context.Context, path string, query url.Values, out any) error
	Post(ctx context.Context, path string, in, out any) error
}

func getQuota(ctx context.Context, c caller, path string) (*Quota, error) {
	type rate struct {
		Calls  Int `json:"call_count"`
		Second Int `json:"refresh_second"`
	}
	var out struct {
		Quota struct {
			DailyLimit Int `json:"daily_limit"`
			Used       Int `json:"used"`
			Remain     Int `json:"remain"`
		} `json:"quota"`
		Rate          rate `json:"rate_limit"`
		ComponentRate rate `json:"component_rate_limit"`
	}
	if err := c.Post(ctx, "/cgi-bin/openapi/quota/get", map[string]string{"cgi_path": path}, &out); err != nil {
		return nil, err
	}
	limit := func(r rate) RateLimit { return RateLimit{int64(r.Calls), time.Duration(r.Second) * time.Second} }
	return &Quota{
		DailyLimit: int64(out.Quota.DailyLimit), Used: int64(out.Quota.Used), Remain: int64(out.Quota.Remain),
		Rate: limit(out.Rate), ComponentRate: limit(out.ComponentRate),
	}, nil
}

// CallRecord is what WeChat remembers of a call, for seven days. It prints and logs without its content.
type CallRecord struct {
	Time     time.Time
	Duration time.Duration // at WeChat
	// URL, Body and Answer may hold the token of the call.
	URL, Body, Answer string
	ClientIP          string
}

// String keeps the call's token out of logs.
func (r CallRecord) String() string {
	return "{call at " + r.Time.Format(time.RFC3339) + " from " + r.ClientIP + "}"
}

// GoString keeps the call's token out of %#v.
func (r CallRecord) GoString() string { return "wechatopen.CallRecord" + r.String() }

// LogValue keeps the call's token out of [log/slog].
func (r CallRecord) LogValue() slog.Value { return slog.StringValue(r.String()) }

// CallRecord is a call of the account by its request id, which [APIError] has as RID. Errcode 76001: not found, or over
// seven days ago; 76003: of another account. WeChat's page: openapi/rid/get.
func (a *Account) CallRecord(ctx context.Context, rid string) (*CallRecord, error) {
	return getCallRecord(ctx, a, rid)
}

// CallRecord is a call of the component by its request id.
func (p *Platform) CallRecord(ctx context.Context, rid string) (*CallRecord, error) {
	return getCallRecord(ctx, p, rid)
}

func getCallRecord(ctx context.Context, c caller, rid string) (*CallRecord, error) {
	var out struct {
		Request struct {
			InvokeTime Int    `json:"invoke_time"`
			Cost       Int    `json:"cost_in_ms"`
			URL        string `json:"request_url"`
			Body       string `json:"request_body"`
			Answer     string `json:"response_body"`
			ClientIP   string `json:"client_ip"`
		} `json:"request"`
	}
	if err := c.Post(ctx, "/cgi-bin/openapi/rid/get", map[string]string{"rid": rid}, &out); err != nil {
		return nil, err
	}
	r := out.Request
	return &CallRecord{
		Time: time.Unix(int64(r.InvokeTime), 0), Duration: time.Duration(r.Cost) * time.Millisecond,
		URL: r.URL, Body: r.Body, Answer: r.Answer, ClientIP: r.ClientIP,
	}, nil
}

// APIDomainIPs are the addresses of WeChat's API, for a firewall's outgoing rules. Ask once a day.
// WeChat's page: get_api_domain_ip.
func (a *Account) APIDomainIPs(ctx context.Context) ([]netip.Prefix, error) {
	return getIPs(ctx, a, "/cgi-bin/get_api_domain_ip")
}

// APIDomainIPs is [Account.APIDomainIPs] with the component's token.
func (p *Platform) APIDomainIPs(ctx context.Context) ([]netip.Prefix, error) {
	return getIPs(ctx, p, "/cgi-bin/get_api_domain_ip")
}

// CallbackIPs are the addresses from which WeChat pushes, for a firewall's incoming rules. Ask once a day.
// WeChat's page: getcallbackip.
func (a *Account) CallbackIPs(ctx context.Context) ([]netip.Prefix, error) {
	return getIPs(ctx, a, "/cgi-bin/getcallbackip")
}

// CallbackIPs is [Account.CallbackIPs] with the component's token.
func (p *Platform) CallbackIPs(ctx context.Context) ([]netip.Prefix, error) {
	return getIPs(ctx, p, "/cgi-bin/getcallbackip")
}

// getIPs reads single addresses and networks: WeChat has been seen to send both.
func getIPs(ctx context.Context, c caller, path string) ([]netip.Prefix, error) {
	var out struct {
		List []string `json:"ip_list"`
	}
	if err := c.Get(ctx, path, nil, &out); err != nil {
		return nil, err
	}
	ips := make([]netip.Prefix, 0, len(out.List))
	for _, s := range out.List {
		p, err := netip.ParsePrefix(s)
		if err != nil {
			var ip netip.Addr
			if ip, err = netip.ParseAddr(s); err == nil {
				p, err = ip.Prefix(ip.BitLen())
			}
		}
		if err != nil {
			return nil, errorf("%s: %q is neither an address nor a network", path, s)
		}
		ips = append(ips, p)
	}
	return ips, nil
}
