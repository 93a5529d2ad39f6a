package wechatopen

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"
)

// Authorization says what an account grants the platform. The refresh token behind it stays in the Store.
type Authorization struct {
	AppID    string // the authorizer
	FuncInfo []int  // ids of the permission sets (权限集) it grants

	// HasToken is false for an account that grants no API: WeChat then gives no token, and calls in its name end in
	// [ErrNotAuthorized].
	HasToken bool
}

// grantRecord is an authorization in the Store: what WeChat may not hand out again.
type grantRecord struct {
	V            int    `json:"v"`
	RefreshToken string `json:"refresh_token,omitempty"`
	FuncInfo     []int  `json:"func_info,omitempty"`
	Time         int64  `json:"time"`           // of the newest authorization known, Unix seconds
	Code         string `json:"code,omitempty"` // key of the redeemedRecord that goes with it
}

// redeemedRecord is the result of an authorization code, for whoever comes second with it: the push or the browser.
type redeemedRecord struct {
	V             int           `json:"v"`
	Authorization Authorization `json:"authorization"`
}

const (
	// redeemTime bounds the redemption of a code once it has begun: the code is spent, so it is finished even if the
	// browser or WeChat's push has left.
	redeemTime = 30 * time.Second
	// redeemedMemory is as long as WeChat accepts a code: an hour, as the push says.
	redeemedMemory = time.Hour
)

func (a *Account) grantKey() string { return a.prefix + "grant" }

func (a *Account) loadGrant(ctx context.Context) (rec grantRecord, err error) {
	err = loadRecord(ctx, a.c.store, a.grantKey(), &rec, &rec.V)
	return rec, err
}

// queryAuthAnswer is what api_query_auth answers. Tokens are missing for an account that grants no API.
type queryAuthAnswer struct {
	Info struct {
		AppID        string     `json:"authorizer_appid"`
		Token        string     `json:"authorizer_access_token"`
		ExpiresIn    Int        `json:"expires_in"`
		RefreshToken string     `json:"authorizer_refresh_token"`
		FuncInfo     []funcInfo `json:"func_info"`
	} `json:"authorization_info"`
}

type funcInfo struct {
	Category struct {
		ID Int `json:"id"`
	} `json:"funcscope_category"`
}

func funcIDs(in []funcInfo) []int {
	ids := make([]int, 0, len(in))
	for _, f := range in {
		ids = append(ids, int(f.Category.ID))
	}
	return ids
}

// QueryAuth redeems an authorization code and keeps what it grants. The code is single-use at WeChat; here the same code
// gives the same result for an hour, in whichever order the browser and the push bring it. [AuthorizeHandler] and
// [TicketHandler] call it by themselves.
func (p *Platform) QueryAuth(ctx context.Context, code string) (*Authorization, error) {
	return p.redeem(ctx, code, "", p.c.now())
}

// redeem is QueryAuth for a code that was granted at a known time and, if appID is not empty, by a known account.
func (p *Platform) redeem(ctx context.Context, code, appID string, at time.Time) (*Authorization, error) {
	if code == "" {
		return nil, errorf("authorization code is empty")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), redeemTime)
	defer cancel()
	sum := sha256.Sum256([]byte(code))
	key := p.prefix + "code:" + base64.RawURLEncoding.EncodeToString(sum[:18])
	auth, err := p.redeemOnce(ctx, code, key, appID, at)
	if !isSpent(err) || appID != "" {
		return auth, err
	}
	// Perhaps by another process, where no Locker keeps them apart. Others are not kept waiting meanwhile.
	found, lerr := p.c.elsewhere(ctx, func() (bool, error) {
		var err error
		auth, err = p.redeemed(ctx, key)
		return auth != nil, err
	})
	if found || lerr != nil {
		return auth, lerr
	}
	return nil, err
}

// isSpent reports whether WeChat refused an authorization code.
func isSpent(err error) bool { return hasCode(err, codeAuthCodeInvalid, codeAuthCodeExpired) }

func (p *Platform) redeemOnce(ctx context.Context, code, key, appID string, at time.Time) (*Authorization, error) {
	if appID == "" { // browsers wait for each other first, so that a crowd of them holds up no push
		held, unlock, err := p.c.lock(ctx, p.prefix+"redirects")
		if err != nil {
			return nil, err
		}
		defer unlock()
		ctx = held
	}
	held, unlock, err := p.c.lock(ctx, p.redemptionKey())
	if err != nil {
		return nil, err
	}
	defer unlock()
	if done, err := p.redeemed(held, key); done != nil || err != nil {
		return done, err
	}
	auth, err := p.queryAuth(held, code, key, at)
	if isSpent(err) && appID != "" {
		auth, err = p.lookUpAuthorization(held, appID, at, err)
	}
	if err != nil {
		return nil, err
	}
	if err := storeRecord(held, p.c.store, key, redeemedRecord{V: 1, Authorization: *auth}, redeemedMemory); err != nil {
		// The grant is kept; only who comes second with the code has to look it up.
		p.c.logger.Warn("wechatopen: the result of an authorization code was not remembered", "account", auth.AppID, "error", err.Error())
	}
	return auth, nil
}

// redemptionKey is the lock under which codes are redeemed and authorizations ended, one at a time: whose code it is shows
// only when it is spent, and of two results for one account the later must be stored last.
func (p *Platform) redemptionKey() string { return p.prefix + "redemption" }

// redeemed is the result of a code that was redeemed before, nil if it was not.
func (p *Platform) redeemed(ctx context.Context, key string) (*Authorization, error) {
	var rec redeemedRecord
	err := loadRecord(ctx, p.c.store, key, &rec, &rec.V)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &rec.Authorization, nil
}

// lookUpAuthorization is for an account whose code was spent elsewhere, or by a call whose answer was lost.
func (p *Platform) lookUpAuthorization(ctx context.Context, appID string, at time.Time, refusal error) (*Authorization, error) {
	a := p.Account(appID)
	held, unlock, err := p.c.lock(ctx, a.access.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec, err := a.lookUpGrant(held, at)
	if err != nil {
		return nil, errorf("%w; and looking the account up: %w", refusal, err)
	}
	if rec.RefreshToken == "" {
		p.c.logger.Warn("wechatopen: an authorization code could not be redeemed and WeChat names no refresh token: unless the account grants no API, it has to authorize the platform again",
			"account", appID, "error", refusal.Error())
	}
	return &Authorization{AppID: appID, FuncInfo: rec.FuncInfo, HasToken: rec.RefreshToken != ""}, nil
}

// queryAuth spends the code and stores the grant, then the token that comes with it.
func (p *Platform) queryAuth(ctx context.Context, code, key string, at time.Time) (*Authorization, error) {
	start := p.c.now()
	var out queryAuthAnswer
	err := p.Post(ctx, "/cgi-bin/component/api_query_auth", map[string]string{
		"component_appid":    p.creds.AppID,
		"authorization_code": code,
	}, &out)
	if err != nil {
		return nil, err
	}
	info := &out.Info
	if !validAppID(info.AppID) {
		return nil, errorf("/cgi-bin/component/api_query_auth: the answer names no account")
	}
	a := p.Account(info.AppID)
	held, unlock, err := p.c.lock(ctx, a.access.key)
	if err != nil {
		return nil, err
	}
	defer unlock()
	rec := grantRecord{RefreshToken: info.RefreshToken, FuncInfo: funcIDs(info.FuncInfo), Time: at.Unix(), Code: key}
	if err := a.saveGrant(held, &rec); err != nil {
		return nil, err
	}
	if info.Token != "" {
		if err := a.access.put(held, start, &fetched{info.Token, info.ExpiresIn}); err != nil {
			// The grant is safe, and a token will be fetched with it when one is needed.
			p.c.logger.Warn("wechatopen: the token that came with an authorization was not kept", "account", info.AppID, "error", err.Error())
		}
	} else {
		a.access.retryNow()
	}
	return &Authorization{AppID: info.AppID, FuncInfo: rec.FuncInfo, HasToken: info.RefreshToken != ""}, nil
}

// saveGrant writes a grant. A refresh token that is there is never replaced by none, and its time never goes back. The
// caller holds the lock of the account's token.
func (a *Account) saveGrant(held context.Context, rec *grantRecord) error {
	old, err := a.loadGrant(held)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return err
	}
	rec.V = 1
	if rec.RefreshToken == "" {
		rec.RefreshToken = old.RefreshToken
	}
	rec.Time = max(rec.Time, old.Time)
	rec.Code = firstOf(rec.Code, old.Code)
	return storeRecord(held, a.c.store, a.grantKey(), rec, 0)
}

// lookUpGrant asks WeChat whether the account still authorizes the platform, and keeps the refresh token that WeChat
// names. The error wraps [ErrNotAuthorized] if it does not. The caller holds the lock of the account's token.
func (a *Account) lookUpGrant(held context.Context, at time.Time) (*grantRecord, error) {
	out, err := a.platform.authorizerInfo(held, a.appID)
	if hasCode(err, codeNotAuthorizedToComp) {
		return nil, errorf("account %s: %w: %w", a.appID, ErrNotAuthorized, err)
	}
	if err != nil {
		return nil, err
	}
	rec := &grantRecord{RefreshToken: out.Authorization.RefreshToken, FuncInfo: funcIDs(out.Authorization.FuncInfo), Time: at.Unix()}
	return rec, a.saveGrant(held, rec)
}

// fetchAuthorizerToken refreshes the token of an account of a platform. WeChat may change the refresh token with it, so
// that is stored first. WeChat's page: api_authorizer_token.
func (a *Account) fetchAuthorizerToken(held context.Context, _ string) (*fetched, error) {
	grant, err := a.loadGrant(held)
	if errors.Is(err, ErrNotFound) {
		return nil, errorf("account %s: %w", a.appID, ErrNotAuthorized)
	}
	if err != nil {
		return nil, err
	}
	if grant.RefreshToken == "" {
		return nil, errorf("account %s: %w: no refresh token: it grants no API, or its authorization code was not redeemed in time", a.appID, ErrNotAuthorized)
	}
	f, err := a.refresh(held, grant)
	if !hasCode(err, codeRefreshTokenInvalid, codeNotAuthorizedToComp) {
		return f, err
	}
	// One look before the merchant is called: WeChat may know a newer refresh token.
	dead := grant.RefreshToken
	found, lerr := a.lookUpGrant(held, time.Unix(grant.Time, 0))
	switch {
	case errors.Is(lerr, ErrNotAuthorized):
		return nil, lerr
	case lerr != nil:
		return nil, errorf("%w; and looking the account up: %w", err, lerr)
	case found.RefreshToken == dead:
		return nil, errorf("account %s: %w: %w", a.appID, ErrNotAuthorized, err)
	}
	f, err = a.refresh(held, *found)
	if hasCode(err, codeRefreshTokenInvalid, codeNotAuthorizedToComp) {
		return nil, errorf("account %s: %w: %w", a.appID, ErrNotAuthorized, err)
	}
	return f, err
}

func (a *Account) refresh(held context.Context, grant grantRecord) (*fetched, error) {
	var out struct {
		Token        string `json:"authorizer_access_token"`
		ExpiresIn    Int    `json:"expires_in"`
		RefreshToken string `json:"authorizer_refresh_token"`
	}
	err := a.platform.Post(held, "/cgi-bin/component/api_authorizer_token", map[string]string{
		"component_appid":          a.platform.creds.AppID,
		"authorizer_appid":         a.appID,
		"authorizer_refresh_token": grant.RefreshToken,
	}, &out)
	if err != nil {
		return nil, err
	}
	// Written even when nothing changed: a Store that encrypts thereby moves it to its newest key.
	grant.V, grant.RefreshToken = 1, firstOf(out.RefreshToken, grant.RefreshToken)
	if err := storeRecord(held, a.c.store, a.grantKey(), grant, 0); err != nil {
		return nil, err
	}
	return &fetched{out.Token, out.ExpiresIn}, nil
}

// unauthorized removes everything of an account that revoked its authorization at the given time. A push that came late,
// after the account had authorized the platform again, removes nothing: it is over.
func (p *Platform) unauthorized(ctx context.Context, appID string, at time.Time) (over bool, err error) {
	held, unlock, err := p.c.lock(ctx, p.redemptionKey())
	if err != nil {
		return false, err
	}
	defer unlock()
	ctx = held
	a := p.Account(appID)
	// The tickets first: whoever refreshes one of them waits for the token.
	sources := []*CachedTokenSource{a.JSAPITicket(), a.CardTicket(), &a.access}
	for _, s := range sources {
		held, unlock, err := p.c.lock(ctx, s.key)
		if err != nil {
			return false, err
		}
		defer unlock()
		ctx = held // all of them are held from here on
	}
	grant, err := a.loadGrant(ctx)
	switch {
	case errors.Is(err, ErrNotFound):
	case err != nil:
		return false, err
	case at.Unix() <= grant.Time:
		// Two clocks, or a push out of order: WeChat itself knows.
		_, err := p.authorizerInfo(ctx, appID)
		if err == nil {
			p.c.logger.Info("wechatopen: an unauthorized push came late: the account authorizes the platform again", "account", appID)
			return true, nil
		}
		if !hasCode(err, codeNotAuthorizedToComp) {
			return false, err
		}
	}
	for _, s := range sources {
		if err := s.forget(ctx); err != nil {
			return false, errorf("store: %s: %w", s.key, err)
		}
	}
	a.userName.Store(nil)
	for _, key := range []string{grant.Code, a.originalIDKey(), a.grantKey()} {
		if key == "" {
			continue
		}
		if err := p.c.store.Delete(ctx, key); err != nil {
			return false, errorf("store: %s: %w", key, err)
		}
	}
	return false, nil
}
